//! Keeps letters, finds them by their numbers, and discards them.

use super::{COUNTER, DeadLetter, Undelivered, VERSION, body_name, head_name, index_name};
use crate::host::deadline::Deadline;
use crate::host::{self, clock, store};
use crate::records::{DeadLettered, Found, Record, Unreadable, fingerprint_of, journal, storage};
use crate::time::rfc3339;

/// Keeps a notification as a dead letter. Returns the letter's number.
///
/// The body may be large, and writing several values holds up the whole instance. So the body is written first, by
/// itself, and within the time for a write. A crash after that leaves a body that the next delivery writes anew, or
/// that the purge deletes.
pub async fn keep(undelivered: Undelivered<'_>, deadline: Deadline) -> Result<u64, host::Error> {
    let name = undelivered.record_name;
    // The journal's page must be in the store before the body is: only that leads to the body after a crash.
    journal::append(&[name.to_owned()]).await?;
    let body = undelivered.body;
    store::set(&body_name(name), body, deadline.time_to_store()).await?;
    let number = store::increment(COUNTER).await?;
    let record = Record::DeadLettered(DeadLettered {
        dead_letter: number,
        discarded_at: None,
        project: None,
        lost_message_id: undelivered.lost_message_id.map(str::to_owned),
        fingerprint: undelivered.event.map(fingerprint_of),
    });
    let letter = DeadLetter::new(number, undelivered, clock::now());
    // The record comes last, for stores that write one value after the other: it acknowledges the event.
    let values = [
        (head_name(name), letter.encode()),
        (index_name(number), name.as_bytes().to_vec()),
        (name.to_owned(), record.encode()),
    ];
    store::set_many("write the dead letter", &values).await?;
    Ok(number)
}

/// The number of the letter that an event is kept or was discarded as.
///
/// `None` if that letter isn't there. Where a store has no transactions, a crash may have left the
/// record alone, which must not acknowledge an event that nothing holds.
pub async fn acknowledging_letter(record: &DeadLettered) -> Result<Option<u64>, host::Error> {
    let number = record.dead_letter;
    if record.discarded_at.is_some() {
        return Ok(Some(number));
    }
    let known = match with_record(number).await? {
        Some((letter, _)) if letter.holds_body() => true,
        Some((letter, _)) => store::exists(&body_name(&letter.record_name)).await?,
        None => false,
    };
    Ok(known.then_some(number))
}

/// A letter that is not discarded, with what has become of it. `None` if the number leads nowhere.
pub async fn read(number: u64) -> Result<Option<DeadLetter>, host::Error> {
    let Some((mut letter, found)) = with_record(number).await? else {
        return Ok(None);
    };
    match found.record() {
        Some(Record::DeadLettered(record)) if record.discarded_at.is_some() => return Ok(None),
        Some(Record::Delivered(record)) => letter.resolved = Some(record.clone()),
        Some(Record::DeadLettered(_) | Record::Unknown(_)) | None => {}
    }
    Ok(Some(letter))
}

/// A letter, and the record of its event. `None` if the number leads nowhere, or the record names a letter with another
/// number. If the record names no letter, this one is returned all the same: it may be the only copy of the event.
pub async fn with_record(number: u64) -> Result<Option<(DeadLetter, Found)>, host::Error> {
    let entry = store::get(&index_name(number), store::TIMEOUT).await?;
    let letter = match entry.and_then(|entry| Entry::decode(entry).ok()) {
        None => None,
        Some(Entry::Letter(letter)) => Some(*letter),
        Some(Entry::RecordName(name)) => {
            let head = store::get(&head_name(&name), store::TIMEOUT).await?;
            head.as_deref().and_then(DeadLetter::decode)
        }
    };
    let Some(letter) = letter else {
        return Ok(None);
    };
    let found = storage::find(&letter.record_name, store::TIMEOUT).await?;
    let named = found.record().and_then(Record::dead_letter);
    let is_valid = named.unwrap_or(letter.number) == number;
    let letter = DeadLetter { number, ..letter };
    Ok(is_valid.then_some((letter, found)))
}

/// Why the head of a number's letter can't be read. `None` if it is missing, or readable.
pub async fn unreadable_head(number: u64) -> Result<Option<Unreadable>, host::Error> {
    let entry = store::get(&index_name(number), store::TIMEOUT).await?;
    let Some(Ok(Entry::RecordName(name))) = entry.map(Entry::decode) else {
        return Ok(None);
    };
    let head = store::get(&head_name(&name), store::TIMEOUT).await?;
    let unreadable = head.filter(|head| DeadLetter::decode(head).is_none());
    Ok(unreadable.map(|head| Unreadable::of(&head, VERSION)))
}

