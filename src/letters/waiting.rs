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

/// The number up to which no letter waits.
pub async fn settled() -> Result<u64, host::Error> {
    Ok(mark().await?.settled)
}

async fn mark() -> Result<Mark, host::Error> {
    let stored = store::get(SETTLED, store::TIMEOUT).await?;
    Ok(stored.as_deref().and_then(Mark::decode).unwrap_or_default())
}

/// Counts the waiting letters, of the [`MOST`] numbers above the low-water mark.
pub async fn count(retention: Option<Duration>) -> Result<Waiting, host::Error> {
    let expires_at = retention.map(|retention| retention.saturating_sub(NOTICE));
    let (mut waiting, mut visited) = (Waiting::default(), 0);
    let go_on = || {
        visited += 1;
        visited < MOST
    };
    walk(go_on, async |letter| {
        let age = age(&letter.dead_lettered_at, clock::now());
        waiting.unresolved += 1;
        let expires = expires_at.is_some_and(|at| age.is_some_and(|age| age >= at));
        waiting.expiring += u64::from(expires);
        Ok(Visit::Waits)
    })
    .await?;
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
    let go_on = || !stopwatch.remaining(time).is_zero();
    walk(go_on, async |letter| {
        match age(&letter.dead_lettered_at, clock::now()) {
            Some(age) if age >= retention => {
                if ledger::discard(letter.number).await? {
                    tell(letter);
                }
                Ok(Visit::Settled)
            }
            // Later letters are younger.
            Some(_) => Ok(Visit::Enough),
            // A clock that was ahead wrote it.
            None => Ok(Visit::Waits),
        }
    })
    .await
}

/// The end of a visit.
enum Visit {
    Waits,
    Settled,
    /// The letter waits, and no further one is to be visited.
    Enough,
}

/// Visits the letters that wait, for as long as `go_on` says before each number but the first.
///
/// The mark moves up to the first letter that is unresolved, and index entries that it passes go if
/// their letter is gone. Two requests at once may set the mark back, which costs the next one reads.
async fn walk(
    mut go_on: impl FnMut() -> bool,
    mut visit: impl AsyncFnMut(&DeadLetter) -> Result<Visit, host::Error>,
) -> Result<(), host::Error> {
    let (last, now) = (
        store::increment(COUNTER, 0).await?,
        unix_seconds(clock::now()),
    );
    let mark = mark().await?;
    let rested = now.abs_diff(mark.taken_at) >= SETTLING.as_secs();
    let mut moved = mark;
    if rested {
        (moved.taken, moved.taken_at) = (last, now);
    }
    let first = mark.settled + 1;
    let (mut next, mut held_up) = (first, false);
    let mut dangling = Vec::new();
    'numbers: while next <= last {
        for state in states(next..=last.min(next + STEP - 1)).await? {
            if next > first && !go_on() {
                break 'numbers;
            }
            let letter = match state {
                State::Undecided => ledger::with_record(next).await?,
                State::Unwritten | State::Settled | State::Dangling => None,
            };
            let is_gone = letter.is_none() && !matches!(state, State::Settled | State::Unwritten);
            held_up |= match letter {
                Some((letter, _)) => match visit(&letter).await? {
                    Visit::Settled => false,
                    Visit::Waits => true,
                    Visit::Enough => break 'numbers,
                },
                None => state != State::Settled && (!rested || next > mark.taken),
            };
            if !held_up {
                moved.settled = next;
                if is_gone {
                    dangling.push(index_name(next));
                }
            }
            next += 1;
        }
    }
    if rested || moved.settled > mark.settled {
        // If the store takes no writes, the next walk begins where this one began.
        let _ = move_mark(moved, &dangling).await;
    }
    Ok(())
}

async fn move_mark(mark: Mark, dangling: &[String]) -> Result<(), host::Error> {
    store::delete_many("delete the index", dangling).await?;
    let text = format!("{} {} {}", mark.settled, mark.taken, mark.taken_at);
    store::set(SETTLED, text.as_bytes(), store::TIMEOUT).await
}

/// The state of a number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The number was taken, and no letter is written under it, or not yet.
    Unwritten,
    /// The letter waits, or is gone.
    Undecided,
    /// The letter is resolved or discarded.
    Settled,
    /// The letter has another number.
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
                states.push(State::Undecided);
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
