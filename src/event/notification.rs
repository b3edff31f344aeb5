//! A notification: the request that carries an event here, in any of three forms.
//!
//! The form is recognised from the content. Pub/Sub's wrapped push is an object with a `message` and none
//! of an event's own fields. Pub/Sub's unwrapped push is the event itself with `x-goog-pubsub-*` headers.
//! Anything else is the event itself, posted directly.

use std::borrow::Cow;
use std::time::SystemTime;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Event, key, sha256_hex, shortened};
use crate::json;
use crate::time;
use crate::violation::Violation;

/// The deepest event that is relayed, in arrays and objects within each other. Svix's parser takes 127
/// around the payload and in it; customers' parsers may take less.
pub const MAX_DEPTH: usize = 100;

/// Standard base64, as Pub/Sub sends it. The padding may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The form of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The event itself, posted directly.
    Direct,
    /// Pub/Sub's default push: JSON around the base64 of the event.
    Wrapped,
    /// Pub/Sub's push without wrapper: the event itself, metadata in headers.
    Unwrapped,
}

/// How a notification came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub source: Source,
    /// Pub/Sub's own identifier of the message.
    pub message_id: Option<String>,
    /// How often Pub/Sub has tried. Only a subscription with a dead-letter topic says so.
    pub attempt: Option<u64>,
    /// The time at which Pub/Sub was given the message.
    pub publish_time: Option<SystemTime>,
}

/// The headers of an unwrapped push that the relay looks at.
#[derive(Clone, Debug, Default)]
pub struct PushHeaders {
    /// `x-goog-pubsub-message-id`; the push is unwrapped if it is there.
    pub message_id: Option<String>,
    /// `x-goog-pubsub-publish-time`.
    pub publish_time: Option<String>,
}

/// The fields that can be read of an event, valid or not, shortened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    pub id: Option<String>,
    pub event_type: Option<String>,
    pub project: Option<String>,
}

/// Why a notification holds no valid event, and never will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    NotUtf8,
    /// The text is not JSON: where and why.
    NotJson(String),
    /// `message.data` of a wrapped push is not base64.
    NotBase64,
    /// Arrays and objects are nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// Fields are missing or break a rule.
    Invalid(Vec<Violation>),
}

/// A notification whose form is known. Its event may still be invalid.
#[derive(Debug)]
pub struct Notification<'a> {
    pub arrival: Arrival,
    content: Content<'a>,
}

#[derive(Debug)]
enum Content<'a> {
    /// The event is the body. Its fields are found already.
    Body(&'a str, [Option<&'a RawValue>; 4]),
    /// The event was inside a wrapper.
    Unpacked(String),
    /// Why there is no event, and the bytes that are the same in every delivery.
    Rejected(Rejection, Cow<'a, [u8]>),
}

impl<'a> Notification<'a> {
    /// Recognises the form of a notification.
    pub fn read(body: &'a [u8], headers: PushHeaders) -> Self {
        let mut arrival = Arrival {
            source: match headers.message_id {
                Some(_) => Source::Unwrapped,
                None => Source::Direct,
            },
            message_id: headers.message_id,
            attempt: None,
            publish_time: headers
                .publish_time
                .as_deref()
                .and_then(time::parse_rfc3339),
        };
        let content = match str::from_utf8(body) {
            Ok(text) => Self::open(text, &mut arrival),
            Err(_) => Content::Rejected(Rejection::NotUtf8, Cow::Borrowed(body)),
        };
        Self { arrival, content }
    }

    /// The bytes that are the same in every delivery of the event, valid or not.
    fn identity(&self) -> &[u8] {
        match &self.content {
            Content::Body(text, _) => text.as_bytes(),
            Content::Unpacked(text) => text.as_bytes(),
            Content::Rejected(_, identity) => identity,
        }
    }

