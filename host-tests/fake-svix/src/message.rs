//! Messages: checking a posted one, and showing a stored one. Rules that depend on other messages
//! are in `store` and `call`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::SystemTime;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::{RawValue, Value};

use crate::page::Listed;
use crate::refusal::Violation;
use clock::rfc3339;

/// The payload of a message whose content was deleted. Such a payload of a sender's counts as deleted,
/// too.
pub(crate) const EXPIRED: &str = r#"{"expired":true}"#;

/// The most channels of a message.
const MAX_CHANNELS: usize = 5;

/// For how many days Svix may keep a payload.
const RETENTION: RangeInclusive<i64> = 5..=90;

/// A message that Svix holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredMessage {
    /// The uid of its application.
    pub app: String,
    /// Svix's own id, `msg_…`.
    pub id: String,
    /// The id that the sender chose.
    pub event_id: Option<String>,
    pub event_type: String,
    /// An endpoint with channels takes only messages that have one of them.
    pub channels: Option<BTreeSet<String>>,
    /// The payload, byte for byte as it was posted.
    #[serde(serialize_with = "as_json")]
    pub payload: String,
    #[serde(serialize_with = "as_rfc3339")]
    pub timestamp: SystemTime,
    pub idempotency_key: Option<String>,
}

impl StoredMessage {
    pub(crate) fn is_expired(&self) -> bool {
        self.payload == EXPIRED
    }

    /// The payload as the API shows it. Svix's server sends a payload that it can't read, but treats it as deleted
    /// elsewhere.
    pub(crate) fn content(&self) -> &str {
        match serde_json::from_str::<Value>(&self.payload) {
            // Unlike this parser, the server's takes any number.
            Err(error) if !error.to_string().starts_with("number out of range") => EXPIRED,
            _ => &self.payload,
        }
    }
}

impl Listed for StoredMessage {
    fn id(&self) -> &str {
        &self.id
    }

    fn time(&self) -> SystemTime {
        self.timestamp
    }
}

/// A stored message as the API shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageOut<'a> {
    id: &'a str,
    event_id: Option<&'a str>,
    event_type: &'a str,
    #[serde(serialize_with = "as_rfc3339")]
    timestamp: SystemTime,
    channels: Option<&'a BTreeSet<String>>,
    #[serde(serialize_with = "as_json")]
    payload: &'a str,
}

impl<'a> MessageOut<'a> {
    /// Without content, the payload is `{}`.
    pub fn new(message: &'a StoredMessage, with_content: bool) -> Self {
        Self {
            id: &message.id,
            event_id: message.event_id.as_deref(),
            event_type: &message.event_type,
            timestamp: message.timestamp,
            channels: message.channels.as_ref(),
            payload: if with_content { message.content() } else { "{}" },
        }
    }
}

/// Writes JSON as it is, and any other text as a string.
fn as_json<S: Serializer>(text: &impl AsRef<str>, to: S) -> Result<S::Ok, S::Error> {
    let text = text.as_ref();
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => raw.serialize(to),
        Err(_) => text.serialize(to),
    }
}

pub(crate) fn as_rfc3339<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    rfc3339(*time).serialize(to)
}

/// A posted message whose form is valid.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewMessage {
    pub event_id: Option<String>,
    pub event_type: String,
    pub channels: Option<BTreeSet<String>>,
    pub payload: String,
    pub application: Option<NewApplication>,
}

/// The inline application. Its uid matters only if the application must be created, so that `call`
/// checks it, not this module.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct NewApplication {
    pub uid: Option<String>,
    name: String,
}

impl NewMessage {
    pub fn parse(body: &[u8]) -> Result<Self, Vec<Violation>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct MessageIn<'a> {
            #[serde(borrow)]
            event_id: Option<Cow<'a, str>>,
            #[serde(borrow)]
            event_type: Cow<'a, str>,
            #[serde(borrow)]
            payload: &'a RawValue,
            application: Option<NewApplication>,
            // Svix's open-source server ignores `tags`.
            channels: Option<BTreeSet<String>>,
            #[serde(default = "default_retention")]
            payload_retention_period: i64,
        }

        let message: MessageIn = serde_json::from_slice(body)
            .map_err(|error| vec![Violation::unreadable(&["body"], &error)])?;

        let mut violations = Vec::new();
        if let Some(event_id) = &message.event_id {
            violations.extend(check_id(&["body", "eventId"], event_id, Some("msg_")));
        }
        violations.extend(check_id(&["body", "eventType"], &message.event_type, None));
        if !message.payload.get().starts_with('{') {
            let loc = ["body", "payload"];
            violations.push(Violation::value(&loc, "Payload must be an object."));
        }
        if let Some(channels) = &message.channels {
            violations.extend(check_channels(channels, MAX_CHANNELS));
        }
        if !RETENTION.contains(&message.payload_retention_period) {
            let loc = ["body", "payloadRetentionPeriod"];
            violations.push(Violation::value(&loc, "Must be from 5 to 90."));
        }
        if let Some(application) = &message.application {
            if let Some(uid) = &application.uid {
                violations.extend(check_app_uid(&["body", "application", "uid"], uid));
            }
            if application.name.is_empty() {
                let loc = ["body", "application", "name"];
                violations.push(Violation::value(&loc, "Application names must not be empty."));
            }
        }
        if !violations.is_empty() {
            return Err(violations);
        }
        Ok(Self {
            event_id: message.event_id.map(Cow::into_owned),
            event_type: message.event_type.into_owned(),
            channels: message.channels,
            payload: message.payload.get().to_owned(),
            application: message.application,
        })
    }
}

