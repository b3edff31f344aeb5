//! Dead letters in operators' hands: list, show, replay, discard.

use serde::Serialize;

use super::request::OperatorRequest;
use crate::api::problem::Problem;
use crate::api::query::{Query, Selection};
use crate::api::reply::Success;
use crate::api::table;
use crate::config::Config;
use crate::delivery::{Occasion, shared_gate};
use crate::event::notification::Notification;
use crate::host::clock::Stopwatch;
use crate::host::deadline::Deadline;
use crate::host::{self, store};
use crate::intake;
use crate::letters::{self, DeadLetter, ledger, waiting};
use crate::records::{Delivered, Record, storage};
use crate::svix::{self, Cause};
use crate::watch;
use crate::watch::entry::Entry;

/// How many numbers one request looks at. Gaps and letters that are filtered out cost a read, too.
const MAX_READS: usize = 1_000;

pub async fn list(request: &mut OperatorRequest<'_>, query: &Query) -> Result<Success, Problem> {
    let selection = query.selection()?;
    let mut letters = Letters::of(&selection, request.deadline).await?;
    let mut dead_letters = Vec::new();
    while dead_letters.len() < selection.limit
        && let Some(letter) = letters.next().await?
    {
        dead_letters.push(letter.summary());
    }
    let listed = Listed { dead_letters, next: letters.rest() };
    Ok(Success::document("dead-letters", &listed))
}

/// Shows a letter, with its body.
pub async fn show(number: u64) -> Result<Success, Problem> {
    let letter = read(number).await?;
    let letter = match ledger::body(&letter).await? {
        Some(body) => letter.with_body(body),
        None => letter,
    };
    Ok(Success::document("dead-letter", &letter))
}

/// Deletes a letter. Its record goes on acknowledging the event.
pub async fn discard(request: &mut OperatorRequest<'_>, number: u64) -> Result<Success, Problem> {
    let number = ledger::valid_number(number).await?;
    request.entry.dead_letter = Some(number);
    if !ledger::discard(number).await? {
        return Err(table::NO_DEAD_LETTER.into());
    }
    let discarded = Discarded { discarded: number };
    Ok(Success::document("discarded", &discarded))
}

/// Delivers the event of a letter.
pub async fn replay(request: &mut OperatorRequest<'_>, number: u64) -> Result<Success, Problem> {
    let letter = read(number).await?;
    request.entry.dead_letter = Some(letter.number);
    send(request.config, &letter, request.deadline, request.entry).await
}

async fn read(number: u64) -> Result<DeadLetter, Problem> {
    let number = ledger::valid_number(number).await?;
    let letter = ledger::read(number).await?;
    letter.ok_or(table::NO_DEAD_LETTER.into())
}

#[derive(Serialize)]
struct Discarded {
    discarded: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    dead_letters: Vec<DeadLetter>,
    /// The `after` of the next request. `None` at the end.
    next: Option<u64>,
}

/// Walks through the letters, for as long as one request may take.
struct Letters<'a> {
    selection: &'a Selection,
    deadline: Deadline,
    at: u64,
    last: u64,
    reads: usize,
}

impl<'a> Letters<'a> {
    async fn of(selection: &'a Selection, deadline: Deadline) -> Result<Self, host::Error> {
        Ok(Self {
            selection,
            deadline,
            at: if selection.unresolved {
                selection.after.max(waiting::settled().await?)
            } else {
                selection.after
            },
            last: store::counter(letters::COUNTER).await?,
            reads: 0,
        })
    }

    /// The next letter of the selection. `None` at the end of the letters, of the time, or of the reads
    /// that one request may make.
    async fn next(&mut self) -> Result<Option<DeadLetter>, host::Error> {
        let wanted = |wanted: &Option<String>, is: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == is)
        };
        while self.at < self.last && self.reads < MAX_READS && !self.deadline.is_over() {
            let letter = ledger::read(self.at + 1).await?;
            self.at += 1;
            self.reads += 1;
            if let Some(letter) = letter
                && !(self.selection.unresolved && letter.resolved.is_some())
                && wanted(&self.selection.project, letter.project.as_deref())
                && wanted(&self.selection.reason, Some(&letter.reason))
            {
                return Ok(Some(letter));
            }
        }
        Ok(None)
    }

    /// Goes back by one letter: [`Self::next`] then returns its last letter again.
    fn put_back(&mut self) {
        self.at -= 1;
    }

    /// The number of the last letter looked at, if there are more after it.
    fn rest(&self) -> Option<u64> {
        (self.at < self.last).then_some(self.at)
    }
}

