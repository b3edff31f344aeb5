//! The purge: deletes records that no delivery needs any more, a bounded slice at each request.
//!
//! The purge follows the journal, day by day, from where the last slice ended to the last day that is older
//! than the retention. A page's records are deleted before the page, and the cursor moves last: after a
//! crash anywhere, the next slice finds the rest. Two slices at once do the same work twice.
//!
//! A record that was written again since is left for the later page that names it. A letter that no
//! operator has decided on is deleted only by `dead_letter_retention_days`. For as long as a record has a letter, it is
//! named again today: a crash may have lost the page of its last write, and with it the way to the letter's body.
//!
//! A delivered record takes its event's letter along, even one that it doesn't name. An unknown record leaves a whole
//! letter, since that may be the only copy of the event. A body without a head is deleted all the same: a crash broke
//! that letter off.
//!
//! An event may come again after its record is gone. It is older than half a day then, so it is looked
//! up in Svix before it is posted. An event without a `time` of its own that is published anew, though,
//! is taken for a new one. The same goes for one that is delivered while its record is being deleted. A letter that is
//! kept at that very moment may lose its body. Its event is older than the retention then, so Pub/Sub has forgotten it.

mod old_journal;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::request::OperatorRequest;
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::host::clock;
use crate::host::deadline::Deadline;
use crate::host::{self, store};
use crate::letters::{self, DeadLetter, body_name, head_name, waiting};
use crate::records::Record;
use crate::records::journal::{self, Page};
use crate::time::{age, rfc3339};
use crate::watch::change::Change;
use crate::watch::metrics::Counts;
use crate::watch::{self, counters};

/// After what time a slice takes up no further page.
const SLICE: Duration = Duration::from_secs(1);

/// How many records are read at once and deleted together. Several, since a store may be a network away;
/// few, since events want to read theirs and a deletion holds up the instance.
const STEP: usize = 64;

/// The name of the cursor in the store: the day and the page that are done, as `{day} {page}`.
const CURSOR: &str = "journal/cursor";

/// 1 January 2026, in days since 1970: no journal is older.
const FIRST_DAY: u64 = 20_454;

#[derive(Debug, Serialize)]
struct Purged {
    /// How many records this slice has deleted.
    purged: usize,
    /// How many records it has left: written again since, undecided, or of a later version.
    kept: usize,
    /// How many dead letters it has deleted on which no operator had decided.
    letters: usize,
    /// The day that comes next.
    day: String,
    /// Whether nothing more is due.
    done: bool,
}

/// Deletes the next records that are due.
pub async fn purge(request: &mut OperatorRequest<'_>) -> Result<Success, Problem> {
    let start = Cursor::read().await?;
    let mut slice = Slice {
        retention: request.config.record_retention,
        letter_retention: request.config.letter_retention,
        letters: 0,
        now: clock::now(),
        deadline: Deadline::new(request.deadline.since, SLICE),
        cursor: start,
        purged: 0,
        kept: 0,
    };
    let result = slice.run().await;
    let (cursor, purged, kept, letters) = (slice.cursor, slice.purged, slice.kept, slice.letters);
    // Move the cursor past the pages that are done, also if the store has failed since.
    if cursor != start {
        cursor.write().await?;
    }
    let done = result?;
    request.entry.message = format!("purged: {purged} records, {kept} kept, {letters} letters");
    let day = rfc3339(UNIX_EPOCH + Duration::from_hours(24 * cursor.day));
    let answer = Purged { purged, kept, letters, day: day[..10].to_owned(), done };
    Ok(Success::document("purged", &answer))
}

/// A place in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    day: u64,
    /// The last page that is done.
    page: u64,
}

impl Cursor {
    const START: Self = Self { day: FIRST_DAY, page: 0 };

    async fn read() -> Result<Self, host::Error> {
        let stored = store::get(CURSOR, store::TIMEOUT).await?;
        let stored = stored.as_deref().and_then(Self::parse);
        // A clock that was ahead has moved the cursor past days that were still to come.
        let stored = stored.filter(|it| it.day <= journal::day(clock::now()));
        Ok(stored.unwrap_or(Self::START))
    }

    async fn write(self) -> Result<(), host::Error> {
        let text = format!("{} {}", self.day, self.page);
        store::set(CURSOR, text.as_bytes(), store::TIMEOUT).await
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (day, page) = str::from_utf8(bytes).ok()?.split_once(' ')?;
        Some(Self { day: day.parse().ok()?, page: page.parse().ok()? })
    }
}

/// The first day whose records may be left.
pub async fn first_day() -> Result<u64, host::Error> {
    Ok(Cursor::read().await?.day)
}

/// A slice at work.
struct Slice {
    retention: Duration,
    letter_retention: Option<Duration>,
    letters: usize,
    now: SystemTime,
    deadline: Deadline,
    cursor: Cursor,
    purged: usize,
    kept: usize,
}

enum Due {
    /// Delete the record, and with it these names.
    Now(Vec<String>),
    Later,
    /// Name the record again, today: it has a letter, or a later version or a clock that was ahead wrote it.
    Again,
}

/// The names of a page that are not done.
#[derive(Default)]
struct Rest {
    /// To be named again today.
    again: Vec<String>,
    /// Not read, and why.
    unread: Vec<String>,
    failure: Option<host::Error>,
}

impl Rest {
    fn leave(&mut self, name: &str, error: host::Error) {
        self.unread.push(name.to_owned());
        self.failure = Some(error);
    }
}

