//! Tests of the real component, in the real host, against the fake Svix: over in-memory pipes and
//! in simulated time, except for `process`, `cluster` and `soak`, which start `serve` as its users do.

mod answers;
mod auth;
mod beside;
mod cluster;
mod commit;
mod console;
mod contract;
mod customers;
mod dead_letters;
mod event_types;
mod forgotten;
mod forms;
mod gate;
mod google;
mod host;
mod injection;
mod matrix;
mod model;
mod once;
mod process;
mod purge;
mod readme;
mod retries;
mod seeing;
mod soak;
mod support;
mod traces;
mod versions;
