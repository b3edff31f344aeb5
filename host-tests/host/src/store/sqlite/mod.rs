//! The store in an SQLite file, of Spin's own schema, so that `spin up` and `serve` can use the
//! same file one after the other.
//!
//! Reads are quick and take place where they are asked for, on a connection of their own, which
//! write-ahead logging keeps apart from the `writer`.

#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use tokio::task;

use self::writer::Writer;
use super::{Error, Result, Write};

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS spin_key_value (
    store TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (store, key)
)";
const GET: &str = "SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2";
const EXISTS: &str = "SELECT 1 FROM spin_key_value WHERE store = ?1 AND key = ?2";
const KEYS: &str = "SELECT key FROM spin_key_value WHERE store = ?1";

/// How long to wait for another process that has locked the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A store in a file; a clone is the same store.
#[derive(Clone)]
pub struct Sqlite {
    path: Arc<Path>,
    reader: Arc<Mutex<Connection>>,
    writer: Writer,
}

impl Sqlite {
    /// Opens the file, creating it and its directory if need be.
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

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many transactions have been committed by this process.
    #[must_use]
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
        // On a connection of its own: a long list must not hold up the other readers.
        blocking(move || {
            let connection = connect(&path, BUSY_TIMEOUT)?;
            let mut keys = connection.prepare(KEYS)?;
            keys.query_map([store], |row| row.get(0))?.collect()
        })
        .await
    }

    /// Reads in place; only where another process has locked the file, on another thread.
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

fn connect(path: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(busy_timeout)?;
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> rusqlite::Result<T> + Send + 'static,
) -> Result<T> {
    let result = task::spawn_blocking(work).await;
    Ok(result.map_err(|_| closing())??)
}

/// A panic elsewhere leaves nothing half done here: an open transaction rolls back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// The runtime ends while somebody still asks.
fn closing() -> Error {
    Error("the store is closing".to_owned())
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}
