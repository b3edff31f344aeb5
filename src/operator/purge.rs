//! The purge: forgets records that nobody needs any more, a bounded slice at each request.
//!
//! It follows the journal from where the last slice ended and stops at the first page that is too
//! young, so it touches nothing but what is due. What a page names is deleted before the page, and
//! where it has got to is written last: whatever ends it, the next slice finds the rest. Two at once
//! do the same work twice; at worst a page stays behind.
//!
//! A record goes with the last page that names it, which was written after the record was for the last
//! time. So it goes after every letter that was written for its event, and none comes back into sight.
//!
//! An event whose record is gone may come again: it is older than half a day then, so Svix is asked
//! for it before it is posted. An event without a `time` of its own that is published anew, though, is
//! taken for a new one. The same goes for one that is delivered between reading and deleting its record.

use std::time::{Duration, SystemTime};

use futures::future::join_all;
use serde::Serialize;

use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::config::Config;
use crate::host::clock::{self, Stopwatch};
use crate::host::{self, store};
use crate::letters::{self, DeadLetter};
use crate::records::Record;
use crate::records::journal::{self, Page};
use crate::time::{self, rfc3339};
use crate::watch::entry::Entry;

/// How long a slice goes on, unless one step takes longer, and how many pages it looks at.
const SLICE: Duration = Duration::from_secs(1);
const PAGES: u64 = 200;

/// How many records a step reads at once and deletes together: several, since a store may be a
/// network away, and few, since events want to read theirs and a deletion holds up the instance. Twice
/// as many purge a third faster and cost events another 10 %.
const STEP: usize = 64;