/// The number under which a letter is found. Deliveries of one message at the same moment may each have answered with
/// a number of their own, and the last one counts.
pub async fn valid_number(number: u64) -> Result<u64, host::Error> {
    let entry = store::get(&index_name(number), store::TIMEOUT).await?;
    let Some(Ok(Entry::RecordName(name))) = entry.map(Entry::decode) else {
        return Ok(number);
    };
    let record = storage::read(&name).await?;
    let named = record.as_ref().and_then(Record::dead_letter);
    Ok(named.unwrap_or(number))
}

/// The body of a letter. `None` if the store has lost it.
pub async fn body(letter: &DeadLetter) -> Result<Option<Vec<u8>>, host::Error> {
    if letter.holds_body() {
        return Ok(Some(letter.own_body()));
    }
    store::get(&body_name(&letter.record_name), store::TIMEOUT).await
}

/// Deletes the body of a letter whose event is delivered. Should the store fail, the body goes with its record.
pub async fn forget_body(record_name: &str) {
    let _ = store::delete("delete the dead letter's body", &body_name(record_name)).await;
}

/// The number of a record's letter that can be replayed. A letter whose body is gone is of no use to an operator, and
/// is deleted.
pub async fn replayable(record_name: &str) -> Result<Option<u64>, host::Error> {
    let head = store::get(&head_name(record_name), store::TIMEOUT).await?;
    let Some(letter) = head.as_deref().and_then(DeadLetter::decode) else {
        return Ok(None);
    };
    if store::exists(&body_name(record_name)).await? {
        return Ok(Some(letter.number));
    }
    let names = [head_name(record_name), index_name(letter.number)];
    store::delete_many("delete the dead letter", &names).await?;
    Ok(None)
}

/// Deletes what is left of a record's letter, also of one that the record doesn't name: a concurrent delivery may
/// have written it. Returns whether there was one.
pub async fn erase(record_name: &str) -> Result<bool, host::Error> {
    let names = [body_name(record_name), head_name(record_name)];
    let was_there = store::exists(&names[0]).await? || store::exists(&names[1]).await?;
    if was_there {
        store::delete_many("erase the dead letter", &names).await?;
    }
    Ok(was_there)
}

/// Deletes a letter, also one whose discarding broke off. The record of an undelivered event goes on acknowledging it.
/// `true` also if a concurrent delivery has replaced the record meanwhile. Then nothing is deleted: that delivery may
/// have kept the event again, and its letter has the same names. `false` if there is no such letter, or if a later
/// version wrote its record: that version may have delivered the event.
pub async fn discard(number: u64) -> Result<bool, host::Error> {
    let Some((letter, found)) = with_record(number).await? else {
        return Ok(false);
    };
    if matches!(found, Found::Unreadable(Unreadable::Later)) {
        return Ok(false);
    }
    let record = found.record();
    let name = &letter.record_name;
    if !matches!(record, Some(Record::Delivered(_))) {
        let lost = record.and_then(Record::lost_message_id);
        let record = Record::DeadLettered(DeadLettered {
            dead_letter: number,
            discarded_at: Some(rfc3339(clock::now())),
            project: letter.project.clone(),
            lost_message_id: lost.map(str::to_owned),
            fingerprint: match record {
                Some(Record::DeadLettered(record)) => record.fingerprint.clone(),
                _ => None,
            },
        });
        storage::write_alone(name, &record).await?;
        // If a concurrent delivery has kept the event once more, its letter has the same names.
        if storage::read(name).await? != Some(record) {
            return Ok(true);
        }
    }
    let names = if letter.holds_body() {
        vec![index_name(number)]
    } else {
        // The head comes last: without it the letter can't be found to delete its body.
        vec![body_name(name), head_name(name)]
    };
    store::delete_many("delete the dead letter", &names).await?;
    Ok(true)
}

/// An entry of the index.
pub(super) enum Entry {
    /// A letter of 0.1.0.
    Letter(Box<DeadLetter>),
    /// The name of the letter's record.
    RecordName(String),
}

impl Entry {
    /// The name of the letter's record.
    pub(super) fn record_name(&self) -> String {
        match self {
            Self::Letter(letter) => letter.record_name.clone(),
            Self::RecordName(name) => name.clone(),
        }
    }

    pub(super) fn decode(bytes: Vec<u8>) -> Result<Self, Unreadable> {
        if bytes.starts_with(b"record/") {
            let name = String::from_utf8(bytes).map_err(|_| Unreadable::Damaged)?;
            return Ok(Self::RecordName(name));
        }
        let letter = DeadLetter::decode(&bytes).filter(DeadLetter::holds_body);
        let letter = letter.ok_or_else(|| Unreadable::of(&bytes, VERSION))?;
        Ok(Self::Letter(Box::new(letter)))
    }
}
