//! What operators do with dead letters: list, show, replay, discard.
//!
//! How many are unresolved is a counter of its own, since reading all letters for each scrape would not
//! be cheap. Two counters beside each letter, which only grow, decide whether it is counted in or out:
//! who raises one to 1 counts. So sixteen deliveries of one event at once are one unresolved letter; only
//! a crash between two increments leaves the number wrong by one.

use std::time::Duration;

use serde::Serialize;
use spin_sdk::wasip3;

use crate::config::Config;
use crate::dead_letter::{self, DeadLetter};
use crate::delivery;
use crate::host::{self, Stopwatch};
use crate::log::Entry;
use crate::notification::Notification;
use crate::problem::Problem;
use crate::record::{DeadLettered, Delivered, Record, rfc3339};
use crate::relay;
use crate::reply::Success;
use crate::route::{Query, Selection};
use crate::svix::Cause;
use crate::tally;

/// How many numbers one request looks at: gaps and letters that are filtered out cost a read, too.
const MAX_READS: usize = 1_000;

/// Lists the letters of a selection.
pub async fn list(
    config: &Config,
    query: &Query,
    stopwatch: Stopwatch,
) -> Result<Success, Problem> {
    let selection = query.selection().map_err(Problem::InvalidQuery)?;
    let mut letters = Letters::of(config, &selection, stopwatch)?;
    let mut dead_letters = Vec::new();
    while dead_letters.len() < selection.limit
        && let Some(letter) = letters.next().await?
    {
        dead_letters.push(letter.summary());
    }
    let page = Page {
        dead_letters,
        next: letters.rest(),
    };
    Ok(Success::document("dead-letters", &page))
}

/// Shows a letter, with its body.
pub async fn show(number: u64) -> Result<Success, Problem> {
    let letter = read(number).await?.ok_or(Problem::NoDeadLetter)?;
    Ok(Success::document("dead-letter", &letter))
}

/// Forgets a letter.
pub async fn discard(number: u64, entry: &mut Entry) -> Result<Success, Problem> {
    entry.dead_letter(number);
    let (letter, record) = stored(number).await?.ok_or(Problem::NoDeadLetter)?;
    let name = &letter.record;
    if !matches!(record, Some(Record::Delivered(_))) {
        // It goes on acknowledging the event, and is due one day.
        let record = Record::DeadLettered(DeadLettered {
            dead_letter: number,
            discarded_at: Some(rfc3339(host::now())),
        });
        tally::written(name, None);
        host::set(name, &record.encode(), host::STORE_TIMEOUT).await?;
    }
    closed(name);
    host::delete("delete the dead letter", &DeadLetter::name(number)).await?;
    let discarded = Discarded { discarded: number };
    Ok(Success::document("discarded", &discarded))
}

/// The answer to an event that is among the letters already, or was until somebody discarded it.
///
/// `None` if its letter isn't there: where a store has no transactions, a crash may have left the record
/// alone, which must not acknowledge an event that nobody has.
pub async fn known(name: &str, record: &DeadLettered) -> Result<Option<Success>, Problem> {
    if record.discarded_at.is_none() {
        if !host::exists(&DeadLetter::name(record.dead_letter)).await? {
            return Ok(None);
        }
        opened(name);
    }
    Ok(Some(Success::DeadLettered(record.dead_letter)))
}

/// Counts the letter of a record's event in. Only the first one: others were written for the same
/// event at the same time, and no one will ever see them.
///
/// Here and in [`closed`] this happens after the reply, since nothing that is done already may wait
/// for it or fail with it. What is lost so is made up for when the same event comes again.
pub fn opened(record: &str) {
    let record = record.to_owned();
    wasip3::spawn(async move {
        if let Ok(1) = host::increment(&dead_letter::opened(&record), 1) {
            let _ = host::increment(dead_letter::UNRESOLVED, 1);
        }
    });
}

/// Counts the letter of a record's event out, once, however often it is resolved or discarded.
pub fn closed(record: &str) {
    let record = record.to_owned();
    wasip3::spawn(async move {
        let opened = host::increment(&dead_letter::opened(&record), 0);
        if opened.is_ok_and(|times| times > 0)
            && let Ok(1) = host::increment(&dead_letter::closed(&record), 1)
        {
            let _ = host::increment(dead_letter::UNRESOLVED, -1);
        }
    });
}

/// How many letters are neither resolved nor discarded.
pub fn unresolved() -> Result<u64, Problem> {
    host::increment(dead_letter::UNRESOLVED, 0)
}

/// Delivers the event of a letter, as if it had just come in.
pub async fn replay(
    config: &Config,
    number: u64,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let letter = read(number).await?.ok_or(Problem::NoDeadLetter)?;
    entry.dead_letter(number);
    send(config, &letter, stopwatch, entry).await
}

#[derive(Serialize)]
struct Discarded {
    discarded: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    dead_letters: Vec<DeadLetter>,
    /// Where to go on; nothing if there is nothing more.
    next: Option<u64>,
}

/// Walks through the log, for as long as one request may take.
struct Letters<'a> {
    selection: &'a Selection,
    stopwatch: Stopwatch,
    budget: Duration,
    at: u64,
    last: u64,
    reads: usize,
}

impl<'a> Letters<'a> {
    fn of(
        config: &Config,
        selection: &'a Selection,
        stopwatch: Stopwatch,
    ) -> Result<Self, Problem> {
        Ok(Self {
            selection,
            stopwatch,
            budget: config.retry.budget,
            at: selection.after,
            last: host::increment(dead_letter::COUNTER, 0)?,
            reads: 0,
        })
    }

