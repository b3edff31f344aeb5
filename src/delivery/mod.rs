//! The delivery of one event: read its record, ask Svix, write the record.
//!
//! The order is the guarantee: Svix has the message, then the store has the record, then the sender
//! gets its 200. Pub/Sub sends an event again until it gets a 200.
//!
//! | what happens | Svix has | the store has | the next delivery |
//! | --- | --- | --- | --- |
//! | the process dies before the post | nothing | nothing | posts |
//! | … between post and answer | perhaps the message | nothing | posts; the same key brings the same message |
//! | … before the record is written | the message | nothing | posts; the same key brings the same message |
//! | … before the 200 | the message | the record | answers from the record |
//! | Svix gives no clear answer: none in time, a 5xx, a strange one | perhaps the message | a record that says `unknown` | looks the message up |
//! | Svix limits, can't be reached, or the gate is closed | nothing new | nothing new | as if this one had not come |
//! | Svix loses a message before the record | nothing, but the key's answer | nothing, or `unknown` | posts (with `unknown`, looks up first), looks the lost message up in vain, posts under another key |
//!
//! Svix knows a key for 12 hours only. [`next`] says when an event is looked up instead of posted.

mod attempts;
pub mod budget;
mod job;
mod next;
pub mod shared_gate;
mod turnstile;

use std::ops::ControlFlow;

use self::attempts::{Attempts, Sent};
pub use self::job::{Job, Occasion};
use self::next::RENEWED_AFTER;
pub use self::next::may_be_at_work;
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::event;
use crate::host::{self, clock, group_commit, store};
use crate::letters::ledger;
use crate::records::{Delivered, Found, Record, Unknown, storage};
use crate::svix::message;
use crate::time::rfc3339;

/// How a delivery ended, and what it found on its way.
pub struct Delivery {
    pub result: Result<Success, Problem>,
    /// How often this request posted the event to Svix.
    pub posts: u32,
    /// Whether only Svix knows if it has the message.
    pub left_unknown: bool,
    /// The message in Svix, if it is known: also if its record can't be written.
    pub svix_message_id: Option<String>,
}

impl Delivery {
    fn of(result: Result<Success, Problem>, posts: u32) -> Self {
        let record = result.as_ref().ok().and_then(Success::record);
        Self {
            svix_message_id: record.map(|record| record.svix_message_id.clone()),
            result,
            posts,
            left_unknown: false,
        }
    }
}

/// Delivers an event, unless its record says that this is done.
pub async fn deliver(job: Job<'_>) -> Delivery {
    let key = event::key(&job.event.project, &job.event.id);
    let name = Record::name(&key);
    let found = match begin(&job, &name).await {
        Ok(ControlFlow::Continue(found)) => found,
        Ok(ControlFlow::Break(success)) => return Delivery::of(Ok(success), 0),
        Err(problem) => return Delivery::of(Err(problem), 0),
    };
    let idempotency_key = key_for_svix(key, found.record());
    let svix_event_id = message::event_id(&job.event.id);
    let mut attempts = Attempts::new(job, &idempotency_key, &svix_event_id, &found);
    match attempts.run().await {
        Ok(sent) => {
            let svix_message_id = Some(sent.svix_message_id.clone());
            let record = delivered(&job, &sent, attempts.posts, found.record());
            let result = write_delivered(&job, name, record, sent.by_lookup).await;
            Delivery {
                svix_message_id,
                ..Delivery::of(result, attempts.posts)
            }
        }
        Err(problem) => {
            let is_unknown = attempts.is_unknown();
            // If there is a record, the next delivery looks up first anyway. Then the record is written again only if
            // this request has left a post unknown, too.
            let is_news = matches!(found, Found::Nothing) || attempts.has_unclear_post;
            let result = if is_unknown && is_news {
                note_unknown(&job, name, problem).await
            } else {
                Err(problem)
            };
            Delivery {
                left_unknown: is_unknown && result.is_err(),
                ..Delivery::of(result, attempts.posts)
            }
        }
    }
}

