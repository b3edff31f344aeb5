//! The purge: forgets records that nobody needs any more, a bounded slice at each request.
//!
//! It follows the journal from where the last slice ended and stops at the first page that is too
//! young, so it touches nothing but what is due. What a page names is deleted before the page, and
//! where it has got to is written last: whatever ends it, the next slice finds the rest. Two at once
//! do the same work twice, and no harm.
//!
//! An event whose record is gone may come again: it is older than half a day then, so Svix is asked
//! for it before it is posted.

use std::time::{Duration, SystemTime};

use futures::future::join_all;
use serde::Serialize;

use crate::config::Config;
use crate::dead_letter::{self, DeadLetter};
use crate::delivery;
use crate::host::{self, Stopwatch};
use crate::journal::{self, Page, is_from};
use crate::log::Entry;
use crate::problem::Problem;
use crate::record::Record;
use crate::reply::Success;

/// How long a slice goes on, and how many pages it looks at.
const SLICE: Duration = Duration::from_secs(1);
const PAGES: u64 = 200;

/// How many records are read at once: several, since a store may be a network away, and few, since
/// events want to read theirs.
const AT_ONCE: usize = 32;

/// What a slice has done.
#[derive(Debug, Serialize)]
struct Report {
    /// How many records it has forgotten.
    purged: usize,
    /// How many it has left: written anew since, or dead letters that somebody has to decide on.
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
    let mut report = Report {
        purged: 0,
        kept: 0,
        page: start,
        pages,
        done: start >= pages,
    };
    let slice = Slice {
        retention: config.record_retention,
        now: host::now(),
    };
    while !report.done && report.page - start < PAGES && !stopwatch.remaining(SLICE).is_zero() {
        if !slice.page(report.page + 1, &mut report).await? {
            report.done = true;
            break;
        }
        report.page += 1;
        report.done = report.page >= pages;
    }
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

/// What is due.
struct Slice {
    retention: Duration,
    now: SystemTime,
}

impl Slice {
    /// Forgets what a page names, and the page. Whether it was due; one that isn't there is nothing
    /// to wait for.
    async fn page(&self, number: u64, report: &mut Report) -> Result<bool, Problem> {
        let name = Page::name(number);
        let bytes = host::get(&name, host::STORE_TIMEOUT).await?;
        let Some(page) = bytes.as_deref().and_then(Page::decode) else {
            return Ok(true);
        };
        if !is_from(&page.written_at, self.retention, self.now) {
            return Ok(false);
        }
        let mut names = Vec::with_capacity(page.records.len());
        for records in page.records.chunks(AT_ONCE) {
            for due in join_all(records.iter().map(|record| self.due(record))).await {
                match due? {
                    Due::Nothing => {}
                    Due::Later => report.kept += 1,
                    Due::Now(due) => {
                        report.purged += 1;
                        names.extend(due);
                    }
                }
            }
        }
        if !names.is_empty() {
            host::delete_many("purge the records", &names)?;
        }
        host::delete("purge the journal", &name).await?;
        Ok(true)
    }

    /// What goes with a record.
    async fn due(&self, name: &str) -> Result<Due, Problem> {
        let is_due = |at: &str| is_from(at, self.retention, self.now);
        let letter = match delivery::read(name, host::STORE_TIMEOUT).await? {
            None => return Ok(Due::Nothing),
            Some(Record::Delivered(record)) if is_due(&record.delivered_at) => record.dead_letter,
            Some(Record::Unknown(record)) if is_due(&record.first_attempt_at) => None,
            Some(Record::DeadLettered(record)) => {
                if host::exists(&DeadLetter::name(record.dead_letter))? {
                    return Ok(Due::Later);
                }
                // Discarded.
                Some(record.dead_letter)
            }
            Some(_) => return Ok(Due::Later),
        };
        let mut names = Vec::new();
        if let Some(letter) = letter {
            let counters = [dead_letter::opened(name), dead_letter::closed(name)];
            names.push(DeadLetter::name(letter));
            names.extend(counters);
        }
        // Last, for a store that does one after the other: it leads to the others.
        names.push(name.to_owned());
        Ok(Due::Now(names))
    }
}

/// What is to be done about a record.
enum Due {
    /// It isn't there.
    Nothing,
    /// It stays.
    Later,
    /// All of this goes.
    Now(Vec<String>),
}
