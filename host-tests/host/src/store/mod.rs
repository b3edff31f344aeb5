//! The key-value store with the component's records. In SQLite and in memory it behaves as Spin's
//! SQLite store does, in Redis as Spin's Redis store does, with their oddities.
//! `component::imports` decides which stores a guest may open.

mod faults;
mod faulty_store;
mod key_value;
mod memory;
mod mounts;
mod redis;
mod sqlite;
#[cfg(test)]
mod tests;
mod write;

/// The label of the only store that Spin has without a runtime configuration.
pub(crate) const LABEL: &str = "default";

pub use faults::{Faults, Op};
pub(crate) use faulty_store::FaultyStore;
pub(crate) use key_value::Url;
pub use key_value::{KeyValue, Location};
pub(crate) use redis::RedisFiles;
pub(crate) use write::{Error, Write};
