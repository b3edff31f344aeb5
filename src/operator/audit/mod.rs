//! The audit: compares what the relay remembers with what Svix holds, a bounded slice at each request.
//!
//! The audit follows the journal from where the last slice ended to a quarter of an hour ago, in batches of
//! records. Of each project in a batch, Svix's messages of that time are listed. So a lost record shows, too,
//! as long as its project has other records in the batch. The audit writes nothing to Svix.
//!
//! The state moves last: after a crash anywhere, the next slice compares some records again. Two slices at
//! once do the same work twice.
//!
//! What the audit can't see stands in `docs/operating.md`.

mod batch;
mod board;
mod compare;
mod endpoints;
mod findings;
mod state;

use std::collections::BTreeSet;
use std::mem;
use std::time::SystemTime;

use serde::Serialize;

use self::batch::{Batch, Next};
use self::board::Board;
use self::compare::{Comparison, Project};
use self::findings::{Finding, Kind};
use self::state::{Progress, State, Unfinished};
use super::request::OperatorRequest;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::reply::Success;
use crate::api::table;
use crate::host::clock;
use crate::host::{self, store};
use crate::letters::ledger;
use crate::records::{Found, Record, Unknown, journal, storage};
use crate::time::unix_millis;
use crate::violation::Violation;
use crate::watch::openmetrics::Audit;

/// How many projects a line names at most.
const SHOWN: usize = 3;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Audited {
    /// How many records this slice has found in Svix.
    events: u64,
    /// How many unknown records it has settled.
    settled: u64,
    /// How many new findings it has.
    found: u64,
    /// How many records could not be compared, and come again in the next hour.
    put_off: u64,
    /// How many projects' messages Svix fails to list. A later audit asks again.
    lists_waiting: usize,
    verified_until: Option<String>,
    /// Whether nothing more is due.
    done: bool,
}

/// Compares the next records.
pub async fn audit(request: &mut OperatorRequest<'_>, query: &Query) -> Result<Success, Problem> {
    let selection = query.audit()?;
    let now = clock::now();
    let stored = read_state().await?;
    if selection.since.is_some_and(|since| since > now) {
        return Err(Violation::new("since", "must not be in the future").into());
    }
    let first = now.checked_sub(request.config.record_retention);
    let mut state = State::start(stored.clone(), &selection, first.unwrap_or(now), now);
    let lists = mem::take(&mut state.lists);
    let mut slice = Slice {
        comparison: Comparison::new(request.config, request.deadline, now, lists),
        now,
        state,
    };
    let result = slice.run().await;
    let Slice { comparison, mut state, .. } = slice;
    state.lists = comparison.waiting_lists;
    let put_off = comparison.records_put_off;
    let (events, settled, found) = (comparison.events, comparison.settled, comparison.found);
    state.events += events;
    state.settled += settled;
    // Keep what is done, also if Svix or the store has failed since.
    let mut is_kept = true;
    if stored.as_ref() != Some(&state) {
        let latest = read_state().await?;
        // If another audit has written meanwhile, the one that is further back goes on, so that nothing is skipped.
        is_kept = latest == stored || latest.is_none_or(|latest| state.is_behind(&latest));
        if is_kept {
            store::set(state::NAME, &state.encode(), store::TIMEOUT).await?;
        }
    }
    if found > 0 || matches!(result, Ok(true)) {
        board::review(now).await?;
    }
    let mut line = format!("audited: {events} events, {settled} settled, {found} found");
    if put_off > 0 {
        line += &["; put off: ", &put_off.to_string()].concat();
    }
    if !state.lists.is_empty() {
        let projects = state.lists.iter().take(SHOWN).map(|it| &*it.project);
        line += "; lists that wait: ";
        line += &projects.collect::<Vec<_>>().join(", ");
    }
    let done = result? && is_kept;
    // The audit itself is done, whatever becomes of this.
    if done && let Err(problem) = endpoints::review(request.config, request.deadline).await {
        line += "; disabled endpoints not reviewed: ";
        line += &problem.logged();
    }
    request.entry.message = line;
    let audited = Audited {
        events,
        settled,
        found,
        put_off,
        lists_waiting: state.lists.len(),
        verified_until: state.verified_until(),
        done,
    };
    Ok(Success::document("audited", &audited))
}

/// How far the audit has come. `None` before its first slice.
pub async fn read_state() -> Result<Option<State>, host::Error> {
    let bytes = store::get(state::NAME, store::TIMEOUT).await?;
    Ok(bytes.as_deref().and_then(State::decode))
}

/// A slice at work.
struct Slice<'a> {
    comparison: Comparison<'a>,
    now: SystemTime,
    state: State,
}

