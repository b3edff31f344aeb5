//! Which letters there are: keep one, find one, and how many wait for an operator.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::value::RawValue;

use super::{COUNTER, DeadLetter, body_name, head_name, index_name};
use crate::event::notification::Notification;
use crate::host::clock::Stopwatch;
use crate::host::{self, clock, store};
use crate::records::{DeadLettered, Record, journal};
use crate::time::{age, rfc3339, unix_seconds};

/// The name of the low-water mark in the store; see [`Mark`].
const SETTLED: &str = "dead-letters/settled";

/// How long ago a number must have been taken before the mark passes it without a letter. Until then the
/// letter may still be on its way to the store.
const SETTLING: Duration = Duration::from_hours(1);

/// How long before its end a letter counts as expiring.
const NOTICE: Duration = Duration::from_hours(24);

/// How many numbers above the mark are looked at.
const MOST: u64 = 1_000;

/// How many of these letters are read at once: few, because 0.1.0 wrote a letter's body under its number.
const STEP: u64 = 8;

/// Keeps the notification of a record as a dead letter: `problem` is the last part of the problem's
/// type and the problem document. Returns the letter's number.
///
/// The body, which may be large, is written first and by itself, within `time`: writing several values
/// holds up the whole instance. A crash after that leaves a body that the next delivery writes anew.
pub async fn keep(
    record: &str,
    notification: &Notification<'_>,
    body: &[u8],
    problem: (&str, Box<RawValue>),
    time: Duration,
) -> Result<u64, host::Error> {
    // Journal the record before writing anything: the store may keep it and still report a failure.
    journal::note(record);
    store::set(&body_name(record), body, time).await?;
    let number = store::increment(COUNTER, 1).await?;
    let letter = DeadLetter::new(number, record, notification, problem, clock::now());
    let dead_lettered = Record::DeadLettered(DeadLettered {
        dead_letter: number,
        discarded_at: None,
    });
    // The record comes last, for stores that write one value after the other: it acknowledges the event.
    let values = [
        (head_name(record), letter.encode()),
        (index_name(number), record.as_bytes().to_vec()),
        (record.to_owned(), dead_lettered.encode()),
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
        Some((letter, _)) => store::exists(&body_name(&letter.record)).await?,
        None => false,
    };
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
            let head = store::get(&head_name(&name), store::TIMEOUT).await?;
            let record = store::get(&name, store::TIMEOUT).await?;
            (head.as_deref().and_then(DeadLetter::decode), record)
        }
    };
    let record = record.as_deref().and_then(Record::decode);
    let named = match &record {
        Some(Record::DeadLettered(record)) => Some(record.dead_letter),
        Some(Record::Delivered(record)) => record.dead_letter,
        Some(Record::Unknown(_)) | None => None,
    };
    let letter = letter.filter(|letter| named.unwrap_or(letter.number) == number);
    Ok(letter.map(|letter| (DeadLetter { number, ..letter }, record)))
}

/// The body of a letter. `None` if the store has lost it.
pub async fn body(letter: &DeadLetter) -> Result<Option<Vec<u8>>, host::Error> {
    if letter.holds_body() {
        return Ok(Some(letter.own_body()));
    }
    store::get(&body_name(&letter.record), store::TIMEOUT).await
}

/// Deletes the body of a letter whose event is delivered. Should the store fail, the body goes with its record.
pub async fn forget_body(record: &str) {
    let _ = store::delete("delete the dead letter's body", &body_name(record)).await;
}

/// Whether a letter can be replayed. If its body is gone, the letter is of no use to an operator, and goes too.
pub async fn keeps_body(record: &str, number: u64) -> Result<bool, host::Error> {
    let entry = store::get(&index_name(number), store::TIMEOUT).await?;
    let holds_body = matches!(entry.and_then(Entry::decode), Some(Entry::Letter(_)));
    if holds_body || store::exists(&body_name(record)).await? {
        return Ok(true);
    }
    let names = [head_name(record), index_name(number)];
    store::delete_many("delete the dead letter", &names).await?;
    Ok(false)
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
        // If a concurrent delivery has kept the event once more, its letter has the same names.
        let stored = store::get(name, store::TIMEOUT).await?;
        if stored.as_deref().and_then(Record::decode) != Some(record) {
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

/// The low-water mark, as the store holds it: three decimal numbers.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// No letter up to this number is unresolved.
    settled: u64,
    /// All numbers up to this one were taken at `taken_at`, in seconds since 1970.
    taken: u64,
    taken_at: u64,
}

impl Mark {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut numbers = str::from_utf8(bytes).ok()?.split(' ');
        let mut next = || numbers.next()?.parse().ok();
        Some(Self {
            settled: next()?,
            taken: next()?,
            taken_at: next()?,
        })
    }
}

