//! Tests of the real component, in the real host, against the fake Svix: over in-memory pipes and
//! in simulated time, except for `process`, `cluster` and `soak`, which start `serve` as its users do.

mod answers;
mod beside;
mod cluster;
mod commit;
mod dead_letters;
mod forgotten;
mod forms;
mod gate;
mod host;
mod matrix;
mod model;
mod once;
mod process;
mod retries;
mod soak;
mod support;