    /// The next letter of the selection, unless the log, or what may be read of it, is at its end.
    async fn next(&mut self) -> Result<Option<DeadLetter>, Problem> {
        let wanted = |wanted: &Option<String>, is: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == is)
        };
        while self.at < self.last
            && self.reads < MAX_READS
            && !self.stopwatch.remaining(self.budget).is_zero()
        {
            let letter = read(self.at + 1).await?;
            self.at += 1;
            self.reads += 1;
            if let Some(letter) = letter
                && wanted(&self.selection.project, letter.project.as_deref())
                && wanted(&self.selection.reason, Some(&letter.reason))
            {
                return Ok(Some(letter));
            }
        }
        Ok(None)
    }

    /// The number of the last letter looked at, if there are more behind it.
    fn rest(&self) -> Option<u64> {
        (self.at < self.last).then_some(self.at)
    }
}

/// A letter that is neither hidden nor discarded, and what has become of it.
async fn read(number: u64) -> Result<Option<DeadLetter>, Problem> {
    let Some((mut letter, record)) = stored(number).await? else {
        return Ok(None);
    };
    match record {
        Some(Record::DeadLettered(record)) if record.discarded_at.is_some() => return Ok(None),
        Some(Record::Delivered(record)) => {
            if record.dead_letter.is_none() {
                // Delivered by somebody who knew of no letter, and so counted none out.
                closed(&letter.record);
            }
            letter.resolved = Some(record);
        }
        Some(Record::DeadLettered(_) | Record::Unknown(_)) | None => {}
    }
    Ok(Some(letter))
}

/// A letter and the record of its event.
///
/// Two notifications of one event at once may have written two letters: the record knows which one
/// counts, the other is hidden. A record that knows of none doesn't hide what may be the only copy of
/// an event.
async fn stored(number: u64) -> Result<Option<(DeadLetter, Option<Record>)>, Problem> {
    let name = DeadLetter::name(number);
    let bytes = host::get(&name, host::STORE_TIMEOUT).await?;
    let Some(letter) = bytes.as_deref().and_then(DeadLetter::decode) else {
        return Ok(None);
    };
    let record = delivery::read(&letter.record, host::STORE_TIMEOUT).await?;
    let counts = match &record {
        Some(Record::DeadLettered(record)) => record.dead_letter == number,
        Some(Record::Delivered(record)) => record.dead_letter.is_none_or(|it| it == number),
        Some(Record::Unknown(_)) | None => true,
    };
    Ok(counts.then_some((letter, record)))
}

/// Sends a letter's notification through the whole normal path.
async fn send(
    config: &Config,
    letter: &DeadLetter,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    if let Some(record) = &letter.resolved {
        closed(&letter.record);
        return Ok(Success::Duplicate(record.clone()));
    }
    let body = letter.body();
    let notification = Notification::read(&body, letter.headers());
    entry.delivery(&notification.delivery);
    let success = relay::relay(config, &notification, false, stopwatch, entry).await?;
    if let Success::Delivered { record, .. } | Success::Duplicate(record) = &success
        && record.dead_letter != Some(letter.number)
    {
        // It had no valid event when it came, so its own record is another one than the event's.
        let resolved = Record::Delivered(Delivered {
            dead_letter: Some(letter.number),
            ..record.clone()
        });
        tally::written(&letter.record, None);
        host::set(&letter.record, &resolved.encode(), host::STORE_TIMEOUT).await?;
        closed(&letter.record);
    }
    Ok(success)
}

#[derive(Debug, Default, Serialize)]
struct Replayed {
    /// How many letters were resolved now.
    resolved: u64,
    /// How many can't be delivered still.
    failed: u64,
    /// Where to go on; nothing if there is nothing more.
    next: Option<u64>,
    /// Why it stopped before the end.
    stopped: Option<&'static str>,
}

/// Replays all letters of a selection that are unresolved.
pub async fn replay_all(
    config: &Config,
    query: &Query,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let selection = query.selection().map_err(Problem::InvalidQuery)?;
    let mut letters = Letters::of(config, &selection, stopwatch)?;
    let mut replayed = Replayed::default();
    let mut tried = 0;
    while tried < selection.limit {
        let letter = match letters.next().await {
            Ok(Some(letter)) if letter.resolved.is_some() => continue,
            Ok(Some(letter)) => letter,
            Ok(None) => break,
            Err(problem) => {
                // What was done is to be reported all the same.
                replayed.stopped = Some(problem.answer().name);
                break;
            }
        };
        tried += 1;
        // Each has a budget and a line of its own.
        let (stopwatch, mut entry) = (Stopwatch::start(), Entry::default());
        entry.dead_letter(letter.number);
        let result = send(config, &letter, stopwatch, &mut entry).await;
        entry.result(&result);
        relay::log(entry, stopwatch);
        match result {
            Ok(_) => replayed.resolved += 1,
            Err(problem) => match stops(&problem) {
                None => replayed.failed += 1,
                Some(reason) => {
                    replayed.stopped = Some(reason);
                    // This one is still to be tried.
                    letters.at = letter.number - 1;
                    break;
                }
            },
        }
    }
    replayed.next = letters.rest();
    let Replayed {
        resolved, failed, ..
    } = replayed;
    entry.say(format!("replayed: {resolved} resolved, {failed} failed"));
    Ok(Success::document("replayed", &replayed))
}

/// Why no other letter would fare better, if that is so. One that Svix fails for may be at fault
/// itself; if Svix is down, the gate will say so.
fn stops(problem: &Problem) -> Option<&'static str> {
    match problem {
        Problem::Unavailable(trouble) => match trouble.cause {
            Cause::Gate(_) => Some("gate"),
            Cause::RateLimited => Some(problem.answer().name),
            _ => None,
        },
        problem if problem.is_final() => None,
        problem => Some(problem.answer().name),
    }
}
