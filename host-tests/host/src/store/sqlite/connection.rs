//! Connections to an SQLite file, as reader and writer use them.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use crate::store::write::Error;

pub(super) const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS spin_key_value (
    store TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (store, key)
)";
pub(super) const GET: &str = "SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2";

/// The limit for waiting while another process has locked the file.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(400);

pub(super) fn connect(path: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(busy_timeout)?;
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The error if the runtime ends during a call.
pub(super) fn closing() -> Error {
    Error("the store is closing".to_owned())
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}
