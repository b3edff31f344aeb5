//! `POST /notifications`: authenticates the sender, reads the event, and delivers it or keeps a dead
//! letter.

pub mod body;
mod event_types;
mod headers;

use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::auth;
use crate::config::{Config, load};
use crate::delivery::budget::Budget;
use crate::delivery::{self, Delivery, Job, LATE, Occasion};
use crate::event::arrival::{Attributes, Form, Source, carries_push};
use crate::event::notification::Notification;
use crate::host::clock::{self, Stopwatch};
use crate::host::http::{Headers, Incoming};
use crate::host::{self, store};
use crate::letters::ledger;
use crate::records::{Found, Record};
use crate::watch;
use crate::watch::entry::Entry;
use crate::watch::trace::Trace;

/// Takes a notification. There are four ways to a 200: the event's type is not relayed, its record answers, Svix has its
/// message now, or a dead letter holds it.
pub async fn take(
    incoming: &mut Incoming,
    headers: &Headers,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let config = load::config().await?;
    let authorization = headers.get("authorization");
    auth::notifier(config, authorization.as_deref(), stopwatch, watch::keys).await?;
    let arrival = headers::arrival(headers);
    let form = arrival.form();
    if form != Form::Unwrapped {
        headers::check_media_type(headers)?;
    }
    let body = body::read_notification(config, incoming, form, stopwatch).await?;

    let notification = Notification::read(&body.bytes, arrival, form);
    entry.arrival(&notification.arrival);
    let hints = notification.hints();
    // A push that could not be opened is no event of the carrier's type.
    let is_ignored = matches!(&hints.event_type, Some(event_type)
        if !config.messages.relays(event_type) && !carries_push(event_type));
    entry.hints(hints);
    // Also an event that breaks a rule: what is not for customers needs none of the fields that they need.
    if is_ignored {
        return Ok(Success::Ignored);
    }
    let occasion = match notification.arrival.source {
        Source::Direct => Occasion::Post,
        Source::Wrapped | Source::Unwrapped => Occasion::Push,
    };
    let may_be_letter = occasion.letter_acknowledges(config);
    let budget = Budget::of(config, stopwatch);
    match deliver_event(config, &notification, occasion, budget, entry).await {
        Err(problem) if may_be_letter && problem.becomes_letter() => {
            store_dead_letter(&notification, &body.bytes, &problem, budget, entry).await
        }
        result => result,
    }
}

/// Delivers the event of a notification, and makes its type known to Svix.
pub async fn deliver_event(
    config: &Config,
    notification: &Notification<'_>,
    occasion: Occasion,
    budget: Budget,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let event = notification.event().map_err(Problem::Rejected)?;
    entry.event(&event.project, &event.id);
    entry.event_type(&event.event_type);
    let trace = trace_of(entry.trace.take(), &notification.arrival.attributes);
    let trace_headers = trace.headers();
    entry.trace = Some(trace);
    let times = [event.time, notification.arrival.first_published()];
    let job = Job {
        config,
        event: &event,
        published: times.into_iter().flatten().min(),
        ordering_key: notification.arrival.ordering_key.as_deref(),
        occasion,
        trace_headers: &trace_headers,
        budget,
    };
    let Delivery { result, findings } = delivery::deliver(job).await;
    entry.attempts = findings.posts;
    entry.left_unknown = findings.left_unknown;
    if let Some(message_id) = &findings.message_id {
        entry.svix_message_id(message_id);
    }
    if let Ok(Success::Delivered { .. }) = &result {
        event_types::make_known(config, &event.event_type);
    }
    result
}

/// The trace of the request, or else the one that the publisher has begun: Google's clients put it into
/// these attributes.
fn trace_of(of_request: Option<Trace>, attributes: &Attributes) -> Trace {
    match of_request {
        Some(trace) if trace.is_continued() => trace,
        _ => {
            let parent = attributes.get("googclient_traceparent");
            let state = attributes.get("googclient_tracestate").unwrap_or_default();
            Trace::of(parent, state, &mut host::random())
        }
    }
}

/// Keeps a notification as a dead letter, once. Only a person can decide what becomes of its event.
async fn store_dead_letter(
    notification: &Notification<'_>,
    body: &[u8],
    problem: &Problem,
    budget: Budget,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let name = Record::name(&notification.key());
    // The event may have come before, or a concurrent delivery may have got further just now.
    let found = Found::of(store::get(&name, budget.time_to_store()).await?.as_deref());
    match found.record() {
        Some(Record::DeadLettered(record)) => {
            if let Some(number) = ledger::acknowledging_letter(record).await? {
                return Ok(Success::DeadLettered(number));
            }
        }
        Some(Record::Delivered(record)) => {
            return Ok(Success::Duplicate {
                record: record.clone(),
                differs: false,
            });
        }
        // Svix may still be at work on it, which a letter would forget. So its sender keeps the event for a moment.
        Some(Record::Unknown(record))
            if *problem == Problem::Held && record.age(clock::now()) < LATE =>
        {
            return Err(Problem::Held);
        }
        Some(Record::Unknown(_)) | None => {}
    }
    if *problem == Problem::Held && matches!(found, Found::Unreadable) {
        // A later version may have delivered the event. So its sender keeps it.
        return Err(Problem::Held);
    }
    let lost = found.record().and_then(Record::lost_message_id);
    let reason = (problem.row().name, problem.document());
    let time = budget.time_to_store();
    let number = ledger::keep(&name, notification, body, reason, lost, time).await?;
    entry.reason(problem);
    Ok(Success::DeadLettered(number))
}
