//! `POST /notifications`: authenticates the sender, reads the event, and delivers it or keeps a dead
//! letter.

pub mod body;
mod event_types;

use std::borrow::Cow;
use std::time::Duration;

use spin_sdk::wasip3::http::types::Request;

use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::auth;
use crate::config::{Config, load};
use crate::delivery::{self, Delivery, Job};
use crate::event::notification::{Notification, PushHeaders, Source, is_json_media_type};
use crate::host::clock::Stopwatch;
use crate::host::http::Headers;
use crate::host::{self, store};
use crate::letters::ledger;
use crate::records::{Record, storage};
use crate::watch;
use crate::watch::entry::Entry;
use crate::watch::trace::Trace;

/// Takes a notification.
pub async fn notify(
    request: Request,
    headers: &Headers,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let config = load::config().await?;
    let authorization = headers.get("authorization");
    auth::notifier(config, authorization.as_deref(), stopwatch, watch::keys).await?;
    let push = push_headers(headers);
    // The sender of an unwrapped push can't choose the media type of the published message.
    let content_type = headers.get("content-type");
    if push.message_id.is_none() && !is_json_media_type(content_type.as_deref()) {
        return Err(Problem::UnsupportedMediaType);
    }
    let limit = body::largest(config);
    let body = body::read(config, request, headers, limit, stopwatch).await;
    let body = body.map_err(|problem| match problem {
        // The sender is told the limit for its event, not for what is wrapped around it.
        Problem::BodyTooLarge(_) => Problem::BodyTooLarge(config.max_body_bytes),
        problem => problem,
    })?;

    let notification = Notification::read(&body, push);
    entry.arrival(&notification.arrival);
    entry.hints(notification.hints());
    let keeps = config.keep_dead_letters && notification.arrival.source != Source::Direct;
    match fulfil(config, &notification, keeps, stopwatch, entry).await {
        Err(problem) if problem.is_final() && keeps => {
            let time = store::time_left(stopwatch, config.retry.budget);
            store_dead_letter(&notification, &body, &problem, time, entry).await
        }
        result => result,
    }
}

fn push_headers(headers: &Headers) -> PushHeaders {
    let get = |name| headers.get(name).map(Cow::into_owned);
    let message_id = get("x-goog-pubsub-message-id");
    let publish_time = message_id
        .as_ref()
        .and_then(|_| get("x-goog-pubsub-publish-time"));
    PushHeaders {
        message_id,
        publish_time,
    }
}

/// Delivers the event of a notification, and makes its type known to Svix.
///
/// `accept_dead_letter`: whether a dead letter of the same event acknowledges it.
pub async fn fulfil(
    config: &Config,
    notification: &Notification<'_>,
    accept_dead_letter: bool,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let event = notification.event().map_err(Problem::Rejected)?;
    if event.json.len() > config.max_body_bytes {
        return Err(Problem::BodyTooLarge(config.max_body_bytes));
    }
    entry.event(&event.project, &event.id);
    entry.event_type(&event.event_type);
    let begin = || Trace::of(None, &mut host::random());
    let traceparent = entry.trace.get_or_insert_with(begin).header();
    let times = [event.time, notification.arrival.publish_time];
    let job = Job {
        config,
        event: &event,
        published: times.into_iter().flatten().min(),
        accept_dead_letter,
        traceparent: &traceparent,
        stopwatch,
    };
    let Delivery {
        result,
        attempts,
        left_unknown,
        message_id,
    } = delivery::deliver(job).await;
    entry.attempts = attempts;
    entry.left_unknown = left_unknown;
    if let Some(message_id) = &message_id {
        entry.svix_message_id(message_id);
    }
    if let Ok(Success::Delivered { .. }) = &result {
        event_types::make_known(config, &event.event_type);
    }
    result
}

/// Keeps a notification that can never be delivered as a dead letter, once.
async fn store_dead_letter(
    notification: &Notification<'_>,
    body: &[u8],
    problem: &Problem,
    time: Duration,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let name = Record::name(&notification.key());
    // The event may have come before, or a concurrent delivery may have got further just now.
    match storage::read(&name, time).await? {
        Some(Record::DeadLettered(record)) => {
            if let Some(number) = ledger::standing_letter(&record).await? {
                return Ok(Success::DeadLettered(number));
            }
        }
        Some(Record::Delivered(record)) => return Ok(Success::Duplicate(record)),
        Some(Record::Unknown(_)) | None => {}
    }
    let reason = (problem.row().name, problem.document());
    let number = ledger::keep(&name, notification, body, reason)?;
    entry.reason(problem);
    Ok(Success::DeadLettered(number))
}
