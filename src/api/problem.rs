//! Everything that can go wrong with a request, and what is particular to one occurrence.
//!
//! A problem is answered with `application/problem+json` (RFC 9457), unless `intake` keeps the event as a dead letter.
//! [`super::table`] says with which status, and whether the sender should come back; nothing else decides that.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::route::NoRoute;
use super::table::{self, Retry, Row};
use crate::auth::Denial;
use crate::config::load::Unusable;
use crate::event;
use crate::event::rejection::{MAX_DEPTH, Rejection};
use crate::host;
use crate::host::http::Unread;
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
    /// Nothing is found at this path, or not with this method.
    NoRoute(NoRoute),
    /// No record exists of the event that was asked for.
    NoRecord,
    /// No dead letter has this number.
    NoDeadLetter,
    /// The audit has no finding with this id.
    NoFinding,
    /// Svix has no message of the event.
    NoMessage,
    /// The customer has no endpoint with this id.
    NoEndpoint,
    /// Svix sends nothing to the endpoint.
    EndpointDisabled,
    /// Only the hosted Svix does this.
    NotOffered,
    /// No project is set for the canary.
    NoCanary,
    /// Svix has an earlier canary, and has not sent its webhook.
    CanaryNotSent,
    /// No secret is set that could sign a project's token.
    NoProjectTokens,
    /// The sender or the operator is not let in.
    Denied(Denial),
    /// The query of a request breaks a rule.
    InvalidQuery(Violation),
    /// The body or the path of an operator's request breaks a rule.
    InvalidRequest(Vec<Violation>),
    /// Svix has no application for the project that an operator asks about.
    NoApplication,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The event is larger than so many bytes.
    BodyTooLarge(usize),
    /// Bodies of other requests fill the memory of this instance.
    Overloaded,
    /// The sender took longer for the body than a whole notification may take.
    SlowBody,
    /// The sender broke off before the end of its body.
    IncompleteBody,
    /// The notification holds no valid event.
    Rejected(Rejection),
    /// Svix did not fulfil the request.
    Svix(svix::Error),
    /// Svix reports the event's id as taken, but not by this event.
    EventIdTaken,
    /// Svix shows no message of the event, and must not be asked to store one: an earlier post may still arrive.
    StillUnknown,
    /// An operator holds the project's events.
    Held,
    /// There is no valid configuration.
    Unconfigured(Unusable),
    /// The key-value store failed or didn't answer.
    StoreFailing(host::Error),
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

impl Problem {
    /// Why a body was not read that may have `limit` bytes.
    pub fn of_unread(unread: Unread, limit: usize) -> Self {
        match unread {
            Unread::TooLarge => Self::BodyTooLarge(limit),
            Unread::NoRoom => Self::Overloaded,
            Unread::Incomplete => Self::IncompleteBody,
            Unread::TooSlow => Self::SlowBody,
        }
    }

