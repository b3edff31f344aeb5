//! The next records of the journal, grouped by their project.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, SystemTime};

use super::state::{State, time};
use crate::digest;
use crate::host::{self, store};
use crate::operator::sample::SAMPLES;
use crate::records::{Record, journal};
use crate::svix::message;
use crate::time::{parse_rfc3339, unix_millis};

/// How old pages are that the audit compares: a sender that got no answer has come back by then.
pub const LAG: Duration = Duration::from_mins(15);

/// How many records a batch has, until its last page is full: many, since each of its projects costs a list,
/// and few enough to hold in memory.
const RECORDS: usize = 4_096;

/// How many pages a batch has at most: projects that are left out cost reads, too.
const PAGES: u64 = 256;

/// How long before its page a record is written as a rule, and its message stored. An older message is not in the list,
/// and is looked up.
const BEFORE_PAGE: Duration = Duration::from_secs(5);
/// How far Svix's clock may be ahead.
const AFTER_PAGE: Duration = Duration::from_secs(5);

/// A record to compare: delivered, or unknown.
#[derive(Debug)]
pub struct Item {
    pub record: Record,
    /// The id under which Svix has the event.
    pub svix_event_id: String,
}

#[derive(Debug)]
pub struct Batch {
    /// The last page.
    pub end: u64,
    /// When the last page was written, in milliseconds since 1970.
    pub until: u64,
    /// Messages of this batch are stored at this time or later, and before the other.
    pub after: SystemTime,
    pub before: SystemTime,
    /// The items of each project, by their record's name.
    pub projects: BTreeMap<String, BTreeMap<String, Item>>,
    records: usize,
    /// The time of the page that was too young to be read, if there is one.
    young: Option<SystemTime>,
}

/// The next thing to do.
pub enum Next {
    Compare(Batch),
    /// Nothing more is due: all that was written up to this time is compared.
    Rest {
        until: SystemTime,
    },
}

/// Whether a project is compared on the state's day. One project in `one_in` is, and each day others are.
fn takes(state: &State, project: &str) -> bool {
    let hash = digest::sha256_hex(&[project.as_bytes()]);
    let number = u64::from_str_radix(&hash[..8], 16).unwrap_or_default();
    (number + state.day).is_multiple_of(state.one_in.max(1))
}

/// The next batch, or what is left of the one that the last slice began. Moves the state past days that are done.
pub async fn next(state: &mut State, now: SystemTime) -> Result<Next, host::Error> {
    let due = now.checked_sub(LAG).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut until = due;
    while state.day <= journal::day(due) {
        let pages = journal::pages(state.day).await?.unwrap_or_default();
        let pages = state.unfinished.as_ref().map_or(pages, |unfinished| unfinished.end);
        let batch = read(state, pages, due, now).await?;
        if batch.end > state.page {
            return Ok(Next::Compare(batch));
        }
        if let Some(young) = batch.young {
            // If a clock that was ahead has written this page, it hides pages that are due.
            until = until.min(young - LAG);
        }
        if state.day == journal::day(due) {
            break;
        }
        state.day += 1;
        state.page = 0;
        state.unfinished = None;
    }
    Ok(Next::Rest { until })
}

/// Reads pages until the batch is full, or the next page is not due.
async fn read(
    state: &State,
    pages: u64,
    due: SystemTime,
    now: SystemTime,
) -> Result<Batch, host::Error> {
    let mut batch = Batch {
        end: state.page,
        until: state.until,
        after: time(state.until),
        before: due,
        projects: BTreeMap::new(),
        records: 0,
        young: None,
    };
    let mut after = None;
    for number in state.page + 1..=pages {
        let is_full = batch.records >= RECORDS || batch.end >= state.page + PAGES;
        if is_full && state.unfinished.is_none() {
            break;
        }
        // A page that is missing may be on its way. A later one shows that it is not.
        let Some(page) = journal::page(state.day, number).await? else {
            continue;
        };
        let written_at = parse_rfc3339(&page.written_at).unwrap_or(due);
        // A page that is far in the future comes from a clock that was ahead. It must hide no later page.
        let is_young = written_at > due && written_at <= now + LAG;
        if is_young {
            batch.young = Some(written_at);
            break;
        }
        let written_at = written_at.min(due);
        // The pages are in the order in which they were written, except by the clocks of their writers.
        let begin = written_at.checked_sub(BEFORE_PAGE).unwrap_or(written_at);
        after = Some(after.map_or(begin, |after: SystemTime| after.min(begin)));
        batch.end = number;
        batch.until = batch.until.max(unix_millis(written_at));
        let found = store::get_all(&page.names).await;
        for (name, bytes) in page.names.iter().zip(found) {
            let record = bytes?.as_deref().and_then(Record::decode);
            batch.add(name, record, |project| takes(state, project), now);
        }
    }
    if let Some(after) = after {
        batch.after = match state.until {
            0 => after,
            until => after.min(time(until)),
        };
    }
    batch.before = time(batch.until) + AFTER_PAGE;
    Ok(batch)
}

impl Batch {
    fn add(
        &mut self,
        name: &str,
        record: Option<Record>,
        takes: impl Fn(&str) -> bool,
        now: SystemTime,
    ) {
        let (project, event_id) = match &record {
            Some(Record::Delivered(record)) => (&record.project, &record.event_id),
            // Another delivery has written the record since, so a later page names it, too. Its clock may be ahead.
            Some(Record::Unknown(record)) if record.age(now + LAG) < 2 * LAG => return,
            // An operator or a job has sent a sample, and seen the answer.
            Some(Record::Unknown(record)) if record.event_id.starts_with(SAMPLES) => return,
            Some(Record::Unknown(record)) => (&record.project, &record.event_id),
            // A letter waits for an operator. A record that is missing was purged, or never written.
            Some(Record::DeadLettered(_)) | None => return,
        };
        if !takes(project) {
            return;
        }
        let items = self.projects.entry(project.clone()).or_default();
        let svix_event_id = message::event_id(event_id).into_owned();
        // Two pages may name one record.
        if let (Entry::Vacant(item), Some(record)) = (items.entry(name.to_owned()), record) {
            self.records += 1;
            item.insert(Item { record, svix_event_id });
        }
    }
}
