//! Everything that can go wrong with a request, and the one table of how it is answered.
//!
//! A problem is answered with `application/problem+json` (RFC 9457). Whether the sender should come
//! back, and when, is decided here and nowhere else.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::check::Check;
use crate::gate::Reason;
use crate::notification::{MAX_DEPTH, Rejection};
use crate::retry;
use crate::route::NoRoute;
use crate::svix::{Cause, Failure, Misconfiguration, Refusal, Setback, Trouble};
use crate::violation::Violation;

/// The prefix of every `type`.
const TYPE: &str = "urn:svix-relay:problem:";

/// When to come back if Svix didn't say: what passes by itself passes in seconds.
const SOON: u64 = 5;
/// When to come back if an operator has to act first.
const LATER: u64 = 60;
/// The longest wait that is asked of a sender, whatever Svix says.
const LONGEST: u64 = 3_600;

/// Why a request was not fulfilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Nothing is found at this path, or not with this method.
    NoRoute(NoRoute),
    /// No record exists of the event that was asked for.
    NoRecord,
    /// No dead letter has this number.
    NoDeadLetter,
    /// The operator's token is missing or wrong.
    Unauthorized,
    /// Who posts is not who may, by the check that failed.
    Unauthenticated(Check),
    /// Who posts can't be known: Google's keys can't be fetched, and none are at hand.
    KeysUnavailable(HostError),
    /// The query of a request makes no sense.
    InvalidQuery(Violation),
    /// What an operator asks for makes no sense.
    InvalidRequest(Vec<Violation>),
    /// Svix has no application for the project that an operator asks about.
    NoApplication,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The event is larger than so many bytes.
    BodyTooLarge(usize),
    /// The sender took longer for the body than a whole notification may take.
    SlowBody,
    /// The sender broke off before the end of its body.
    IncompleteBody,
    /// The notification holds no valid event.
    Rejected(Rejection),
    /// Svix refuses the event for good.
    Refused(Refusal),
    /// Svix reports the event's id as taken, but not by this event.
    EventIdTaken,
    /// Svix didn't take the event in time.
    Unavailable(Trouble),
    /// No event can be delivered until an operator acts.
    Misconfigured(Misconfiguration),
    /// Variables are missing or invalid.
    InvalidConfiguration(Vec<Violation>),
    /// The host could not give the value of a variable.
    UnreadableConfiguration(HostError),
    /// The key-value store failed or didn't answer.
    StoreFailing(HostError),
}

/// A failure of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError {
    /// What failed: the variable that was asked for, or what was to be done.
    pub what: &'static str,
    /// The host's own words. For the log alone: who knows what a provider puts into them.
    pub reason: String,
}

/// How serious a problem is to those who run the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// As it should be.
    Info,
    /// Someone else's fault, or passing.
    Warning,
    /// Somebody has to act.
    Error,
}

/// How a problem is answered: a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The last part of the problem's `type`; stable.
    pub name: &'static str,
    /// The problem's `title`.
    pub title: &'static str,
    /// How serious it is.
    pub severity: Severity,
    /// After how many seconds to come back; `None`: never, the same request can't succeed.
    pub retry_after: Option<u64>,
}

