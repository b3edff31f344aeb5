//! The key-value store behind the component's records: in SQLite or in memory, with the
//! semantics of Spin's own SQLite store, or in Redis, with those of Spin's Redis store; their
//! oddities included. What the component may open is
//! not decided here, but in `imports`.

mod faults;
mod faulty_store;
mod memory;
mod redis;
mod sqlite;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::bail;

pub use self::faults::{Faults, Op};
pub use self::faulty_store::FaultyStore;
pub use self::memory::Memory;
pub use self::redis::Redis;
pub use self::sqlite::Sqlite;

/// What Spin lets a guest read at once.
const MAX_VALUE_BYTES: usize = 128 << 20;

/// All stores of one application; `store` in its methods is the label. A clone is the same store.
#[derive(Clone, Debug)]
pub enum KeyValue {
    /// Lost with the process.
    Memory(Memory),
    /// In a file.
    Sqlite(Sqlite),
    /// In a server that several hosts share.
    Redis(Redis),
}

/// A change to one store, made as a whole or not at all. What a counter is and what a swap answers
/// is said for SQLite; `redis` says what differs there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Write {
    /// Writes these pairs, in place of whatever was there.
    Set(Vec<(String, Vec<u8>)>),
    /// Removes these keys.
    Delete(Vec<String>),
    /// Adds to a counter of 8 bytes, little-endian, and answers with the sum.
    Increment {
        /// The counter's key.
        key: String,
        /// What is added.
        delta: i64,
    },
    /// Writes if the present value is the expected one, and answers with 1 then, else with 0.
    /// As in Spin, nothing expected means that anything is overwritten.
    Swap {
        /// The key.
        key: String,
        /// What must be there.
        expected: Option<Vec<u8>>,
        /// What comes in its place.
        value: Vec<u8>,
    },
}

/// The store failed. The guest sees the text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error(pub String);

/// What an operation answers.
pub type Result<T> = std::result::Result<T, Error>;

impl KeyValue {
    /// A new, empty store in memory.
    #[must_use]
    pub fn memory() -> Self {
        Self::Memory(Memory::default())
    }

    /// The store in the SQLite file at `path`, which is created if need be.
    pub fn sqlite(path: impl AsRef<Path>) -> anyhow::Result<Self> {
        Ok(Self::Sqlite(Sqlite::open(path.as_ref())?))
    }

    /// The store in the Redis at `url`. It is not asked whether it is there.
    pub fn redis(url: &str) -> anyhow::Result<Self> {
        Ok(Self::Redis(Redis::at(url)?))
    }

    /// Fails if the store can't be reached now.
    pub async fn check(&self) -> Result<()> {
        match self {
            Self::Memory(_) | Self::Sqlite(_) => Ok(()),
            Self::Redis(redis) => redis.ping().await,
        }
    }

    /// What the opening of a store by a guest does: as in Spin, it makes sure of a connection, and
    /// leaves it to the next operation to fail.
    pub async fn open(&self) {
        drop(self.check().await);
    }

    /// The value under `key`.
    pub async fn get(&self, store: &str, key: &str) -> Result<Option<Vec<u8>>> {
        let value = match self {
            Self::Memory(memory) => memory.get(store, key),
            Self::Sqlite(sqlite) => sqlite.get(store, key).await?,
            Self::Redis(redis) => redis.get(key).await?,
        };
        match value {
            Some(value) if value.len() > MAX_VALUE_BYTES => Err(Error(format!(
                "query result exceeds limit of {MAX_VALUE_BYTES} bytes"
            ))),
            value => Ok(value),
        }
    }

    /// The pairs among `keys` that exist; Spin's SQLite store leaves out the others, too. Its Redis
    /// store asks for something else, and always fails.
    pub async fn get_many(
        &self,
        store: &str,
        keys: &[String],
    ) -> Result<Vec<(String, Option<Vec<u8>>)>> {
        if let Self::Redis(_) = self {
            let text = "ERR wrong number of arguments for 'keys' command";
            return Err(Error(text.to_owned()));
        }
        let mut pairs = Vec::new();
        for key in keys {
            if let Some(value) = self.get(store, key).await? {
                pairs.push((key.clone(), Some(value)));
            }
        }
        Ok(pairs)
    }

    /// Whether there is a value under `key`.
    pub async fn exists(&self, store: &str, key: &str) -> Result<bool> {
        match self {
            Self::Memory(memory) => Ok(memory.get(store, key).is_some()),
            Self::Sqlite(sqlite) => sqlite.exists(store, key).await,
            Self::Redis(redis) => redis.exists(key).await,
        }
    }

    /// All keys; in Redis those of all stores.
    pub async fn keys(&self, store: &str) -> Result<Vec<String>> {
        match self {
            Self::Memory(memory) => Ok(memory.keys(store)),
            Self::Sqlite(sqlite) => sqlite.keys(store).await,
            Self::Redis(redis) => redis.keys().await,
        }
    }

    /// Changes the store. Once it has answered, the change is as durable as the store can make it.
    pub async fn write(&self, store: &str, write: Write) -> Result<i64> {
        match self {
            Self::Memory(memory) => memory.write(store, write),
            Self::Sqlite(sqlite) => sqlite.write(store, write).await,
            Self::Redis(redis) => redis.write(write).await,
        }
    }

    /// Writes one pair.
    pub async fn set(&self, store: &str, key: &str, value: &[u8]) -> Result<()> {
        let pair = (key.to_owned(), value.to_vec());
        self.write(store, Write::Set(vec![pair])).await.map(drop)
    }

    /// Removes one key.
    pub async fn delete(&self, store: &str, key: &str) -> Result<()> {
        self.write(store, Write::Delete(vec![key.to_owned()]))
            .await
            .map(drop)
    }
}

/// Where the records are, for a person.
impl fmt::Display for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(_) => f.write_str("in memory, lost at the end"),
            Self::Sqlite(sqlite) => write!(f, "{}", sqlite.path().display()),
            Self::Redis(redis) => write!(f, "{redis}"),
        }
    }
}

/// The value of `--key-value`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Location {
    /// `memory`
    Memory,
    /// `sqlite:PATH`
    Sqlite(PathBuf),
    /// `redis://…`
    Redis(Url),
}

/// A URL, in which there may be a password: it is not shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Url(String);

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Url(…)")
    }
}

impl Location {
    /// Opens the store that is there.
    pub fn open(&self) -> anyhow::Result<KeyValue> {
        match self {
            Self::Memory => Ok(KeyValue::memory()),
            Self::Sqlite(path) => KeyValue::sqlite(path),
            Self::Redis(Url(url)) => KeyValue::redis(url),
        }
    }
}

impl FromStr for Location {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            // Whether the rest is valid is seen when it is opened: an error here would be shown
            // with the text, which may hold a password.
            Some(("redis", rest)) if rest.starts_with("//") => {
                Ok(Self::Redis(Url(text.to_owned())))
            }
            _ => bail!("it is neither sqlite:PATH nor redis://HOST:PORT/DATABASE nor memory"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// The sum of a counter and `delta`.
fn increment(counter: Option<&[u8]>, delta: i64) -> Result<i64> {
    let counter = match counter.map(<[u8; 8]>::try_from) {
        None => 0,
        Some(Ok(bytes)) => i64::from_le_bytes(bytes),
        Some(Err(_)) => return Err(Error("the value is no counter".to_owned())),
    };
    let overflow = || Error("the counter overflows".to_owned());
    counter.checked_add(delta).ok_or_else(overflow)
}
