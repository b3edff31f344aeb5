//! The reasons to refuse a request, and the reply of Svix to each.

use http::StatusCode;
use serde::Serialize;
use serde_json::json;

use crate::reply::{self, Reply};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Unauthenticated,
    /// The path doesn't exist, or not with this method. The reply has no body, unlike that of a missing message.
    NoRoute,
    /// A parameter of the query doesn't have its type.
    QueryInvalid,
    TooLarge,
    /// The body or the path is not valid.
    Invalid(Vec<Violation>),
    ApplicationNotFound,
    /// The message, the endpoint or the event type doesn't exist.
    EntityNotFound,
    /// The content of the message was deleted.
    PayloadMissing,
    ApplicationExists,
    EventTypeExists,
    /// The database can't store U+0000 in metadata.
    Unstorable,
    /// The eventId is taken, or another request created the application first. Svix doesn't say
    /// which.
    Conflict,
}

/// The reply to a request that was understood, or why it is refused.
pub(crate) type Answer = Result<Reply, Refusal>;

/// An entry in the list of a 422.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Violation {
    pub loc: Vec<&'static str>,
    pub msg: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl Violation {
    /// A value that is well-formed but not allowed.
    pub fn value(loc: &[&'static str], msg: impl Into<String>) -> Self {
        Self { loc: loc.to_vec(), msg: msg.into(), kind: "value_error" }
    }

    /// A value that can't be read.
    pub fn unreadable(loc: &[&'static str], msg: &impl ToString) -> Self {
        Self { loc: loc.to_vec(), msg: msg.to_string(), kind: "value_error.jsondecode" }
    }
}

impl Refusal {
    /// Fails if there are violations.
    pub fn of(violations: Vec<Violation>) -> Result<(), Self> {
        if violations.is_empty() { Ok(()) } else { Err(Self::Invalid(violations)) }
    }

    /// A 422 has a form of its own: a list under `detail`, and no `code`.
    pub fn reply(&self) -> Reply {
        let (status, code, detail) = match self {
            Self::Unauthenticated => (
                StatusCode::UNAUTHORIZED,
                "authentication_failed",
                "Incorrect authentication credentials.",
            ),
            Self::NoRoute => return reply::empty(StatusCode::NOT_FOUND),
            Self::Unstorable => return reply::json(StatusCode::INTERNAL_SERVER_ERROR, &json!({})),
            Self::QueryInvalid => {
                (StatusCode::BAD_REQUEST, "generic_error", "query: invalid value")
            }
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                "The request body is too large.",
            ),
            Self::Invalid(violations) => {
                #[derive(Serialize)]
                struct Body<'a> {
                    detail: &'a [Violation],
                }
                let body = Body { detail: violations };
                return reply::json(StatusCode::UNPROCESSABLE_ENTITY, &body);
            }
            Self::ApplicationNotFound => {
                (StatusCode::NOT_FOUND, "not_found", "Application not found")
            }
            Self::EntityNotFound => (StatusCode::NOT_FOUND, "not_found", "Entity not found"),
            Self::PayloadMissing => (
                StatusCode::BAD_REQUEST,
                "missing_payload",
                "Unable to resend message. Payload is missing (probably expired).",
            ),
            Self::ApplicationExists => (
                StatusCode::CONFLICT,
                "conflict",
                "An application with that id or uid already exists",
            ),
            Self::EventTypeExists => (
                StatusCode::CONFLICT,
                "event_type_exists",
                "An event_type with this name already exists",
            ),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "A conflict has occurred"),
        };
        reply::error(status, code, detail)
    }
}