/// The letters that are neither resolved nor discarded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waiting {
    pub unresolved: u64,
    /// How many of them the retention deletes within a day.
    pub expiring: u64,
}

/// Counts the waiting letters, of the [`MOST`] numbers above the low-water mark.
///
/// The mark moves up to the first letter that is unresolved, and index entries that it passes go if
/// their letter is gone. Two requests at once may set the mark back, which costs the next one reads.
pub async fn waiting(retention: Option<Duration>) -> Result<Waiting, host::Error> {
    let (last, now) = (
        store::increment(COUNTER, 0).await?,
        unix_seconds(clock::now()),
    );
    let expires_at = retention.map(|retention| retention.saturating_sub(NOTICE));
    let stored = store::get(SETTLED, store::TIMEOUT).await?;
    let mark = stored.as_deref().and_then(Mark::decode).unwrap_or_default();
    let rested = now.abs_diff(mark.taken_at) >= SETTLING.as_secs();
    let mut moved = mark;
    if rested {
        (moved.taken, moved.taken_at) = (last, now);
    }
    let (mut waiting, mut held_up) = (Waiting::default(), false);
    let mut dangling = Vec::new();
    let mut next = mark.settled + 1;
    let end = last.min(mark.settled + MOST);
    while next <= end {
        for state in states(next..=end.min(next + STEP - 1)).await? {
            held_up |= match state {
                State::Settled => false,
                State::Unresolved(age) => {
                    waiting.unresolved += 1;
                    let expires = expires_at.is_some_and(|at| age.is_some_and(|age| age >= at));
                    waiting.expiring += u64::from(expires);
                    true
                }
                State::Unwritten | State::Dangling => !rested || next > mark.taken,
            };
            if !held_up {
                moved.settled = next;
                if state == State::Dangling {
                    dangling.push(index_name(next));
                }
            }
            next += 1;
        }
    }
    if rested || moved.settled > mark.settled {
        store::delete_many("delete the index", &dangling).await?;
        let text = format!("{} {} {}", moved.settled, moved.taken, moved.taken_at);
        store::set(SETTLED, text.as_bytes(), store::TIMEOUT).await?;
    }
    Ok(waiting)
}

/// Deletes the letters that have waited for as long as the retention, oldest first, until this time is over, and
/// tells of each.
pub async fn expire(
    retention: Duration,
    stopwatch: Stopwatch,
    time: Duration,
    mut tell: impl FnMut(&DeadLetter),
) -> Result<(), host::Error> {
    let (last, now) = (store::increment(COUNTER, 0).await?, clock::now());
    let stored = store::get(SETTLED, store::TIMEOUT).await?;
    let mark = stored.as_deref().and_then(Mark::decode).unwrap_or_default();
    for number in mark.settled + 1..=last {
        if stopwatch.remaining(time).is_zero() {
            break;
        }
        let Some(letter) = read(number)
            .await?
            .filter(|letter| letter.resolved.is_none())
        else {
            continue;
        };
        match age(&letter.dead_lettered_at, now) {
            Some(age) if age >= retention => {
                discard(number).await?;
                tell(&letter);
            }
            // Later letters are younger.
            Some(_) => break,
            // A clock that was ahead wrote it.
            None => {}
        }
    }
    Ok(())
}

/// The state of a number, for the count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The number was taken, and no letter is written under it, or not yet.
    Unwritten,
    /// The letter waits, for so long as can be told.
    Unresolved(Option<Duration>),
    /// The letter is resolved or discarded.
    Settled,
    /// The letter is gone, has another number, or is not written whole yet.
    Dangling,
}

async fn states(numbers: RangeInclusive<u64>) -> Result<Vec<State>, host::Error> {
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
        let letter = match bytes?.as_deref().and_then(Record::decode) {
            Some(Record::Delivered(record)) => record.dead_letter.unwrap_or(number),
            Some(Record::DeadLettered(record)) if record.discarded_at.is_some() => {
                record.dead_letter
            }
            Some(Record::DeadLettered(_) | Record::Unknown(_)) | None => {
                let letter = with_record(number).await?;
                let waits = |(letter, _): (DeadLetter, _)| {
                    State::Unresolved(age(&letter.dead_lettered_at, clock::now()))
                };
                states.push(letter.map_or(State::Dangling, waits));
                continue;
            }
        };
        let settled = letter == number;
        states.push(if settled {
            State::Settled
        } else {
            State::Dangling
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
