//! The faults that can be scripted, as data; `outcome` carries them out.

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use serde::{Deserialize, Serialize};

/// The fate of one request: to create or to get a message, unless another target is given.
///
/// As JSON: `{"fault":"status","status":429,"retryAfter":{"seconds":3}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Fault {
    /// The request is handled as usual. In a script, this lets one request through.
    None,
    /// An error with this status, or 500 if a server may not send this status.
    Status {
        status: u16,
        #[serde(default)]
        retry_after: Option<RetryAfter>,
        /// Whether the request takes effect all the same. As only successful replies are kept, its
        /// Idempotency-Key is forgotten, and the next attempt meets the eventId (409).
        #[serde(default)]
        stored: bool,
    },
    /// The request takes effect at once and is answered late.
    Delay { millis: u64 },
    /// The request is never answered and has no effect.
    HangBeforeStoring,
    /// The request takes effect and is never answered.
    HangAfterStoring,
    /// The connection is reset; the request has no effect.
    ResetBeforeStoring,
    /// The request takes effect, then the connection is reset.
    ResetAfterStoring,
    /// The request takes effect; the reply breaks off in the middle of its body.
    TruncatedReply,
    /// The request takes effect; the reply is chunked, and names a length besides, which is too short. HTTP ignores
    /// the length then.
    TwoLengths,
    /// The request takes effect; the reply has the right status and a body that isn't JSON.
    MalformedReply,
    /// The request takes effect; the reply isn't HTTP.
    GarbageBytes,
    /// A 409 to a post that isn't stored, while its application now exists. Of two first posts to a
    /// new application that race each other, the loser sees this. For a GET, this is
    /// [`Fault::None`].
    RaceToCreateApplication,
    /// The request takes effect; the reply is valid JSON behind so many spaces that it is this
    /// long.
    OversizedReply { bytes: usize },
    /// The request takes effect; the head of the reply comes at once and the body in pieces.
    SlowBody {
        /// The time until the last piece.
        millis: u64,
    },
    /// A 400 whose detail repeats the Authorization header; the request has no effect.
    EchoCredentials,
    /// Something between answers in Svix's place. The request has no effect.
    Page {
        status: u16,
        #[serde(default)]
        headers: Vec<(String, String)>,
        body: String,
    },
}

impl Fault {
    /// An error with `status`, without effect and without `Retry-After`.
    pub fn status(status: u16) -> Self {
        Self::Status { status, retry_after: None, stored: false }
    }

    /// An error with `status` to a request that takes effect all the same.
    pub fn status_after_storing(status: u16) -> Self {
        Self::Status { status, retry_after: None, stored: true }
    }

    /// The error page of a proxy or a firewall, with `status`.
    pub fn page(status: u16) -> Self {
        Self::Page {
            status,
            headers: vec![("content-type".to_owned(), "text/html".to_owned())],
            body: format!("<html><body><h1>{status}</h1></body></html>"),
        }
    }

    /// An error with `status` and a `Retry-After`, without effect.
    pub fn retry_after(status: u16, retry_after: RetryAfter) -> Self {
        Self::Status { status, retry_after: Some(retry_after), stored: false }
    }
}

/// The value of a `Retry-After` header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RetryAfter {
    Seconds(u64),
    /// An HTTP date this many seconds from now, rounded down to whole seconds.
    Date(u64),
    /// Any text. If a header can't carry it, the reply has no `Retry-After`.
    Raw(String),
}

impl RetryAfter {
    /// The header's value when it is `now`.
    pub(crate) fn header(&self, now: SystemTime) -> Option<HeaderValue> {
        // An HTTP date has four digits for the year.
        const CENTURY: Duration = Duration::from_hours(100 * 365 * 24);
        match self {
            Self::Seconds(seconds) => Some(HeaderValue::from(*seconds)),
            Self::Date(seconds) => {
                let date = now + Duration::from_secs(*seconds).min(CENTURY);
                HeaderValue::try_from(httpdate::fmt_http_date(date)).ok()
            }
            Self::Raw(text) => HeaderValue::try_from(text).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn can_be_written_as_json() {
        let text = r#"[
            {"fault": "none"},
            {"fault": "status", "status": 500, "stored": true},
            {"fault": "status", "status": 429, "retryAfter": {"date": 30}},
            {"fault": "resetAfterStoring"},
            {"fault": "slowBody", "millis": 20}
        ]"#;
        let faults: Vec<Fault> = serde_json::from_str(text).expect("faults");

        let expected = [
            Fault::None,
            Fault::status_after_storing(500),
            Fault::retry_after(429, RetryAfter::Date(30)),
            Fault::ResetAfterStoring,
            Fault::SlowBody { millis: 20 },
        ];
        assert_eq!(faults, expected);
    }

    #[test]
    fn retry_after_takes_any_number_and_any_text() {
        let now = SystemTime::UNIX_EPOCH;
        let header = |retry_after: RetryAfter| retry_after.header(now);
        assert_eq!(header(RetryAfter::Seconds(7)), Some("7".parse().expect("value")));
        let date = "Thu, 01 Jan 1970 00:00:07 GMT".parse().expect("value");
        assert_eq!(header(RetryAfter::Date(7)), Some(date));
        assert!(header(RetryAfter::Date(u64::MAX)).is_some());
        assert_eq!(header(RetryAfter::Raw("a\nb".into())), None);
    }
}
