//! Replies: how success and problems are told.

use serde::Serialize;

use super::problem::Problem;
use super::route::NoRoute;
use crate::auth::Denial;
use crate::event::Event;
use crate::event::rejection::Rejection;
use crate::host::http::Reply;
use crate::json;
use crate::records::Delivered;

/// The names of what becomes of a notification, if nothing is wrong.
pub const DELIVERED: &str = "delivered";
pub const DUPLICATE: &str = "duplicate";
pub const DEAD_LETTERED: &str = "dead-lettered";
pub const IGNORED: &str = "ignored";
pub const UNLISTED: &str = "unlisted";

/// How a request was fulfilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Success {
    /// Svix has the event's message: it was stored now, or found there.
    Delivered {
        record: Delivered,
        /// Whether a lookup showed the message.
        by_lookup: bool,
    },
    /// The event was delivered before, or by another request meanwhile.
    Duplicate {
        record: Delivered,
        /// Whether the delivered event had other bytes under the same id.
        differs: bool,
    },
    /// Events of this type are not relayed.
    Ignored,
    /// The type is neither relayed nor excluded, so the event goes no further.
    Unlisted,
    /// The event waits for an operator, as the dead letter with this number.
    DeadLettered {
        number: u64,
        /// Whether the letter's event has other bytes under the same id.
        differs: bool,
    },
    /// A document of JSON.
    Document {
        /// The log's `outcome`.
        name: &'static str,
        json: Vec<u8>,
    },
    /// A text of another media type.
    Text {
        /// The log's `outcome`.
        name: &'static str,
        content_type: &'static str,
        /// The headers that no other reply has.
        headers: Vec<(&'static str, String)>,
        text: String,
    },
}

impl Success {
    /// A stable name: the reply's `status`, and the log's `outcome`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delivered { .. } => DELIVERED,
            Self::Duplicate { .. } => DUPLICATE,
            Self::Ignored => IGNORED,
            Self::Unlisted => UNLISTED,
            Self::DeadLettered { .. } => DEAD_LETTERED,
            Self::Document { name, .. } | Self::Text { name, .. } => name,
        }
    }

    /// The record of the event's message in Svix.
    pub fn record(&self) -> Option<&Delivered> {
        match self {
            Self::Delivered { record, .. } | Self::Duplicate { record, .. } => Some(record),
            _ => None,
        }
    }

    /// Svix has an event of this id already. `event` is `None` if the one that came now is invalid.
    pub fn duplicate(record: Delivered, event: Option<&Event<'_>>) -> Self {
        let differs = event.is_some_and(|event| record.differs_from(event));
        Self::Duplicate { record, differs }
    }

    pub fn document(name: &'static str, value: &impl Serialize) -> Self {
        Self::Document { name, json: json::encode(value) }
    }

    /// A document that holds only its own name.
    pub fn status(name: &'static str) -> Self {
        Self::document(name, &Status { status: name })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Receipt<'a> {
    status: &'static str,
    project: &'a str,
    event_id: &'a str,
    event_type: &'a str,
    svix_message_id: &'a str,
    attempts: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    content_differs: bool,
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    status: &'static str,
    dead_letter: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    content_differs: bool,
}

impl From<Success> for Reply {
    fn from(success: Success) -> Self {
        let status = success.name();
        let receipt = |record: &Delivered, attempts, content_differs| {
            json::encode(&Receipt {
                status,
                project: &record.project,
                event_id: &record.event_id,
                event_type: &record.event_type,
                svix_message_id: &record.svix_message_id,
                attempts,
                content_differs,
            })
        };
        let body = match success {
            Success::Delivered { record, .. } => receipt(&record, record.attempts, false),
            Success::Duplicate { record, differs } => receipt(&record, 0, differs),
            Success::Ignored | Success::Unlisted => json::encode(&Status { status }),
            Success::DeadLettered { number, differs } => {
                json::encode(&Kept { status, dead_letter: number, content_differs: differs })
            }
            Success::Document { json, .. } => json,
            Success::Text { content_type, headers: own, text, .. } => {
                return Self {
                    status: 200,
                    headers: [headers(content_type), own].concat(),
                    body: text.into_bytes(),
                };
            }
        };
        Self { status: 200, headers: headers("application/json"), body }
    }
}

impl From<&Problem> for Reply {
    fn from(problem: &Problem) -> Self {
        let mut headers = headers("application/problem+json");
        if let Some(seconds) = problem.retry_after() {
            headers.push(("retry-after", seconds.to_string()));
        }
        match problem {
            Problem::NoRoute(NoRoute::MethodNotAllowed(allow)) => {
                headers.push(("allow", (*allow).to_owned()));
            }
            Problem::Denied(Denial::Operator | Denial::Sender(_)) => {
                headers.push(("www-authenticate", "Bearer".to_owned()));
            }
            Problem::Rejected(Rejection::Encoded(_)) => {
                headers.push(("accept-encoding", "identity".to_owned()));
            }
            _ => {}
        }
        Self {
            status: problem.row().status,
            headers,
            body: Box::<str>::from(problem.document()).into_string().into_bytes(),
        }
    }
}

fn headers(content_type: &str) -> Vec<(&'static str, String)> {
    vec![("content-type", content_type.to_owned()), ("cache-control", "no-store".to_owned())]
}
