//! The letters that wait for an operator: how many there are, and which have waited for too long.

use std::ops::RangeInclusive;
use std::time::Duration;

use futures::future::join_all;

use super::ledger::{self, Entry};
use super::{COUNTER, DeadLetter, index_name};
use crate::host::deadline::Deadline;
use crate::host::{self, clock, store};
use crate::records::{Record, Unreadable};
use crate::time::{age, unix_seconds};

/// The name of the low-water mark in the store; see [`Mark`].
const SETTLED: &str = "dead-letters/settled";

/// How long ago a number must have been taken before the mark passes it without a letter. Until then the
/// letter may still be on its way to the store.
const RESTED_AFTER: Duration = Duration::from_hours(1);

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
        let waiting = (next..)
            .zip(&states)
            .filter(|(_, state)| **state == State::Waits);
        let letters = waiting.map(|(number, _)| ledger::with_record(number));
        let mut letters = join_all(letters).await.into_iter();
        for mut state in states {
            if next > first && !go_on() {
                break 'numbers;
            }
            if state == State::Waits {
                state = match letters.next().transpose()?.flatten() {
                    None => match ledger::unreadable_head(next).await? {
                        None => State::Dangling,
                        Some(Unreadable::Later) => State::Later,
                        Some(Unreadable::Damaged) => State::Unwritten,
                    },
                    Some((letter, _)) => match visit(&letter).await? {
                        Visit::Waits => State::Waits,
                        Visit::Settled => State::Settled,
                        Visit::Enough => break 'numbers,
                    },
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

/// The mark on its way up.
struct Climb {
    mark: Mark,
    moved: Mark,
    /// Whether the mark's `taken` is old enough to be set anew.
    is_rested: bool,
    is_held_up: bool,
    /// Index entries to delete.
    dangling: Vec<String>,
}

impl Climb {
    fn from(mark: Mark, last: u64, now: u64) -> Self {
        let is_rested = now.abs_diff(mark.taken_at) >= RESTED_AFTER.as_secs();
        let mut moved = mark;
        if is_rested {
            (moved.taken, moved.taken_at) = (last, now);
        }
        Self {
            mark,
            moved,
            is_rested,
            is_held_up: false,
            dangling: Vec::new(),
        }
    }

    /// Passes a number, unless an earlier one holds the mark up, or this one does.
    fn pass(&mut self, number: u64, state: State) {
        self.is_held_up |= match state {
            State::Waits | State::Later => true,
            State::Settled => false,
            State::Dangling | State::Unwritten => !self.is_rested || number > self.mark.taken,
        };
        if self.is_held_up {
            return;
        }
        self.moved.settled = number;
        if state == State::Dangling {
            self.dangling.push(index_name(number));
        }
    }

    /// The mark to write, and the index entries to delete. `None` if nothing has changed.
    fn end(self) -> Option<(Mark, Vec<String>)> {
        let has_moved = self.is_rested || self.moved.settled > self.mark.settled;
        has_moved.then_some((self.moved, self.dangling))
    }
}

async fn move_mark(mark: Mark, dangling: &[String]) -> Result<(), host::Error> {
    store::delete_many("delete the index", dangling).await?;
    let text = format!("{} {} {}", mark.settled, mark.taken, mark.taken_at);
    store::set(SETTLED, text.as_bytes(), store::TIMEOUT).await
}

/// The state of a number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The number was taken, and no letter is written under it, or not yet. Or its letter is damaged.
    Unwritten,
    /// A later version has written it.
    Later,
    /// The letter is neither resolved nor discarded.
    Waits,
    /// The letter is resolved or discarded.
    Settled,
    /// The index has the number, but its letter has another one, is gone, or is still to be written.
    Dangling,
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
                by_record(number, record.as_deref())
            }
        });
    }
    Ok(states)
}

fn by_record(number: u64, record: Option<&[u8]>) -> State {
    let letter = match record.and_then(Record::decode) {
        Some(Record::Delivered(record)) => record.dead_letter.unwrap_or(number),
        Some(Record::DeadLettered(record)) if record.discarded_at.is_some() => record.dead_letter,
        Some(Record::DeadLettered(_) | Record::Unknown(_)) | None => return State::Waits,
    };
    if letter == number {
        State::Settled
    } else {
        State::Dangling
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn climb(taken_at: u64) -> Climb {
        let mark = Mark {
            settled: 4,
            taken: 7,
            taken_at,
        };
        Climb::from(mark, 9, NOW)
    }

    #[test]
    fn the_mark_stops_before_the_first_letter_that_waits() {
        let mut climb = climb(NOW);
        for (number, state) in [(5, State::Settled), (6, State::Waits), (7, State::Settled)] {
            climb.pass(number, state);
        }
        assert_eq!(climb.moved.settled, 5);
    }

    #[test]
    fn a_number_without_a_letter_is_passed_once_it_was_taken_an_hour_ago() {
        for state in [State::Unwritten, State::Dangling] {
            let mut young = climb(NOW - RESTED_AFTER.as_secs() + 1);
            young.pass(5, state);
            assert_eq!(young.moved.settled, 4);
            let mut old = climb(NOW - RESTED_AFTER.as_secs());
            old.pass(5, state);
            assert_eq!(old.moved.settled, 5);
            old.pass(6, State::Settled);
            old.pass(7, State::Settled);
            old.pass(8, state);
            assert_eq!(old.moved.settled, 7, "8 was not taken an hour ago");
            assert_eq!((old.moved.taken, old.moved.taken_at), (9, NOW));
            let entries = usize::from(state == State::Dangling);
            assert_eq!(old.dangling.len(), entries);
        }
    }
}