impl Problem {
    /// The table.
    #[rustfmt::skip] // One problem, one line.
    pub fn answer(&self) -> Answer {
        use Misconfiguration as M;
        use NoRoute::{MethodNotAllowed, NotFound};
        use Rejection as R;
        use Severity::{Error, Info, Warning};
        const NEVER: Option<u64> = None;
        let (status, severity, retry_after, name, title) = match self {
            Self::NoRoute(NotFound)             => (404, Warning, NEVER, "not-found", "Nothing is here"),
            Self::NoRoute(MethodNotAllowed(_))  => (405, Warning, NEVER, "method-not-allowed", "Not with this method"),
            Self::NoRecord                      => (404, Info, NEVER, "no-record", "No record of this event"),
            Self::NoDeadLetter                  => (404, Info, NEVER, "no-dead-letter", "No such dead letter"),
            Self::Unauthorized                  => (401, Warning, NEVER, "unauthorized", "The operator's token is needed"),
            Self::Unauthenticated(_)            => (401, Warning, NEVER, "unauthenticated", "The sender is not known"),
            Self::KeysUnavailable(_)            => (503, Error, Some(SOON), "keys-unavailable", "The keys of the senders can not be fetched"),
            Self::InvalidQuery(_)               => (400, Warning, NEVER, "invalid-query", "The query is invalid"),
            Self::InvalidRequest(_)             => (422, Warning, NEVER, "invalid-request", "The request is invalid"),
            Self::NoApplication                 => (404, Info, NEVER, "no-application", "No application of this project"),
            Self::UnsupportedMediaType          => (415, Warning, NEVER, "unsupported-media-type", "The body must be JSON"),
            Self::BodyTooLarge(_)               => (413, Warning, NEVER, "body-too-large", "The body is too large"),
            Self::SlowBody                      => (408, Warning, Some(SOON), "slow-body", "The body came too slowly"),
            Self::IncompleteBody                => (400, Warning, Some(SOON), "incomplete-body", "The body ended too early"),
            Self::Rejected(R::NotUtf8)          => (400, Warning, NEVER, "not-utf8", "The event is not UTF-8"),
            Self::Rejected(R::NotJson(_))       => (400, Warning, NEVER, "not-json", "Not JSON"),
            Self::Rejected(R::NotBase64)        => (400, Warning, NEVER, "not-base64", "The message's data is not base64"),
            Self::Rejected(R::TooDeep)          => (422, Warning, NEVER, "too-deep", "The event is nested too deeply"),
            Self::Rejected(R::Invalid(_))       => (422, Warning, NEVER, "invalid-event", "The event is invalid"),
            Self::Refused(_)                    => (422, Warning, NEVER, "refused-by-svix", "Svix refuses the event"),
            Self::EventIdTaken                  => (422, Warning, NEVER, "event-id-taken", "The event's id is taken in Svix"),
            Self::Unavailable(trouble)          => match trouble.cause {
                Cause::RateLimited | Cause::Gate(Reason::RateLimited) => (429, Warning, Some(come_back(trouble)), "rate-limited", "Svix limits the rate"),
                _                               => (503, Warning, Some(come_back(trouble)), "svix-unavailable", "Svix is not available"),
            }
            Self::Misconfigured(M::TokenRefused)        => (503, Error, Some(LATER), "token-refused", "Svix refuses the token"),
            Self::Misconfigured(M::ApplicationMissing)  => (503, Error, Some(LATER), "application-missing", "Svix has no such application"),
            Self::Misconfigured(M::OutboundDenied)      => (503, Error, Some(LATER), "outbound-denied", "The host lets no request out to Svix"),
            Self::Misconfigured(M::UnexpectedStatus(_)) => (503, Error, Some(LATER), "unexpected-status", "The answer is none that Svix gives"),
            Self::InvalidConfiguration(_)       => (503, Error, Some(LATER), "invalid-configuration", "The configuration is invalid"),
            Self::UnreadableConfiguration(_)    => (503, Error, Some(SOON), "unreadable-configuration", "The configuration can not be read"),
            Self::StoreFailing(_)               => (503, Error, Some(SOON), "store-failing", "The key-value store is failing"),
        };
        Answer { status, name, title, severity, retry_after }
    }

    /// Whether the same request can never succeed.
    pub fn is_final(&self) -> bool {
        self.answer().retry_after.is_none()
    }

