//! Everything that can go wrong with a request, and what is particular to one occurrence.
//!
//! A problem is answered with `application/problem+json` (RFC 9457), unless `intake` keeps the event as a dead letter.
//! [`super::table`] says with which status, and whether the sender should come back; nothing else decides that.

use std::borrow::Cow;
use std::slice;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::route::NoRoute;
use super::table::{self, Retry, Row};
use crate::auth::Denial;
use crate::config::load::Unusable;
use crate::event::rejection::{MAX_DEPTH, Rejection};
use crate::host;
use crate::host::http::Unread;
use crate::identifier;
use crate::svix::gate::Reason;
use crate::svix::{self, Cause, Misconfiguration, Refusal, retry};
use crate::violation::Violation;

/// The prefix of every `type`.
const TYPE: &str = "urn:svix-relay:problem:";

/// When to come back, in seconds: if the trouble passes by itself, and if an operator has to act.
const SOON: u64 = 5;
const LATER: u64 = 60;
/// The upper bound of the wait that a sender is asked for, in seconds. Svix may ask for more.
const LONGEST: u64 = 3_600;

/// Why a request was not fulfilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A problem of which the table says everything.
    Plain(&'static Row),
    /// Nothing is found at this path, or not with this method.
    NoRoute(NoRoute),
    /// The sender or the operator is not let in.
    Denied(Denial),
    /// The query of a request breaks a rule.
    InvalidQuery(Violation),
    /// The body or the path of an operator's request breaks a rule.
    InvalidRequest(Vec<Violation>),
    /// The event is larger than so many bytes.
    BodyTooLarge(usize),
    /// The notification holds no valid event.
    Rejected(Rejection),
    /// Svix did not fulfil the request.
    Svix(svix::Error),
    /// Svix shows no message of the event, and must not be asked to store one: an earlier post may still arrive.
    StillUnknown,
    /// An operator holds the project's events.
    Held,
    /// There is no valid configuration.
    Unconfigured(Unusable),
    /// The key-value store failed or didn't answer.
    StoreFailing(host::Error),
}

impl From<&'static Row> for Problem {
    fn from(row: &'static Row) -> Self {
        Self::Plain(row)
    }
}

impl From<host::Error> for Problem {
    fn from(error: host::Error) -> Self {
        Self::StoreFailing(error)
    }
}

impl From<svix::Error> for Problem {
    fn from(error: svix::Error) -> Self {
        Self::Svix(error)
    }
}

impl From<Denial> for Problem {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<Unusable> for Problem {
    fn from(unusable: Unusable) -> Self {
        Self::Unconfigured(unusable)
    }
}

impl From<Unread> for Problem {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge(limit) => Self::BodyTooLarge(limit),
            Unread::NoRoom => table::OVERLOADED.into(),
            Unread::Incomplete => table::INCOMPLETE_BODY.into(),
            Unread::TooSlow => table::SLOW_BODY.into(),
        }
    }
}

impl From<Violation> for Problem {
    fn from(violation: Violation) -> Self {
        Self::InvalidQuery(violation)
    }
}

