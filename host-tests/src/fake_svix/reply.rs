//! Replies in the shapes that Svix uses. Plain data: nothing here knows about connections.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use super::refusal::{Refusal, Violation};

/// A complete reply.
pub(super) type Reply = Response<Bytes>;

/// A reply with a JSON body.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(body).expect("what the fake serialises has only string keys");
    let mut reply = Response::new(Bytes::from(body));
    *reply.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(CONTENT_TYPE, json);
    reply
}

/// A reply without a body.
pub(super) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::default();
    *reply.status_mut() = status;
    reply
}

/// An error in Svix's usual form.
pub(super) fn error(status: StatusCode, code: &str, detail: &str) -> Reply {
    #[derive(Serialize)]
    struct Body<'a> {
        code: &'a str,
        detail: &'a str,
    }
    json(status, &Body { code, detail })
}

/// The error that a scripted status stands for, in the form Svix gives to that status.
pub(super) fn scripted(status: StatusCode) -> Reply {
    match status {
        StatusCode::UNAUTHORIZED => Refusal::Unauthenticated.reply(),
        StatusCode::NOT_FOUND => Refusal::ApplicationNotFound.reply(),
        StatusCode::CONFLICT => Refusal::Conflict.reply(),
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge.reply(),
        StatusCode::UNPROCESSABLE_ENTITY => {
            Refusal::Invalid(vec![Violation::value(&["body"], "Scripted.")]).reply()
        }
        StatusCode::INTERNAL_SERVER_ERROR => error(status, "server_error", "Internal Server Error"),
        _ => {
            let detail = status.canonical_reason().unwrap_or("Scripted");
            let code = detail.to_lowercase().replace([' ', '-', '\''], "_");
            error(status, &code, detail)
        }
    }
}
