//! Messages: checking a posted one, and showing a stored one. Rules that depend on other messages
//! are in `store` and `call`.

use std::borrow::Cow;
use std::time::SystemTime;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::page::Listed;
use crate::refusal::Violation;
use clock::rfc3339;

/// The payload of a message whose content was deleted. Such a payload of a sender's counts as deleted,
/// too.
pub(crate) const EXPIRED: &str = r#"{"expired":true}"#;

/// The most channels of a message.
const MAX_CHANNELS: usize = 5;

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
            payload: if with_content { &message.payload } else { "{}" },
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
            channels: Option<Vec<String>>,
            payload_retention_period: Option<i64>,
        }

        let message: MessageIn = serde_json::from_slice(body).map_err(|error| {
            vec![Violation {
                loc: vec!["body"],
                msg: error.to_string(),
                kind: "value_error.jsondecode",
            }]
        })?;

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
            if !(1..=MAX_CHANNELS).contains(&channels.len()) {
                let msg = "Channels must have at least one and at most five items.";
                violations.push(Violation::value(&["body", "channels"], msg));
            }
            let invalid = |channel| check_id(&["body", "channels"], channel, None);
            violations.extend(channels.iter().find_map(|channel| invalid(channel)));
        }
        if message
            .payload_retention_period
            .is_some_and(|days| !(5..=90).contains(&days))
        {
            let loc = ["body", "payloadRetentionPeriod"];
            violations.push(Violation::value(&loc, "Must be from 5 to 90."));
        }
        if let Some(application) = &message.application {
            if let Some(uid) = &application.uid {
                violations.extend(check_app_uid(&["body", "application", "uid"], uid));
            }
            if application.name.is_empty() {
                let loc = ["body", "application", "name"];
                violations.push(Violation::value(
                    &loc,
                    "Application names must not be empty.",
                ));
            }
        }
        if !violations.is_empty() {
            return Err(violations);
        }
        Ok(Self {
            event_id: message.event_id.map(Cow::into_owned),
            event_type: message.event_type.into_owned(),
            payload: message.payload.get().to_owned(),
            application: message.application,
        })
    }
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
            (
                r#""channels":["a","b","c","d","e"],"payloadRetentionPeriod":5"#,
                None,
            ),
            (r#""channels":[]"#, Some("body.channels")),
            (
                r#""channels":["a","b","c","d","e","f"]"#,
                Some("body.channels"),
            ),
            (r#""channels":["a b"]"#, Some("body.channels")),
            (
                r#""payloadRetentionPeriod":4"#,
                Some("body.payloadRetentionPeriod"),
            ),
            (
                r#""payloadRetentionPeriod":91"#,
                Some("body.payloadRetentionPeriod"),
            ),
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