impl Problem {
    /// Of a request with one field that breaks a rule.
    pub fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::InvalidRequest(vec![Violation::new(field, reason)])
    }

    /// How the problem is answered.
    pub fn row(&self) -> &'static Row {
        match self {
            Self::Plain(row) => row,
            Self::NoRoute(NoRoute::NotFound) | Self::Denied(Denial::NoOperators) => {
                table::NOT_FOUND
            }
            Self::NoRoute(NoRoute::MethodNotAllowed(_)) => table::METHOD_NOT_ALLOWED,
            Self::Denied(Denial::Operator) => table::UNAUTHORIZED,
            Self::Denied(Denial::ReadOnly) => table::READ_ONLY,
            Self::Denied(Denial::Sender(_)) => table::UNAUTHENTICATED,
            Self::Denied(Denial::Report(_)) => table::NOT_SIGNED,
            Self::Denied(Denial::KeysUnavailable(_)) => table::KEYS_UNAVAILABLE,
            Self::InvalidQuery(_) => table::INVALID_QUERY,
            Self::InvalidRequest(_) => table::INVALID_REQUEST,
            Self::BodyTooLarge(_) => table::BODY_TOO_LARGE,
            Self::Rejected(rejection) => match rejection {
                Rejection::NotUtf8 => table::NOT_UTF8,
                Rejection::NotJson(_) => table::NOT_JSON,
                Rejection::NotBase64 => table::NOT_BASE64,
                Rejection::Encoded(_) => table::CONTENT_ENCODED,
                Rejection::BinaryMode => table::BINARY_CLOUD_EVENT,
                Rejection::TooDeep => table::TOO_DEEP,
                Rejection::Invalid(_) => table::INVALID_EVENT,
            },
            Self::StillUnknown => table::SVIX_UNAVAILABLE,
            Self::Held => table::HELD,
            Self::Svix(svix::Error::Refused(_)) => table::REFUSED_BY_SVIX,
            Self::Svix(svix::Error::Unavailable { cause, .. }) => match cause {
                Cause::RateLimited | Cause::Gate(Reason::RateLimited) => table::RATE_LIMITED,
                Cause::NotSvix(_) | Cause::UnknownError(_) | Cause::NoSuchPath => {
                    table::UNEXPECTED_STATUS
                }
                _ => table::SVIX_UNAVAILABLE,
            },
            Self::Svix(svix::Error::ApplicationMissing) => table::APPLICATION_MISSING,
            Self::Svix(svix::Error::Misconfigured(what)) => match what {
                Misconfiguration::TokenRefused(_) => table::TOKEN_REFUSED,
                Misconfiguration::OutboundDenied => table::OUTBOUND_DENIED,
            },
            Self::Unconfigured(Unusable::Invalid(_)) => table::INVALID_CONFIGURATION,
            Self::Unconfigured(Unusable::Unreadable(_)) => table::UNREADABLE_CONFIGURATION,
            Self::StoreFailing(_) => table::STORE_FAILING,
        }
    }

    /// After how many seconds to come back. `None` if that alone gains nothing.
    pub fn retry_after(&self) -> Option<u64> {
        match self.row().retry {
            Retry::Never => None,
            Retry::Soon => Some(SOON),
            Retry::Later => Some(LATER),
            Retry::Asked => {
                let Self::Svix(svix::Error::Unavailable { retry_after, .. }) = self else {
                    return Some(SOON);
                };
                let asked = retry_after.map(retry::whole_seconds);
                // Not 0: a sender that hears of a failure should not be back at once.
                Some(asked.map_or(SOON, |seconds| seconds.clamp(1, LONGEST)))
            }
        }
    }

    /// Whether the sender gains nothing by coming back.
    pub fn is_final(&self) -> bool {
        self.row().retry == Retry::Never
    }

    /// Whether Pub/Sub's event becomes a dead letter, if its body arrived and letters are kept.
    pub fn becomes_letter(&self) -> bool {
        self.is_final() || *self == Self::Held
    }

    /// The fields that break a rule.
    fn violations(&self) -> &[Violation] {
        match self {
            Self::InvalidQuery(violation) => slice::from_ref(violation),
            Self::InvalidRequest(violations)
            | Self::Rejected(Rejection::Invalid(violations))
            | Self::Unconfigured(Unusable::Invalid(violations)) => violations,
            _ => &[],
        }
    }

    /// The particulars of this occurrence, for people. Holds neither payload nor secret.
    pub fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::NoRoute(NoRoute::MethodNotAllowed(allow)) => format!("allowed: {allow}").into(),
            _ if !self.violations().is_empty() => listed(self.violations()).into(),
            Self::BodyTooLarge(limit) => format!("at most {limit} bytes are taken").into(),
            Self::Rejected(Rejection::NotJson(reason)) => reason.clone().into(),
            Self::Rejected(Rejection::Encoded(encoding)) => {
                format!("its encoding is {encoding}; send the JSON as it is").into()
            }
            Self::Rejected(Rejection::TooDeep) => {
                format!("an event may have at most {MAX_DEPTH} levels").into()
            }
            Self::Svix(svix::Error::Refused(refusal)) => words_of(refusal).into(),
            Self::Svix(svix::Error::Unavailable { cause, .. }) => detail_of(cause),
            Self::StillUnknown => {
                "Svix knows or refuses the event, and shows no message of it: an earlier attempt may go on"
                    .into()
            }
            Self::Unconfigured(Unusable::Unreadable(error)) => {
                format!("the host gives no value of {}", error.what).into()
            }
            Self::StoreFailing(error) | Self::Denied(Denial::KeysUnavailable(error)) => {
                format!("failed to {}", error.what).into()
            }
            _ => self.row().detail.into(),
        }
    }

    /// This occurrence for the log. The log may repeat the host's words. Of Svix's, which may hold some of the
    /// payload, it repeats only a code that is a plain name.
    pub fn logged(&self) -> String {
        match self {
            Self::Unconfigured(Unusable::Unreadable(error))
            | Self::StoreFailing(error)
            | Self::Denied(Denial::KeysUnavailable(error)) => {
                format!("{}: {}", self.detail(), error.reason)
            }
            Self::Denied(Denial::Sender(flaw) | Denial::Report(flaw)) => flaw.logged().to_owned(),
            Self::Svix(svix::Error::Unavailable {
                cause:
                    Cause::Connection(reason) | Cause::Unreachable(reason) | Cause::NotSent(reason),
                ..
            }) => format!("{}: {reason}", self.detail()),
            Self::Svix(
                svix::Error::Refused(refusal)
                | svix::Error::Unavailable { cause: Cause::UnknownError(refusal), .. },
            ) => named(refusal),
            Self::Svix(svix::Error::Misconfigured(Misconfiguration::TokenRefused(refusal))) => {
                format!("{}: {}", named(refusal), self.detail())
            }
            _ => self.detail().into_owned(),
        }
    }

    /// The body of the answer: a problem document.
    pub fn document(&self) -> Box<RawValue> {
        let row = self.row();
        let svix = match self {
            Self::Svix(svix::Error::Refused(refusal)) => Some(refusal),
            _ => None,
        };
        let document = Document {
            r#type: format!("{TYPE}{}", row.name),
            title: row.title,
            status: row.status,
            detail: self.detail(),
            retryable: !self.is_final(),
            errors: self.violations(),
            svix,
        };
        // The document is made of strings and numbers, so this can't fail.
        to_raw_value(&document).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
}

