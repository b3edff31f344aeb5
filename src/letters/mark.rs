//! The low-water mark below which no letter waits, so that old letters are not read again and again.

use std::time::Duration;

use super::index_name;
use crate::records::Record;

/// How long ago a number must have been taken before the mark passes it without a letter. Until then the
/// letter may still be on its way to the store.
const RESTED_AFTER: Duration = Duration::from_hours(1);

/// The low-water mark, as the store holds it: three decimal numbers.
#[derive(Clone, Copy, Default)]
pub struct Mark {
    /// No letter up to this number is unresolved.
    pub settled: u64,
    /// All numbers up to this one were taken at `taken_at`, in seconds since 1970.
    taken: u64,
    taken_at: u64,
}

impl Mark {
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut numbers = str::from_utf8(bytes).ok()?.split(' ');
        let mut next = || numbers.next()?.parse().ok();
        Some(Self { settled: next()?, taken: next()?, taken_at: next()? })
    }

    pub fn encode(self) -> String {
        format!("{} {} {}", self.settled, self.taken, self.taken_at)
    }
}

/// The mark on its way up.
pub struct Climb {
    pub mark: Mark,
    moved: Mark,
    /// Whether the mark's `taken` is old enough to be set anew.
    is_rested: bool,
    is_held_up: bool,
    /// Index entries to delete.
    dangling: Vec<String>,
}

impl Climb {
    pub fn from(mark: Mark, last: u64, now: u64) -> Self {
        let is_rested = now.abs_diff(mark.taken_at) >= RESTED_AFTER.as_secs();
        let mut moved = mark;
        if is_rested {
            (moved.taken, moved.taken_at) = (last, now);
        }
        Self { mark, moved, is_rested, is_held_up: false, dangling: Vec::new() }
    }

    /// Passes a number, unless an earlier one holds the mark up, or this one does.
    pub fn pass(&mut self, number: u64, state: State) {
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
    pub fn end(self) -> Option<(Mark, Vec<String>)> {
        let has_moved = self.is_rested || self.moved.settled > self.mark.settled;
        has_moved.then_some((self.moved, self.dangling))
    }
}

/// The state of a number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
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

impl State {
    /// The state of a number in the index, by the record to which it leads. A number that waits may have no letter any more.
    pub fn of(number: u64, record: Option<&[u8]>) -> Self {
        let letter = match record.and_then(Record::decode) {
            Some(Record::Delivered(record)) => record.dead_letter.unwrap_or(number),
            Some(Record::DeadLettered(record)) if record.discarded_at.is_some() => {
                record.dead_letter
            }
            Some(Record::DeadLettered(_) | Record::Unknown(_)) | None => return Self::Waits,
        };
        if letter == number { Self::Settled } else { Self::Dangling }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn climb(taken_at: u64) -> Climb {
        let mark = Mark { settled: 4, taken: 7, taken_at };
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
