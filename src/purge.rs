//! The purge: forgets records that nobody needs any more, a bounded slice at each request.
//!
//! It follows the journal from where the last slice ended and stops at the first page that is too
//! young, so it touches nothing but what is due. What a page names is deleted before the page, and
//! where it has got to is written last: whatever ends it, the next slice finds the rest. Two at once
//! do the same work twice, and no harm.
//!
//! An event whose record is gone may come again: it is older than half a day then, so Svix is asked
//! for it before it is posted. The one exception is an event without a `time` of its own that is
//! published anew.
//!
//! A record is deleted a moment after it was read. If it is written anew in that moment, that is as if
//! the event had come after its record was gone.

use std::mem;
use std::time::{Duration, SystemTime};

use futures::future::join_all;
use serde::Serialize;

use crate::config::Config;
use crate::dead_letter::{self, DeadLetter};
use crate::host::{self, Stopwatch};
use crate::journal::{self, Page};
use crate::log::Entry;
use crate::problem::Problem;
use crate::record::{Record, rfc3339};
use crate::reply::Success;

/// How long a slice goes on, unless one step takes longer, and how many pages it looks at.
const SLICE: Duration = Duration::from_secs(1);
const PAGES: u64 = 200;

/// How many records a step reads at once and deletes together: several, since a store may be a
/// network away, and few, since events want to read theirs and a deletion holds up the instance. Twice
/// as many purge a third faster and cost events another 10 %.
const STEP: usize = 64;

/// What a slice has done. A record that was written twice counts twice.
#[derive(Debug, Serialize)]
struct Report {
    /// How many records it has forgotten.
    purged: usize,
    /// How many it has left: written anew since, dead letters that somebody has to decide on, or
    /// nothing that this version understands.
    kept: usize,
    /// The number of the last page that is done with, and of the last there is.
    page: u64,
    pages: u64,
    /// Whether nothing more is due.
    done: bool,
}

/// Forgets the next records that are due.
pub async fn purge(
    config: &Config,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let pages = host::increment(journal::COUNTER, 0)?;
    let start = host::get(journal::PURGED, host::STORE_TIMEOUT).await?;
    let start = start.as_deref().and_then(number).unwrap_or_default();
    let mut slice = Slice {
        retention: config.record_retention,
        now: host::now(),
        stopwatch,
        report: Report {
            purged: 0,
            kept: 0,
            page: start,
            pages,
            done: false,
        },
    };
    slice.run(start).await?;
    let report = slice.report;
    if report.page > start {
        let at = report.page.to_string();
        host::set(journal::PURGED, at.as_bytes(), host::STORE_TIMEOUT).await?;
    }
    let Report { purged, kept, .. } = report;
    entry.say(format!("purged: {purged} records, {kept} kept"));
    Ok(Success::document("purged", &report))
}

fn number(bytes: &[u8]) -> Option<u64> {
    str::from_utf8(bytes).ok()?.parse().ok()
}

/// A slice at work.
struct Slice {
    retention: Duration,
    now: SystemTime,
    stopwatch: Stopwatch,
    report: Report,
}

/// What has become of a page.
enum Progress {
    /// There is none: its number was taken by an instance that died, or is still to write it.
    Missing,
    /// It is too young, and so are those behind it.
    Young,
    /// It is done with as far as time allowed.
    Partly,
    /// It is done with.
    Gone,
}

/// When a record or a page goes.
enum Due {
    Now,
    Later,
    /// This can't tell.
    Unclear,
}

impl Slice {
    async fn run(&mut self, start: u64) -> Result<(), Problem> {
        for at in start + 1..=self.report.pages {
            match self.page(at).await? {
                // Passed only with what follows it: it may still come.
                Progress::Missing => {}
                Progress::Gone => self.report.page = at,
                Progress::Young => break,
                Progress::Partly => return Ok(()),
            }
            if self.is_over() || at - start >= PAGES {
                self.report.page = at;
                self.report.done = at == self.report.pages;
                return Ok(());
            }
        }
        self.report.done = true;
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.stopwatch.remaining(SLICE).is_zero()
    }

