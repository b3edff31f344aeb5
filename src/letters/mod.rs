//! A dead letter: an event that waits for an operator, since no repeat can succeed or its project is held.
//!
//! A letter is named by its event, so concurrent deliveries of one event write one letter. Its head and
//! its body are two values, so that a list reads heads only. An index leads from a number to the letter;
//! the letter holds its own number, and an index entry with another number counts for nothing. Whether a
//! letter is resolved or discarded is not written into it: the event's record says so.
//!
//! Version 0.1.0 wrote the whole letter under its number. Such letters are still read.

pub mod ledger;
mod mark;
pub mod waiting;

use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::event::Event;
use crate::event::arrival::{Arrival, Attributes, Source};
use crate::event::notification::Notification;
use crate::json;
use crate::records::Delivered;
use crate::time::{parse_rfc3339, rfc3339};

/// The name of the counter of letters: the number of the last one.
pub const COUNTER: &str = "dead-letters";

/// The version of the heads that this relay writes, and that of letters which hold their body.
const VERSION: u32 = 2;
const WITH_BODY: u32 = 1;

/// The name of the index entry with this number: the name of the letter's record, or a letter of 0.1.0.
pub fn index_name(number: u64) -> String {
    format!("dead-letter/{number}")
}

/// The name of the head of a record's letter.
pub fn head_name(record_name: &str) -> String {
    format!("letter/{record_name}")
}

/// The name of the body of a record's letter: the notification as it came.
pub fn body_name(record_name: &str) -> String {
    format!("letter-body/{record_name}")
}

/// The names of all values of a record's letter, which may have a number. The index comes last: without it, the letter
/// can't be found.
pub fn value_names(record_name: &str, number: Option<u64>) -> Vec<String> {
    let mut names = vec![body_name(record_name), head_name(record_name)];
    names.extend(number.map(index_name));
    names
}

/// A dead letter as the store holds it and operators see it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    version: u32,
    pub number: u64,
    /// When the letter was written, in RFC 3339, UTC.
    pub dead_lettered_at: String,
    /// The name of the event's record.
    #[serde(rename = "record")]
    pub record_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    pub source: Source,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pubsub_message_id: Option<String>,
    /// In RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<String>,
    /// How often Pub/Sub had tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_attempt: Option<u64>,
    /// The attributes of the message. A replay needs them, since the body may be one that another delivery
    /// of the message wrote in another form.
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    /// The last part of the problem's `type`.
    pub reason: String,
    /// The whole problem document.
    pub problem: Box<RawValue>,
    /// The record of the event once it is delivered. Not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Delivered>,
    /// The notification's body, if it is text. Stored only by 0.1.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The notification's body in base64, if it is not text. Stored only by 0.1.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// A notification that no repeat can deliver, or whose project is held.
pub struct Undelivered<'a> {
    pub record_name: &'a str,
    pub notification: &'a Notification<'a>,
    /// `None` if the event is invalid.
    pub event: Option<&'a Event<'a>>,
    pub body: &'a [u8],
    /// The last part of the problem's `type`.
    pub reason: &'static str,
    /// The whole problem document.
    pub problem: Box<RawValue>,
    pub lost_message_id: Option<&'a str>,
}

impl DeadLetter {
    /// The head of a letter.
    pub fn new(number: u64, undelivered: Undelivered<'_>, now: SystemTime) -> Self {
        let notification = undelivered.notification;
        let (arrival, fields) = (&notification.arrival, notification.unchecked_fields());
        Self {
            version: VERSION,
            number,
            dead_lettered_at: rfc3339(now),
            record_name: undelivered.record_name.to_owned(),
            project: fields.project,
            event_id: fields.id,
            event_type: fields.event_type,
            source: notification.source,
            pubsub_message_id: arrival.pubsub_message_id.clone(),
            publish_time: arrival.publish_time.map(rfc3339),
            ordering_key: arrival.ordering_key.clone(),
            delivery_attempt: arrival.attempt,
            attributes: arrival.attributes.clone(),
            reason: undelivered.reason.to_owned(),
            problem: undelivered.problem,
            resolved: None,
            body: None,
            body_base64: None,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        json::encode(self)
    }

    /// Reads what the store holds. `None` for anything that this version doesn't understand.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let stored = json::Stored::read(bytes)?;
        let string = |name| stored.string(name);
        let version = u32::try_from(stored.number("version")?).ok()?;
        if !matches!(version, VERSION | WITH_BODY) {
            return None;
        }
        Some(Self {
            version,
            number: stored.number("number")?,
            dead_lettered_at: string("deadLetteredAt")?,
            record_name: string("record")?,
            project: string("project"),
            event_id: string("eventId"),
            event_type: string("eventType"),
            source: Source::parse(&string("source")?)?,
            pubsub_message_id: string("pubsubMessageId"),
            publish_time: string("publishTime"),
            ordering_key: string("orderingKey"),
            delivery_attempt: stored.number("deliveryAttempt"),
            attributes: stored.raw("attributes").and_then(Attributes::read).unwrap_or_default(),
            reason: string("reason")?,
            problem: stored.raw("problem")?.to_owned(),
            resolved: None,
            body: string("body"),
            body_base64: string("bodyBase64"),
        })
    }

    /// Whether the letter was written by 0.1.0, under its number.
    pub fn holds_body(&self) -> bool {
        self.version == WITH_BODY
    }

