//! A change to a store, and the errors of stores.

use std::fmt;

/// A change to one store, made as a whole or not at all. `redis` says how its counters differ.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Write {
    /// Writes these pairs and replaces earlier values.
    Set(Vec<(String, Vec<u8>)>),
    Delete(Vec<String>),
    /// Adds to a counter of 8 bytes, little-endian, and returns the sum.
    Increment {
        key: String,
        delta: i64,
    },
}

/// The store failed. The guest sees the text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error(pub String);

pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

pub(super) fn increment(counter: Option<&[u8]>, delta: i64) -> Result<i64> {
    let counter = match counter.map(<[u8; 8]>::try_from) {
        None => 0,
        Some(Ok(bytes)) => i64::from_le_bytes(bytes),
        Some(Err(_)) => return Err(Error("the value is not a counter".to_owned())),
    };
    let overflow = || Error("the counter overflows".to_owned());
    counter.checked_add(delta).ok_or_else(overflow)
}