    /// The key of the event's record. Without a valid event it is made of the bytes alone.
    pub fn key(&self) -> String {
        match self.event() {
            Ok(event) => key(&event.project, &event.id),
            Err(_) => format!("rejected-{}", sha256_hex(&[self.identity()])),
        }
    }

    pub fn hints(&self) -> Hints {
        let fields = match &self.content {
            Content::Body(_, fields) => *fields,
            Content::Unpacked(json) => json::pick(json, Event::FIELDS).unwrap_or_default(),
            Content::Rejected(..) => Default::default(),
        };
        let [id, event_type, project, _] =
            fields.map(|field| field.and_then(json::string).map(|text| shortened(&text)));
        Hints {
            id,
            event_type,
            project,
        }
    }

    /// The event, checked.
    pub fn event(&self) -> Result<Event<'_>, Rejection> {
        let (json, fields) = match &self.content {
            Content::Body(json, fields) => (*json, *fields),
            Content::Unpacked(json) => (json.as_str(), json::pick(json, Event::FIELDS)?),
            Content::Rejected(rejection, _) => return Err(rejection.clone()),
        };
        if json::is_deeper_than(json, MAX_DEPTH) {
            return Err(Rejection::TooDeep);
        }
        Event::from_fields(json, fields).map_err(Rejection::Invalid)
    }

    fn open(text: &'a str, arrival: &mut Arrival) -> Content<'a> {
        let names = [
            "id",
            "type",
            "project",
            "time",
            "message",
            "deliveryAttempt",
        ];
        let [id, event_type, project, time, message, attempt] = match json::pick(text, names) {
            Ok(fields) => fields,
            Err(error) => return Content::Rejected(error.into(), text.as_bytes().into()),
        };
        let wrapped = [id, event_type, project].iter().all(Option::is_none);
        match message {
            Some(message) if wrapped && json::is_object(message) => {
                arrival.source = Source::Wrapped;
                arrival.attempt = attempt.and_then(|raw| raw.get().parse().ok());
                unpack(message.get(), arrival)
            }
            _ => Content::Body(text, [id, event_type, project, time]),
        }
    }
}

/// Takes the event out of the `message` of a wrapped push.
fn unpack<'a>(message: &'a str, arrival: &mut Arrival) -> Content<'a> {
    // Only the message is the same in every delivery: the wrapper counts the attempts.
    let rejected = |rejection| Content::Rejected(rejection, message.as_bytes().into());
    let bytes = match open_message(message, arrival) {
        Ok(bytes) => bytes,
        Err(rejection) => return rejected(rejection),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Content::Unpacked(text),
        Err(error) => Content::Rejected(Rejection::NotUtf8, error.into_bytes().into()),
    }
}

fn open_message(message: &str, arrival: &mut Arrival) -> Result<Vec<u8>, Rejection> {
    let names = [
        "data",
        "messageId",
        "message_id",
        "publishTime",
        "publish_time",
    ];
    let [data, id, id_snake_case, time, time_snake_case] = json::pick(message, names)?;
    if let Some(id) = id.or(id_snake_case).and_then(json::string) {
        arrival.message_id = Some(id.into_owned());
    }
    let time = time.or(time_snake_case).and_then(json::string);
    if let Some(time) = time.as_deref().and_then(time::parse_rfc3339) {
        arrival.publish_time = Some(time);
    }
    let invalid = |reason| Rejection::Invalid(vec![Violation::new("message.data", reason)]);
    let data = match data {
        None => return Err(invalid("is required")),
        Some(raw) => json::string(raw).ok_or_else(|| invalid("must be a string"))?,
    };
    if data.is_empty() {
        return Err(invalid("must not be empty"));
    }
    BASE64
        .decode(data.as_bytes())
        .map_err(|_| Rejection::NotBase64)
}

impl From<json::Error> for Rejection {
    fn from(error: json::Error) -> Self {
        match error {
            json::Error::NotJson(reason) => Self::NotJson(reason),
            json::Error::NotAnObject => {
                Self::Invalid(vec![Violation::new("event", "must be a JSON object")])
            }
        }
    }
}

