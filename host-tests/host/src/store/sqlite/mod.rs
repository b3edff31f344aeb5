//! The store in an SQLite file with Spin's schema, so that `spin up` and `serve` can use the same
//! file one after the other.
//!
//! Reads have a connection of their own, which write-ahead logging isolates from the `writer`. Nothing runs on
//! the caller's thread: while another process has locked the file or the disk hangs, the timers of the
//! instances go on.

mod connection;
mod files;
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
use tokio::{task, time};

use self::connection::{BUSY_TIMEOUT, GET, SCHEMA, closing, connect, is_busy};
use self::files::Files;
use self::writer::Writer;
use super::LABEL;
use super::write::{Error, Result, Write};
use crate::lock::lock;

/// The limit for a call, which for some calls is also how long an instance is held up. A write that takes
/// longer may still succeed.
const LIMIT: Duration = Duration::from_secs(1);

// A write may wait for two locked commits: the one before it, and its own.
const _: () = assert!(BUSY_TIMEOUT.as_millis() * 2 < LIMIT.as_millis());

const EXISTS: &str = "SELECT 1 FROM spin_key_value WHERE store = ?1 AND key = ?2";
const KEYS: &str = "SELECT key FROM spin_key_value WHERE store = ?1";

/// A store in a file. Clones share it.
#[derive(Clone)]
pub struct Sqlite {
    path: Arc<Path>,
    files: Arc<Files>,
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
            let files = Arc::new(Files::of(path)?);
            Ok(Self {
                path: path.into(),
                reader: Arc::new(Mutex::new(connect(path, Duration::ZERO)?)),
                writer: Writer::new(writer, files.clone()),
                files,
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

    pub(super) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.read(key, |connection, key| {
            let mut get = connection.prepare_cached(GET)?;
            get.query_row([LABEL, key], |row| row.get(0)).optional()
        })
        .await
    }

    pub(super) async fn exists(&self, key: &str) -> Result<bool> {
        self.read(key, |connection, key| connection.prepare_cached(EXISTS)?.exists([LABEL, key]))
            .await
    }

    pub(super) async fn keys(&self) -> Result<Vec<String>> {
        let path = self.path.clone();
        // Use a separate connection, because a long list must not delay the other readers.
        self.blocking(move || {
            let connection = connect(&path, BUSY_TIMEOUT)?;
            let mut keys = connection.prepare(KEYS)?;
            keys.query_map([LABEL], |row| row.get(0))?.collect()
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        key: &str,
        read: fn(&Connection, &str) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let (path, reader) = (self.path.clone(), self.reader.clone());
        let key = key.to_owned();
        self.blocking(move || {
            let result = read(&lock(&reader), &key);
            match result {
                // Another process has locked the file. Wait for it without holding up the other readers.
                Err(error) if is_busy(&error) => read(&connect(&path, BUSY_TIMEOUT)?, &key),
                result => result,
            }
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let files = self.files.clone();
        let work = task::spawn_blocking(move || {
            files.check()?;
            Ok(work()?)
        });
        within_limit(async { work.await.map_err(|_| closing())? }).await
    }

    pub(super) async fn write(&self, write: Write) -> Result<i64> {
        within_limit(self.writer.write(write)).await
    }
}

async fn within_limit<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Err(Error("the database did not answer in time".to_owned()));
    time::timeout(LIMIT, call).await.unwrap_or_else(late)
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sqlite").field(&self.path).finish()
    }
}
