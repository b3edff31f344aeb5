//! Tests of the real component, in the real host, against the fake Svix. They run over in-memory pipes and
//! in simulated time, except for parts of `host`, most of which start processes as users do.

mod exactly_once;
mod host;
mod ingest;
mod operate;
mod serve;
mod support;
mod svix;
