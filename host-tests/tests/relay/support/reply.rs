//! One request over a connection, and its reply.

use std::convert::Infallible;
use std::fmt::Display;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

/// Sends one request over `io`; `None` if the connection breaks before the end of the reply.
pub async fn send<I>(io: I, mut request: Request<Body>) -> Option<Reply>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let host = HeaderValue::from_static("relay.test");
    request.headers_mut().entry(HOST).or_insert(host);
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.ok()?;
    tokio::spawn(connection);
    Reply::read(sender.send_request(request).await.ok()?).await
}

pub type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

pub fn full(bytes: Bytes) -> Body {
    let never = |never: Infallible| match never {};
    Full::new(bytes).map_err(never).boxed_unsync()
}

pub fn notification(body: Body) -> Request<Body> {
    Request::post("/notifications")
        .header("content-type", "application/json")
        .body(body)
        .expect("a valid request")
}

/// The relay's reply.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub(super) async fn read<B: hyper::body::Body>(reply: Response<B>) -> Option<Self> {
        let (head, body) = reply.into_parts();
        Some(Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await.ok()?.to_bytes(),
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("UTF-8")
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The same reply, which must be 200.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text());
        self
    }

    /// Checks what became of the event.
    #[track_caller]
    pub fn assert_became(&self, status: &str) {
        assert_eq!(self.json()["status"], status, "{}", self.text());
    }

    /// Checks that the event is kept as the dead letter with this number.
    #[track_caller]
    pub fn assert_kept_as(&self, number: u64) {
        let expected = json!({"status": "dead-lettered", "deadLetter": number});
        assert_eq!(self.json(), expected);
    }

    /// Checks that the reply is a problem that no retry mends.
    #[track_caller]
    pub fn assert_final_problem(&self, status: u16, name: &str) {
        self.assert_problem(status, name, false);
        assert_eq!(self.header("retry-after"), None);
    }

    /// Checks that the reply is a problem that passes. Returns the seconds of its `Retry-After`.
    #[track_caller]
    pub fn assert_retryable_problem(&self, status: u16, name: &str) -> u64 {
        self.assert_problem(status, name, true);
        let wait = self.header("retry-after").expect("a Retry-After");
        wait.parse().expect("whole seconds")
    }

    /// Checks that this request is refused as invalid, for these reasons of these fields.
    #[track_caller]
    pub fn assert_invalid(&self, request: impl Display, errors: &[(&str, &str)]) {
        self.assert_final_problem(422, "invalid-request");
        self.assert_errors(request, errors);
    }

    /// Checks which fields the problem of this request names, and why.
    #[track_caller]
    pub fn assert_errors(&self, request: impl Display, errors: &[(&str, &str)]) {
        let errors = errors.iter();
        let errors = errors.map(|(field, reason)| json!({"field": field, "reason": reason}));
        let expected: Vec<_> = errors.collect();
        assert_eq!(self.json()["errors"], json!(expected), "{request}");
    }

    #[track_caller]
    fn assert_problem(&self, status: u16, name: &str, retryable: bool) {
        let text = self.text();
        assert_eq!(self.status, status, "{text}");
        let content_type = self.header("content-type");
        assert_eq!(content_type, Some("application/problem+json"));
        self.assert_length();
        let document = self.json();
        let kind = format!("urn:svix-relay:problem:{name}");
        let expected = json!({"type": kind, "status": status, "retryable": retryable});
        assert_fields(&document, &expected);
        for told in ["title", "detail"] {
            let told = document[told].as_str().unwrap_or_default();
            assert_ne!(told, "", "{text}");
        }
    }

    /// Checks that the reply announces the length of its body.
    #[track_caller]
    pub fn assert_length(&self) {
        let length = self.body.len().to_string();
        assert_eq!(self.header("content-length"), Some(&length[..]));
    }
}

/// Checks that these fields have these values, among others; a missing one counts as null.
#[track_caller]
pub fn assert_fields(value: &Value, expected: &Value) {
    for (name, expected) in expected.as_object().expect("fields") {
        assert_eq!(value[name], *expected, "{name} of {value}");
    }
}

/// Checks that a text holds another.
#[track_caller]
pub fn assert_contains(text: &str, part: &str) {
    assert!(text.contains(part), "no {part} in {text}");
}