    /// The body that a letter of 0.1.0 holds.
    pub fn own_body(&self) -> Vec<u8> {
        match (&self.body, &self.body_base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(base64)) => BASE64_STANDARD.decode(base64).unwrap_or_default(),
            (None, None) => Vec::new(),
        }
    }

    /// How the notification came, as far as replaying it needs that.
    pub fn arrival(&self) -> Arrival {
        let arrival = Arrival {
            ordering_key: self.ordering_key.clone(),
            attributes: self.attributes.clone(),
            ..Arrival::default()
        };
        match self.source {
            Source::Unwrapped => Arrival {
                pubsub_message_id: self.pubsub_message_id.clone(),
                publish_time: self.publish_time.as_deref().and_then(parse_rfc3339),
                ..arrival
            },
            // The wrapper tells the rest.
            Source::Direct | Source::Wrapped => arrival,
        }
    }

    /// The letter as operators see it alone: with its body.
    #[must_use]
    pub fn with_body(mut self, body: Vec<u8>) -> Self {
        // JSON makes six bytes of a control character.
        let plain = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..);
        (self.body, self.body_base64) = match String::from_utf8(body) {
            Ok(text) if text.as_bytes().iter().all(plain) => (Some(text), None),
            Ok(text) => (None, Some(BASE64_STANDARD.encode(text))),
            Err(error) => (None, Some(BASE64_STANDARD.encode(error.as_bytes()))),
        };
        self
    }

    /// The letter as operators see it in a list: without its body.
    #[must_use]
    pub fn summary(self) -> Self {
        Self { attributes: Attributes::default(), body: None, body_base64: None, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A letter as 0.1.0 wrote it.
    const OLD: &str = r#"{"version":1,"number":7,"deadLetteredAt":"1970-01-01T00:00:00Z","record":"record/r","source":"unwrapped","pubsubMessageId":"8","reason":"not-utf8","problem":{"status":400},"bodyBase64":"/wD+"}"#;

    fn letter(headers: Arrival) -> DeadLetter {
        let notification = Notification::read(b"{}", headers);
        let problem = serde_json::value::to_raw_value(&json!({"status": 400})).expect("JSON");
        let undelivered = Undelivered {
            record_name: "record/r",
            notification: &notification,
            event: None,
            body: b"{}",
            reason: "not-utf8",
            problem,
            lost_message_id: None,
        };
        DeadLetter::new(7, undelivered, SystemTime::UNIX_EPOCH)
    }

    /// Stored bytes outlive the relay that wrote them: this text must never need to change.
    #[test]
    fn the_head_is_stored_as_it_always_was() {
        let headers = Arrival {
            pubsub_message_id: Some("8".to_owned()),
            publish_time: parse_rfc3339("2026-11-23T14:12:42Z"),
            ..Arrival::default()
        };
        let text = r#"{"version":2,"number":7,"deadLetteredAt":"1970-01-01T00:00:00Z","record":"record/r","source":"unwrapped","pubsubMessageId":"8","publishTime":"2026-11-23T14:12:42Z","reason":"not-utf8","problem":{"status":400}}"#;
        assert_eq!(String::from_utf8(letter(headers).encode()).expect("text"), text);
        let read = DeadLetter::decode(text.as_bytes()).expect("a letter");
        assert_eq!(String::from_utf8(read.encode()).expect("text"), text);
        assert!(!read.holds_body());
        assert_eq!(read.arrival().pubsub_message_id.as_deref(), Some("8"));
        assert!(letter(Arrival::default()).arrival().pubsub_message_id.is_none());
    }

    #[test]
    fn the_head_of_a_letter_with_an_ordering_key_gives_the_key_back() {
        let headers = Arrival {
            pubsub_message_id: Some("8".to_owned()),
            ordering_key: Some("usr_1".to_owned()),
            ..Arrival::default()
        };
        let text = r#"{"version":2,"number":7,"deadLetteredAt":"1970-01-01T00:00:00Z","record":"record/r","source":"unwrapped","pubsubMessageId":"8","orderingKey":"usr_1","reason":"not-utf8","problem":{"status":400}}"#;
        let encoded = String::from_utf8(letter(headers).encode());
        assert_eq!(encoded.as_deref(), Ok(text));
        let read = DeadLetter::decode(text.as_bytes()).expect("a letter");
        assert_eq!(read.arrival().ordering_key.as_deref(), Some("usr_1"));
    }

    #[test]
    fn a_letter_of_an_earlier_version_gives_back_its_body() {
        let letter = DeadLetter::decode(OLD.as_bytes()).expect("a letter");
        assert!(letter.holds_body());
        assert_eq!(letter.own_body(), b"\xff\x00\xfe");
        let text = OLD.replace(r#""bodyBase64":"/wD+""#, r#""body":"text \"quoted\"""#);
        let letter = DeadLetter::decode(text.as_bytes()).expect("a letter");
        assert_eq!(letter.own_body(), b"text \"quoted\"");
    }

    #[test]
    fn a_body_is_shown_as_text_or_in_base64_and_left_out_of_lists() {
        let shown = |letter: DeadLetter| -> serde_json::Value {
            serde_json::from_slice(&letter.encode()).expect("JSON")
        };
        let letter = letter(Arrival::default());
        let text = letter.clone().with_body(b"text".to_vec());
        assert_eq!(shown(text.clone())["body"], "text");
        assert_eq!(shown(letter.with_body(b"\xff\x00\xfe".to_vec()))["bodyBase64"], "/wD+");
        assert!(shown(text.summary()).get("body").is_none());
    }

    #[test]
    fn bytes_of_a_later_version_are_not_taken_for_a_letter() {
        let newer = OLD.replace(r#""version":1"#, r#""version":3"#);
        for bytes in ["", "{}", "null", "record/r", &newer] {
            assert!(DeadLetter::decode(bytes.as_bytes()).is_none(), "{bytes}");
        }
    }
}