/// What a slice has done.
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
    let pages = store::increment(journal::COUNTER, 0)?;
    let start = store::get(journal::PURGED, store::TIMEOUT).await?;
    let start = start.as_deref().and_then(number).unwrap_or_default();
    let mut slice = Slice {
        retention: config.record_retention,
        now: clock::now(),
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
        store::set(journal::PURGED, at.as_bytes(), store::TIMEOUT).await?;
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
    async fn run(&mut self, start: u64) -> Result<(), host::Error> {
        for at in start + 1..=self.report.pages {
            match self.page(at).await? {
                // Passed only with what follows it: it may still come.
                Progress::Missing if at == self.report.pages => break,
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
    async fn page(&mut self, number: u64) -> Result<Progress, host::Error> {
        let name = Page::name(number);
        let Some(bytes) = store::get(&name, store::TIMEOUT).await? else {
            return Ok(Progress::Missing);
        };
        let Some(mut page) = Page::decode(&bytes) else {
            // A later version's: where it is, nobody would come past it again. Behind a young page,
            // or this would come past it all the time.
            self.append(Vec::new()).await?;
            append(&bytes).await?;
            store::delete("purge the journal", &name).await?;
            return Ok(Progress::Gone);
        };
        let mut rest = Rest::default();
        let mut failure = None;
        match time::age(&page.written_at, self.now) {
            Some(age) if age < self.retention => return Ok(Progress::Young),
            Some(age) => {
                let mut steps = page.entries.chunks(STEP);
                for step in steps.by_ref() {
                    failure = self.step(step, age, &mut rest).await.err();
                    if failure.is_some() || self.is_over() {
                        break;
                    }
                }
                rest.here.extend(steps.flatten().cloned());
            }
            // From a clock that was ahead.
            None => rest.again = page.entries,
        }
        self.report.kept += rest.again.len();
        if !rest.again.is_empty() {
            self.append(rest.again).await?;
        }
        if rest.here.is_empty() {
            store::delete("purge the journal", &name).await?;
            return Ok(Progress::Gone);
        }
        page.entries = rest.here;
        store::set(&name, &page.encode(), store::TIMEOUT).await?;
        failure.map_or(Ok(Progress::Partly), Err)
    }

    /// Forgets what is due of some entries of a page of this age.
    async fn step(
        &mut self,
        entries: &[String],
        age: Duration,
        rest: &mut Rest,
    ) -> Result<(), host::Error> {
        let (mut letters, mut records) = (Vec::new(), Vec::new());
        let mut outcome = Ok(());
        let found = join_all(entries.iter().map(|entry| self.entry(entry, age))).await;
        for (found, entry) in found.into_iter().zip(entries) {
            let due = match found {
                Ok(None) => continue,
                Ok(Some((due, with))) => {
                    letters.extend(with);
                    due
                }
                Err(error) => {
                    rest.here.push(entry.clone());
                    outcome = Err(error);
                    continue;
                }
            };
            match due {
                Due::Now => {
                    // A page may name it twice.
                    let (record, _) = journal::parse_entry(entry);
                    if !records.iter().any(|it| it == record) {
                        records.push(record.to_owned());
                    }
                }
                Due::Later => self.report.kept += 1,
                Due::Unclear => rest.again.push(entry.clone()),
            }
        }
        // In this order: a letter whose record is gone would be an event that waits for somebody.
        for names in [&letters, &records] {
            if !names.is_empty()
                && let Err(error) = store::delete_many("purge the records", names).await
            {
                rest.here.extend_from_slice(entries);
                return Err(error);
            }
        }
        self.report.purged += records.len();
        outcome
    }

    /// When the record of an entry goes, and the names of what goes before it or without it. `None` if
    /// there is nothing.
    async fn entry(
        &self,
        entry: &str,
        age: Duration,
    ) -> Result<Option<(Due, Vec<String>)>, host::Error> {
        let (name, written) = journal::parse_entry(entry);
        let bytes = store::get(name, store::TIMEOUT).await?;
        let record = match bytes.as_deref().map(Record::decode) {
            Some(None) => return Ok(Some((Due::Unclear, Vec::new()))),
            Some(record) => record,
            None => None,
        };
        // It doesn't lead to the letter, which may be the only copy of an event.
        if let (None | Some(Record::Unknown(_)), Some(letter)) = (&record, written)
            && store::exists(&DeadLetter::name(letter)).await?
        {
            return Ok(Some((Due::Unclear, Vec::new())));
        }
        let (since, own) = match &record {
            None => return Ok(None),
            Some(Record::Delivered(record)) => (Some(&record.delivered_at), record.dead_letter),
            Some(Record::Unknown(record)) => (Some(&record.first_attempt_at), None),
            Some(Record::DeadLettered(record)) => {
                (record.discarded_at.as_ref(), Some(record.dead_letter))
            }
        };
        let due = match since.map(|since| time::age(since, self.now)) {
            // Written anew since: a later page names it. Or nobody has decided on it.
            Some(Some(own)) if own < age => Due::Later,
            None => Due::Later,
            Some(Some(_)) => Due::Now,
            Some(None) => Due::Unclear,
        };
        let mut names = Vec::new();
        // A letter that was written while the event was delivered, or kept as another letter.
        names.extend(written.filter(|_| written != own).map(DeadLetter::name));
        if matches!(due, Due::Now)
            && let Some(letter) = own.or(written)
        {
            names.push(DeadLetter::name(letter));
            names.extend([letters::opened(name), letters::closed(name)]);
        }
        Ok(Some((due, names)))
    }

    /// Has the journal name these again, at its end.
    async fn append(&self, entries: Vec<String>) -> Result<(), host::Error> {
        let page = Page {
            written_at: rfc3339(self.now),
            entries,
        };
        append(&page.encode()).await
    }
}

/// What is left of a page.
#[derive(Default)]
struct Rest {
    /// What has not been done.
    here: Vec<String>,
    /// What the journal has to name again.
    again: Vec<String>,
}

/// Adds a page to the end of the journal.
async fn append(bytes: &[u8]) -> Result<(), host::Error> {
    let number = store::increment(journal::COUNTER, 1)?;
    store::set(&Page::name(number), bytes, store::TIMEOUT).await
}
