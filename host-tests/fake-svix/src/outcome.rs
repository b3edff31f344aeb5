//! The outcome of a request that meets a fault: its effect, and the client's view. This module only
//! decides; `connection` acts.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{HeaderName, RETRY_AFTER};

use crate::call::Call;
use crate::fault::Fault;
use crate::refusal::{Refusal, Violation};
use crate::reply::{self, Reply};
use crate::store::Store;

/// The client's view of a request, and the delay before it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub after: Duration,
    pub then: Then,
}

#[derive(Debug)]
pub(crate) enum Then {
    Reply(Reply),
    /// A reply whose body comes in pieces over this time.
    Trickle(Reply, Duration),
    /// Silence, until the client gives up.
    Hang,
    Cut(Cut),
}

/// How a connection breaks.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    /// Reset, as far as the transport can.
    Reset,
    /// Closed after these bytes, which need not be HTTP.
    CloseAfter(Bytes),
}

/// The parts of a request that a fault may need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub now: SystemTime,
    pub authorization: Option<&'a str>,
    /// Identifies a request with an Idempotency-Key.
    pub fingerprint: Option<&'a str>,
    /// The application, if the request posts a message.
    pub posted_to: Option<&'a str>,
}

impl Outcome {
    pub fn reply(reply: Reply) -> Self {
        Self { after: Duration::ZERO, then: Then::Reply(reply) }
    }

    /// Executes a call that meets `fault`, unless the fault prevents that, and returns the outcome.
    pub fn of(fault: &Fault, call: &Call<'_>, store: &mut Store, context: Context<'_>) -> Self {
        let mut execute = || once(call, store, context, true);
        let mut after = Duration::ZERO;
        let then = match fault {
            Fault::None => Then::Reply(execute()),
            Fault::Status { status, retry_after, stored } => {
                if *stored {
                    once(call, store, context, false);
                }
                let mut reply = scripted(sendable(*status));
                let retry_after = retry_after.as_ref();
                if let Some(value) = retry_after.and_then(|wait| wait.header(context.now)) {
                    reply.headers_mut().insert(RETRY_AFTER, value);
                }
                Then::Reply(reply)
            }
            Fault::Delay { millis } => {
                after = Duration::from_millis(*millis);
                Then::Reply(execute())
            }
            Fault::HangBeforeStoring => Then::Hang,
            Fault::HangAfterStoring => {
                execute();
                Then::Hang
            }
            Fault::ResetBeforeStoring => Then::Cut(Cut::Reset),
            Fault::ResetAfterStoring => {
                execute();
                Then::Cut(Cut::Reset)
            }
            Fault::TruncatedReply => Then::Cut(Cut::CloseAfter(truncated(&execute()))),
            Fault::TwoLengths => Then::Cut(Cut::CloseAfter(with_two_lengths(&execute()))),
            Fault::MalformedReply => {
                let body = Bytes::from_static(b"<html>{\"id\": \"msg_");
                Then::Reply(execute().map(|_| body))
            }
            Fault::GarbageBytes => {
                execute();
                let garbage = b"\x16\x03\x01\x02\0\x01garbage, not HTTP\r\n\r\n";
                Then::Cut(Cut::CloseAfter(Bytes::from_static(garbage)))
            }
            Fault::RaceToCreateApplication => match context.posted_to {
                Some(app) => {
                    store.create_application(app);
                    Then::Reply(Refusal::Conflict.reply())
                }
                None => Then::Reply(execute()),
            },
            Fault::OversizedReply { bytes } => {
                Then::Reply(execute().map(|body| padded(&body, *bytes)))
            }
            Fault::SlowBody { millis } => Then::Trickle(execute(), Duration::from_millis(*millis)),
            Fault::EchoCredentials => {
                let header = context.authorization.unwrap_or_default();
                let detail = format!("Unexpected header: Authorization: {header}");
                let status = StatusCode::BAD_REQUEST;
                Then::Reply(reply::error(status, "generic_error", &detail))
            }
            Fault::Page { status, headers, body } => {
                Then::Reply(page(sendable(*status), headers, body))
            }
        };
        Self { after, then }
    }
}

/// Executes a call, unless a reply is kept under its Idempotency-Key. `keep_reply`: whether a success is kept.
fn once(call: &Call<'_>, store: &mut Store, context: Context<'_>, keep_reply: bool) -> Reply {
    let fingerprint = context.fingerprint;
    let kept = fingerprint.and_then(|known| store.replies.get(known, context.now));
    if let Some(kept) = kept {
        return kept.clone();
    }
    let reply = call(store, context.now).unwrap_or_else(|refusal| refusal.reply());
    if let Some(fingerprint) = fingerprint
        && keep_reply
        && reply.status().is_success()
    {
        store.replies.keep(fingerprint, reply.clone(), context.now);
    }
    reply
}

/// A reply of something between. A header that HTTP doesn't allow is left out.
fn page(status: StatusCode, headers: &[(String, String)], body: &str) -> Reply {
    let mut reply = Reply::new(Bytes::copy_from_slice(body.as_bytes()));
    *reply.status_mut() = status;
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
            reply.headers_mut().append(name, value);
        }
    }
    reply
}

/// The error for a scripted status, in the form that Svix gives to that status.
fn scripted(status: StatusCode) -> Reply {
    match status {
        StatusCode::UNAUTHORIZED => Refusal::Unauthenticated.reply(),
        StatusCode::NOT_FOUND => Refusal::ApplicationNotFound.reply(),
        StatusCode::CONFLICT => Refusal::Conflict.reply(),
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge.reply(),
        StatusCode::UNPROCESSABLE_ENTITY => {
            Refusal::Invalid(vec![Violation::value(&["body"], "Scripted.")]).reply()
        }
        StatusCode::INTERNAL_SERVER_ERROR => {
            reply::error(status, "server_error", "Internal Server Error")
        }
        _ => {
            let detail = status.canonical_reason().unwrap_or("Scripted");
            let code = detail.to_lowercase().replace([' ', '-', '\''], "_");
            reply::error(status, &code, detail)
        }
    }
}

/// The status, or 500 if a final reply can't have it.
fn sendable(status: u16) -> StatusCode {
    StatusCode::from_u16(status)
        .ok()
        .filter(|status| !status.is_informational())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The head of a reply, which announces the whole length, and half of its body.
fn truncated(reply: &Reply) -> Bytes {
    let body = reply.body();
    let head = format!(
        "HTTP/1.1 {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        reply.status(),
        body.len()
    );
    let mut bytes = BytesMut::from(head.as_bytes());
    bytes.extend_from_slice(&body[..body.len() / 2]);
    bytes.freeze()
}

/// A chunked reply whose head names a length, too: up to the first brace that closes, if it is an inner one.
fn with_two_lengths(reply: &Reply) -> Bytes {
    let body = reply.body();
    let closed = body.iter().position(|byte| *byte == b'}').map(|at| at + 1);
    let short = closed.filter(|short| *short < body.len()).unwrap_or(body.len() / 2);
    let head = format!(
        "HTTP/1.1 {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
        reply.status(),
        short,
        body.len()
    );
    [head.as_bytes(), body, b"\r\n0\r\n\r\n"].concat().into()
}

/// Pads before the JSON, so that a client that cuts the body off at some length gets spaces only.
fn padded(body: &Bytes, length: usize) -> Bytes {
    let mut bytes = vec![b' '; length.saturating_sub(body.len())];
    bytes.extend_from_slice(body);
    bytes.into()
}
