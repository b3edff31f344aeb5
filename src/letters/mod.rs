//! A dead letter: an event that can never be delivered as it is, kept for a person to decide on.
//!
//! Dead letters form a log, numbered from 1 without a list of them anywhere: a counter says how
//! many there have been. A letter belongs to the event whose record points at it; one whose record
//! points at another letter was written at the same time, and counts as not there. Whether a letter is
//! resolved or discarded is not written into it: its record says so.

pub mod ledger;

use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event::notification::{Notification, PushHeaders, Source};
use crate::json;
use crate::records::{Delivered, Record};
use crate::time::rfc3339;

/// The name of the counter in the store.
pub const COUNTER: &str = "dead-letters";

/// The name of the counter of those that are neither resolved nor discarded.
pub const UNRESOLVED: &str = "dead-letters/unresolved";

/// The name of the counter of the letters that were written for the event of a record.
pub fn opened(record: &str) -> String {
    format!("dead-letters/opened/{record}")
}

/// The name of the counter of how often the letter of a record's event was resolved or discarded.
pub fn closed(record: &str) -> String {
    format!("dead-letters/closed/{record}")
}

/// The version of the letters that this relay writes.
const VERSION: u32 = 1;

/// A dead letter as the store holds it and operators see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    version: u32,
    /// Its place in the log.
    pub number: u64,
    /// When it was put there, in RFC 3339, UTC.
    pub dead_lettered_at: String,
    /// The name of the event's record.
    pub record: String,
    /// The customer, if the event says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The platform's identifier of the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// What happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// The form of the notification.
    pub source: Source,
    /// Pub/Sub's identifier of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pubsub_message_id: Option<String>,
    /// When Pub/Sub was given the message, in RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_time: Option<String>,
    /// How often Pub/Sub had tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_attempt: Option<u64>,
    /// The last part of the problem's `type`.
    pub reason: String,
    /// The whole problem document.
    pub problem: Box<RawValue>,
    /// What has become of it since; not stored.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Delivered>,
    /// The notification's body, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The notification's body in base64, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl DeadLetter {
    /// The name of the letter with this number in the store.
    pub fn name(number: u64) -> String {
        format!("dead-letter/{number}")
    }

    /// The letter about a notification that can never be delivered: `reason` is the last part of the
    /// type of `problem`, a problem document.
    pub fn new(
        number: u64,
        notification: &Notification<'_>,
        (reason, problem): (&str, Box<RawValue>),
        body: &[u8],
        now: SystemTime,
    ) -> Self {
        let (arrival, hints) = (&notification.arrival, notification.hints());
        let (text, base64) = match str::from_utf8(body) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(BASE64_STANDARD.encode(body))),
        };
        Self {
            version: VERSION,
            number,
            dead_lettered_at: rfc3339(now),
            record: Record::name(&notification.key()),
            project: hints.project,
            event_id: hints.id,
            event_type: hints.event_type,
            source: arrival.source,
            pubsub_message_id: arrival.message_id.clone(),
            publish_time: arrival.publish_time.map(rfc3339),
            delivery_attempt: arrival.attempt,
            reason: reason.to_owned(),
            problem,
            resolved: None,
            body: text,
            body_base64: base64,
        }
    }

    /// The letter as the store holds it.
    pub fn encode(&self) -> Vec<u8> {
        json::encode(self)
    }

    /// Reads what the store holds.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let letter: Self = serde_json::from_slice(bytes).ok()?;
        (letter.version == VERSION).then_some(letter)
    }

    /// The body of the notification as it came.
    pub fn body(&self) -> Vec<u8> {
        match (&self.body, &self.body_base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(base64)) => BASE64_STANDARD.decode(base64).unwrap_or_default(),
            (None, None) => Vec::new(),
        }
    }

    /// The headers of the notification as they came, as far as they matter.
    pub fn headers(&self) -> PushHeaders {
        match self.source {
            Source::Unwrapped => PushHeaders {
                message_id: self.pubsub_message_id.clone(),
                publish_time: self.publish_time.clone(),
            },
            Source::Direct | Source::Wrapped => PushHeaders::default(),
        }
    }

    /// The letter without its body, for lists.
    #[must_use]
    pub fn summary(self) -> Self {
        Self {
            body: None,
            body_base64: None,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn letter(body: &[u8], headers: PushHeaders) -> DeadLetter {
        let notification = Notification::read(body, headers);
        let problem = serde_json::value::to_raw_value(&json!({"status": 400})).expect("JSON");
        DeadLetter::new(
            7,
            &notification,
            ("not-utf8", problem),
            body,
            SystemTime::UNIX_EPOCH,
        )
    }

    #[test]
    fn keeps_all_that_a_person_needs_to_decide() {
        let headers = PushHeaders {
            message_id: Some("8".to_owned()),
            publish_time: Some("2026-11-23T14:12:42Z".to_owned()),
        };
        let letter = letter(b"{}", headers);
        let stored: serde_json::Value = serde_json::from_slice(&letter.encode()).expect("JSON");
        assert_eq!(
            stored,
            json!({
                "version": 1, "number": 7, "deadLetteredAt": "1970-01-01T00:00:00Z",
                "record": letter.record, "source": "unwrapped", "pubsubMessageId": "8",
                "publishTime": "2026-11-23T14:12:42Z", "reason": "not-utf8",
                "problem": {"status": 400},
                "body": "{}",
            })
        );
        assert!(!String::from_utf8_lossy(&letter.summary().encode()).contains("\"body\""));
    }

    #[test]
    fn gives_back_the_notification_byte_for_byte() {
        for body in [&b"text \"quoted\" \n"[..], b"\xff\x00\xfe", b""] {
            let headers = PushHeaders {
                message_id: Some("8".to_owned()),
                publish_time: None,
            };
            let stored = letter(body, headers).encode();
            let read = DeadLetter::decode(&stored).expect("a letter");
            assert_eq!(read.body(), body);
            assert_eq!(read.headers().message_id.as_deref(), Some("8"));
        }
        assert!(
            letter(b"{}", PushHeaders::default())
                .headers()
                .message_id
                .is_none()
        );
    }

    #[test]
    fn what_is_no_letter_is_not_taken_for_one() {
        let stored = letter(b"{}", PushHeaders::default()).encode();
        let newer = String::from_utf8(stored)
            .expect("text")
            .replace(r#""version":1"#, r#""version":2"#);
        for bytes in ["", "{}", "null", &newer] {
            assert!(DeadLetter::decode(bytes.as_bytes()).is_none(), "{bytes}");
        }
    }
}
