//! A request as the fake received it, kept for tests.

use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::refusal::{Refusal, Violation};

/// A request to the API, answered or not.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    pub method: Method,
    /// The path with the query, as it was on the wire.
    pub path: String,
    /// All headers, credentials included.
    pub headers: HeaderMap,
    /// The body; empty if it was too large.
    pub body: Bytes,
    /// Whether the body was above the body limit.
    pub(crate) too_large: bool,
    /// When the whole request had been read, by the fake's clock.
    pub at: SystemTime,
}

impl ReceivedRequest {
    /// A header; `None` if it is missing or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The key under which a successful reply is kept. Only a POST has one.
    pub(crate) fn idempotency_key(&self) -> Option<&str> {
        let key = self.header("idempotency-key")?;
        (self.method == Method::POST).then_some(key)
    }

    /// A parameter of the query, not decoded.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.path.split_once('?')?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(known, value)| (known == name).then_some(value))
    }

    /// A parameter that is true or false, and `default` if it is missing.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, Refusal> {
        let value = self.query(name).map(str::parse);
        value.unwrap_or(Ok(default)).map_err(|_| Refusal::QueryInvalid)
    }

    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        if self.too_large {
            return Err(Refusal::TooLarge);
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| Refusal::Invalid(vec![Violation::unreadable(&["body"], &error)]))
    }
}

/// Reads a request's body; `None` if it is longer than `limit`.
///
/// The rest of a body that is too long is read and dropped. If the connection were closed while the
/// client still writes, a reset could reach the client before the 413.
pub(crate) async fn read_body(mut body: Incoming, limit: usize) -> hyper::Result<Option<Bytes>> {
    let mut kept = Some(BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        kept = kept.filter(|kept| kept.len() + data.len() <= limit);
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(&data);
        }
    }
    Ok(kept.map(BytesMut::freeze))
}
