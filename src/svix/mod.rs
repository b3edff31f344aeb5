//! The requests to Svix, the meaning of its answers, and the gate that spares it.
//!
//! One file for each thing that is asked: [`message`], [`list`], [`endpoints`], [`event_type`],
//! [`application`], [`portal`]. Each builds the request and reads the answer; only [`client`] sends.
//! [`operational`] reads what Svix reports by itself. This file holds what several of them share.

pub mod application;
pub mod client;
pub mod endpoints;
pub mod event_type;
pub mod gate;
pub mod list;
pub mod message;
pub mod operational;
pub mod portal;
pub mod retry;

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, Value};

use self::gate::Reason;
use crate::config::Secret;
use crate::json;

/// How much of a refusal's own words is passed on, in bytes.
const MAX_DETAIL: usize = 1_000;

/// An answer of Svix, read in full.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// How long Svix asks to wait, by its `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The body, or `None` if it could not be read to its end, was too large, or is encoded.
    pub body: Option<Vec<u8>>,
    /// When the answer was written, by the clock of the server that wrote it. Without its `Date`, by the own clock.
    pub written_at: SystemTime,
    /// The token of the request, to be left out of Svix's words if Svix repeats it.
    pub token: Secret,
}

/// Why Svix has not done what was wanted of it, or was not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Another try may succeed.
    Unavailable {
        cause: Cause,
        /// How long Svix asks to wait.
        retry_after: Option<Duration>,
    },
    /// Svix will never do it.
    Refused(Refusal),
    /// Svix has no application for the project (404), and the relay may not create one.
    ApplicationMissing,
    /// No event can be sent until an operator has acted.
    Misconfigured(Misconfiguration),
}

/// A trouble that may pass by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Svix limits the rate (429).
    RateLimited,
    /// Svix failed, with this status.
    Status(u16),
    /// Svix's API never gives this answer, or not with this status. Something between answered in its
    /// place, or `svix_url` leads to another server.
    NotSvix(u16),
    /// An error of Svix that the request doesn't provide for.
    UnknownError(Refusal),
    /// This Svix doesn't have the path: a 404 without a body. Or another server has answered.
    NoSuchPath,
    /// Svix accepted, but its answer is cut off, too large or encoded.
    UnreadableAnswer,
    /// No answer came within the time that an attempt may take.
    Timeout,
    /// The connection failed, in the host's words.
    Connection(String),
    /// The request never got as far as Svix, in the host's words.
    Unreachable(String),
    /// The request never left, since something is missing here (a name's address, a free port or
    /// descriptor), in the host's words.
    NotSent(String),
    /// The gate is closed, so Svix was not asked.
    Gate(Reason),
    /// Too little of the budget was left to ask Svix.
    OutOfTime,
}

/// A refusal, in Svix's own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Svix's status.
    pub status: u16,
    /// Svix's `code`, if it gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Svix's `detail`, shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A fault that only an operator can mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misconfiguration {
    /// Svix refuses the token (401, 403), or its plan.
    TokenRefused(Refusal),
    /// The host doesn't let the relay reach Svix.
    OutboundDenied,
}

impl Cause {
    /// Whether Svix may have stored the message all the same.
    pub fn leaves_unknown(&self) -> bool {
        match self {
            Self::Status(_)
            | Self::NotSvix(_)
            | Self::UnknownError(_)
            | Self::NoSuchPath
            | Self::UnreadableAnswer
            | Self::Timeout
            | Self::Connection(_) => true,
            Self::RateLimited
            | Self::Unreachable(_)
            | Self::NotSent(_)
            | Self::Gate(_)
            | Self::OutOfTime => false,
        }
    }

    /// Why the gate should close, or `None` if the cause says nothing about Svix.
    pub fn gate_reason(&self) -> Option<Reason> {
        match self {
            Self::RateLimited => Some(Reason::RateLimited),
            Self::Status(_)
            | Self::UnreadableAnswer
            | Self::Timeout
            | Self::Connection(_)
            | Self::Unreachable(_) => Some(Reason::SvixUnavailable),
            // A firewall that refuses some payloads must not stop the other events.
            Self::NotSvix(_)
            | Self::UnknownError(_)
            | Self::NoSuchPath
            | Self::NotSent(_)
            | Self::Gate(_)
            | Self::OutOfTime => None,
        }
    }
}

