//! One request, from its first byte to its reply: the only file that does things, in the order in
//! which they happen. What each answer means and what each problem is answered with is decided
//! elsewhere.
//!
//! The order is the guarantee. The record is written after Svix has the message and before the
//! sender hears of it, so a crash at any point leaves either nothing (the sender sends again) or a
//! message without a record: then the same `Idempotency-Key`, or after it has expired the conflict
//! on the eventId, keep the next delivery from creating a second one.

use std::time::Duration;

use spin_sdk::wasip3::http::types::{ErrorCode, Method, Request, Response};

use crate::config::Config;
use crate::event::Event;
use crate::host::{self, Stopwatch};
use crate::log::Entry;
use crate::notification::{Notification, is_json_media_type};
use crate::problem::Problem;
use crate::record::Record;
use crate::reply::{Reply, Success};
use crate::retry::Retries;
use crate::route::Route;
use crate::svix::{self, Cause, Failure, Trouble, Verdict};
use crate::wire::{self, Call, Unread};

/// Svix's replies are small, as its payload is left out of them.
const MAX_REPLY: usize = 64 * 1024;

/// Handles one request; whatever happens, there is a reply.
pub async fn handle(request: Request) -> Response {
    let stopwatch = Stopwatch::start();
    let mut entry = Entry::default();
    let reply = match fulfil(request, stopwatch, &mut entry).await {
        // Probes come every few seconds and have nothing to tell.
        Ok(success @ (Success::Alive | Success::Ready)) => Reply::from(&success),
        Ok(success) => {
            entry.success(success.name());
            log(entry, stopwatch);
            Reply::from(&success)
        }
        Err(problem) => {
            entry.problem(&problem);
            log(entry, stopwatch);
            Reply::from(&problem)
        }
    };
    wire::respond(reply)
}

fn log(entry: Entry, stopwatch: Stopwatch) {
    let milliseconds = u64::try_from(stopwatch.elapsed().as_millis()).unwrap_or(u64::MAX);
    let time = crate::record::rfc3339(host::now());
    print!("{}", entry.line(time, milliseconds));
}

async fn fulfil(
    request: Request,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let path = request.get_path_with_query().unwrap_or_default();
    match Route::of(method(&request.get_method()), &path).map_err(Problem::NoRoute)? {
        Route::Notify => notify(request, stopwatch, entry).await,
        Route::Lookup { project, event_id } => {
            entry.event(&project, &event_id);
            let name = Record::name(&svix::key(&project, &event_id));
            let record = host::get(&name).await?;
            record
                .and_then(|bytes| Record::decode(&bytes))
                .map(Success::Found)
                .ok_or(Problem::NoRecord)
        }
        Route::Health => Ok(Success::Alive),
        Route::Ready => {
            host::config().await?;
            host::get("readyz").await?;
            Ok(Success::Ready)
        }
    }
}

fn method(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        // No route knows any other.
        _ => "",
    }
}

async fn notify(
    request: Request,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let config = host::config().await?;

    let headers = request.get_headers();
    let pubsub_message_id = wire::header(&headers, "x-goog-pubsub-message-id");
    let content_type = wire::header(&headers, "content-type");
    drop(headers);
    // The sender of an unwrapped push can't choose the type of what it was given.
    if pubsub_message_id.is_none() && !is_json_media_type(content_type.as_deref()) {
        return Err(Problem::UnsupportedMediaType);
    }
    let body = wire::read_request(request, config.max_body_bytes)
        .await
        .map_err(|unread| match unread {
            Unread::TooLarge => Problem::BodyTooLarge(config.max_body_bytes),
            Unread::Incomplete => Problem::IncompleteBody,
        })?;

    let notification = Notification::read(&body, pubsub_message_id);
    entry.delivery(&notification.delivery);
    let event = notification.event().map_err(Problem::Rejected)?;
    entry.event(&event.project, &event.id);
    entry.event_type(&event.event_type);

    let key = svix::key(&event.project, &event.id);
    let name = Record::name(&key);
    let known = host::get(&name).await?;
    if let Some(record) = known.as_deref().and_then(Record::decode) {
        entry.svix_message_id(&record.svix_message_id);
        return Ok(Success::Duplicate(record));
    }

    // Bytes that are no record stand where one was: Svix may know more.
    let first = match known {
        Some(_) => Step::LookUp,
        None => Step::Create,
    };
    let delivery = Delivery {
        config,
        event: &event,
        key: &key,
        stopwatch,
    };
    let message_id = delivery.run(first, entry).await?;
    entry.svix_message_id(&message_id);
    let attempts = entry.attempts;
    let record = Record::new(&event, message_id, attempts, host::now());
    host::set(&name, &record.encode()).await?;
    Ok(Success::Delivered { record, attempts })
}