/// Delivers the event of a letter, also if its project is held or its type is not relayed, and resolves the letter.
async fn send(
    config: &Config,
    letter: &DeadLetter,
    deadline: Deadline,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    if let Some(record) = &letter.resolved {
        // A letter that was written while its event was delivered still has it.
        ledger::forget_body(&letter.record_name).await;
        let (record, differs) = (record.clone(), false);
        return Ok(Success::Duplicate { record, differs });
    }
    let body = ledger::body(letter).await?;
    let body = body.ok_or(table::NO_DEAD_LETTER)?;
    let notification = Notification::of_letter(&body, letter.arrival());
    entry.set_arrival(notification.source, &notification.arrival);
    let event = notification.check().map_err(Problem::Rejected)?;
    let (arrival, occasion) = (&notification.arrival, Occasion::Replay);
    let success = intake::deliver_event(config, &event, arrival, occasion, deadline, entry).await?;
    if let Success::Delivered { record, .. } | Success::Duplicate { record, .. } = &success
        && record.dead_letter != Some(letter.number)
    {
        // The letter held no valid event when it came, so its record is not the event's. Resolve it, too.
        let resolved =
            Record::Delivered(Delivered { dead_letter: Some(letter.number), ..record.clone() });
        storage::write_alone(&letter.record_name, &resolved).await?;
        ledger::forget_body(&letter.record_name).await;
    }
    Ok(success)
}

#[derive(Debug, Default, Serialize)]
struct Replayed {
    /// How many letters were resolved now.
    resolved: u64,
    /// How many still can't be delivered.
    failed: u64,
    /// The `after` of the next request. `None` at the end.
    next: Option<u64>,
    /// Why the replay stopped before the end.
    stopped: Option<&'static str>,
}

/// Replays all unresolved letters of a selection.
pub async fn replay_all(
    request: &mut OperatorRequest<'_>,
    query: &Query,
) -> Result<Success, Problem> {
    let selection = query.unresolved()?;
    let mut letters = Letters::of(&selection, request.deadline).await?;
    let mut replayed = Replayed::default();
    let mut tried = 0;
    while tried < selection.limit {
        let letter = match letters.next().await {
            Ok(Some(letter)) => letter,
            Ok(None) => break,
            Err(error) => {
                // Report what was done all the same.
                replayed.stopped = Some(Problem::from(error).row().name);
                break;
            }
        };
        tried += 1;
        // Each letter has a time and a line of its own.
        let (since, mut entry) = (Stopwatch::start(), Entry::default());
        entry.dead_letter = Some(letter.number);
        let deadline = Deadline::new(since, request.config.retry.budget);
        let result = send(request.config, &letter, deadline, &mut entry).await;
        entry.set_result(&result);
        watch::request(entry, since);
        match result {
            Ok(_) => replayed.resolved += 1,
            Err(problem) => match why_replay_stops(&problem, &selection) {
                None => replayed.failed += 1,
                Some(reason) => {
                    replayed.stopped = Some(reason);
                    // This letter is still to be tried.
                    letters.put_back();
                    break;
                }
            },
        }
    }
    replayed.next = letters.rest();
    let Replayed { resolved, failed, .. } = replayed;
    request.entry.message = format!("replayed: {resolved} resolved, {failed} failed");
    Ok(Success::document("replayed", &replayed))
}

/// The outcome that every further letter would have, too, or `None`. If Svix fails, the event itself may be
/// at fault. If Svix is down, the gate closes and stops the replay.
fn why_replay_stops(problem: &Problem, selection: &Selection) -> Option<&'static str> {
    match problem {
        Problem::Svix(svix::Error::Unavailable { cause, .. }) => match cause {
            // A gate that is closed for one project stops a replay of that project's letters, and no other.
            Cause::Gate(_) if selection.project.is_some() => Some("gate"),
            Cause::Gate(_) => shared_gate::closed().map(|_| "gate"),
            Cause::RateLimited => Some(problem.row().name),
            _ => None,
        },
        Problem::StillUnknown => None,
        problem if problem.is_final() => None,
        problem => Some(problem.row().name),
    }
}
