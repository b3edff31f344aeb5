//! One request, from its first byte to its reply: reads it, has it fulfilled, answers it and leaves
//! one line about it. What each problem is answered with is decided elsewhere.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use spin_sdk::wasip3::http::types::{Method, Request, Response};

use crate::auth;
use crate::config::Config;
use crate::console;
use crate::dead_letter::{self, DeadLetter};
use crate::delivery::{self, Order};
use crate::event;
use crate::gate::Standing;
use crate::host::{self, Stopwatch};
use crate::letters;
use crate::log::{Change, Entry};
use crate::notification::{Notification, PushHeaders, Source, is_json_media_type};
use crate::openapi;
use crate::operator;
use crate::problem::Problem;
use crate::record::{self, DeadLettered, Record};
use crate::reply::{Reply, Success, json};
use crate::route::{NoRoute, Route};
use crate::svix;
use crate::tally;
use crate::trace::Trace;
use crate::wire::{self, Headers, Unread};

/// The most bytes that Pub/Sub takes as one message.
const LARGEST_PUBSUB_MESSAGE: usize = 10_000_000;

/// Handles one request; whatever happens, there is a reply.
pub async fn handle(request: Request) -> Response {
    let stopwatch = Stopwatch::start();
    let mut entry = Entry::default();
    let result = fulfil(request, stopwatch, &mut entry).await;
    // What comes every few seconds and has nothing to tell leaves no line.
    if !result.as_ref().is_ok_and(Success::is_routine) {
        entry.result(&result);
        log(entry, stopwatch);
    }
    wire::respond(match &result {
        Ok(success) => Reply::from(success),
        Err(problem) => Reply::from(problem),
    })
}

/// Leaves the line, and counts what it says of a notification.
pub fn log(entry: Entry, stopwatch: Stopwatch) {
    let (took, now) = (stopwatch.elapsed(), host::now());
    if entry.notification {
        tally::count(|counts| {
            counts.notification(entry.counted_project(), entry.outcome(), took, now);
            if entry.left_unknown {
                counts.left_unknown();
            }
        });
    }
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    host::print(&entry.line(record::rfc3339(now), milliseconds));
}

async fn fulfil(
    request: Request,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let path = request.get_path_with_query().unwrap_or_default();
    let route = Route::of(method(&request.get_method()), &path).map_err(Problem::NoRoute)?;
    let headers = Headers::of_request(&request);
    match route {
        Route::Notify => {
            entry.notification = true;
            let traceparent = headers.get("traceparent");
            entry.trace = Some(Trace::of(traceparent.as_deref(), &mut host::random()));
            notify(request, &headers, stopwatch, entry).await
        }
        Route::Lookup { project, event_id } => {
            let authorization = headers.get("authorization");
            auth::reader(host::config().await?, authorization.as_deref())?;
            look_up(&project, &event_id, entry).await
        }
        Route::Health => Ok(Success::Probe(json(&Health { status: "alive" }))),
        Route::Ready => ready().await,
        Route::OpenApi => Ok(openapi::document()),
        Route::Console => {
            // Nobody could sign in without a token.
            let token = host::config().await?.admin_token.as_ref();
            token.ok_or(Problem::NoRoute(NoRoute::NotFound))?;
            Ok(console::page())
        }
        Route::Operator(operation) => {
            operator::fulfil(operation, request, &headers, stopwatch, entry).await
        }
    }
}

fn method(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Delete => "DELETE",
        // No route knows any other.
        _ => "",
    }
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Readiness {
    status: &'static str,
    ingest_auth: &'static str,
    gate: Standing,
}

async fn ready() -> Result<Success, Problem> {
    /// What this instance has answered last.
    static READY: AtomicBool = AtomicBool::new(true);
    let readiness = readiness().await;
    let ready = readiness.is_ok();
    if READY.swap(ready, Ordering::Relaxed) != ready {
        let change = match &readiness {
            Ok(_) => Change::ready(),
            Err(problem) => Change::not_ready(problem),
        };
        host::print(&change.line(record::rfc3339(host::now())));
    }
    Ok(Success::Probe(json(&readiness?)))
}

async fn readiness() -> Result<Readiness, Problem> {
    let config = host::config().await?;
    let gate = delivery::standing().await?;
    // A store that can be read but not written would let no event through.
    host::set("readyz", b"", host::STORE_TIMEOUT).await?;
    Ok(Readiness {
        status: "ready",
        ingest_auth: config.ingest.name(),
        gate,
    })
}

async fn look_up(project: &str, event_id: &str, entry: &mut Entry) -> Result<Success, Problem> {
    entry.event(project, event_id);
    // What is no project has no record, and could only be mistaken for another one's.
    event::identifier(project).map_err(|_| Problem::NoRecord)?;
    let name = Record::name(&svix::key(project, event_id));
    let bytes = host::get(&name, host::STORE_TIMEOUT).await?;
    let bytes = bytes.ok_or(Problem::NoRecord)?;
    Record::decode(&bytes).ok_or(Problem::NoRecord)?;
    Ok(Success::Document {
        name: "found",
        json: bytes,
    })
}