/// What to ask of Svix next.
#[derive(Clone, Copy)]
enum Step {
    /// Create the message: an attempt.
    Create,
    /// Ask whether Svix has it.
    LookUp,
}

/// The delivery of one event to Svix, within the budget of one notification.
struct Delivery<'a> {
    config: &'a Config,
    event: &'a Event<'a>,
    key: &'a str,
    stopwatch: Stopwatch,
}

impl Delivery<'_> {
    /// Tries until Svix has the message, and returns its id; or until that is out of reach.
    async fn run(&self, first: Step, entry: &mut Entry) -> Result<String, Problem> {
        let mut retries = Retries::new(self.config.retry.clone(), host::random_u64());
        let request_id = format!("{:016x}", host::random_u64());
        let mut step = first;
        let mut conflicts = 0;
        loop {
            let verdict = match step {
                Step::Create => self.create(&request_id, entry).await,
                Step::LookUp => self.look_up(&request_id).await,
            };
            let trouble = match verdict {
                Verdict::Stored(message_id) => return Ok(message_id),
                Verdict::Conflict => {
                    conflicts += 1;
                    step = Step::LookUp;
                    continue;
                }
                Verdict::Absent => {
                    step = Step::Create;
                    match conflicts {
                        0 => continue,
                        // Two first messages of an application may have raced to create it.
                        1 => Trouble {
                            cause: Cause::UnresolvedConflict,
                            retry_after: None,
                        },
                        _ => return Err(Problem::EventIdTaken),
                    }
                }
                Verdict::Retry(trouble) => trouble,
                Verdict::Refused(refusal) => return Err(Problem::Refused(refusal)),
                Verdict::Misconfigured(what) => return Err(Problem::Misconfigured(what)),
            };
            match retries.next_wait(self.remaining(), trouble.retry_after) {
                Some(wait) => host::sleep(wait).await,
                None => return Err(Problem::Unavailable(trouble)),
            }
        }
    }

    async fn create(&self, request_id: &str, entry: &mut Entry) -> Verdict {
        let retry_count = entry.attempts;
        entry.attempts += 1;
        let path = svix::create_path(&self.event.project);
        let body = svix::message_body(self.event, self.config.create_applications);
        let mut headers = self.headers(request_id);
        headers.push(header("content-type", "application/json"));
        headers.push(header("idempotency-key", self.key));
        if retry_count > 0 {
            headers.push(header("svix-retry-count", &retry_count.to_string()));
        }
        let result = self.send(&path, headers, Some(body)).await;
        svix::classify_create(result, self.config.token.expose(), host::now())
    }

    async fn look_up(&self, request_id: &str) -> Verdict {
        let path = svix::lookup_path(&self.event.project, &svix::event_id(&self.event.id));
        let result = self.send(&path, self.headers(request_id), None).await;
        svix::classify_lookup(result, host::now())
    }

    fn headers(&self, request_id: &str) -> Vec<(String, Vec<u8>)> {
        vec![
            header(
                "authorization",
                &format!("Bearer {}", self.config.token.expose()),
            ),
            header("accept", "application/json"),
            header(
                "user-agent",
                concat!("svix-relay/", env!("CARGO_PKG_VERSION")),
            ),
            header("svix-req-id", request_id),
        ]
    }

    async fn send(
        &self,
        path: &str,
        headers: Vec<(String, Vec<u8>)>,
        body: Option<Vec<u8>>,
    ) -> Result<svix::Reply, Failure> {
        let call = Call {
            origin: &self.config.origin,
            path,
            headers,
            body,
        };
        let time = self.config.timeout.min(self.remaining());
        let exchange = wire::exchange(call, MAX_REPLY);
        match wire::timeout(host::nanoseconds(time), exchange).await {
            Some(Ok(answer)) => Ok(svix::Reply {
                status: answer.status,
                retry_after: answer.retry_after,
                body: answer.body,
            }),
            Some(Err(ErrorCode::HttpRequestDenied)) => Err(Failure::Denied),
            Some(Err(error)) => Err(Failure::Connection(error.to_string())),
            None => Err(Failure::Timeout),
        }
    }

    fn remaining(&self) -> Duration {
        let elapsed = self.stopwatch.elapsed();
        self.config.retry.budget.saturating_sub(elapsed)
    }
}

fn header(name: &str, value: &str) -> (String, Vec<u8>) {
    (name.to_owned(), value.as_bytes().to_vec())
}