impl Error {
    /// Its name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "retry",
            Self::Refused(_) => "refused",
            // An alert tells a missing application by this result.
            Self::ApplicationMissing | Self::Misconfigured(_) => "misconfigured",
        }
    }
}

impl From<Cause> for Error {
    fn from(cause: Cause) -> Self {
        Self::Unavailable { cause, retry_after: None }
    }
}

impl Answer {
    /// Fails with the answers that mean the same for every request. A 429, 408, 425 or 5xx counts even if a proxy wrote
    /// it, since the request has to wait in any case. Every other error, such as a refused token, counts only in Svix's
    /// own form: a proxy's refusal must not become a dead letter, and its 404 doesn't show that Svix lacks a message.
    pub fn or_common_failure(self) -> Result<Self, Error> {
        let cause = match self.status {
            200..=299 => return Ok(self),
            429 => Cause::RateLimited,
            408 | 425 | 500..=599 => Cause::Status(self.status),
            404 if self.body.as_deref() == Some(b"") => Cause::NoSuchPath,
            _ if !self.is_error_of_svix() => Cause::NotSvix(self.status),
            401 | 403 => {
                let refused = Misconfiguration::TokenRefused(self.refusal());
                return Err(Error::Misconfigured(refused));
            }
            _ => return Ok(self),
        };
        Err(self.unavailable(cause))
    }

    /// Whether the body is an error as Svix writes it: an object with a `code` and a `detail`. Only the
    /// 422 of its validation has no `code`; its `detail` is a list.
    fn is_error_of_svix(&self) -> bool {
        let is_string = |raw: &RawValue| json::string(raw).is_some_and(|text| !text.is_empty());
        let Some([code, Some(detail)]) = self.fields(["code", "detail"]) else {
            return false;
        };
        let first = detail.get().strip_prefix('[').map(str::trim_ascii_start);
        let is_list = self.status == 422 && first.is_some_and(|first| first.starts_with('{'));
        match code {
            Some(code) => is_string(code) && (is_string(detail) || is_list),
            None => is_list,
        }
    }

    /// Reads the thing that was asked for. `None` if Svix doesn't have it.
    fn existing<T>(&self, read: impl FnOnce() -> Option<T>) -> Result<Option<T>, Error> {
        match self.status {
            200 => {
                let thing = read().ok_or_else(|| self.not_as_promised())?;
                Ok(Some(thing))
            }
            404 if self.says_not_found() => Ok(None),
            _ => Err(self.unexpected()),
        }
    }

    fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(self.body.as_deref()?).ok()
    }

    /// Whether Svix says that the thing that was asked for doesn't exist.
    fn says_not_found(&self) -> bool {
        let code = self.fields(["code"]).and_then(|[code]| code);
        self.status == 404 && code.and_then(json::string).as_deref() == Some("not_found")
    }

    fn fields<const N: usize>(&self, names: [&'static str; N]) -> Option<[Option<&RawValue>; N]> {
        let text = str::from_utf8(self.body.as_deref()?).ok()?;
        json::pick(text, names).ok()
    }

    /// Reads the answer to an operator's request, if it is a success. `None` if Svix doesn't have the thing that
    /// the request is about. Svix's other errors are refusals.
    pub fn success_or_missing<T>(
        &self,
        read: impl FnOnce() -> Option<T>,
    ) -> Result<Option<T>, Error> {
        match self.status {
            200..=299 => {
                let done = read().ok_or_else(|| self.not_as_promised())?;
                Ok(Some(done))
            }
            404 if self.says_not_found() => Ok(None),
            400..=499 => Err(Error::Refused(self.refusal())),
            _ => Err(self.unexpected()),
        }
    }

    /// Reads the answer to a request that deletes or ends a thing. `false` if Svix doesn't have the thing.
    pub fn no_content(&self) -> Result<bool, Error> {
        // Another server's friendly page deletes nothing.
        let done = self.success_or_missing(|| (self.status == 204).then_some(()))?;
        Ok(done.is_some())
    }

    /// The error of a status that the request gives no meaning of its own.
    fn refused_or_unexpected(&self) -> Error {
        match self.status {
            400 | 413 | 422 => Error::Refused(self.refusal()),
            _ => self.unexpected(),
        }
    }

    /// The error of an answer that the request doesn't provide for.
    pub fn unexpected(&self) -> Error {
        let cause = if self.is_error_of_svix() {
            Cause::UnknownError(self.refusal())
        } else {
            Cause::NotSvix(self.status)
        };
        self.unavailable(cause)
    }

    /// The error of a success whose body isn't what Svix's API promises. If the body is whole, another server wrote it.
    fn not_as_promised(&self) -> Error {
        self.unavailable(match self.body {
            Some(_) => Cause::NotSvix(self.status),
            None => Cause::UnreadableAnswer,
        })
    }

    fn unavailable(&self, cause: Cause) -> Error {
        Error::Unavailable { cause, retry_after: self.retry_after }
    }

    fn refusal(&self) -> Refusal {
        let [code, detail] = self.fields(["code", "detail"]).unwrap_or_default();
        let shown = |raw: &RawValue| {
            // A list is parsed and written again, since the token could hide behind escapes.
            let rewritten = || {
                let value = serde_json::from_str(raw.get()).unwrap_or(Value::Null);
                value.to_string()
            };
            let text = json::string(raw).map_or_else(rewritten, Cow::into_owned);
            let text = text.replace(self.token.expose(), "[redacted]");
            text[..text.floor_char_boundary(MAX_DETAIL)].to_owned()
        };
        Refusal { status: self.status, code: code.map(shown), detail: detail.map(shown) }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A body of Svix's with this code.
    pub fn error_body(code: &str) -> String {
        format!(r#"{{"code":"{code}","detail":"No."}}"#)
    }

    pub fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            retry_after: None,
            body: Some(body.as_bytes().to_vec()),
            written_at: SystemTime::UNIX_EPOCH,
            token: Secret::parse("testsk_secret").expect("a token"),
        }
    }

    /// The refusal of an answer with [`error_body`].
    pub fn refusal(status: u16, code: &str) -> Refusal {
        Refusal { status, code: Some(code.to_owned()), detail: Some("No.".to_owned()) }
    }

    pub fn token_refused() -> Error {
        let answer = answer(403, &error_body("plan_limit"));
        answer.or_common_failure().expect_err("refused")
    }

    fn refused(status: u16, body: &str) -> Refusal {
        match answer(status, body).refused_or_unexpected() {
            Error::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_request_that_reached_svix_leaves_its_outcome_unknown() {
        for (cause, unknown) in [
            (Cause::Status(500), true),
            (Cause::UnreadableAnswer, true),
            (Cause::Timeout, true),
            (Cause::Connection("reset".to_owned()), true),
            (Cause::Unreachable("refused".to_owned()), false),
            (Cause::NotSent("no descriptor".to_owned()), false),
            (Cause::NotSvix(403), true),
            (Cause::RateLimited, false),
            (Cause::Gate(Reason::RateLimited), false),
        ] {
            assert_eq!(cause.leaves_unknown(), unknown, "{cause:?}");
        }
    }

    #[test]
    fn only_what_concerns_svix_closes_the_gate() {
        let text = || "why".to_owned();
        for (cause, reason) in [
            (Cause::RateLimited, Some(Reason::RateLimited)),
            (Cause::NotSvix(403), None),
            (Cause::Status(502), Some(Reason::SvixUnavailable)),
            (Cause::Unreachable(text()), Some(Reason::SvixUnavailable)),
            (Cause::NotSent(text()), None),
            (Cause::OutOfTime, None),
        ] {
            assert_eq!(cause.gate_reason(), reason, "{cause:?}");
        }
    }

    #[test]
    fn failures_of_svix_are_retryable_and_may_name_a_wait() {
        for (status, cause) in [(429, Cause::RateLimited)].into_iter().chain(
            [408, 425, 500, 502, 503, 504, 599].map(|status| (status, Cause::Status(status))),
        ) {
            for wait in [None, Some(7)] {
                let failed =
                    Answer { retry_after: wait.map(Duration::from_secs), ..answer(status, "") };
                let expected = Error::Unavailable {
                    cause: cause.clone(),
                    retry_after: wait.map(Duration::from_secs),
                };
                assert_eq!(failed.or_common_failure().expect_err("failed"), expected);
            }
        }
    }

    #[test]
    fn a_refused_token_is_the_configurations_fault() {
        for status in [401, 403] {
            let body = error_body("authentication_failed");
            let error = answer(status, &body).or_common_failure().expect_err("refused");
            let refused = refusal(status, "authentication_failed");
            let refused = Misconfiguration::TokenRefused(refused);
            assert_eq!(error, Error::Misconfigured(refused));
        }
    }

    #[test]
    fn an_answer_of_something_between_is_a_passing_fault() {
        let unexpected = |status| Err(Error::from(Cause::NotSvix(status)));
        for status in [301, 400, 401, 403, 404, 405, 409, 410, 413, 422, 451] {
            for body in [
                "",
                "<html><h1>Forbidden</h1></html>",
                "null",
                "{}",
                "[]",
                r#""not_found""#,
                r#"{"message":"Forbidden"}"#,
                r#"{"detail":"Not Found"}"#,
                r#"{"code":404,"detail":"Not Found"}"#,
                r#"{"code":"not_found","detail":null}"#,
                r#"{"code":"not_found"}"#,
                r#"{"code":"","detail":"No."}"#,
                r#"{"detail":[]}"#,
                r#"{"detail":["{"]}"#,
                r#"{"code":"not_found","detail":"cut o"#,
            ] {
                let checked = answer(status, body).or_common_failure().map(|_| ());
                let expected = match (status, body) {
                    (404, "") => Err(Cause::NoSuchPath.into()),
                    _ => unexpected(status),
                };
                assert_eq!(checked, expected, "{status} {body}");
            }
            let unread = Answer { body: None, ..answer(status, "") };
            assert_eq!(unread.or_common_failure().map(|_| ()), unexpected(status), "{status}");
        }
        let list = r#"{"detail":[{"loc":["body"],"msg":"no","type":"t"}]}"#;
        assert!(answer(422, list).or_common_failure().is_ok(), "Svix's validation");
        assert_eq!(answer(400, list).or_common_failure().map(|_| ()), unexpected(400));
        for status in [402, 405] {
            let error = answer(status, &error_body("no")).refused_or_unexpected();
            let unforeseen = Cause::UnknownError(refusal(status, "no"));
            assert_eq!(error, unforeseen.into(), "Svix's own error");
        }
    }

    #[test]
    fn a_refusal_carries_the_reason_of_svix() {
        let body = r#"{"code":"validation_error","detail":"Payload must be an object."}"#;
        let expected = Refusal {
            status: 422,
            code: Some("validation_error".to_owned()),
            detail: Some("Payload must be an object.".to_owned()),
        };
        assert_eq!(refused(422, body), expected);
        let list = r#"[{"loc":["body"],"msg":"no","type":"t"}]"#;
        let listed = refused(400, &format!(r#"{{"detail":{list}}}"#));
        assert_eq!(listed.detail.as_deref(), Some(list));
        assert_eq!(refused(413, "not json").detail, None);
    }

    #[test]
    fn a_refusal_never_repeats_the_token_and_is_short() {
        let long = "\u{e4}".repeat(2_000);
        let refusal = refused(400, &format!(r#"{{"detail":"Bearer testsk_secret {long}"}}"#));
        let detail = refusal.detail.expect("there");
        assert!(detail.starts_with("Bearer [redacted] "), "{detail}");
        assert!(detail.len() <= MAX_DETAIL);

        let escaped = refused(400, r#"{"detail":[{"input":"\u0074estsk_secret"}]}"#);
        let expected = r#"[{"input":"[redacted]"}]"#;
        assert_eq!(escaped.detail.as_deref(), Some(expected));
    }
}