/// Whether a `Content-Type` promises one event as JSON in UTF-8.
///
/// A notification without the header is taken as JSON: Pub/Sub's unwrapped push need not carry it.
pub fn is_json_media_type(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else {
        return true;
    };
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let json = ["application/json", "application/cloudevents+json"];
    json.iter().any(|known| essence.eq_ignore_ascii_case(known))
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVENT: &str = r#"{"id":"evt_1","type":"user.created","project":"dev","data":{"n":10.0}}"#;

    fn read(body: &str) -> Notification<'_> {
        Notification::read(body.as_bytes(), PushHeaders::default())
    }

    fn wrap(event: &[u8]) -> String {
        format!(
            r#"{{"message":{{"data":"{}","messageId":"7","message_id":"7","publishTime":"2026-11-23T14:12:42.123Z","publish_time":"2026-11-23T14:12:42.123Z"}},"subscription":"projects/p/subscriptions/s","deliveryAttempt":5}}"#,
            BASE64.encode(event)
        )
    }

    #[test]
    fn takes_an_event_posted_directly() {
        let notification = read(EVENT);
        assert_eq!(notification.arrival.source, Source::Direct);
        assert_eq!(notification.event().expect("valid").json, EVENT);
    }

    #[test]
    fn takes_the_event_out_of_a_wrapped_push() {
        let body = wrap(EVENT.as_bytes());
        let notification = read(&body);
        assert_eq!(
            notification.arrival,
            Arrival {
                source: Source::Wrapped,
                message_id: Some("7".to_owned()),
                attempt: Some(5),
                publish_time: time::parse_rfc3339("2026-11-23T14:12:42.123Z"),
            }
        );
        assert_eq!(notification.event().expect("valid").json, EVENT);
    }

    #[test]
    fn knows_an_unwrapped_push_by_its_header() {
        let headers = PushHeaders {
            message_id: Some("8".to_owned()),
            publish_time: Some("1970-01-01T00:00:00Z".to_owned()),
        };
        let notification = Notification::read(EVENT.as_bytes(), headers);
        assert_eq!(
            notification.arrival,
            Arrival {
                source: Source::Unwrapped,
                message_id: Some("8".to_owned()),
                attempt: None,
                publish_time: Some(SystemTime::UNIX_EPOCH),
            }
        );
        assert_eq!(notification.event().expect("valid").json, EVENT);
    }

    #[test]
    fn an_event_with_a_field_called_message_stays_an_event() {
        let json = r#"{"id":"evt_1","type":"t","project":"dev","message":{"data":"aGk="},"subscription":"s"}"#;
        let notification = read(json);
        assert_eq!(notification.arrival.source, Source::Direct);
        assert_eq!(notification.event().expect("valid").json, json);
    }

    #[test]
    fn accepts_base64_with_escapes_or_without_padding() {
        let event = r#"{"id":"a?~","type":"t","project":"dev"}"#;
        let data = BASE64.encode(event);
        for data in [
            data.replace('/', "\\/"),
            data.trim_end_matches('=').to_owned(),
        ] {
            let body = format!(r#"{{"message":{{"data":"{data}"}}}}"#);
            assert_eq!(read(&body).event().expect("valid").json, event);
        }
    }

    #[test]
    fn refuses_a_notification_without_an_event() {
        let invalid = |field, reason: &str| Rejection::Invalid(vec![Violation::new(field, reason)]);
        let not_json = |body| matches!(read(body).event(), Err(Rejection::NotJson(_)));
        assert!(not_json("not json"));
        assert!(not_json(""));
        for (body, expected) in [
            ("[]", invalid("event", "must be a JSON object")),
            (r#"{"message":{}}"#, invalid("message.data", "is required")),
            (
                r#"{"message":{"data":1}}"#,
                invalid("message.data", "must be a string"),
            ),
            (
                r#"{"message":{"data":"","attributes":{"k":"v"}}}"#,
                invalid("message.data", "must not be empty"),
            ),
            (r#"{"message":{"data":"***"}}"#, Rejection::NotBase64),
            (r#"{"message":{"data":"/w=="}}"#, Rejection::NotUtf8),
        ] {
            assert_eq!(read(body).event(), Err(expected), "{body}");
        }
        assert_eq!(
            Notification::read(b"{\"id\":\"\xff\"}", PushHeaders::default()).event(),
            Err(Rejection::NotUtf8)
        );
        assert!(matches!(
            read(&wrap(b"{")).event(),
            Err(Rejection::NotJson(_))
        ));
    }

    #[test]
    fn reads_the_valid_fields_of_an_invalid_event() {
        let body = wrap(br#"{"id":"evt_1","type":7,"project":"app_1"}"#);
        let notification = read(&body);
        assert!(notification.event().is_err());
        assert_eq!(
            notification.hints(),
            Hints {
                id: Some("evt_1".to_owned()),
                event_type: None,
                project: Some("app_1".to_owned()),
            }
        );
        assert_eq!(read("nonsense").hints(), Hints::default());
    }

    #[test]
    fn a_rejected_push_keeps_its_message_id() {
        let body = wrap(b"\xff");
        let notification = read(&body);
        assert_eq!(notification.arrival.message_id.as_deref(), Some("7"));
        assert_eq!(notification.event(), Err(Rejection::NotUtf8));
    }

    #[test]
    fn every_delivery_of_one_event_has_the_same_identity() {
        let identity = |body: &str| read(body).identity().to_vec();
        for bytes in [EVENT.as_bytes(), b"no event", b"\xff"] {
            let body = wrap(bytes);
            let later = body.replace(r#""deliveryAttempt":5"#, r#""deliveryAttempt":6"#);
            let published_again = body.replace(r#"Id":"7""#, r#"Id":"8""#);
            assert_eq!(identity(&body), bytes);
            assert_eq!(identity(&later), bytes);
            assert_eq!(identity(&published_again), bytes);
        }
        let undecodable = |attempt| {
            identity(&format!(
                r#"{{"message":{{"data":"%","messageId":"7"}},"deliveryAttempt":{attempt}}}"#
            ))
        };
        assert_eq!(undecodable(1), undecodable(2));
        assert_eq!(identity(EVENT), EVENT.as_bytes());
    }

    #[test]
    fn recognises_json_media_types() {
        for good in [
            None,
            Some("application/json"),
            Some("Application/JSON; charset=UTF-8"),
            Some("application/cloudevents+json;charset=\"utf-8\""),
        ] {
            assert!(is_json_media_type(good), "{good:?}");
        }
        for bad in [
            "",
            "text/plain",
            "application/jsonx",
            "application/cloudevents-batch+json",
            "application/json; charset=iso-8859-1",
            "application/x-www-form-urlencoded",
        ] {
            assert!(!is_json_media_type(Some(bad)), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Notification::read(&body, PushHeaders::default()).event();
        }

        #[test]
        fn any_event_comes_out_byte_for_byte_in_every_form(
            id in "\\PC{1,40}",
            data in "\\PC{0,80}",
            number in any::<f64>().prop_filter("JSON has no such number", |n| n.is_finite()),
        ) {
            let quote = |text: &str| serde_json::to_string(text).expect("a string");
            let event = format!(
                r#" {{"data":{{"text":{},"n":{number:?}}},"id":{},"type":"t","project":"dev"}}"#,
                quote(&data),
                quote(&id),
            );
            let wrapped = wrap(event.as_bytes());
            for body in [event.as_str(), wrapped.as_str()] {
                let notification = read(body);
                let read = notification.event().expect("valid");
                prop_assert_eq!(read.json, event.as_str());
                prop_assert_eq!(read.id, id.as_str());
            }
        }
    }
}
