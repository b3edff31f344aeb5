//! Pub/Sub's wrapped push: the event lies in base64 in its `message`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::value::RawValue;

use super::arrival::{Arrival, Attributes, carries_push, ordering_key};
use super::content::Content;
use super::rejection::Rejection;
use crate::json;
use crate::time;
use crate::violation::Violation;

/// Standard base64, as Pub/Sub sends it. The padding may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The names of the fields of a push.
pub const FIELDS: [&str; 3] = ["message", "subscription", "deliveryAttempt"];

pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The fields with which an event may begin, and a wrapper doesn't.
const OF_EVENTS: [&str; 11] = [
    "object",
    "id",
    "type",
    "project",
    "source",
    "specversion",
    "datacontenttype",
    "time",
    "version",
    "data",
    "subject",
];

/// The longest name of a field for which a body counts as a wrapper, in bytes.
const MAX_NAME: usize = 64;

/// A CloudEvent around a push must name its type within so many bytes. Else only the limit of an event applies.
const TYPE_WITHIN: usize = 512;

/// The content of a push, and how it came.
pub type Opened = (Content<'static>, Arrival);

/// Opens the push that is the data of a whole CloudEvent. `None` if the data is something else.
pub fn open_cloud_event(text: &str) -> Option<Opened> {
    let [data, encoded] = json::pick(text, ["data", "data_base64"]).ok()?;
    let decoded;
    let data = if let Some(data) = data {
        data.get()
    } else {
        decoded = base64(&json::string(encoded?)?)?;
        str::from_utf8(&decoded).ok()?
    };
    let [message, subscription, attempt] = json::pick(data, FIELDS).ok()?;
    let message = message.filter(|message| json::is_object(message))?;
    Some(open(message, subscription, attempt))
}

/// Opens a push. The headers of its request are not the message's, so they count for nothing here.
pub fn open(
    message: &RawValue,
    subscription: Option<&RawValue>,
    attempt: Option<&RawValue>,
) -> Opened {
    let names = [
        "data",
        "attributes",
        "messageId",
        "message_id",
        "publishTime",
        "publish_time",
        "orderingKey",
    ];
    let picked = json::pick(message.get(), names);
    let [data, attributes, id, other_id, time, other_time, key] =
        *picked.as_ref().unwrap_or(&[None; 7]);
    let mut ids = [id, other_id].into_iter().flatten();
    let times = [time, other_time].into_iter().flatten();
    let mut times = times.filter_map(json::string);
    let attributes = match attributes.filter(|raw| !is_nothing(raw)) {
        None => Some(Attributes::default()),
        Some(raw) => Attributes::read(raw),
    };
    let bytes = match (picked, &attributes) {
        (Err(error), _) => Err(error.into()),
        (Ok(_), None) => Err(invalid("message.attributes", "must be an object of strings")),
        (Ok(_), Some(_)) => decode(data),
    };
    let arrival = Arrival {
        pubsub_message_id: ids.find_map(message_id),
        subscription: subscription.and_then(json::string).map(Cow::into_owned),
        attempt: attempt.and_then(|raw| raw.get().parse().ok()),
        publish_time: times.find_map(|time| time::parse_rfc3339(&time)),
        ordering_key: key.and_then(json::string).and_then(|key| ordering_key(&key)),
        attributes: attributes.unwrap_or_default(),
    };
    let content = match bytes.map(String::from_utf8) {
        Ok(Ok(text)) => Content::of_wrapper(text),
        Ok(Err(error)) => Content::Rejected(Rejection::NotUtf8, error.into_bytes().into()),
        // The publish time may differ between deliveries, so a message with an identifier is known by its data.
        Err(rejection) if arrival.pubsub_message_id.is_some() => {
            let text = |raw| json::string(raw).unwrap_or_else(|| RawValue::get(raw).into());
            let data = data.map(text).unwrap_or_default().into_owned();
            Content::Rejected(rejection, data.into_bytes().into())
        }
        Err(rejection) => Content::Rejected(rejection, message.get().as_bytes().to_vec().into()),
    };
    (content, arrival)
}

/// The bytes in the data of a message, without a byte order mark.
fn decode(data: Option<&RawValue>) -> Result<Vec<u8>, Rejection> {
    let invalid = |reason| invalid("message.data", reason);
    let data = data.ok_or_else(|| invalid("is required"))?;
    let data = json::string(data).ok_or_else(|| invalid("must be a string"))?;
    if data.is_empty() {
        return Err(invalid("must not be empty"));
    }
    let mut bytes = base64(&data).ok_or(Rejection::NotBase64)?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

fn invalid(field: &'static str, reason: &str) -> Rejection {
    Rejection::Invalid(vec![Violation::new(field, reason)])
}

/// Whether a body with this beginning may be a wrapped push. An object that begins with a field of an event
/// is an event, unless it is soon called a CloudEvent that carries a push.
pub fn may_be_wrapped(begin: &[u8]) -> bool {
    may_be_push(begin) || begin.get(..TYPE_WITHIN).is_none_or(names_carrier)
}

fn names_carrier(begin: &[u8]) -> bool {
    let text = String::from_utf8_lossy(begin);
    let mut words = text.split('"');
    words.any(carries_push)
}

fn may_be_push(begin: &[u8]) -> bool {
    if BYTE_ORDER_MARK.starts_with(begin) {
        return true;
    }
    let text = begin.strip_prefix(BYTE_ORDER_MARK).unwrap_or(begin);
    let text = text.trim_ascii_start();
    let Some(fields) = text.strip_prefix(b"{") else {
        return text.is_empty();
    };
    let Some(name) = fields.trim_ascii_start().strip_prefix(b"\"") else {
        return fields.trim_ascii_start().is_empty();
    };
    let end = name.iter().position(|byte| *byte == b'"');
    // A name that is not complete yet may be one of a wrapper's.
    let Some(name) = end.and_then(|end| str::from_utf8(&name[..end]).ok()) else {
        return name.len() < MAX_NAME;
    };
    !OF_EVENTS.contains(&name)
}

/// Whether there are no attributes. Some languages write an empty map as an empty list.
fn is_nothing(attributes: &RawValue) -> bool {
    let list = attributes.get().strip_prefix('[');
    attributes.get() == "null" || list.is_some_and(|rest| rest.trim_start() == "]")
}

/// Pub/Sub's identifier of a message: a string, or a number of another client.
fn message_id(raw: &RawValue) -> Option<String> {
    match json::string(raw) {
        Some(text) => (!text.is_empty()).then(|| text.into_owned()),
        None => raw.get().parse::<u64>().ok().map(|id| id.to_string()),
    }
}

/// Decodes base64 in either alphabet, as readers of JSON forms of protocol buffers must.
fn base64(text: &str) -> Option<Vec<u8>> {
    let standard = |byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => byte,
    };
    let again = || {
        // Command-line tools break long lines.
        let bytes = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
        BASE64.decode(bytes.map(standard).collect::<Vec<_>>())
    };
    BASE64.decode(text).or_else(|_| again()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_push_is_known_by_its_beginning() {
        for begin in [
            "",
            " \r\n",
            "{",
            "\u{feff}{ ",
            r#"{"mess"#,
            r#"{"message": {"data""#,
            r#"{ "subscription":"#,
            r#"{"deliveryAttempt":5,"message""#,
            r#"{"x":1,"message""#,
        ] {
            assert!(may_be_wrapped(begin.as_bytes()), "{begin}");
        }
        assert!(may_be_wrapped(b"\xef\xbb"));
        for begin in ["[", "x", r#"{"id""#, r#"{"data":"#, "\u{0}"] {
            let long = begin.to_owned() + &" ".repeat(TYPE_WITHIN);
            assert!(!may_be_wrapped(long.as_bytes()), "{begin}");
        }
        // Until the type may still come, a chunk tells nothing.
        let carrier = "google.cloud.pubsub.topic.v1.messagePublished";
        let whole = format!(r#"{{"id":"9","type":"{carrier}","data":{}"#, " ".repeat(TYPE_WITHIN));
        for end in [1, 8, 30, 60, whole.len()] {
            assert!(may_be_wrapped(&whole.as_bytes()[..end]), "{end}");
        }
    }
}
