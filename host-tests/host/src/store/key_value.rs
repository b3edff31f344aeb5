//! The store of one application, and where it can be.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{bail, ensure};

use super::memory::Memory;
use super::mounts;
use super::redis::{Redis, RedisFiles};
use super::sqlite::Sqlite;
use super::write::{Error, Result, Write};

/// Spin's limit for what a guest reads at once.
const MAX_VALUE_BYTES: usize = 128 << 20;

/// The store of one application. Clones share the contents.
#[derive(Clone, Debug)]
pub enum KeyValue {
    /// Lost at the end of the process.
    Memory(Memory),
    /// In a file.
    Sqlite(Sqlite),
    /// In a server that several hosts can share.
    Redis(Redis),
}

impl KeyValue {
    pub fn memory() -> Self {
        Self::Memory(Memory::default())
    }

    /// Opens the SQLite file at `path`, or creates it.
    pub fn sqlite(path: impl AsRef<Path>) -> anyhow::Result<Self> {
        Ok(Self::Sqlite(Sqlite::open(path.as_ref())?))
    }

    /// The store in the Redis at `url`. An error means an invalid URL; Redis is not asked yet.
    pub fn redis(url: &str) -> anyhow::Result<Self> {
        Ok(Self::Redis(Redis::at(url)?))
    }

    /// Whether the network carries the store's password in clear.
    pub(crate) fn shows_password(&self) -> bool {
        matches!(self, Self::Redis(redis) if redis.shows_password())
    }

    /// Fails if the store can't be reached now.
    pub async fn check(&self) -> Result<()> {
        match self {
            Self::Memory(_) | Self::Sqlite(_) => Ok(()),
            Self::Redis(redis) => redis.ping().await,
        }
    }

    /// Opens a store for a guest. As in Spin, this makes a connection; if that fails, the next
    /// operation fails, not this one.
    pub async fn open(&self) {
        drop(self.check().await);
    }

    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let value = match self {
            Self::Memory(memory) => memory.get(key),
            Self::Sqlite(sqlite) => sqlite.get(key).await?,
            Self::Redis(redis) => redis.get(key).await?,
        };
        match value {
            Some(value) if value.len() > MAX_VALUE_BYTES => {
                Err(Error(format!("query result exceeds limit of {MAX_VALUE_BYTES} bytes")))
            }
            value => Ok(value),
        }
    }

    pub async fn exists(&self, key: &str) -> Result<bool> {
        match self {
            Self::Memory(memory) => Ok(memory.get(key).is_some()),
            Self::Sqlite(sqlite) => sqlite.exists(key).await,
            Self::Redis(redis) => redis.exists(key).await,
        }
    }

    pub async fn keys(&self) -> Result<Vec<String>> {
        match self {
            Self::Memory(memory) => Ok(memory.keys()),
            Self::Sqlite(sqlite) => sqlite.keys().await,
            Self::Redis(redis) => redis.keys().await,
        }
    }

    /// Changes the store. When it returns, the change is as durable as the store can make it.
    pub async fn write(&self, write: Write) -> Result<i64> {
        match self {
            Self::Memory(memory) => memory.write(write),
            Self::Sqlite(sqlite) => sqlite.write(write).await,
            Self::Redis(redis) => redis.write(write).await,
        }
    }

    pub async fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        let pair = (key.to_owned(), value.to_vec());
        self.write(Write::Set(vec![pair])).await.map(drop)
    }

    pub async fn delete(&self, key: &str) -> Result<()> {
        self.write(Write::Delete(vec![key.to_owned()])).await.map(drop)
    }
}

/// Says where the records are.
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
    /// `redis://…` or `rediss://…`
    Redis(Url),
}

/// A URL, which may hold a password, so that `Debug` leaves it out.
#[derive(Clone, Eq, PartialEq)]
pub struct Url(String);

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Url(…)")
    }
}

impl FromStr for Url {
    type Err = Infallible;

    /// Takes any text. If this failed, the library that reads options would print the text, with its password.
    fn from_str(text: &str) -> std::result::Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl Url {
    pub fn location(&self) -> anyhow::Result<Location> {
        self.0.parse()
    }
}

impl Location {
    /// Fails if the records would end with the container that this process runs in.
    pub fn check_durable(&self) -> anyhow::Result<()> {
        let lasts = match self {
            Self::Memory => false,
            Self::Sqlite(path) => mounts::is_on_volume(path),
            Self::Redis(_) => true,
        };
        ensure!(
            lasts,
            "the records would end with this container: name a Redis (SERVE_KEY_VALUE=redis://…), or a file on \
             a volume"
        );
        Ok(())
    }

    pub fn open(&self) -> anyhow::Result<KeyValue> {
        self.open_with(RedisFiles::default())
    }

    /// An error means that the location or a file is invalid, or that a file would not be used; Redis is not
    /// asked yet.
    pub(crate) fn open_with(&self, files: RedisFiles) -> anyhow::Result<KeyValue> {
        if !matches!(self, Self::Redis(_)) {
            files.check_unused()?;
        }
        match self {
            Self::Memory => Ok(KeyValue::memory()),
            Self::Sqlite(path) => KeyValue::sqlite(path),
            Self::Redis(Url(url)) => Ok(KeyValue::Redis(Redis::with(url, files)?)),
        }
    }
}

impl FromStr for Location {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            // Opening the store checks the rest.
            Some(("redis" | "rediss", rest)) if rest.starts_with("//") => {
                Ok(Self::Redis(Url(text.to_owned())))
            }
            _ => bail!(
                "--key-value (SERVE_KEY_VALUE) must be sqlite:PATH, redis://HOST:PORT/DATABASE, the same with rediss://, \
                 or memory"
            ),
        }
    }
}