    /// How the problem is answered.
    pub fn row(&self) -> &'static Row {
        match self {
            Self::NoRoute(NoRoute::NotFound) | Self::Denied(Denial::NoOperators) => {
                &table::NOT_FOUND
            }
            Self::NoRoute(NoRoute::MethodNotAllowed(_)) => &table::METHOD_NOT_ALLOWED,
            Self::NoRecord => &table::NO_RECORD,
            Self::NoDeadLetter => &table::NO_DEAD_LETTER,
            Self::NoFinding => &table::NO_FINDING,
            Self::NoMessage => &table::NO_MESSAGE,
            Self::NoEndpoint => &table::NO_ENDPOINT,
            Self::EndpointDisabled => &table::ENDPOINT_DISABLED,
            Self::NotOffered => &table::NOT_OFFERED,
            Self::NoCanary => &table::NO_CANARY,
            Self::CanaryNotSent => &table::CANARY_NOT_SENT,
            Self::NoProjectTokens => &table::NO_PROJECT_TOKENS,
            Self::Denied(Denial::Operator) => &table::UNAUTHORIZED,
            Self::Denied(Denial::ReadOnly) => &table::READ_ONLY,
            Self::Denied(Denial::Sender(_)) => &table::UNAUTHENTICATED,
            Self::Denied(Denial::Report(_)) => &table::NOT_SIGNED,
            Self::Denied(Denial::KeysUnavailable(_)) => &table::KEYS_UNAVAILABLE,
            Self::InvalidQuery(_) => &table::INVALID_QUERY,
            Self::InvalidRequest(_) => &table::INVALID_REQUEST,
            Self::NoApplication => &table::NO_APPLICATION,
            Self::UnsupportedMediaType => &table::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge(_) => &table::BODY_TOO_LARGE,
            Self::Overloaded => &table::OVERLOADED,
            Self::SlowBody => &table::SLOW_BODY,
            Self::IncompleteBody => &table::INCOMPLETE_BODY,
            Self::Rejected(rejection) => match rejection {
                Rejection::NotUtf8 => &table::NOT_UTF8,
                Rejection::NotJson(_) => &table::NOT_JSON,
                Rejection::NotBase64 => &table::NOT_BASE64,
                Rejection::Encoded(_) => &table::CONTENT_ENCODED,
                Rejection::BinaryMode => &table::BINARY_CLOUD_EVENT,
                Rejection::TooDeep => &table::TOO_DEEP,
                Rejection::Invalid(_) => &table::INVALID_EVENT,
            },
            Self::EventIdTaken => &table::EVENT_ID_TAKEN,
            Self::StillUnknown => &table::SVIX_UNAVAILABLE,
            Self::Held => &table::HELD,
            Self::Svix(svix::Error::Refused(_)) => &table::REFUSED_BY_SVIX,
            Self::Svix(svix::Error::Unavailable { cause, .. }) => match cause {
                Cause::RateLimited | Cause::Gate(Reason::RateLimited) => &table::RATE_LIMITED,
                Cause::Unexpected(_) | Cause::Unforeseen(_) | Cause::NoSuchPath => {
                    &table::UNEXPECTED_STATUS
                }
                _ => &table::SVIX_UNAVAILABLE,
            },
            Self::Svix(svix::Error::ApplicationMissing) => &table::APPLICATION_MISSING,
            Self::Svix(svix::Error::Misconfigured(what)) => match what {
                Misconfiguration::TokenRefused(_) => &table::TOKEN_REFUSED,
                Misconfiguration::OutboundDenied => &table::OUTBOUND_DENIED,
            },
            Self::Unconfigured(Unusable::Invalid(_)) => &table::INVALID_CONFIGURATION,
            Self::Unconfigured(Unusable::Unreadable(_)) => &table::UNREADABLE_CONFIGURATION,
            Self::StoreFailing(_) => &table::STORE_FAILING,
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

    /// The particulars of this occurrence, for people. Holds neither payload nor secret.
    pub fn detail(&self) -> String {
        match self {
            Self::NoRoute(NoRoute::NotFound) | Self::Denied(Denial::NoOperators) => {
                "no such path".to_owned()
            }
            Self::NoRoute(NoRoute::MethodNotAllowed(allow)) => format!("allowed: {allow}"),
            Self::NoRecord => {
                "the event never came, is to come again, was cut off by a crash, or its \
                               record has expired: then Svix may have it"
                    .to_owned()
            }
            Self::NoDeadLetter => "never written, discarded, or its body is lost".to_owned(),
            Self::NoFinding => "never found, or resolved".to_owned(),
            Self::NoMessage => "lost, not stored yet, or the event is a dead letter".to_owned(),
            Self::NoEndpoint => "the customer has no endpoint with this id".to_owned(),
            Self::EndpointDisabled => "Svix or the customer has disabled it".to_owned(),
            Self::NotOffered => "only the hosted Svix does this".to_owned(),
            Self::NoCanary => "canary_project is not set".to_owned(),
            Self::CanaryNotSent => {
                "Svix has an earlier canary, and has not tried to send it to an endpoint".to_owned()
            }
            Self::NoProjectTokens => "project_token_secret is not set".to_owned(),
            Self::Denied(Denial::Operator) => {
                "send authorization: Bearer and an operator's token".to_owned()
            }
            Self::Denied(Denial::ReadOnly) => "ask an operator whose token may act".to_owned(),
            // The same for every flaw: a stranger must not learn by trying.
            Self::Denied(Denial::Sender(_)) => {
                "send authorization: Bearer and a token that ingest_auth accepts".to_owned()
            }
            Self::Denied(Denial::Report(_)) => {
                "sign it with svix_webhook_secret, and send it within five minutes".to_owned()
            }
            Self::InvalidQuery(violation) => listed(std::slice::from_ref(violation)),
            Self::NoApplication => {
                "create it in Svix with the project as its uid, or set create_applications"
                    .to_owned()
            }
            Self::UnsupportedMediaType => {
                "send application/json or application/cloudevents+json".to_owned()
            }
            Self::BodyTooLarge(limit) => format!("at most {limit} bytes are taken"),
            Self::Overloaded => "other large bodies are being read; come again".to_owned(),
            Self::SlowBody => "a notification must end within retry_budget_ms".to_owned(),
            Self::IncompleteBody => "the connection ended before the body did".to_owned(),
            Self::Rejected(rejection) => match rejection {
                Rejection::NotUtf8 => "the event's bytes are not UTF-8".to_owned(),
                Rejection::NotJson(reason) => reason.clone(),
                Rejection::NotBase64 => "message.data is not base64".to_owned(),
                Rejection::Encoded(encoding) => {
                    format!("its encoding is {encoding}; send the JSON as it is")
                }
                Rejection::BinaryMode => {
                    "the body is the event's data alone; send the whole event as \
                                          one JSON object (application/cloudevents+json)"
                        .to_owned()
                }
                Rejection::TooDeep => format!("an event may have at most {MAX_DEPTH} levels"),
                Rejection::Invalid(violations) => listed(violations),
            },
            Self::Held => "an operator holds the events of this project".to_owned(),
            Self::StillUnknown => {
                "Svix knows or refuses the event, and shows no message of it: an earlier attempt may go on"
                    .to_owned()
            }
            Self::EventIdTaken => {
                "Svix answers 409, yet the project's application has no such message".to_owned()
            }
            Self::Svix(error) => detail_of(error),
            Self::InvalidRequest(violations)
            | Self::Unconfigured(Unusable::Invalid(violations)) => listed(violations),
            Self::Unconfigured(Unusable::Unreadable(error)) => {
                format!("the host gives no value of {}", error.what)
            }
            Self::StoreFailing(error) | Self::Denied(Denial::KeysUnavailable(error)) => {
                format!("failed to {}", error.what)
            }
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
                | svix::Error::Unavailable {
                    cause: Cause::Unforeseen(refusal),
                    ..
                },
            ) => named(refusal),
            Self::Svix(svix::Error::Misconfigured(Misconfiguration::TokenRefused(refusal))) => {
                format!("{}: {}", named(refusal), self.detail())
            }
            _ => self.detail(),
        }
    }

