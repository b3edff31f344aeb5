//! Why a request is refused, and the one table of how Svix says so.

use http::StatusCode;
use http::header::{ALLOW, HeaderValue};
use serde::Serialize;

use crate::reply::{self, Reply};

/// The reason for an error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The token is wrong or missing.
    Unauthenticated,
    /// There is no such route.
    NoRoute,
    /// The route has these methods only.
    WrongMethod(&'static str),
    /// The Idempotency-Key has the prefix that Svix's own clients use.
    KeyReserved,
    /// The query can't be understood.
    QueryInvalid,
    /// The body is above the limit.
    TooLarge,
    /// The body or the path is not valid.
    Invalid(Vec<Violation>),
    /// There is no such application.
    ApplicationNotFound,
    /// There is no such message in the application, or no such event type.
    EntityNotFound,
    /// There is an application with this uid.
    ApplicationExists,
    /// There is an event type with this name.
    EventTypeExists,
    /// The eventId is taken, or somebody else was quicker: Svix does not say which.
    Conflict,
}

/// One reason why a request is not valid, as a 422 lists them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Violation {
    pub loc: Vec<&'static str>,
    pub msg: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl Violation {
    /// A value that was understood but is not allowed.
    pub fn value(loc: &[&'static str], msg: impl Into<String>) -> Self {
        Self {
            loc: loc.to_vec(),
            msg: msg.into(),
            kind: "value_error",
        }
    }
}

impl Refusal {
    /// The reply. Only a 422 differs in form: a list under `detail`, and no `code`.
    pub fn reply(&self) -> Reply {
        let (status, code, detail) = match self {
            Self::Unauthenticated => (
                StatusCode::UNAUTHORIZED,
                "authentication_failed",
                "Incorrect authentication credentials.",
            ),
            Self::NoRoute => (StatusCode::NOT_FOUND, "not_found", "Route not found"),
            Self::WrongMethod(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Method Not Allowed",
            ),
            Self::KeyReserved => (
                StatusCode::BAD_REQUEST,
                "invalid_idempotency_key",
                "Idempotency keys must not be prefixed with auto_.",
            ),
            Self::QueryInvalid => (
                StatusCode::BAD_REQUEST,
                "generic_error",
                "query: expected true or false",
            ),
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
            Self::ApplicationExists => (
                StatusCode::CONFLICT,
                "application_exists",
                "An application with that id already exists",
            ),
            Self::EventTypeExists => (
                StatusCode::CONFLICT,
                "event_type_exists",
                "An event_type with this name already exists",
            ),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "A conflict has occurred"),
        };
        let mut reply = reply::error(status, code, detail);
        if let Self::WrongMethod(allowed) = self {
            let allowed = HeaderValue::from_static(allowed);
            reply.headers_mut().insert(ALLOW, allowed);
        }
        reply
    }
}
