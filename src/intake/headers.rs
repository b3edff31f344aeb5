//! Reads the headers of a notification, as far as they concern the event in its body.

use std::borrow::Cow;

use crate::api::problem::Problem;
use crate::api::table;
use crate::event::arrival::{Arrival, Attributes, has_prefix, ordering_key};
use crate::event::media_type::{is_encoded, is_json_media_type};
use crate::event::rejection::Rejection;
use crate::host::http::Headers;
use crate::identifier::shortened;
use crate::time::parse_rfc3339;

/// The headers that belong to the request and not to the message, or that hold secrets. Any other header
/// of an unwrapped push may be an attribute of its message.
const OF_REQUEST: [&str; 20] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "forwarded",
    "from",
    "host",
    "proxy-authorization",
    "te",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "user-agent",
    "via",
    "x-api-key",
    "x-auth-token",
    "x-goog-api-key",
    "x-serverless-authorization",
];

/// How the names of further headers begin that belong to the request.
const PREFIXES_OF_REQUEST: [&str; 5] =
    ["x-goog-pubsub-", "x-goog-iap-", "x-forwarded-", "x-cloud-trace-", "spin-"];

/// How the event came, as far as the headers tell.
pub fn arrival(headers: &Headers) -> Arrival {
    let get = |name| headers.get(name).map(Cow::into_owned);
    let pubsub_message_id = get("x-goog-pubsub-message-id").filter(|id| !id.is_empty());
    if pubsub_message_id.is_none() {
        let attributes = if headers.all().any(|(name, _)| may_be_cloud_events(name)) {
            attributes(headers)
        } else {
            Attributes::default()
        };
        return Arrival { attributes, ..Arrival::default() };
    }
    let publish_time = headers.get("x-goog-pubsub-publish-time");
    let key = headers.get("x-goog-pubsub-ordering-key");
    Arrival {
        pubsub_message_id,
        subscription: get("x-goog-pubsub-subscription-name"),
        publish_time: publish_time.and_then(|time| parse_rfc3339(&time)),
        ordering_key: key.and_then(|key| ordering_key(&key)),
        attributes: attributes(headers),
        ..Arrival::default()
    }
}

/// Fails unless the headers declare the body as JSON that is not encoded. Those of an unwrapped push need not.
pub fn check_media_type(headers: &Headers) -> Result<(), Problem> {
    let content_type = headers.get("content-type");
    match content_type.filter(|content_type| !content_type.trim().is_empty()) {
        Some(content_type) if is_json_media_type(&content_type) => {}
        // A push without wrapper and without metadata headers looks like a direct post, and may have no media type.
        // A web page may leave it out, too, so that its browser sends no preflight. But then there is an `Origin`.
        None if headers.get("origin").is_none() => {}
        _ => return Err(table::UNSUPPORTED_MEDIA_TYPE.into()),
    }
    let mut encodings = headers.get_all("content-encoding");
    match encodings.find(|encoding| is_encoded(encoding)) {
        Some(encoding) => Err(Problem::Rejected(Rejection::Encoded(shortened(&encoding)))),
        None => Ok(()),
    }
}

fn attributes(headers: &Headers) -> Attributes {
    let of_message = |name: &str| {
        let mut prefixes = PREFIXES_OF_REQUEST.iter();
        !OF_REQUEST.iter().any(|known| known.eq_ignore_ascii_case(name))
            && !prefixes.any(|prefix| has_prefix(name, prefix))
    };
    let all = headers.all().filter(|(name, _)| of_message(name));
    let all = all.map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned()));
    Attributes(all.collect())
}

fn may_be_cloud_events(name: &str) -> bool {
    has_prefix(name, "ce") || has_prefix(name, "cloudevents") || has_prefix(name, "specversion")
}
