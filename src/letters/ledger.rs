//! Which letters there are: keep one, find one, and how many wait for an operator.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use serde_json::value::RawValue;

use super::{COUNTER, DeadLetter, body_name, head_name, index_name};
use crate::event::notification::Notification;
use crate::host::{self, clock, store};
use crate::records::{DeadLettered, Record, journal};
use crate::time::{age, rfc3339};

/// The name of the low-water mark in the store, in decimal: no letter up to this number is unresolved.
const SETTLED: &str = "dead-letters/settled";

/// How long a letter must be settled before the mark passes it. The mark passes unwritten numbers only
/// with such a letter above them: another instance may have taken a number just now.
const REST: Duration = Duration::from_hours(1);

/// How many letters above the mark are looked at.
pub const MOST: usize = 1_000;

/// How many letters are looked at together.
const STEP: u64 = 64;

/// Keeps the notification of a record as a dead letter: `problem` is the last part of the problem's
/// type and the problem document. Returns the letter's number.
pub fn keep(
    record: &str,
    notification: &Notification<'_>,
    body: &[u8],
    problem: (&str, Box<RawValue>),
) -> Result<u64, host::Error> {
    let number = store::increment(COUNTER, 1)?;
    let letter = DeadLetter::new(number, record, notification, problem, clock::now());
    let dead_lettered = Record::DeadLettered(DeadLettered {
        dead_letter: number,
        discarded_at: None,
    });
    // Journal the record before writing it: the store may keep it and still report a failure.
    journal::note(record);
    // The record comes last, for stores that write one value after the other: it acknowledges the event.
    let values = [
        (body_name(record), body.to_vec()),
        (head_name(record), letter.encode()),
        (index_name(number), record.as_bytes().to_vec()),
        (record.to_owned(), dead_lettered.encode()),
    ];
    store::set_many("write the dead letter", &values)?;
    Ok(number)
}

/// The number of the letter that an event is kept or was discarded as.
///
/// `None` if that letter isn't there. Where a store has no transactions, a crash may have left the
/// record alone, which must not acknowledge an event that nothing holds.
pub async fn acknowledged(record: &DeadLettered) -> Result<Option<u64>, host::Error> {
    let number = record.dead_letter;
    let known = record.discarded_at.is_some() || with_record(number).await?.is_some();
    Ok(known.then_some(number))
}

/// A letter that is not discarded, with what has become of it. `None` if the number leads nowhere.
pub async fn read(number: u64) -> Result<Option<DeadLetter>, host::Error> {
    let Some((mut letter, record)) = with_record(number).await? else {
        return Ok(None);
    };
    match record {
        Some(Record::DeadLettered(record)) if record.discarded_at.is_some() => return Ok(None),
        Some(Record::Delivered(record)) => letter.resolved = Some(record),
        Some(Record::DeadLettered(_) | Record::Unknown(_)) | None => {}
    }
    Ok(Some(letter))
}

/// A letter, and the record of its event. `None` if the number leads nowhere, or the record names a
/// letter with another number. A record that names none hides no letter, since a letter may be the only
/// copy of an event.
async fn with_record(number: u64) -> Result<Option<(DeadLetter, Option<Record>)>, host::Error> {
    let entry = store::get(&index_name(number), store::TIMEOUT).await?;
    let (letter, record) = match entry.and_then(Entry::decode) {
        None => return Ok(None),
        Some(Entry::Letter(letter)) => {
            let record = store::get(&letter.record, store::TIMEOUT).await?;
            (Some(*letter), record)
        }
        Some(Entry::Record(name)) => {
            let (head, record) = store::get_both(&head_name(&name), &name).await;
            (head?.as_deref().and_then(DeadLetter::decode), record?)
        }
    };
    let record = record.as_deref().and_then(Record::decode);
    let other = matches!(&record, Some(Record::DeadLettered(it)) if it.dead_letter != number);
    let letter = letter.filter(|letter| letter.number == number && !other);
    Ok(letter.map(|letter| (letter, record)))
}

/// The body of a letter.
pub async fn body(letter: &DeadLetter) -> Result<Vec<u8>, host::Error> {
    if letter.holds_body() {
        return Ok(letter.own_body());
    }
    let body = store::get(&body_name(&letter.record), store::TIMEOUT).await?;
    Ok(body.unwrap_or_default())
}