    /// What is particular to this occurrence, for people; never payload or secret.
    pub fn detail(&self) -> String {
        match self {
            Self::NoRoute(NoRoute::NotFound) => "no such path".to_owned(),
            Self::NoRoute(NoRoute::MethodNotAllowed(allow)) => format!("allowed: {allow}"),
            Self::NoRecord => {
                "it never came, is to come again, or was cut off: then Svix may have it".to_owned()
            }
            Self::NoDeadLetter => "never written, or discarded".to_owned(),
            Self::Unauthorized => "send authorization: Bearer and the admin_token".to_owned(),
            // The same whatever is wrong: which check failed is nothing to learn by trying.
            Self::Unauthenticated(_) => {
                "send authorization: Bearer and a token that ingest_auth accepts".to_owned()
            }
            Self::InvalidQuery(violation) => listed(std::slice::from_ref(violation)),
            Self::NoApplication => {
                "create it in Svix with the project as its uid, or set create_applications"
                    .to_owned()
            }
            Self::UnsupportedMediaType => {
                "send application/json or application/cloudevents+json, in UTF-8".to_owned()
            }
            Self::BodyTooLarge(limit) => format!("at most {limit} bytes are taken"),
            Self::SlowBody => "a notification must end within retry_budget_ms".to_owned(),
            Self::IncompleteBody => "the connection ended before the body did".to_owned(),
            Self::Rejected(rejection) => match rejection {
                Rejection::NotUtf8 => "the event's bytes are not UTF-8".to_owned(),
                Rejection::NotJson(reason) => reason.clone(),
                Rejection::NotBase64 => "message.data is not standard base64".to_owned(),
                Rejection::TooDeep => format!("an event may have at most {MAX_DEPTH} levels"),
                Rejection::Invalid(violations) => listed(violations),
            },
            Self::Refused(refusal) => match &refusal.detail {
                Some(detail) => format!("Svix answered {}: {detail}", refusal.status),
                None => format!("Svix answered {}", refusal.status),
            },
            Self::EventIdTaken => {
                "Svix answers 409, yet the project's application has no such message".to_owned()
            }
            Self::Unavailable(trouble) => match &trouble.cause {
                Cause::RateLimited => "Svix answered 429".to_owned(),
                Cause::Gate(_) => "Svix is left alone: the gate is closed".to_owned(),
                Cause::Status(status) => format!("Svix answered {status}"),
                Cause::UnreadableReply => "the reply of Svix can not be read".to_owned(),
                Cause::OutOfTime => "no time was left for an attempt".to_owned(),
                Cause::NoReply(Failure::Timeout) => "no reply of Svix in time".to_owned(),
                Cause::NoReply(Failure::Connection(_)) => "the connection to Svix broke".to_owned(),
                Cause::NoReply(Failure::Unreachable(_)) => "Svix can not be reached".to_owned(),
            },
            Self::Misconfigured(what) => match what {
                Misconfiguration::TokenRefused => {
                    "check svix_token, and that svix_url is of the same region".to_owned()
                }
                Misconfiguration::ApplicationMissing => {
                    "create the application, or set create_applications".to_owned()
                }
                Misconfiguration::OutboundDenied => {
                    "add the origin of Svix to allowed_outbound_hosts".to_owned()
                }
                Misconfiguration::UnexpectedStatus(status) => {
                    format!("check svix_url: it answered {status}")
                }
            },
            Self::InvalidRequest(violations) | Self::InvalidConfiguration(violations) => {
                listed(violations)
            }
            Self::UnreadableConfiguration(error) => {
                format!("the host gives no value of {}", error.what)
            }
            Self::StoreFailing(error) | Self::KeysUnavailable(error) => {
                format!("failed to {}", error.what)
            }
        }
    }

    /// What the log says of this occurrence. It may repeat the host's words, and may not repeat
    /// Svix's, which may hold some of the payload.
    pub fn logged(&self) -> String {
        match self {
            Self::UnreadableConfiguration(error)
            | Self::StoreFailing(error)
            | Self::KeysUnavailable(error) => format!("{}: {}", self.detail(), error.reason),
            Self::Unauthenticated(check) => check.logged().to_owned(),
            Self::Unavailable(Trouble {
                cause: Cause::NoReply(Failure::Connection(reason) | Failure::Unreachable(reason)),
                ..
            }) => format!("{}: {reason}", self.detail()),
            Self::Refused(refusal) => {
                let code = refusal.code.as_deref().unwrap_or("no code");
                format!("Svix answered {}, {code}", refusal.status)
            }
            _ => self.detail(),
        }
    }