fn default_retention() -> i64 {
    *RETENTION.end()
}

/// The channels of a message, or of an endpoint.
pub(crate) fn check_channels(channels: &BTreeSet<String>, most: usize) -> Vec<Violation> {
    let loc = ["body", "channels"];
    let mut violations = Vec::new();
    if !(1..=most).contains(&channels.len()) {
        let msg = format!("Channels must have at least 1 and at most {most} items.");
        violations.push(Violation::value(&loc, msg));
    }
    let invalid = |channel: &String| check_id(&loc, channel, None);
    violations.extend(channels.iter().find_map(invalid));
    violations
}

pub(crate) fn check_app_uid(loc: &[&'static str], uid: &str) -> Option<Violation> {
    check_id(loc, uid, Some("app_"))
}

pub(crate) fn check_id(
    loc: &[&'static str],
    id: &str,
    reserved: Option<&str>,
) -> Option<Violation> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    let msg = if id.is_empty() {
        "Must be at least one character.".to_owned()
    } else if id.len() > 256 {
        "Must be at most 256 characters.".to_owned()
    } else if !id.bytes().all(allowed) {
        "Must match the following pattern: [a-zA-Z0-9\\-_.].".to_owned()
    } else {
        let prefix = reserved.filter(|prefix| id.starts_with(prefix))?;
        format!("Must not be prefixed with {prefix}.")
    };
    Some(Violation::value(loc, msg))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locations(body: &str) -> Vec<String> {
        let violations = NewMessage::parse(body.as_bytes()).expect_err("violations");
        violations.iter().map(|found| found.loc.join(".")).collect()
    }

    #[test]
    fn keeps_the_payload_byte_for_byte() {
        let payload = r#"{ "n": 10.0, "n": 12345678901234567890,	"é":"\u00e9" }"#;
        let body = format!(r#"{{"eventType":"a.b","payload": {payload} ,"other":[]}}"#);
        let message = NewMessage::parse(body.as_bytes()).expect("valid");
        assert_eq!(message.payload, payload);
    }

    #[test]
    fn names_every_violation() {
        let long = "x".repeat(257);
        let body = format!(
            r#"{{"eventType":"a b","eventId":"msg_1","payload":[],
                "application":{{"uid":"{long}","name":""}}}}"#
        );
        let expected = [
            "body.eventId",
            "body.eventType",
            "body.payload",
            "body.application.uid",
            "body.application.name",
        ];
        assert_eq!(locations(&body), expected);
    }

    #[test]
    fn a_message_has_at_most_five_channels_and_a_retention_of_5_to_90_days() {
        for (fields, violation) in [
            (r#""channels":["a","b","c","d","e"],"payloadRetentionPeriod":5"#, None),
            (r#""channels":[]"#, Some("body.channels")),
            (r#""channels":["a","b","c","d","e","f"]"#, Some("body.channels")),
            (r#""channels":["a b"]"#, Some("body.channels")),
            (r#""channels":["a","a","a","a","a","a"]"#, None),
            (r#""payloadRetentionPeriod":null"#, Some("body")),
            (r#""payloadRetentionPeriod":4"#, Some("body.payloadRetentionPeriod")),
            (r#""payloadRetentionPeriod":91"#, Some("body.payloadRetentionPeriod")),
        ] {
            let body = format!(r#"{{"eventType":"a.b","payload":{{}},"tags":7,{fields}}}"#);
            match violation {
                Some(violation) => assert_eq!(locations(&body), [violation], "{body}"),
                None => assert!(NewMessage::parse(body.as_bytes()).is_ok(), "{body}"),
            }
        }
    }

    #[test]
    fn ids_have_1_to_256_characters_of_few_kinds() {
        let check = |id: &str| check_app_uid(&["path"], id).is_some();
        assert!(!check("a-Z_0.9"));
        assert!(!check(&"x".repeat(256)));
        for bad in ["", "app_1", "a b", "ä", "a/b", &"x".repeat(257)] {
            assert!(check(bad), "{bad}");
        }
    }

    #[test]
    fn a_field_missing_or_of_another_type_is_a_decoding_error() {
        for body in [
            "",
            "[]",
            "{",
            r#"{"payload":{}}"#,
            r#"{"eventType":"a"}"#,
            r#"{"eventType":1,"payload":{}}"#,
            r#"{"eventType":"a","payload":{},"application":{"uid":"b"}}"#,
        ] {
            assert_eq!(locations(body), ["body"], "{body}");
        }
    }
}
