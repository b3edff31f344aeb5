//! The store in an SQLite file with Spin's schema, so that `spin up` and `serve` can use the same
//! file one after the other.
//!
//! Reads are quick and run on the caller's thread. They have a connection of their own, which
//! write-ahead logging isolates from the `writer`.

mod connection;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use rusqlite::{Connection, OptionalExtension};
use tokio::task;

use self::connection::{BUSY_TIMEOUT, GET, SCHEMA, closing, connect, is_busy, lock};
use self::writer::Writer;
use super::write::{Result, Write};

const EXISTS: &str = "SELECT 1 FROM spin_key_value WHERE store = ?1 AND key = ?2";
const KEYS: &str = "SELECT key FROM spin_key_value WHERE store = ?1";

/// A store in a file. Clones share it.
#[derive(Clone)]
pub struct Sqlite {
    path: Arc<Path>,
    reader: Arc<Mutex<Connection>>,
    writer: Writer,
}

impl Sqlite {
    /// Opens the file; creates it and its directory if they are missing.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let open = || -> anyhow::Result<Self> {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            let writer = connect(path, BUSY_TIMEOUT)?;
            // As durable as a rollback journal, with one fsync per commit instead of several.
            writer.pragma_update(None, "journal_mode", "wal")?;
            writer.execute(SCHEMA, [])?;
            Ok(Self {
                path: path.into(),
                reader: Arc::new(Mutex::new(connect(path, Duration::ZERO)?)),
                writer: Writer::new(writer),
            })
        };
        open().with_context(|| format!("can't open the store {}", path.display()))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of transactions that this process has committed.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    pub(super) async fn get(&self, store: &str, key: &str) -> Result<Option<Vec<u8>>> {
        self.read(store, key, |connection, store, key| {
            let mut get = connection.prepare_cached(GET)?;
            get.query_row([store, key], |row| row.get(0)).optional()
        })
        .await
    }

    pub(super) async fn exists(&self, store: &str, key: &str) -> Result<bool> {
        self.read(store, key, |connection, store, key| {
            connection.prepare_cached(EXISTS)?.exists([store, key])
        })
        .await
    }

    pub(super) async fn keys(&self, store: &str) -> Result<Vec<String>> {
        let (path, store) = (self.path.clone(), store.to_owned());
        // Use a separate connection, because a long list must not delay the other readers.
        blocking(move || {
            let connection = connect(&path, BUSY_TIMEOUT)?;
            let mut keys = connection.prepare(KEYS)?;
            keys.query_map([store], |row| row.get(0))?.collect()
        })
        .await
    }

    /// Reads on this thread, or on another one if another process has locked the file.
    async fn read<T: Send + 'static>(
        &self,
        store: &str,
        key: &str,
        read: fn(&Connection, &str, &str) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let result = read(&lock(&self.reader), store, key);
        match result {
            Err(error) if is_busy(&error) => {
                let (path, store, key) = (self.path.clone(), store.to_owned(), key.to_owned());
                blocking(move || read(&connect(&path, BUSY_TIMEOUT)?, &store, &key)).await
            }
            result => Ok(result?),
        }
    }

    pub(super) async fn write(&self, store: &str, write: Write) -> Result<i64> {
        self.writer.write(store, write).await
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sqlite").field(&self.path).finish()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> rusqlite::Result<T> + Send + 'static,
) -> Result<T> {
    let result = task::spawn_blocking(work).await;
    Ok(result.map_err(|_| closing())??)
}
