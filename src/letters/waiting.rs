//! The letters that wait for an operator: how many there are, and which have waited for too long.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::ledger::{self, Entry};
use super::{COUNTER, DeadLetter, index_name};
use crate::host::clock::Stopwatch;
use crate::host::{self, clock, store};
use crate::records::Record;
use crate::time::{age, unix_seconds};

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
pub async fn count(retention: Option<Duration>) -> Result<Waiting, host::Error> {
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
        let Some(letter) = ledger::read(number)
            .await?
            .filter(|letter| letter.resolved.is_none())
        else {
            continue;
        };
        match age(&letter.dead_lettered_at, now) {
            Some(age) if age >= retention => {
                ledger::discard(number).await?;
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
    let names: Vec<_> = entries.iter().flatten().map(Entry::record_name).collect();
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
                let letter = ledger::with_record(number).await?;
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