    /// Forgets what a page names, and the page.
    async fn page(&mut self, number: u64) -> Result<Progress, Problem> {
        let name = Page::name(number);
        let Some(bytes) = host::get(&name, host::STORE_TIMEOUT).await? else {
            return Ok(Progress::Missing);
        };
        let Some(mut page) = Page::decode(&bytes) else {
            // A later version's: where it is, nobody would come past it again.
            append(&bytes).await?;
            host::delete("purge the journal", &name).await?;
            return Ok(Progress::Gone);
        };
        let entries = mem::take(&mut page.entries);
        let rest = match self.due(&page.written_at) {
            Due::Now => {
                let (mut rest, mut steps) = (Vec::new(), entries.chunks(STEP));
                while let Some(step) = steps.next() {
                    rest.extend(self.step(step).await?);
                    if self.is_over() && steps.len() > 0 {
                        rest.extend(steps.flatten().cloned());
                        page.entries = rest;
                        host::set(&name, &page.encode(), host::STORE_TIMEOUT).await?;
                        return Ok(Progress::Partly);
                    }
                }
                rest
            }
            // From a clock that was ahead.
            Due::Unclear => {
                self.report.kept += entries.len();
                entries
            }
            Due::Later => return Ok(Progress::Young),
        };
        if !rest.is_empty() {
            page.written_at = rfc3339(self.now);
            page.entries = rest;
            append(&page.encode()).await?;
        }
        host::delete("purge the journal", &name).await?;
        Ok(Progress::Gone)
    }

    /// Forgets what is due of some entries; returns those that the journal has to go on naming.
    async fn step(&mut self, entries: &[String]) -> Result<Vec<String>, Problem> {
        let (mut rest, mut names) = (Vec::new(), Vec::new());
        let dues = join_all(entries.iter().map(|entry| self.entry(entry))).await;
        for (due, entry) in dues.into_iter().zip(entries) {
            let Some((due, with)) = due? else {
                continue;
            };
            names.extend(with);
            match due {
                Due::Now => self.report.purged += 1,
                Due::Later => self.report.kept += 1,
                Due::Unclear => {
                    self.report.kept += 1;
                    rest.push(entry.clone());
                }
            }
        }
        if !names.is_empty() {
            host::delete_many("purge the records", &names)?;
        }
        Ok(rest)
    }

    /// When the record of an entry goes, and the names of all that goes now; `None` if it isn't there.
    async fn entry(&self, entry: &str) -> Result<Option<(Due, Vec<String>)>, Problem> {
        let (name, written) = journal::parse_entry(entry);
        let Some(bytes) = host::get(name, host::STORE_TIMEOUT).await? else {
            return Ok(None);
        };
        let Some(record) = Record::decode(&bytes) else {
            return Ok(Some((Due::Unclear, Vec::new())));
        };
        let (due, own) = match &record {
            Record::Delivered(record) => (self.due(&record.delivered_at), record.dead_letter),
            Record::Unknown(record) => (self.due(&record.first_attempt_at), None),
            Record::DeadLettered(record) => {
                let letter = record.dead_letter;
                let due = match &record.discarded_at {
                    _ if host::exists(&DeadLetter::name(letter))? => Due::Later,
                    Some(at) => self.due(at),
                    None => Due::Now,
                };
                (due, Some(letter))
            }
        };
        // A letter that was written while the event was delivered, or kept as another letter.
        let other = match &record {
            Record::Delivered(_) | Record::DeadLettered(_) => written.filter(|_| written != own),
            Record::Unknown(_) => None,
        };
        let mut names: Vec<_> = other.map(DeadLetter::name).into_iter().collect();
        if matches!(due, Due::Now) {
            names.extend(own.map(DeadLetter::name));
            if own.or(other).is_some() {
                names.extend([dead_letter::opened(name), dead_letter::closed(name)]);
            }
            // Last, for a store that does one after the other: it leads to the others.
            names.push(name.to_owned());
        }
        Ok(Some((due, names)))
    }

    /// When something from then goes.
    fn due(&self, at: &str) -> Due {
        match journal::age(at, self.now) {
            Some(age) if age >= self.retention => Due::Now,
            Some(_) => Due::Later,
            None => Due::Unclear,
        }
    }
}

/// Adds a page to the end of the journal.
async fn append(bytes: &[u8]) -> Result<(), Problem> {
    let number = host::increment(journal::COUNTER, 1)?;
    host::set(&Page::name(number), bytes, host::STORE_TIMEOUT).await
}
