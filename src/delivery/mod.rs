//! The delivery of one event: read its record, ask Svix, write the record.
//!
//! The order is the guarantee: Svix has the message, then the store has the record, then the sender
//! gets its 200. The sender sends every event again that got none.
//!
//! | what happens | Svix has | the store has | the next delivery |
//! | --- | --- | --- | --- |
//! | the process dies before the post | nothing | nothing | posts |
//! | … between post and answer | perhaps the message | nothing | posts; the same key brings the same message |
//! | … before the record is written | the message | nothing | posts; the same key brings the same message |
//! | … before the 200 | the message | the record | answers from the record |
//! | Svix gives no answer in time, or fails | perhaps the message | a record that says `unknown` | looks the message up |
//!
//! Svix knows a key for 12 hours only. [`next`] says when an event is looked up instead of posted.

mod attempts;
pub mod budget;
mod job;
mod next;
pub mod shared_gate;
mod turnstile;

use self::attempts::{Attempts, Sent};
pub use self::job::{Job, Occasion};
pub use self::next::MAY_BE_AT_WORK;
use self::next::RENEWED_AFTER;
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::event;
use crate::host::{self, clock, company, store};
use crate::letters::ledger;
use crate::records::{Delivered, Found, Record, Unknown, storage};
use crate::svix::message;
use crate::time::rfc3339;

/// How a delivery ended, and what it found on its way.
pub struct Delivery {
    pub result: Result<Success, Problem>,
    pub findings: Findings,
}

#[derive(Default)]
pub struct Findings {
    /// How often this request posted the event to Svix.
    pub posts: u32,
    /// Whether only Svix knows if it has the message. The next delivery looks the message up first.
    pub left_unknown: bool,
    /// The message in Svix, if it is known.
    pub message_id: Option<String>,
}

/// Delivers an event, unless its record says that this is done.
pub async fn deliver(job: Job<'_>) -> Delivery {
    let mut findings = Findings::default();
    let result = find_or_send(&job, &mut findings).await;
    if let Ok(Success::Delivered { record } | Success::Duplicate { record, .. }) = &result {
        findings.message_id = Some(record.svix_message_id.clone());
        findings.left_unknown = false;
    }
    Delivery { result, findings }
}

async fn find_or_send(job: &Job<'_>, findings: &mut Findings) -> Result<Success, Problem> {
    let key = event::key(&job.event.project, &job.event.id);
    let name = Record::name(&key);
    // Lets other requests come if the store holds up the instance, as Spin's SQLite does.
    company::arrive().await;
    let found = Found::of(store::get(&name, store::TIMEOUT).await?.as_deref());
    if let Some(success) = answer_by_record(job, found.record()).await? {
        return Ok(success);
    }

    shared_gate::refresh().await;
    if job.occasion != Occasion::Replay && shared_gate::holds(&job.event.project) {
        return Err(Problem::Held);
    }
    let idempotency_key = key_for_svix(key, found.record());
    let svix_event_id = message::event_id(&job.event.id);
    let mut attempts = Attempts::new(*job, &idempotency_key, &svix_event_id, &found);
    let result = attempts.run().await;
    findings.posts = attempts.posts;
    match result {
        Ok(Sent {
            message_id,
            was_found,
        }) => {
            // The line names the message, even if the record can't be written.
            findings.message_id = Some(message_id.clone());
            let mut record = Delivered::of(job.event, message_id, attempts.posts, clock::now());
            if was_found {
                record.fingerprint = None;
            }
            write_delivered(job, name, found.record(), record).await
        }
        Err(problem) => {
            findings.left_unknown = attempts.left_unknown();
            // With any record, the next delivery looks up before it posts. So only one more post without an
            // answer is worth another write.
            let is_news = matches!(found, Found::Nothing) || attempts.unanswered;
            if !(findings.left_unknown && is_news) {
                return Err(problem);
            }
            // If the store fails, the sender hears of that instead.
            let meanwhile = write_unknown(job, name).await?;
            meanwhile.ok_or(problem)
        }
    }
}

/// The event's key, unless Svix would answer under it with a message that it has lost.
fn key_for_svix(key: String, record: Option<&Record>) -> String {
    match record.and_then(Record::lost_message_id) {
        Some(lost) => event::sha256_hex(&[key.as_bytes(), lost.as_bytes()]),
        None => key,
    }
}

/// The answer to an event whose record needs no delivery.
async fn answer_by_record(
    job: &Job<'_>,
    record: Option<&Record>,
) -> Result<Option<Success>, host::Error> {
    match record {
        Some(Record::Delivered(record)) => Ok(Some(Success::duplicate(record.clone(), job.event))),
        Some(Record::DeadLettered(record)) if job.letter_acknowledges() => {
            let number = ledger::acknowledging_letter(record).await?;
            Ok(number.map(Success::DeadLettered))
        }
        Some(Record::DeadLettered(_) | Record::Unknown(_)) | None => Ok(None),
    }
}

async fn write_delivered(
    job: &Job<'_>,
    name: String,
    earlier: Option<&Record>,
    mut record: Delivered,
) -> Result<Success, Problem> {
    record.published_at = job.known_since.map(rfc3339);
    record.ordering_key = job.ordering_key.map(str::to_owned);
    if let Some(Record::DeadLettered(earlier)) = earlier {
        record.dead_letter = Some(earlier.dead_letter);
    }
    let of_letter = record.dead_letter.map(|_| name.clone());
    let written = Record::Delivered(record.clone());
    storage::write(name, &written, job.budget.time_to_store()).await?;
    if let Some(name) = of_letter {
        ledger::forget_body(&name).await;
    }
    Ok(Success::Delivered { record })
}

/// Notes that only Svix knows if it has the message. Returns the answer if a concurrent delivery has delivered
/// the event.
async fn write_unknown(job: &Job<'_>, name: String) -> Result<Option<Success>, host::Error> {
    let now = clock::now();
    let begun = job.budget.stopwatch.started();
    let stored = store::get(&name, job.budget.time_to_store() / 2).await?;
    let record = match Found::of(stored.as_deref()) {
        Found::Nothing => Unknown::of(job.event, begun),
        // With any record, the next delivery looks up first.
        Found::Unreadable => return Ok(None),
        Found::Record(record) => match *record {
            Record::Delivered(record) => {
                return Ok(Some(Success::duplicate(record, job.event)));
            }
            Record::DeadLettered(_) => return Ok(None),
            Record::Unknown(record) if record.age(now) < RENEWED_AFTER => return Ok(None),
            Record::Unknown(record) => record.again(begun),
        },
    };
    let record = Record::Unknown(record);
    storage::write(name, &record, job.budget.time_to_store()).await?;
    Ok(None)
}