    /// The body of the answer: a problem document.
    pub fn document(&self) -> Box<RawValue> {
        let answer = self.answer();
        let (errors, svix) = match self {
            Self::Rejected(Rejection::Invalid(violations))
            | Self::InvalidRequest(violations)
            | Self::InvalidConfiguration(violations) => (violations.as_slice(), None),
            Self::InvalidQuery(violation) => (std::slice::from_ref(violation), None),
            Self::Refused(refusal) => (&[][..], Some(refusal)),
            _ => (&[][..], None),
        };
        let document = Document {
            r#type: format!("{TYPE}{}", answer.name),
            title: answer.title,
            status: answer.status,
            detail: self.detail(),
            retryable: answer.retry_after.is_some(),
            errors,
            svix,
        };
        // Strings and numbers only: this can't fail.
        to_raw_value(&document).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
}

impl From<Setback> for Problem {
    fn from(setback: Setback) -> Self {
        match setback {
            Setback::Retry(trouble) => Self::Unavailable(trouble),
            Setback::Refused(refusal) => Self::Refused(refusal),
            Setback::Misconfigured(what) => Self::Misconfigured(what),
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    retryable: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Violation],
    #[serde(skip_serializing_if = "Option::is_none")]
    svix: Option<&'a Refusal>,
}

fn come_back(trouble: &Trouble) -> u64 {
    let asked = trouble.retry_after.map(retry::whole_seconds);
    // Not 0: whoever hears of a failure should not be back at once.
    asked.map_or(SOON, |seconds| seconds.clamp(1, LONGEST))
}

fn listed(violations: &[Violation]) -> String {
    let mut text = String::new();
    for Violation { field, reason } in violations {
        let separator = if text.is_empty() { "" } else { "; " };
        let _ = write!(text, "{separator}{field} {reason}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    fn document(problem: &Problem) -> serde_json::Value {
        serde_json::from_str(problem.document().get()).expect("JSON")
    }

    fn unavailable(cause: Cause, retry_after: Option<Duration>) -> Problem {
        Problem::Unavailable(Trouble { cause, retry_after })
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
    fn passes_on_the_reason_of_svix() {
        let problem = Problem::Refused(Refusal {
            status: 413,
            code: Some("payload_too_large".to_owned()),
            detail: Some("too large".to_owned()),
        });
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
    fn passes_on_the_wait_that_svix_asks_for_within_bounds() {
        for (asked, expected) in [
            (None, 5),
            (Some(Duration::ZERO), 1),
            (Some(Duration::from_millis(1_001)), 2),
            (Some(Duration::from_secs(u64::MAX)), 3_600),
        ] {
            for cause in [Cause::RateLimited, Cause::Status(503)] {
                let answer = unavailable(cause, asked).answer();
                assert_eq!(answer.retry_after, Some(expected), "{asked:?}");
            }
        }
    }

    #[test]
    fn only_a_rate_limit_is_a_429() {
        assert_eq!(unavailable(Cause::RateLimited, None).answer().status, 429);
        for cause in [
            Cause::Status(500),
            Cause::UnreadableReply,
            Cause::OutOfTime,
            Cause::NoReply(Failure::Timeout),
        ] {
            assert_eq!(unavailable(cause, None).answer().status, 503);
        }
    }

    #[test]
    fn what_an_operator_must_mend_is_an_error_and_loses_no_event() {
        for problem in [
            Problem::Misconfigured(Misconfiguration::TokenRefused),
            Problem::Misconfigured(Misconfiguration::ApplicationMissing),
            Problem::Misconfigured(Misconfiguration::OutboundDenied),
            Problem::Misconfigured(Misconfiguration::UnexpectedStatus(302)),
            Problem::InvalidConfiguration(vec![Violation::new("svix_token", "is required")]),
            Problem::UnreadableConfiguration(HostError {
                what: "svix_token",
                reason: "vault sealed".to_owned(),
            }),
            Problem::StoreFailing(HostError {
                what: "write the record",
                reason: "disk full".to_owned(),
            }),
            Problem::KeysUnavailable(HostError {
                what: "fetch the keys",
                reason: "answered 500".to_owned(),
            }),
        ] {
            let answer = problem.answer();
            assert_eq!((answer.status, answer.severity), (503, Severity::Error));
            assert!(answer.retry_after.is_some());
            assert_eq!(document(&problem)["retryable"], true);
        }
    }

    #[test]
    fn which_check_failed_stays_inside() {
        let problem = Problem::Unauthenticated(Check::Audience);
        assert_eq!(problem.logged(), "aud is not pubsub_audience");
        let other = Problem::Unauthenticated(Check::Signature);
        assert_eq!(document(&problem), document(&other));
    }

    #[test]
    fn the_words_of_the_host_stay_inside() {
        let problem = Problem::StoreFailing(HostError {
            what: "read the record",
            reason: "redis://user:password@store refused".to_owned(),
        });
        assert_eq!(document(&problem)["detail"], "failed to read the record");
        assert_eq!(
            problem.logged(),
            "failed to read the record: redis://user:password@store refused"
        );
    }
}
