//! What can be scripted to go wrong with a request. Data only: `outcome` says what each one does.

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use serde::{Deserialize, Serialize};

/// What happens to one request: to create or to get a message, unless it is aimed at another kind.
///
/// As JSON: `{"fault":"status","status":429,"retryAfter":{"seconds":3}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "fault",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Fault {
    /// Nothing: the request is handled as usual. In a script, it lets one request through.
    None,
    /// An error with this status (500 if it is not a status that a server may send).
    Status {
        /// The status.
        status: u16,
        /// A `Retry-After` header.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
        /// Whether the request takes effect all the same. Its Idempotency-Key is forgotten, as
        /// only successful replies are replayed: the next attempt meets the eventId (409).
        #[serde(default)]
        stored: bool,
    },
    /// The request takes effect at once and is answered late.
    Delay {
        /// How late.
        millis: u64,
    },
    /// Never answered, and without effect.
    HangBeforeStoring,
    /// Takes effect and is never answered.
    HangAfterStoring,
    /// The connection is reset, without effect.
    ResetBeforeStoring,
    /// Takes effect, then the connection is reset.
    ResetAfterStoring,
    /// Takes effect; the reply breaks off in the middle of its body.
    TruncatedReply,
    /// Takes effect; the reply has the right status and a body that is not JSON.
    MalformedReply,
    /// Takes effect; what comes back is not HTTP.
    GarbageBytes,
    /// A 409 to a post that is not stored, while its application now exists: what the loser of
    /// two racing first posts to a new application sees. No fault for a GET.
    RaceToCreateApplication,
    /// Takes effect; the reply is valid JSON behind so many spaces that it is this long.
    OversizedReply {
        /// The length of the body.
        bytes: usize,
    },
    /// Takes effect; the head of the reply comes at once and the body in pieces.
    SlowBody {
        /// How long it takes until the last piece has come.
        millis: u64,
    },
    /// A 400 without effect whose detail repeats the Authorization header.
    EchoCredentials,
}

impl Fault {
    /// An error with `status`, without effect and without `Retry-After`.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Status {
            status,
            retry_after: None,
            stored: false,
        }
    }

    /// An error with `status` and a `Retry-After`, without effect.
    #[must_use]
    pub fn retry_after(status: u16, retry_after: RetryAfter) -> Self {
        Self::Status {
            status,
            retry_after: Some(retry_after),
            stored: false,
        }
    }
}

/// The value of a `Retry-After` header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RetryAfter {
    /// A number of seconds.
    Seconds(u64),
    /// An HTTP date this many seconds from now (rounded down to whole seconds, as HTTP does).
    Date(u64),
    /// Any text; left out if a header can't carry it.
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

        let stored = Fault::Status {
            status: 500,
            retry_after: None,
            stored: true,
        };
        let expected = [
            Fault::None,
            stored,
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
        assert_eq!(
            header(RetryAfter::Seconds(7)),
            Some("7".parse().expect("value"))
        );
        let date = "Thu, 01 Jan 1970 00:00:07 GMT".parse().expect("value");
        assert_eq!(header(RetryAfter::Date(7)), Some(date));
        assert!(header(RetryAfter::Date(u64::MAX)).is_some());
        assert_eq!(header(RetryAfter::Raw("a\nb".into())), None);
    }
}