impl Slice {
    /// Whether nothing more is due.
    async fn run(&mut self) -> Result<bool, host::Error> {
        if !old_journal::adopt(self.deadline).await? {
            return Ok(false);
        }
        // However long this takes, each slice takes up a page.
        let are_expired = self.expire().await?;
        let end = self.now.checked_sub(self.retention).map_or(0, journal::day);
        while self.cursor.day < end {
            let pages = journal::pages(self.cursor.day).await?;
            while self.cursor.page < pages.unwrap_or_default() {
                self.page(self.cursor.page + 1).await?;
                self.cursor.page += 1;
                if self.deadline.is_over() {
                    return Ok(false);
                }
            }
            if pages.is_some() {
                let counter = journal::counter(self.cursor.day);
                store::delete("purge the journal", &counter).await?;
            }
            self.cursor = Cursor { day: self.cursor.day + 1, page: 0 };
            if self.deadline.is_over() {
                return Ok(false);
            }
        }
        Ok(are_expired)
    }

    /// Deletes the letters that have waited for too long, for as long as a slice lasts. Returns whether another slice
    /// would gain nothing.
    async fn expire(&mut self) -> Result<bool, host::Error> {
        let Some(retention) = self.letter_retention else {
            return Ok(true);
        };
        let letters = &mut self.letters;
        let tell = |letter: &DeadLetter| {
            *letters += 1;
            watch::change(Change::of_expired(letter));
            counters::count(Counts::expired);
        };
        let got_on = waiting::expire(retention, self.deadline, tell).await?;
        // If the time ran out before anything was done, the next slice would end at the same place.
        Ok(!(self.deadline.is_over() && (got_on || self.letters > 0)))
    }

    /// Deletes what is due of a page's records, and the page. A page of a later version stays.
    async fn page(&mut self, page: u64) -> Result<(), host::Error> {
        let name = journal::page_name(self.cursor.day, page);
        let Some(page) = journal::page(self.cursor.day, page).await? else {
            return Ok(());
        };
        let mut rest = Rest::default();
        for step in page.names.chunks(STEP) {
            self.step(step, &mut rest).await?;
        }
        self.kept += rest.again.len();
        journal::append(&rest.again).await?;
        match rest.failure {
            None => store::delete("purge the journal", &name).await,
            Some(error) => {
                // The next slice goes on with the records that could not be read.
                let page = Page { names: rest.unread, ..page };
                store::set(&name, &page.encode(), store::TIMEOUT).await?;
                Err(error)
            }
        }
    }

    /// Deletes what is due of some records. Unreadable records hold up no others.
    async fn step(&mut self, names: &[String], rest: &mut Rest) -> Result<(), host::Error> {
        let (mut of_letters, mut records) = (Vec::new(), Vec::new());
        // Missing and unknown records, which lead to no letter.
        let mut leading_nowhere = Vec::new();
        for (found, name) in store::get_all(names).await.into_iter().zip(names) {
            let due = match found {
                Ok(Some(bytes)) => self.due(name, &bytes),
                Ok(None) => {
                    leading_nowhere.push(name);
                    continue;
                }
                Err(error) => {
                    rest.leave(name, error);
                    continue;
                }
            };
            match due {
                // A page may name a record twice.
                Due::Now(_) if records.contains(name) => {}
                Due::Now(with) => {
                    if with.is_empty() {
                        leading_nowhere.push(name);
                    }
                    of_letters.extend(with);
                    records.push(name.clone());
                }
                Due::Later => self.kept += 1,
                // A page may name a record twice.
                Due::Again if rest.again.contains(name) => {}
                Due::Again => rest.again.push(name.clone()),
            }
        }
        of_letters.extend(cut_off_bodies(leading_nowhere, rest).await);
        // Letters go first: one whose record is gone would be an event that waits for an operator.
        let to_delete = [&of_letters[..], &records].concat();
        store::delete_many("purge the records", &to_delete).await?;
        self.purged += records.len();
        Ok(())
    }

    /// When a record goes.
    fn due(&self, name: &str, bytes: &[u8]) -> Due {
        let (since, with, until_then) = match Record::decode(bytes) {
            Some(Record::Delivered(record)) => {
                let until_then = record.dead_letter.map_or(Due::Later, |_| Due::Again);
                let with = letters::value_names(name, record.dead_letter);
                (record.delivered_at, with, until_then)
            }
            Some(Record::DeadLettered(record)) => {
                let Some(discarded_at) = record.discarded_at else {
                    return Due::Again;
                };
                let with = letters::value_names(name, Some(record.dead_letter));
                (discarded_at, with, Due::Again)
            }
            // A letter that this record doesn't name may be the only copy of the event.
            Some(Record::Unknown(record)) => (record.first_attempt_at, Vec::new(), Due::Later),
            None => return Due::Again,
        };
        match age(&since, self.now) {
            Some(age) if age >= self.retention => Due::Now(with),
            Some(_) => until_then,
            None => Due::Again,
        }
    }
}

/// The bodies of letters that a crash has cut off before their heads: nothing leads to them but the records' names.
async fn cut_off_bodies(records: Vec<&String>, rest: &mut Rest) -> Vec<String> {
    let heads: Vec<_> = records.iter().map(|name| head_name(name)).collect();
    let mut bodies = Vec::new();
    for (head, name) in store::get_all(&heads).await.into_iter().zip(records) {
        match head {
            Ok(Some(_)) => {}
            Ok(None) => bodies.push(body_name(name)),
            Err(error) => rest.leave(name, error),
        }
    }
    bodies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_is_read_as_it_is_written() {
        let cursor = Cursor { day: 20_780, page: 7 };
        assert_eq!(Cursor::parse(b"20780 7"), Some(cursor));
        for other in [&b""[..], b"20780", b"a b", b"\xff 1"] {
            assert_eq!(Cursor::parse(other), None);
        }
    }
}