/// Deletes a letter, also one whose discarding broke off. The record of an undelivered event goes on
/// acknowledging it. `false` if there is no such letter.
pub async fn discard(number: u64) -> Result<bool, host::Error> {
    let Some((letter, record)) = with_record(number).await? else {
        return Ok(false);
    };
    let name = &letter.record;
    if !matches!(record, Some(Record::Delivered(_))) {
        let record = Record::DeadLettered(DeadLettered {
            dead_letter: number,
            discarded_at: Some(rfc3339(clock::now())),
        });
        journal::note(name);
        store::set(name, &record.encode(), store::TIMEOUT).await?;
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

/// The low-water mark: no letter up to this number is unresolved.
pub async fn mark() -> Result<u64, host::Error> {
    let mark = store::get(SETTLED, store::TIMEOUT).await?;
    let mark = mark.and_then(|bytes| str::from_utf8(&bytes).ok()?.parse().ok());
    Ok(mark.unwrap_or_default())
}

/// How many letters are neither resolved nor discarded, of the [`MOST`] above the low-water mark.
///
/// The mark moves up to the first letter that is unresolved, and index entries that it passes go if
/// their letter is gone. Two requests at once may set the mark back, which costs the next one reads.
pub async fn unresolved() -> Result<u64, host::Error> {
    let (last, mark, now) = (store::increment(COUNTER, 0)?, mark().await?, clock::now());
    let (mut unresolved, mut settled, mut looked_at) = (0, mark, 0);
    let mut dangling = Vec::new();
    let mut next = mark + 1;
    while next <= last && looked_at < MOST {
        for state in states(next..=last.min(next + STEP - 1), now).await? {
            match state {
                State::Unwritten => {}
                State::Unresolved => unresolved += 1,
                State::Settled { .. } | State::Dangling { .. } if unresolved > 0 => {}
                State::Settled { rested } => settled = if rested { next } else { settled },
                State::Dangling { rested } => {
                    dangling.push((next, index_name(next)));
                    settled = if rested { next } else { settled };
                }
            }
            looked_at += usize::from(!matches!(state, State::Unwritten));
            next += 1;
        }
    }
    if settled > mark {
        let passed = dangling
            .into_iter()
            .filter(|(number, _)| *number <= settled);
        let names: Vec<_> = passed.map(|(_, name)| name).collect();
        store::delete_many("delete the index", &names).await?;
        store::set(SETTLED, settled.to_string().as_bytes(), store::TIMEOUT).await?;
    }
    Ok(unresolved)
}

/// What stands under a number, for the count.
#[derive(Clone, Copy)]
enum State {
    /// The number was taken, and no letter is written under it, or not yet.
    Unwritten,
    Unresolved,
    /// The letter is resolved or discarded. `rested`: for more than [`REST`].
    Settled {
        rested: bool,
    },
    /// The letter was purged long ago, or has another number.
    Dangling {
        rested: bool,
    },
}

async fn states(numbers: RangeInclusive<u64>, now: SystemTime) -> Result<Vec<State>, host::Error> {
    let names: Vec<_> = numbers.clone().map(index_name).collect();
    let entries = store::get_all(&names).await.into_iter();
    let entries = entries.map(|bytes| Ok(bytes?.and_then(Entry::decode)));
    let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    let names: Vec<_> = entries.iter().flatten().map(Entry::record).collect();
    let mut records = store::get_all(&names).await.into_iter();
    let mut states = Vec::with_capacity(entries.len());
    for (number, entry) in numbers.zip(entries) {
        let Some(bytes) = entry.and_then(|_| records.next()) else {
            states.push(State::Unwritten);
            continue;
        };
        let rested = |since: &str| age(since, now).is_some_and(|age| age >= REST);
        let state = |rested, letter: Option<u64>| match letter {
            Some(other) if other != number => State::Dangling { rested },
            _ => State::Settled { rested },
        };
        states.push(match bytes?.as_deref().and_then(Record::decode) {
            Some(Record::Delivered(record)) => {
                state(rested(&record.delivered_at), record.dead_letter)
            }
            Some(Record::DeadLettered(record)) => match &record.discarded_at {
                Some(discarded_at) => state(rested(discarded_at), Some(record.dead_letter)),
                None if record.dead_letter == number => State::Unresolved,
                None => State::Dangling { rested: false },
            },
            Some(Record::Unknown(_)) | None => match with_record(number).await? {
                Some(_) => State::Unresolved,
                None => State::Dangling { rested: true },
            },
        });
    }
    Ok(states)
}

/// An entry of the index.
enum Entry {
    /// A letter of 0.1.0.
    Letter(Box<DeadLetter>),
    /// The name of the letter's record.
    Record(String),
}

impl Entry {
    /// The name of the letter's record.
    fn record(&self) -> String {
        match self {
            Self::Letter(letter) => letter.record.clone(),
            Self::Record(record) => record.clone(),
        }
    }

    fn decode(bytes: Vec<u8>) -> Option<Self> {
        if let Some(letter) = DeadLetter::decode(&bytes).filter(DeadLetter::holds_body) {
            return Some(Self::Letter(Box::new(letter)));
        }
        let name = String::from_utf8(bytes).ok();
        name.filter(|name| name.starts_with("record/"))
            .map(Self::Record)
    }
}
