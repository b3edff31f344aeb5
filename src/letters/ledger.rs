//! Which letters there are: keep one, read one, and how many wait for an operator.
//!
//! The number of unresolved letters is a counter of its own, since reading all letters for each scrape
//! would not be cheap. Two counters beside each letter, which only grow, decide whether it is counted
//! in or out: the increment that raises `opened` to 1 also raises `unresolved`. Sixteen concurrent
//! deliveries of one event therefore count as one letter. Only a crash between two increments leaves
//! the number wrong by one.

use spin_sdk::wasip3;

use super::{COUNTER, DeadLetter, UNRESOLVED};
use crate::event::notification::Notification;
use crate::host::{self, clock, store};
use crate::records::{DeadLettered, Record, journal};
use serde_json::value::RawValue;

/// Keeps the notification of a record as a dead letter: `problem` is the last part of the problem's
/// type and the problem document. Returns the letter's number.
pub fn keep(
    record: &str,
    notification: &Notification<'_>,
    body: &[u8],
    problem: (&str, Box<RawValue>),
) -> Result<u64, host::Error> {
    let number = store::increment(COUNTER, 1)?;
    let letter = DeadLetter::new(number, notification, problem, body, clock::now());
    let dead_lettered = Record::DeadLettered(DeadLettered {
        dead_letter: number,
        discarded_at: None,
    });
    // Journal the letter before writing it: `set_many` may store it and still report a failure. If a
    // concurrent delivery then replaces the record, only the journal still leads to this letter.
    journal::note(record, Some(number));
    let values = [
        (DeadLetter::name(number), letter.encode()),
        (record.to_owned(), dead_lettered.encode()),
    ];
    store::set_many("write the dead letter", &values)?;
    opened(record);
    Ok(number)
}

/// The number of the letter that an event is kept or was discarded as.
///
/// `None` if that letter isn't there. Where a store has no transactions, a crash may have left the
/// record alone, which must not acknowledge an event that nothing holds.
pub async fn acknowledged(name: &str, record: &DeadLettered) -> Result<Option<u64>, host::Error> {
    if record.discarded_at.is_none() {
        if !store::exists(&DeadLetter::name(record.dead_letter)).await? {
            return Ok(None);
        }
        opened(name);
    }
    Ok(Some(record.dead_letter))
}

/// Counts one unresolved letter for this record. Concurrent deliveries may have written more letters;
/// they stay hidden and are not counted.
///
/// This and [`closed`] run after the reply: the letter is already stored, so counting must neither
/// delay nor fail it. A lost count is repaired when the event is delivered again.
fn opened(record: &str) {
    let record = record.to_owned();
    wasip3::spawn(async move {
        if let Ok(1) = store::increment(&super::opened(&record), 1) {
            let _ = store::increment(UNRESOLVED, 1);
        }
    });
}

/// Counts the letter of a record's event as resolved, once, however often it is resolved or discarded.
pub fn closed(record: &str) {
    let record = record.to_owned();
    wasip3::spawn(async move {
        let opened = store::increment(&super::opened(&record), 0);
        if opened.is_ok_and(|times| times > 0)
            && let Ok(1) = store::increment(&super::closed(&record), 1)
        {
            let _ = store::increment(UNRESOLVED, -1);
        }
    });
}

/// How many letters are neither resolved nor discarded.
pub fn unresolved() -> Result<u64, host::Error> {
    store::increment(UNRESOLVED, 0)
}

/// A letter that is neither hidden nor discarded, and what has become of it.
pub async fn read(number: u64) -> Result<Option<DeadLetter>, host::Error> {
    let Some((mut letter, record)) = stored(number).await? else {
        return Ok(None);
    };
    match record {
        Some(Record::DeadLettered(record)) if record.discarded_at.is_some() => return Ok(None),
        Some(Record::Delivered(record)) => {
            if record.dead_letter.is_none() {
                // A concurrent delivery wrote this record before it saw the letter, so the letter was
                // never counted as resolved. Count it now.
                closed(&letter.record);
            }
            letter.resolved = Some(record);
        }
        Some(Record::DeadLettered(_) | Record::Unknown(_)) | None => {}
    }
    Ok(Some(letter))
}

/// A letter and the record of its event.
///
/// Two concurrent deliveries of one event may have written two letters: the record names the one that
/// counts, the other is hidden. A record that names no letter doesn't hide any, since a letter may be
/// the only copy of an event.
pub async fn stored(number: u64) -> Result<Option<(DeadLetter, Option<Record>)>, host::Error> {
    let name = DeadLetter::name(number);
    let bytes = store::get(&name, store::TIMEOUT).await?;
    let Some(letter) = bytes.as_deref().and_then(DeadLetter::decode) else {
        return Ok(None);
    };
    let record = crate::records::store::read(&letter.record, store::TIMEOUT).await?;
    let counts = match &record {
        Some(Record::DeadLettered(record)) => record.dead_letter == number,
        Some(Record::Delivered(record)) => record.dead_letter.is_none_or(|it| it == number),
        Some(Record::Unknown(_)) | None => true,
    };
    Ok(counts.then_some((letter, record)))
}