/// The status of a refusal, and its code if that is a plain name.
fn named(refusal: &Refusal) -> String {
    let is_name = |code: &&str| (1..=64).contains(&code.len()) && identifier::check(code).is_ok();
    let code = refusal.code.as_deref().filter(is_name);
    let code = code.unwrap_or("no code");
    format!("Svix answered {}, {code}", refusal.status)
}

/// A refusal in Svix's own words, for people.
fn words_of(refusal: &Refusal) -> String {
    match &refusal.detail {
        Some(detail) => format!("Svix answered {}: {detail}", refusal.status),
        None => format!("Svix answered {}", refusal.status),
    }
}

/// Why Svix has not answered, for people.
fn detail_of(cause: &Cause) -> Cow<'static, str> {
    match cause {
        Cause::RateLimited => "Svix answered 429".into(),
        Cause::Gate(_) => "the gate is closed: Svix is not asked for a while".into(),
        Cause::Status(status) => format!("Svix answered {status}").into(),
        Cause::NotSvix(status) => format!(
            "Svix's API gives no such answer ({status}): check what stands before Svix, and svix_url"
        )
        .into(),
        Cause::UnknownError(refusal) => words_of(refusal).into(),
        Cause::NoSuchPath => "no such path (404, no body): check svix_url".into(),
        Cause::UnreadableAnswer => "the answer of Svix can not be read".into(),
        Cause::OutOfTime => "no time was left for an attempt".into(),
        Cause::Timeout => "no answer of Svix in time".into(),
        Cause::Connection(_) => "the connection to Svix broke".into(),
        Cause::Unreachable(_) => "Svix can not be reached".into(),
        Cause::NotSent(_) => "no request can be sent from here".into(),
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: Cow<'static, str>,
    retryable: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Violation],
    #[serde(skip_serializing_if = "Option::is_none")]
    svix: Option<&'a Refusal>,
}

