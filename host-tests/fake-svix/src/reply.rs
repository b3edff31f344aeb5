//! Replies in the forms that Svix uses.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

pub(crate) type Reply = Response<Bytes>;

pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(body).expect("what the fake serialises has only string keys");
    let mut reply = Response::new(Bytes::from(body));
    *reply.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(CONTENT_TYPE, json);
    reply
}

pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::default();
    *reply.status_mut() = status;
    reply
}

/// An error in Svix's usual form.
pub(crate) fn error(status: StatusCode, code: &str, detail: &str) -> Reply {
    #[derive(Serialize)]
    struct Body<'a> {
        code: &'a str,
        detail: &'a str,
    }
    json(status, &Body { code, detail })
}
