//! `POST /notifications`: authenticates the sender, reads the event, and delivers it or keeps a dead
//! letter.

mod body;
mod headers;
mod registration;

use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::auth;
use crate::config::{Audience, Config, load};
use crate::delivery::{self, Job, Occasion, may_be_at_work};
use crate::event::Event;
use crate::event::arrival::{Arrival, BodyHint, Source, carries_push};
use crate::event::notification::Notification;
use crate::exchange::Exchange;
use crate::host;
use crate::host::clock;
use crate::host::deadline::Deadline;
use crate::letters::{Undelivered, ledger};
use crate::records::{Found, Record, storage};
use crate::watch;
use crate::watch::entry::Entry;
use crate::watch::trace::Trace;

pub async fn take(exchange: &mut Exchange) -> Result<Success, Problem> {
    let config = load::config().await?;
    let deadline = Deadline::new(exchange.since, config.retry.budget);
    let (headers, entry) = (&exchange.headers, &mut exchange.entry);
    let authorization = headers.get("authorization");
    auth::notifier(config, authorization.as_deref(), deadline, watch::keys).await?;
    let arrival = headers::arrival(headers);
    let hint = arrival.body_hint();
    if hint != BodyHint::Unwrapped {
        headers::check_media_type(headers)?;
    }
    let body = body::read_notification(config, &mut exchange.body, hint, deadline).await?;

    let notification = Notification::read(&body.bytes, arrival);
    entry.set_arrival(notification.source, &notification.arrival);
    let fields = notification.unchecked_fields();
    let audience = match &fields.event_type {
        // The type of a CloudEvent whose push could not be opened says nothing of the event.
        Some(event_type) if !carries_push(event_type) => config.messages.types.audience(event_type),
        // The check that follows refuses an event without a type.
        _ => Audience::Customers,
    };
    entry.set_unchecked_fields(fields);
    // Decide this before the event is checked: an event that isn't for customers may lack required fields.
    match audience {
        Audience::Customers => {}
        Audience::Internal => return Ok(Success::Ignored),
        Audience::Undecided => return Ok(Success::Unlisted),
    }
    let occasion = match notification.source {
        Source::Direct => Occasion::Direct,
        Source::Wrapped | Source::Unwrapped => Occasion::PubSub,
    };
    // A failure above this line becomes no dead letter: the body was not read to its end, so there is nothing to keep.
    let event = notification.check();
    let result = match &event {
        Ok(event) => {
            let arrival = &notification.arrival;
            deliver_event(config, event, arrival, occasion, deadline, entry).await
        }
        Err(rejection) => Err(Problem::Rejected(rejection.clone())),
    };
    match result {
        Err(problem) if occasion.allows_letters(config) && problem.becomes_letter() => {
            let (event, body) = (event.as_ref().ok(), &body.bytes);
            store_dead_letter(&notification, event, body, &problem, deadline, entry).await
        }
        result => result,
    }
}

/// Delivers the event of a notification, a replay or a sample. After a delivery, its type is registered in the
/// background.
pub async fn deliver_event(
    config: &Config,
    event: &Event<'_>,
    arrival: &Arrival,
    occasion: Occasion,
    deadline: Deadline,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    entry.set_event(&event.project, &event.id);
    entry.event_type = Some(event.event_type.to_string());
    let trace = Trace::of_event(entry.trace.take(), &arrival.attributes, &mut host::random());
    let trace_headers = entry.trace.insert(trace).headers();
    let times = [event.time, arrival.first_published()];
    let job = Job {
        config,
        event,
        published_at: times.into_iter().flatten().min(),
        ordering_key: arrival.ordering_key.as_deref(),
        occasion,
        trace_headers: &trace_headers,
        deadline,
    };
    let (result, facts) = delivery::deliver(job).await;
    entry.attempts = facts.posts;
    entry.left_unknown = facts.left_unknown;
    if let Some(id) = &facts.svix_message_id {
        entry.svix_message_id = Some(id.clone());
    }
    if let Ok(Success::Delivered { .. }) = &result {
        registration::make_known(config, &event.event_type);
    }
    result
}

/// Keeps a notification as a dead letter, unless the record shows by now that none is needed. Fails with `Held` if the
/// sender must keep a held event. `event` is `None` if it is invalid.
async fn store_dead_letter(
    notification: &Notification<'_>,
    event: Option<&Event<'_>>,
    body: &[u8],
    problem: &Problem,
    deadline: Deadline,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let name = Record::name(&notification.record_key(event));
    // Nothing has looked for the record of an invalid event yet. For a valid one, a concurrent delivery may have got
    // further.
    let found = storage::find(&name, deadline.time_to_store()).await?;
    if let Some(success) = delivery::answer_by_record(found.record(), event, true).await? {
        return Ok(success);
    }
    // A hold comes before any lookup, so Svix may have the event, or get it still. Then the sender keeps it.
    let may_be_sent = match &found {
        Found::Nothing => false,
        // A later version may have delivered it, or the record was damaged after that.
        Found::Unreadable(_) => true,
        // An earlier post may still arrive, and a letter would replace the record of it.
        Found::Record(record) => matches!(&**record, Record::Unknown(record)
            if may_be_at_work(record, deadline.length, clock::now())),
    };
    if *problem == Problem::Held && may_be_sent {
        return Err(Problem::Held);
    }
    let undelivered = Undelivered {
        record_name: &name,
        notification,
        event,
        body,
        reason: problem.row().name,
        problem: problem.document(),
        lost_message_id: found.record().and_then(Record::lost_message_id),
    };
    let number = ledger::keep(undelivered, deadline).await?;
    entry.set_reason(problem);
    Ok(Success::DeadLettered { number, differs: false })
}