fn listed(violations: &[Violation]) -> String {
    let violations = violations.iter();
    let texts = violations.map(|Violation { field, reason }| format!("{field} {reason}"));
    texts.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::table::Severity;
    use super::*;
    use crate::auth::Flaw;
    use serde_json::json;
    use std::time::Duration;

    fn document(problem: &Problem) -> serde_json::Value {
        serde_json::from_str(problem.document().get()).expect("JSON")
    }

    fn unavailable(cause: Cause, retry_after: Option<Duration>) -> Problem {
        Problem::Svix(svix::Error::Unavailable { cause, retry_after })
    }

    #[test]
    fn is_a_problem_document_with_every_violation() {
        let problem = Problem::Rejected(Rejection::Invalid(vec![
            Violation::new("id", "is required"),
            Violation::new("type", "must be a string"),
        ]));
        assert_eq!(
            document(&problem),
            json!({
                "type": "urn:svix-relay:problem:invalid-event",
                "title": "The event is invalid",
                "status": 422,
                "detail": "id is required; type must be a string",
                "retryable": false,
                "errors": [
                    {"field": "id", "reason": "is required"},
                    {"field": "type", "reason": "must be a string"},
                ],
            })
        );
    }

    #[test]
    fn the_table_lacks_only_details_that_differ() {
        let rows = table::ROWS.iter().filter(|row| row.detail.is_empty());
        let names: Vec<_> = rows.map(|row| row.name).collect();
        let expected = "method-not-allowed keys-unavailable invalid-query invalid-request content-encoded \
            body-too-large not-json too-deep invalid-event refused-by-svix rate-limited svix-unavailable \
            unexpected-status invalid-configuration unreadable-configuration store-failing";
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn passes_on_the_reason_of_svix() {
        let problem = Problem::Svix(svix::Error::Refused(Refusal {
            status: 413,
            code: Some("payload_too_large".to_owned()),
            detail: Some("too large".to_owned()),
        }));
        let document = document(&problem);
        assert_eq!(document["status"], 422);
        assert_eq!(document["detail"], "Svix answered 413: too large");
        assert_eq!(problem.logged(), "Svix answered 413, payload_too_large");
        assert_eq!(
            document["svix"],
            json!({"status": 413, "code": "payload_too_large", "detail": "too large"})
        );
    }

    #[test]
    fn a_code_that_is_no_plain_name_stays_out_of_the_log() {
        let codes = ["a secret of the payload".to_owned(), "x".repeat(65), String::new()];
        for code in codes {
            let problem = Problem::Svix(svix::Error::Refused(Refusal {
                status: 422,
                code: Some(code),
                detail: None,
            }));
            assert_eq!(problem.logged(), "Svix answered 422, no code");
        }
    }

    #[test]
    fn passes_on_the_wait_that_svix_asks_for_within_bounds() {
        for (asked, expected) in [
            (None, 5),
            (Some(Duration::ZERO), 1),
            (Some(Duration::from_millis(1_001)), 2),
            (Some(Duration::from_secs(u64::MAX)), 3_600),
        ] {
            for cause in [Cause::RateLimited, Cause::Status(503)] {
                let answer = unavailable(cause, asked).retry_after();
                assert_eq!(answer, Some(expected), "{asked:?}");
            }
        }
    }

    #[test]
    fn only_a_rate_limit_is_a_429() {
        assert_eq!(unavailable(Cause::RateLimited, None).row().status, 429);
        for cause in [Cause::Status(500), Cause::UnreadableAnswer, Cause::OutOfTime, Cause::Timeout]
        {
            assert_eq!(unavailable(cause, None).row().status, 503);
        }
    }

    #[test]
    fn problems_for_operators_are_errors_and_retryable() {
        for problem in [
            Problem::Svix(svix::tests::token_refused()),
            Problem::Svix(svix::Error::Misconfigured(Misconfiguration::OutboundDenied)),
            Problem::Svix(Cause::NotSvix(302).into()),
            Problem::Unconfigured(Unusable::Invalid(vec![Violation::new(
                "svix_token",
                "is required",
            )])),
            Problem::Unconfigured(Unusable::Unreadable(host::Error {
                what: "svix_token",
                reason: "vault sealed".to_owned(),
            })),
            Problem::StoreFailing(host::Error {
                what: "write to the store",
                reason: "disk full".to_owned(),
            }),
            Problem::Denied(Denial::KeysUnavailable(host::Error {
                what: "fetch the keys",
                reason: "answered 500".to_owned(),
            })),
        ] {
            let row = problem.row();
            assert_eq!((row.status, row.severity), (503, Severity::Error));
            assert!(problem.retry_after().is_some());
            assert_eq!(document(&problem)["retryable"], true);
        }
    }

    #[test]
    fn which_check_failed_stays_inside() {
        let problem = Problem::Denied(Denial::Sender(Flaw::Audience));
        assert_eq!(problem.logged(), "aud is not pubsub_audience");
        let other = Problem::Denied(Denial::Sender(Flaw::Signature));
        assert_eq!(document(&problem), document(&other));
    }

    #[test]
    fn the_words_of_the_host_stay_inside() {
        let problem = Problem::StoreFailing(host::Error {
            what: "read from the store",
            reason: "redis://user:password@store refused".to_owned(),
        });
        assert_eq!(document(&problem)["detail"], "failed to read from the store");
        assert_eq!(
            problem.logged(),
            "failed to read from the store: redis://user:password@store refused"
        );
    }
}
