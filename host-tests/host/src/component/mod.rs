//! The component: compiled once, instantiated as requests come.
//!
//! - `program` compiles it and links it with its `imports`.
//! - `worker` decides how long instances live and which requests they take.
//! - `instance` holds the state of one instance; `random` makes its random numbers repeatable.

mod imports;
mod instance;
mod program;
mod random;
mod worker;

pub(crate) use instance::Environment;
pub use program::Program;
pub use worker::Reuse;
pub(crate) use worker::{Entrance, Instances};
