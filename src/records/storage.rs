//! Reads and writes records.

use std::time::Duration;

use super::{Found, Record, journal};
use crate::event;
use crate::host::{self, group_commit, store};
use crate::identifier;

/// Reads a record within `time`, for callers that must tell an unreadable record from a missing one.
pub async fn find(name: &str, time: Duration) -> Result<Found, host::Error> {
    Ok(Found::of(store::get(name, time).await?.as_deref()))
}

/// Reads a record. `None` if it is missing or unreadable.
pub async fn read(name: &str) -> Result<Option<Record>, host::Error> {
    let bytes = store::get(name, store::TIMEOUT).await?;
    Ok(bytes.as_deref().and_then(Record::decode))
}

/// Reads the record of an event, with its bytes to show. `None` if it is missing or unreadable.
pub async fn read_with_bytes(
    project: &str,
    event_id: &str,
) -> Result<Option<(Vec<u8>, Record)>, host::Error> {
    // An invalid project never has a record; do not build a key from it.
    if identifier::check(project).is_err() {
        return Ok(None);
    }
    let name = Record::name(&event::key(project, event_id));
    let bytes = store::get(&name, store::TIMEOUT).await?;
    Ok(bytes.and_then(|bytes| {
        let record = Record::decode(&bytes)?;
        Some((bytes, record))
    }))
}

/// Writes a record, together with those of other requests where that helps, as [`group_commit::write`] does.
pub async fn write(name: String, record: &Record, time: Duration) -> Result<(), host::Error> {
    // Note the name before the write: the store may keep the record and still report a failure.
    journal::note(&name);
    group_commit::write((name, record.encode()), time).await
}

/// Writes a record by itself, outside the group commit.
pub async fn write_alone(name: &str, record: &Record) -> Result<(), host::Error> {
    journal::note(name);
    store::set(name, &record.encode(), store::TIMEOUT).await
}
