//! The letters that wait for an operator: how many there are, and which have waited for too long.

use std::ops::RangeInclusive;
use std::time::Duration;

use futures::future::join_all;

use super::ledger::{self, Entry};
use super::mark::{Climb, Mark, State};
use super::{COUNTER, DeadLetter, index_name};
use crate::host::deadline::Deadline;
use crate::host::{self, clock, store};
use crate::records::Unreadable;
use crate::time::{age, unix_seconds};

/// The name of the low-water mark in the store; see [`Mark`].
const SETTLED: &str = "dead-letters/settled";

/// How long before its end a letter counts as expiring.
const NOTICE: Duration = Duration::from_hours(24);

/// How many numbers above the mark are looked at.
const MOST: u64 = 1_000;

/// How many of these letters are read at once: few, because 0.1.0 wrote a letter's body under its number.
const STEP: u64 = 8;

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

/// Deletes the letters that have waited for as long as the retention, oldest first, until the deadline, and
/// tells of each. Returns whether the low-water mark has moved.
pub async fn expire(
    retention: Duration,
    deadline: Deadline,
    mut tell: impl FnMut(&DeadLetter),
) -> Result<bool, host::Error> {
    let go_on = || !deadline.is_over();
    walk(go_on, async |letter| {
        match age(&letter.dead_lettered_at, clock::now()) {
            Some(age) if age >= retention => {
                if !ledger::discard(letter.number).await? {
                    return Ok(Visit::Waits);
                }
                tell(letter);
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
/// The mark moves up to the first letter that is unresolved. An index entry that it passes is deleted if its letter is
/// gone. Returns whether the mark has moved. If two requests do this at once, they may set the mark back; the next
/// request then reads more.
async fn walk(
    mut go_on: impl FnMut() -> bool,
    mut visit: impl AsyncFnMut(&DeadLetter) -> Result<Visit, host::Error>,
) -> Result<bool, host::Error> {
    let last = store::counter(COUNTER).await?;
    let mut climb = Climb::from(mark().await?, last, unix_seconds(clock::now()));
    let first = climb.mark.settled + 1;
    let mut next = first;
    'numbers: while next <= last {
        let states = states(next..=last.min(next + STEP - 1)).await?;
        let states = (next..).zip(states);
        let read = join_all(states.map(|(number, state)| with_letter(number, state)));
        for read in read.await {
            if next > first && !go_on() {
                break 'numbers;
            }
            let (mut state, letter) = read?;
            if let Some(letter) = letter {
                state = match visit(&letter).await? {
                    Visit::Waits => State::Waits,
                    Visit::Settled => State::Settled,
                    Visit::Enough => break 'numbers,
                };
            }
            climb.pass(next, state);
            next += 1;
        }
    }
    let before = climb.mark.settled;
    let Some((mark, dangling)) = climb.end() else {
        return Ok(false);
    };
    // If the store takes no writes, the next walk begins where this one began.
    let is_moved = move_mark(mark, &dangling).await.is_ok();
    Ok(is_moved && mark.settled > before)
}

/// The letter, if the number waits, and the state that this shows.
async fn with_letter(
    number: u64,
    state: State,
) -> Result<(State, Option<DeadLetter>), host::Error> {
    if state != State::Waits {
        return Ok((state, None));
    }
    if let Some((letter, _)) = ledger::with_record(number).await? {
        return Ok((state, Some(letter)));
    }
    let state = match ledger::unreadable_head(number).await? {
        None => State::Dangling,
        Some(Unreadable::Later) => State::Later,
        Some(Unreadable::Damaged) => State::Unwritten,
    };
    Ok((state, None))
}

async fn move_mark(mark: Mark, dangling: &[String]) -> Result<(), host::Error> {
    store::delete_many("delete the index", dangling).await?;
    store::set(SETTLED, mark.encode().as_bytes(), store::TIMEOUT).await
}

/// The states of these numbers, by their records. A number that waits may have no letter any more.
async fn states(numbers: RangeInclusive<u64>) -> Result<Vec<State>, host::Error> {
    let names: Vec<_> = numbers.clone().map(index_name).collect();
    let entries = store::get_all(&names).await.into_iter();
    let entries = entries.map(|bytes| Ok(bytes?.map(Entry::decode)));
    let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    let readable = entries.iter().flatten().flatten();
    let names: Vec<_> = readable.map(Entry::record_name).collect();
    let mut records = store::get_all(&names).await.into_iter();
    let mut states = Vec::with_capacity(entries.len());
    for (number, entry) in numbers.zip(entries) {
        states.push(match entry {
            Some(Err(Unreadable::Later)) => State::Later,
            None | Some(Err(Unreadable::Damaged)) => State::Unwritten,
            Some(Ok(_)) => {
                let record = records.next().transpose()?.flatten();
                State::of(number, record.as_deref())
            }
        });
    }
    Ok(states)
}