    /// The body of the answer: a problem document.
    pub fn document(&self) -> Box<RawValue> {
        let row = self.row();
        let (errors, svix) = match self {
            Self::Rejected(Rejection::Invalid(violations))
            | Self::InvalidRequest(violations)
            | Self::Unconfigured(Unusable::Invalid(violations)) => (violations.as_slice(), None),
            Self::InvalidQuery(violation) => (std::slice::from_ref(violation), None),
            Self::Svix(svix::Error::Refused(refusal)) => (&[][..], Some(refusal)),
            _ => (&[][..], None),
        };
        let document = Document {
            r#type: format!("{TYPE}{}", row.name),
            title: row.title,
            status: row.status,
            detail: self.detail(),
            retryable: !self.is_final(),
            errors,
            svix,
        };
        // The document is made of strings and numbers, so this can't fail.
        to_raw_value(&document).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
}

/// The status of a refusal, and its code if that is a plain name.
fn named(refusal: &Refusal) -> String {
    let is_name =
        |code: &&str| (1..=64).contains(&code.len()) && event::check_identifier(code).is_ok();
    let code = refusal.code.as_deref().filter(is_name);
    let code = code.unwrap_or("no code");
    format!("Svix answered {}, {code}", refusal.status)
}

/// The particulars of a failure of Svix, for people.
fn detail_of(error: &svix::Error) -> String {
    let words = |refusal: &Refusal| match &refusal.detail {
        Some(detail) => format!("Svix answered {}: {detail}", refusal.status),
        None => format!("Svix answered {}", refusal.status),
    };
    match error {
        svix::Error::Refused(refusal) => words(refusal),
        svix::Error::Unavailable { cause, .. } => match cause {
            Cause::RateLimited => "Svix answered 429".to_owned(),
            Cause::Gate(_) => "the gate is closed: Svix is not asked for a while".to_owned(),
            Cause::Status(status) => format!("Svix answered {status}"),
            Cause::Unexpected(status) => {
                format!(
                    "{status} is no answer of Svix's API: check what stands before Svix, and svix_url"
                )
            }
            Cause::Unforeseen(refusal) => words(refusal),
            Cause::NoSuchPath => "no such path (404, no body): check svix_url".to_owned(),
            Cause::UnreadableAnswer => "the answer of Svix can not be read".to_owned(),
            Cause::OutOfTime => "no time was left for an attempt".to_owned(),
            Cause::Timeout => "no answer of Svix in time".to_owned(),
            Cause::Connection(_) => "the connection to Svix broke".to_owned(),
            Cause::Unreachable(_) => "Svix can not be reached".to_owned(),
            Cause::NotSent(_) => "no request can be sent from here".to_owned(),
        },
        svix::Error::ApplicationMissing => {
            "create the application, or set create_applications".to_owned()
        }
        svix::Error::Misconfigured(what) => match what {
            Misconfiguration::TokenRefused(_) => {
                "check svix_token, its plan, and that svix_url is of the same region".to_owned()
            }
            Misconfiguration::OutboundDenied => {
                "add the origin of Svix to allowed_outbound_hosts".to_owned()
            }
        },
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
        let codes = [
            "a secret of the payload".to_owned(),
            "x".repeat(65),
            String::new(),
        ];
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
        for cause in [
            Cause::Status(500),
            Cause::UnreadableAnswer,
            Cause::OutOfTime,
            Cause::Timeout,
        ] {
            assert_eq!(unavailable(cause, None).row().status, 503);
        }
    }

    #[test]
    fn problems_for_operators_are_errors_and_retryable() {
        for problem in [
            Problem::Svix(svix::tests::token_refused()),
            Problem::Svix(svix::Error::Misconfigured(Misconfiguration::OutboundDenied)),
            Problem::Svix(Cause::Unexpected(302).into()),
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
        assert_eq!(
            document(&problem)["detail"],
            "failed to read from the store"
        );
        assert_eq!(
            problem.logged(),
            "failed to read from the store: redis://user:password@store refused"
        );
    }
}
