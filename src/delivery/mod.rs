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

use std::time::Duration;

use self::attempts::Attempts;
pub use self::job::{Job, Occasion};
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::event;
use crate::host::{self, clock, store};
use crate::letters::ledger;
use crate::records::{Delivered, Record, Unknown, storage};
use crate::svix::message;
use crate::time::rfc3339;

/// How old an unknown record is before another attempt without an answer renews it: a write for each
/// redelivery would say nothing new.
const RENEWED_AFTER: Duration = Duration::from_secs(30);

/// How a delivery ended, and what it found on its way.
pub struct Delivery {
    pub result: Result<Success, Problem>,
    /// How often this request posted the event to Svix.
    pub posts: u32,
    /// Whether only Svix knows if it has the message. The next delivery looks the message up first.
    pub left_unknown: bool,
    /// The message in Svix, if it is known.
    pub message_id: Option<String>,
}

impl Delivery {
    /// A delivery that ends without a post.
    fn without_post(result: Result<Success, Problem>) -> Self {
        let message_id = match &result {
            Ok(Success::Delivered { record, .. } | Success::Duplicate { record, .. }) => {
                Some(record.svix_message_id.clone())
            }
            _ => None,
        };
        Self {
            result,
            posts: 0,
            left_unknown: false,
            message_id,
        }
    }
}

/// Delivers an event, unless its record says that this is done.
pub async fn deliver(job: Job<'_>) -> Delivery {
    let key = event::key(&job.event.project, &job.event.id);
    let name = Record::name(&key);
    storage::arrive().await;
    let stored = match store::get(&name, store::TIMEOUT).await {
        Ok(stored) => stored,
        Err(error) => return Delivery::without_post(Err(error.into())),
    };
    let record = stored.as_deref().and_then(Record::decode);
    match answer_by_record(&job, record.as_ref()).await {
        Ok(None) => {}
        Ok(Some(success)) => return Delivery::without_post(Ok(success)),
        Err(error) => return Delivery::without_post(Err(error.into())),
    }

    shared_gate::refresh().await;
    if job.occasion != Occasion::Replay && shared_gate::holds(&job.event.project) {
        return Delivery::without_post(Err(Problem::Held));
    }
    let event_id = message::event_id(&job.event.id);
    let idempotency_key = idempotency_key(key, record.as_ref());
    let has_record = stored.is_some();
    let mut attempts = Attempts::new(
        job,
        &idempotency_key,
        &event_id,
        has_record,
        record.as_ref(),
    );
    match attempts.run().await {
        Ok(message_id) => {
            let result = write_delivered(
                &job,
                name,
                record.as_ref(),
                message_id.clone(),
                attempts.posts,
            );
            Delivery {
                result: result.await,
                posts: attempts.posts,
                left_unknown: false,
                message_id: Some(message_id),
            }
        }
        Err(problem) => {
            let delivery = Delivery {
                result: Err(problem),
                posts: attempts.posts,
                left_unknown: attempts.left_unknown(),
                message_id: None,
            };
            // With any record, the next delivery looks up before it posts. So only one more attempt without an
            // answer is worth another write.
            let is_noted = has_record && !attempts.unanswered;
            if delivery.left_unknown && !is_noted {
                write_unknown(&job, name, delivery).await
            } else {
                delivery
            }
        }
    }
}

/// The event's key, unless Svix would answer under it with a message that it has lost.
fn idempotency_key(key: String, record: Option<&Record>) -> String {
    match record {
        Some(Record::Unknown(Unknown {
            lost_message_id: Some(lost),
            ..
        })) => event::sha256_hex(&[key.as_bytes(), lost.as_bytes()]),
        _ => key,
    }
}

/// The answer to an event whose record needs no delivery.
async fn answer_by_record(
    job: &Job<'_>,
    record: Option<&Record>,
) -> Result<Option<Success>, host::Error> {
    match record {
        Some(Record::Delivered(record)) => Ok(Some(Success::duplicate(record.clone(), job.event))),
        Some(Record::DeadLettered(record)) if job.keeps_letter() => {
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
    message_id: String,
    attempts: u32,
) -> Result<Success, Problem> {
    let mut record = Delivered::of(job.event, message_id, attempts, clock::now());
    record.published_at = job.published.map(rfc3339);
    record.ordering_key = job.ordering_key.map(str::to_owned);
    if let Some(Record::DeadLettered(letter)) = earlier {
        record.dead_letter = Some(letter.dead_letter);
    }
    let bytes = Record::Delivered(record.clone()).encode();
    let of_letter = record.dead_letter.map(|_| name.clone());
    storage::write((name, bytes), job.budget.time_to_store()).await?;
    if let Some(name) = of_letter {
        ledger::forget_body(&name).await;
    }
    Ok(Success::Delivered { record, attempts })
}

/// Notes that only Svix knows if it has the message, unless a concurrent delivery has got further. Returns
/// the delivery with what came of that.
async fn write_unknown(job: &Job<'_>, name: String, delivery: Delivery) -> Delivery {
    let now = clock::now();
    let written = match storage::read(&name, job.budget.time_to_store() / 2).await {
        Ok(Some(Record::Delivered(record))) => {
            return Delivery {
                posts: delivery.posts,
                ..Delivery::without_post(Ok(Success::duplicate(record, job.event)))
            };
        }
        Ok(Some(Record::DeadLettered(_))) => Ok(()),
        Ok(Some(Record::Unknown(record))) if record.age(now) < RENEWED_AFTER => Ok(()),
        Ok(earlier) => {
            let begun = job.budget.stopwatch.started();
            let record = match earlier {
                Some(Record::Unknown(record)) => record.again(begun),
                _ => Unknown::of(job.event, begun),
            };
            let bytes = Record::Unknown(record).encode();
            storage::write((name, bytes), job.budget.time_to_store()).await
        }
        Err(error) => Err(error),
    };
    match written {
        Ok(()) => delivery,
        Err(error) => Delivery {
            result: Err(error.into()),
            ..delivery
        },
    }
}