impl Slice<'_> {
    /// Whether nothing more is due.
    async fn run(&mut self) -> Result<bool, Problem> {
        // Begin with the projects whose lists Svix has failed. Those that it lists now leave room for others to wait.
        if !self.comparison.list_again().await? {
            return Ok(false);
        }
        loop {
            let batch = match batch::next(&mut self.state, self.now).await? {
                Next::Compare(batch) => batch,
                Next::Rest { until } => {
                    self.state.until = self.state.until.max(unix_millis(until));
                    return Ok(true);
                }
            };
            if !self.batch(&batch).await? {
                return Ok(false);
            }
            self.state.page = batch.end;
            self.state.until = batch.until;
            self.state.unfinished = None;
            self.comparison.has_progress = true;
            if self.comparison.is_over() {
                return Ok(false);
            }
        }
    }

    /// Compares the projects of a batch that are not done. Returns whether the batch is done.
    async fn batch(&mut self, batch: &Batch) -> Result<bool, Problem> {
        let mut begun = self.state.unfinished.take();
        let first = begun.as_ref().map_or("", |begun| &begun.project).to_owned();
        for (name, items) in batch.projects.range(first..) {
            let begun = begun.take().filter(|begun| begun.project == *name);
            let earlier = begun.and_then(|begun| begun.progress);
            let leave =
                |progress| Some(Unfinished { end: batch.end, project: name.clone(), progress });
            if self.comparison.is_over() {
                self.state.unfinished = leave(earlier);
                return Ok(false);
            }
            let mut progress = earlier.unwrap_or_else(|| Progress {
                listed: false,
                iterator: None,
                unseen: items.keys().cloned().collect(),
            });
            let project = Project { name, items, after: batch.after, before: batch.before };
            let result = self.comparison.run(&project, &mut progress).await;
            if !matches!(result, Ok(true)) {
                self.state.unfinished = leave(Some(progress));
                return result;
            }
        }
        Ok(true)
    }
}

#[derive(Serialize)]
struct Findings {
    findings: Vec<Finding>,
}

/// The findings that no operator has resolved.
pub async fn findings() -> Result<Success, Problem> {
    let findings = Board::read().await?.into_findings();
    Ok(Success::document("findings", &Findings { findings }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resolved<'a> {
    resolved: &'a str,
    kind: Kind,
    /// Whether the event can be sent again: publish it, or replay its dead letter.
    send_again: bool,
    /// The letter that the event was before: it has the payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter: Option<u64>,
}

/// Removes a finding. The record of a missing message is reopened, so the event can be sent again: it is
/// looked up first, as always.
pub async fn resolve(request: &mut OperatorRequest<'_>, id: &str) -> Result<Success, Problem> {
    let mut board = Board::read().await?;
    let finding = board.find(id).cloned().ok_or(table::NO_FINDING)?;
    request.entry.set_event(&finding.project, &finding.event_id);
    let send_again = finding.kind == Kind::Missing && reopen(&finding).await?;
    let dead_letter =
        if send_again { ledger::replayable(&finding.record_name).await? } else { None };
    board.remove(id).await?;
    // The finding is gone, so no repeat could give this answer. The next audit counts anew.
    let _ = board::review(clock::now()).await;
    request.entry.message = format!("resolved: the event was {}", finding.kind.name());
    let resolved = Resolved { resolved: id, kind: finding.kind, send_again, dead_letter };
    Ok(Success::document("resolved", &resolved))
}

/// Reopens the record of a missing message, so that it answers no sender any more. `true` also if an earlier request
/// has reopened it. `false` if the record doesn't name that message.
async fn reopen(finding: &Finding) -> Result<bool, host::Error> {
    let name = &finding.record_name;
    let is_missing = |id: &String| finding.svix_message_ids.contains(id);
    let record = match storage::find(name, store::TIMEOUT).await? {
        // A purged record answers no sender either.
        Found::Nothing => return Ok(true),
        Found::Record(record) => *record,
        Found::Unreadable(_) => return Ok(false),
    };
    match record {
        Record::Delivered(record) if is_missing(&record.svix_message_id) => {
            let lost = Record::Unknown(Unknown::lost(record));
            journal::append(std::slice::from_ref(name)).await?;
            store::set(name, &lost.encode(), store::TIMEOUT).await?;
            Ok(true)
        }
        Record::Unknown(record) => Ok(record.lost_message_id.as_ref().is_some_and(is_missing)),
        Record::Delivered(_) | Record::DeadLettered(_) => Ok(false),
    }
}

/// The messages that findings name of an event.
pub async fn messages_of(record_name: &str) -> Result<BTreeSet<String>, host::Error> {
    let findings = Board::read().await?.into_findings().into_iter();
    let of_event = findings.filter(|finding| finding.record_name == record_name);
    Ok(of_event.flat_map(|finding| finding.svix_message_ids).collect())
}

/// Removes all findings of a project.
pub async fn forget(project: &str) -> Result<(), host::Error> {
    let mut board = Board::read().await?;
    for id in board.of_project(project) {
        board.remove(&id).await?;
    }
    board::review(clock::now()).await
}

/// The numbers of the audit, for metrics and status.
pub async fn numbers() -> Result<Audit, host::Error> {
    let state = read_state().await?;
    let numbers = board::numbers().await?;
    let kinds = Kind::ALL.map(Kind::name).into_iter().chain([board::PENDING]);
    Ok(Audit {
        verified_until: state.as_ref().and_then(State::verified_until),
        events: state.as_ref().map_or(0, |state| state.events),
        one_in: state.as_ref().map_or(1, |state| state.one_in),
        findings: kinds
            .map(|kind| (kind, numbers.get(kind).copied().unwrap_or_default()))
            .collect(),
    })
}
