//! The component: compiled once, instantiated as requests come.
//!
//! `program` is what is compiled and linked, with the `imports` that we answer ourselves. `worker`
//! decides how instances live, `instance` is what each has of its own, its `random` numbers for one.

mod imports;
mod instance;
mod program;
mod random;
mod worker;

pub(crate) use instance::Environment;
pub use program::Program;
pub use worker::Reuse;
pub(crate) use worker::{Entrance, Instances};
