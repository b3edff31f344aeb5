//! The component: compiled once, instantiated as requests come.
//!
//! - `compiler` compiles it, and keeps the code; `program` links it with its `imports`.
//! - `worker` decides how long instances live and which requests they take.
//! - `instance` holds the state of one instance; `random` makes its random numbers repeatable.

#[cfg(feature = "compiler")]
mod compiler;
mod imports;
mod instance;
mod program;
mod random;
mod worker;

#[cfg(feature = "compiler")]
pub(crate) use compiler::compile;
pub(crate) use instance::Environment;
pub use program::Program;
pub use worker::Reuse;
pub(crate) use worker::{Entrance, Instances};