/// Finds the event's record, which may answer it already. Fails if the store does, or if the project is held.
async fn begin(job: &Job<'_>, name: &str) -> Result<ControlFlow<Success, Found>, Problem> {
    // For speed only.
    group_commit::wait_for_others().await;
    let found = storage::find(name, store::TIMEOUT).await?;
    if let Some(success) = answer_by_record(job, found.record()).await? {
        return Ok(ControlFlow::Break(success));
    }
    shared_gate::refresh().await;
    if job.occasion != Occasion::Replay && shared_gate::holds(&job.event.project) {
        return Err(Problem::Held);
    }
    Ok(ControlFlow::Continue(found))
}

/// The event's key. If Svix has lost the message of that key, it would still answer with it: then the next key.
fn key_for_svix(key: String, record: Option<&Record>) -> String {
    match record.and_then(Record::lost_message_id) {
        Some(lost) => event::next_key(&key, lost),
        None => key,
    }
}

/// The answer that the record gives. A letter answers only Pub/Sub: a direct post or a replay is sent, and resolves it.
async fn answer_by_record(
    job: &Job<'_>,
    record: Option<&Record>,
) -> Result<Option<Success>, host::Error> {
    match record {
        Some(Record::Delivered(record)) => Ok(Some(Success::duplicate(record.clone(), job.event))),
        Some(Record::DeadLettered(record)) if job.occasion.may_become_letter(job.config) => {
            let number = ledger::acknowledging_letter(record).await?;
            Ok(number.map(|number| Success::DeadLettered {
                number,
                differs: record.differs_from(job.event),
            }))
        }
        Some(Record::DeadLettered(_) | Record::Unknown(_)) | None => Ok(None),
    }
}

/// The record to write, now that Svix has the event.
fn delivered(job: &Job<'_>, sent: &Sent, posts: u32, earlier: Option<&Record>) -> Delivered {
    let record = Delivered::of(job.event, sent.svix_message_id.clone(), posts, clock::now());
    Delivered {
        dead_letter: match earlier {
            Some(Record::DeadLettered(earlier)) => Some(earlier.dead_letter),
            _ => None,
        },
        // These bytes may not be the ones that Svix has.
        fingerprint: record.fingerprint.filter(|_| !sent.by_lookup),
        published_at: job.published_at.map(rfc3339),
        ordering_key: job.ordering_key.map(str::to_owned),
        ..record
    }
}

async fn write_delivered(
    job: &Job<'_>,
    name: String,
    record: Delivered,
    by_lookup: bool,
) -> Result<Success, Problem> {
    let of_letter = record.dead_letter.map(|_| name.clone());
    let written = Record::Delivered(record.clone());
    storage::write(name, &written, job.budget.time_to_store()).await?;
    if let Some(name) = of_letter {
        ledger::forget_body(&name).await;
    }
    Ok(Success::Delivered { record, by_lookup })
}

/// Writes an `unknown` record, and returns `problem`. Returns a duplicate instead if another delivery has succeeded
/// meanwhile, or the failure of the store.
async fn note_unknown(job: &Job<'_>, name: String, problem: Problem) -> Result<Success, Problem> {
    let now = clock::now();
    let begun = job.budget.stopwatch.started();
    let record = match storage::find(&name, job.budget.time_to_store() / 2).await? {
        Found::Nothing => Unknown::of(job.event, begun),
        Found::Unreadable => return Err(problem),
        Found::Record(record) => match *record {
            Record::Delivered(record) => {
                return Ok(Success::duplicate(record, job.event));
            }
            Record::DeadLettered(_) => return Err(problem),
            Record::Unknown(record) if record.age(now) < RENEWED_AFTER => return Err(problem),
            Record::Unknown(record) => record.again(begun),
        },
    };
    let record = Record::Unknown(record);
    storage::write(name, &record, job.budget.time_to_store()).await?;
    Err(problem)
}