async fn notify(
    request: Request,
    headers: &Headers,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let config = host::config().await?;
    let authorization = headers.get("authorization");
    auth::notifier(config, authorization.as_deref(), stopwatch).await?;
    let content_type = headers.get("content-type");
    let message_id = headers.get("x-goog-pubsub-message-id").map(Cow::into_owned);
    let publish_time = message_id
        .as_ref()
        .and_then(|_| headers.get("x-goog-pubsub-publish-time"));
    let push = PushHeaders {
        publish_time: publish_time.map(Cow::into_owned),
        message_id,
    };
    // The sender of an unwrapped push can't choose the type of what it was given.
    if push.message_id.is_none() && !is_json_media_type(content_type.as_deref()) {
        return Err(Problem::UnsupportedMediaType);
    }
    let limit = largest_body(config);
    let body = read_body(config, request, headers, limit, stopwatch).await;
    let body = body.map_err(|problem| match problem {
        // To the sender, it is the event that is too large.
        Problem::BodyTooLarge(_) => Problem::BodyTooLarge(config.max_body_bytes),
        problem => problem,
    })?;

    let notification = Notification::read(&body, push);
    entry.delivery(&notification.delivery);
    entry.hints(notification.hints());
    let keep_dead_letters =
        config.keep_dead_letters && notification.delivery.source != Source::Direct;
    match relay(config, &notification, keep_dead_letters, stopwatch, entry).await {
        Err(problem) if problem.is_final() && keep_dead_letters => {
            let time = stopwatch.time_to_store(config.retry.budget);
            keep(&notification, &body, &problem, time, entry).await
        }
        result => result,
    }
}

/// Reads a body of at most `limit` bytes, for as long as the budget lasts.
pub async fn read_body(
    config: &Config,
    request: Request,
    headers: &Headers,
    limit: usize,
    stopwatch: Stopwatch,
) -> Result<Vec<u8>, Problem> {
    let remaining = stopwatch.remaining(config.retry.budget);
    let read = wire::read_request(request, headers.content_length(), limit);
    match wire::timeout(host::nanoseconds(remaining), read).await {
        Some(Ok(body)) => Ok(body),
        Some(Err(Unread::TooLarge)) => Err(Problem::BodyTooLarge(limit)),
        Some(Err(Unread::Incomplete)) => Err(Problem::IncompleteBody),
        None => Err(Problem::SlowBody),
    }
}

/// The largest body that is read to its end, in bytes: base64 makes an event a third larger, and
/// Pub/Sub's attributes and names come on top.
///
/// What is too large for the relay but may have come from Pub/Sub has to be read all the same: only
/// a dead letter keeps it from coming again.
fn largest_body(config: &Config) -> usize {
    let event = if config.keep_dead_letters {
        config.max_body_bytes.max(LARGEST_PUBSUB_MESSAGE)
    } else {
        config.max_body_bytes
    };
    event + event / 3 + 64 * 1024
}

/// Delivers the event of a notification.
pub async fn relay(
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
    let times = [event.time, notification.delivery.publish_time];
    let order = Order {
        config,
        event: &event,
        published: times.into_iter().flatten().min(),
        accept_dead_letter,
        stopwatch,
    };
    delivery::deliver(order, entry).await
}

/// Keeps what can never be delivered as a dead letter, once.
async fn keep(
    notification: &Notification<'_>,
    body: &[u8],
    problem: &Problem,
    time: Duration,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let event = notification.event().ok();
    let key = match &event {
        Some(event) => svix::key(&event.project, &event.id),
        None => svix::identity_key(notification.identity()),
    };
    let name = Record::name(&key);
    // The same may have come before, or another delivery of it may have got further just now.
    match delivery::read(&name, time).await? {
        Some(Record::DeadLettered(record)) => {
            if let Some(known) = letters::known(&name, &record).await? {
                return Ok(known);
            }
        }
        Some(Record::Delivered(record)) => return Ok(Success::Duplicate(record)),
        Some(Record::Unknown(_)) | None => {}
    }
    let dead_letter = host::increment(dead_letter::COUNTER, 1)?;
    let mut letter = DeadLetter::new(name.clone(), notification, problem, body, host::now());
    letter.number = dead_letter;
    let record = Record::DeadLettered(DeadLettered {
        dead_letter,
        discarded_at: None,
    });
    // Before they are: a failure may leave them there. Should the record come to point at another
    // letter, written at the same time, nothing else would lead to this one.
    tally::written(&name, Some(dead_letter));
    let values = [
        (DeadLetter::name(dead_letter), letter.encode()),
        (name, record.encode()),
    ];
    host::set_many("write the dead letter", &values)?;
    let [_, (record, _)] = &values;
    letters::opened(record);
    entry.reason(problem);
    Ok(Success::DeadLettered(dead_letter))
}
