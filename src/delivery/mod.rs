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
mod job;
mod next;
pub mod shared_gate;
mod turnstile;

use self::attempts::{Attempts, Sent};
pub use self::job::{Job, Occasion};
use self::next::RENEWED_AFTER;
pub use self::next::may_be_at_work;
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::event::{self, Event};
use crate::host::{self, clock, group_commit, store};
use crate::letters::ledger;
use crate::records::{Delivered, Found, Record, Unknown, storage};
use crate::svix::message;
use crate::time::rfc3339;

/// The facts of a delivery for the log, however it ended.
#[derive(Debug, Default)]
pub struct Facts {
    /// How often this request posted the event to Svix.
    pub posts: u32,
    /// Whether only Svix knows if it has the message.
    pub left_unknown: bool,
    /// The message in Svix, if it is known: also if its record can't be written.
    pub svix_message_id: Option<String>,
}

/// Delivers an event, unless its record says that this is done.
pub async fn deliver(job: Job<'_>) -> (Result<Success, Problem>, Facts) {
    let mut facts = Facts::default();
    let result = try_deliver(&job, &mut facts).await;
    if let Some(record) = result.as_ref().ok().and_then(Success::record) {
        facts.svix_message_id = Some(record.svix_message_id.clone());
    }
    (result, facts)
}

async fn try_deliver(job: &Job<'_>, facts: &mut Facts) -> Result<Success, Problem> {
    // On Spin's SQLite, requests that arrive together share a transaction.
    group_commit::wait_for_others().await;
    let key = event::key(&job.event.project, &job.event.id);
    let name = Record::name(&key);
    let found = storage::find(&name, store::TIMEOUT).await?;
    let letters_answer = job.occasion.allows_letters(job.config);
    if let Some(success) = answer_by_record(found.record(), Some(job.event), letters_answer).await?
    {
        return Ok(success);
    }
    shared_gate::refresh().await;
    if job.occasion != Occasion::Replay && shared_gate::holds(&job.event.project) {
        return Err(Problem::Held);
    }
    let first_key = key_for_svix(key, found.record());
    let svix_event_id = message::event_id(&job.event.id);
    let mut attempts = Attempts::new(*job, &first_key, &svix_event_id, &found);
    let sent = attempts.run().await;
    facts.posts = attempts.posts;
    match sent {
        Ok(sent) => {
            facts.svix_message_id = Some(sent.svix_message_id.clone());
            let record = delivered(job, &sent, attempts.posts, found.record());
            write_delivered(job, name, record, sent.by_lookup).await
        }
        Err(problem) => {
            facts.left_unknown = attempts.is_unknown();
            // If there is a record, the next delivery looks up first anyway. So the record is written again only if a
            // post of this request had no clear answer.
            let is_news = matches!(found, Found::Nothing) || attempts.has_unclear_post;
            if facts.left_unknown
                && is_news
                && let Some(record) = note_unknown(job, name).await?
            {
                facts.left_unknown = false;
                return Ok(Success::duplicate(record, Some(job.event)));
            }
            Err(problem)
        }
    }
}

/// The idempotency key of the first post. If Svix has lost the event's message, it may still answer that message's key
/// with it. So the next key is used.
fn key_for_svix(key: String, record: Option<&Record>) -> String {
    match record.and_then(Record::lost_message_id) {
        Some(lost) => event::next_key(&key, lost),
        None => key,
    }
}

/// The answer that the record gives. A letter answers only Pub/Sub: a direct post or a replay is sent, and resolves it.
/// `event` is `None` if it is invalid.
pub async fn answer_by_record(
    record: Option<&Record>,
    event: Option<&Event<'_>>,
    letters_answer: bool,
) -> Result<Option<Success>, host::Error> {
    match record {
        Some(Record::Delivered(record)) => Ok(Some(Success::duplicate(record.clone(), event))),
        Some(Record::DeadLettered(record)) if letters_answer => {
            let number = ledger::acknowledging_letter(record).await?;
            Ok(number.map(|number| Success::DeadLettered {
                number,
                differs: event.is_some_and(|event| record.differs_from(event)),
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
    storage::write(name, &written, job.deadline.time_to_store()).await?;
    if let Some(name) = of_letter {
        ledger::forget_body(&name).await;
    }
    Ok(Success::Delivered { record, by_lookup })
}

/// Writes an `unknown` record. If another delivery has succeeded meanwhile, returns its record instead.
async fn note_unknown(job: &Job<'_>, name: String) -> Result<Option<Delivered>, host::Error> {
    let now = clock::now();
    let begun = job.deadline.since.started();
    let record = match storage::find(&name, job.deadline.time_to_store() / 2).await? {
        Found::Nothing => Unknown::of(job.event, begun),
        Found::Unreadable(_) => return Ok(None),
        Found::Record(record) => match *record {
            Record::Delivered(record) => return Ok(Some(record)),
            Record::Unknown(record) if record.age(now) >= RENEWED_AFTER => record.again(begun),
            Record::Unknown(_) | Record::DeadLettered(_) => return Ok(None),
        },
    };
    let record = Record::Unknown(record);
    storage::write(name, &record, job.deadline.time_to_store()).await?;
    Ok(None)
}
