//! A notification: the request that carries an event here, in any of three forms.
//!
//! Headers and content tell the form. Pub/Sub's unwrapped push is the event itself with `x-goog-pubsub-*` headers. Its
//! wrapped push is an object with a `message`, and without `id`, `type` and `project`; or it is the data of Eventarc's
//! CloudEvent. Anything else is the event itself, posted directly.
//!
//! A CloudEvent in binary mode is refused. Its `id` and `type` stand in headers or attributes, and
//! the body is its data alone. The data may have fields of the same names, which are another thing's.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::arrival::{Arrival, BodyHint, CloudEvent, Source, carries_push};
use super::content::Content;
use super::push::{self, BYTE_ORDER_MARK, Opened};
use super::rejection::{MAX_DEPTH, Rejection};
use super::{Event, key};
use crate::digest;
use crate::identifier::shortened;
use crate::json;

/// How compressed data begins.
const COMPRESSED: [(&str, &[u8]); 2] = [("gzip", b"\x1f\x8b"), ("zstd", b"\x28\xb5\x2f\xfd")];

/// The fields of an event, and then those of a wrapper.
const FIELDS: [&str; 7] = {
    let [id, r#type, project, time] = Event::FIELDS;
    let [message, subscription, attempt] = push::FIELDS;
    [id, r#type, project, time, message, subscription, attempt]
};

type Fields<'a, const N: usize> = [Option<&'a RawValue>; N];

/// The fields that can be read of an event, valid or not, shortened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UncheckedFields {
    pub id: Option<String>,
    pub event_type: Option<String>,
    pub project: Option<String>,
}

/// A notification whose form is known. Its event may still be invalid.
#[derive(Debug)]
pub struct Notification<'a> {
    pub source: Source,
    pub arrival: Arrival,
    content: Content<'a>,
}

impl<'a> Notification<'a> {
    pub fn read(body: &'a [u8], headers: Arrival) -> Self {
        let hint = headers.body_hint();
        Self::read_as(hint, body, headers)
    }

    /// Reads a letter. Its body may have another form than its head says: another delivery of the message may have
    /// written that body.
    pub fn of_letter(body: &'a [u8], head: Arrival) -> Self {
        Self::read_as(BodyHint::EventOrWrapped, body, head)
    }

    fn read_as(hint: BodyHint, body: &'a [u8], headers: Arrival) -> Self {
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        let opened = match parse(body) {
            Err(rejection) => Err(Content::Rejected(rejection, body.into())),
            Ok((text, event, wrapper)) => open(hint, text, event, wrapper, &headers)
                .ok_or_else(|| Content::of_body(text, event)),
        };
        let (source, content, arrival) = match opened {
            Ok((content, arrival)) => (Source::Wrapped, content, arrival),
            Err(content) if headers.pubsub_message_id.is_some() => {
                (Source::Unwrapped, content, headers)
            }
            Err(content) => (Source::Direct, content, headers),
        };
        let mut notification = Self { source, arrival, content };
        if notification.is_binary_mode() {
            let identity = notification.content.identity().to_vec();
            notification.content = Content::Rejected(Rejection::BinaryMode, identity.into());
        }
        notification
    }

    /// The key of the event's record, from the event that [`Self::check`] returns. Without a valid event, Pub/Sub's
    /// identifier of the message and its bytes make the key: two messages may hold the same bytes, and a topic that is
    /// created anew may use an identifier again. So does each start of Pub/Sub's emulator.
    pub fn record_key(&self, event: Option<&Event<'_>>) -> String {
        let of_event = event.map(|event| key(&event.project, &event.id));
        of_event.unwrap_or_else(|| {
            if let Some(id) = &self.arrival.pubsub_message_id {
                // Pub/Sub promises unique identifiers within a topic only.
                let subscription = self.arrival.subscription.as_deref().unwrap_or_default();
                let message = digest::of_pair(subscription, id);
                // Of the attributes only these are the same in either form: an unwrapped message has headers.
                let event = self.arrival.attributes.cloud_event();
                let event_id = event.and_then(|event| event.id).unwrap_or_default();
                let parts =
                    [message.as_bytes(), event_id.as_bytes(), b"\0", self.content.identity()];
                return format!("message-{}", digest::sha256_hex(&parts));
            }
            let attributes = self.arrival.attributes.in_order();
            let parts = [self.content.identity(), attributes.as_bytes()];
            format!("rejected-{}", digest::sha256_hex(&parts))
        })
    }

    pub fn unchecked_fields(&self) -> UncheckedFields {
        if let Content::Rejected(Rejection::BinaryMode, body) = &self.content {
            // The data's own fields name another thing. If the body looks like a whole event, which of the two types
            // counts is open.
            let text = str::from_utf8(body).unwrap_or_default();
            let own = json::pick(text, ["specversion", "id", "type", "project"]);
            let is_whole = own.is_ok_and(|[specversion, of_event @ ..]| {
                specversion.is_some() || of_event.iter().all(Option::is_some)
            });
            let event = self.arrival.attributes.cloud_event();
            let event = event.filter(|_| !is_whole);
            return UncheckedFields {
                event_type: event.and_then(|event| event.event_type.map(shortened)),
                ..UncheckedFields::default()
            };
        }
        let [id, event_type, project, _] = self
            .content
            .fields()
            .unwrap_or_default()
            .map(|field| field.and_then(json::string).map(|text| shortened(&text)));
        UncheckedFields { id, event_type, project }
    }

    pub fn check(&self) -> Result<Event<'_>, Rejection> {
        let fields = self.content.fields();
        let fields = fields.map_err(|rejection| self.explained(rejection.clone()))?;
        let json = self.content.text();
        if json::is_deeper_than(json, MAX_DEPTH) {
            return Err(Rejection::TooDeep);
        }
        Event::from_fields(json, fields).map_err(Rejection::Invalid)
    }

    /// Bytes that can't be read may be encoded, which tells the sender more.
    fn explained(&self, rejection: Rejection) -> Rejection {
        if !matches!(rejection, Rejection::NotUtf8 | Rejection::NotJson(_)) {
            return rejection;
        }
        let mut compressed = COMPRESSED.iter();
        let mut by_bytes =
            || compressed.find(|(_, start)| self.content.identity().starts_with(start));
        let encoding = self.arrival.attributes.encoding();
        match encoding.or_else(|| by_bytes().map(|(name, _)| *name)) {
            Some(encoding) => Rejection::Encoded(shortened(encoding)),
            None => rejection,
        }
    }

    /// Whether the body is the data of a CloudEvent alone. A whole event may come with attributes that
    /// repeat its own fields.
    fn is_binary_mode(&self) -> bool {
        let Some(CloudEvent { id, event_type, .. }) = self.arrival.attributes.cloud_event() else {
            return false;
        };
        let own =
            json::pick(self.content.text(), ["specversion", "id", "type"]).unwrap_or_default();
        let [specversion, own_id, own_type] = own.map(|field| field.and_then(json::string));
        let repeats = |own: &Option<Cow<'_, str>>, attribute: Option<&str>| {
            attribute.is_none_or(|attribute| own.as_deref() == Some(attribute))
        };
        let whole = specversion.is_some() && repeats(&own_id, id) && repeats(&own_type, event_type);
        !whole
    }
}

/// The text of a body, and its fields by the names of [`Event::FIELDS`] and [`push::FIELDS`].
fn parse(body: &[u8]) -> Result<(&str, Fields<'_, 4>, Fields<'_, 3>), Rejection> {
    let text = str::from_utf8(body).map_err(|_| Rejection::NotUtf8)?;
    // One pass over the text finds all of them.
    let [id, event_type, project, time, wrapper @ ..] = json::pick(text, FIELDS)?;
    Ok((text, [id, event_type, project, time], wrapper))
}

/// Opens a wrapped push. `None` if the body is something else.
fn open(
    hint: BodyHint,
    text: &str,
    [id, event_type, project, _]: Fields<'_, 4>,
    [message, subscription, attempt]: Fields<'_, 3>,
    headers: &Arrival,
) -> Option<Opened> {
    let is_carrier = |raw| json::string(raw).is_some_and(|name| carries_push(&name));
    let wrapped = [id, event_type, project].iter().all(Option::is_none);
    match message {
        _ if matches!(hint, BodyHint::Unwrapped | BodyHint::OtherCloudEvent) => None,
        Some(message) if wrapped && json::is_object(message) => {
            Some(push::open(message, subscription, attempt))
        }
        _ if headers.pubsub_message_id.is_none()
            && project.is_none()
            && event_type.is_some_and(is_carrier) =>
        {
            push::open_cloud_event(text)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::arrival::Attributes;
    use crate::time;
    use crate::violation::Violation;
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD as BASE64;
    use proptest::prelude::*;
    use std::time::SystemTime;

    const EVENT: &str = r#"{"id":"evt_1","type":"user.created","project":"dev","data":{"n":10.0}}"#;

    fn read(body: &str) -> Notification<'_> {
        read_as(body, Arrival::default())
    }

    fn read_as(body: &str, headers: Arrival) -> Notification<'_> {
        Notification::read(body.as_bytes(), headers)
    }

    fn key_of(notification: &Notification<'_>) -> String {
        notification.record_key(notification.check().ok().as_ref())
    }

    fn wrap(event: &[u8]) -> String {
        format!(
            r#"{{"message":{{"data":"{}","messageId":"7","message_id":"7","publishTime":"2026-11-23T14:12:42.123Z","publish_time":"2026-11-23T14:12:42.123Z","orderingKey":"usr_1"}},"subscription":"projects/p/subscriptions/s","deliveryAttempt":5}}"#,
            BASE64.encode(event)
        )
    }

    #[test]
    fn takes_an_event_posted_directly() {
        let notification = read(EVENT);
        assert_eq!(notification.source, Source::Direct);
        assert_eq!(notification.check().expect("valid").json, EVENT);
    }

    #[test]
    fn takes_the_event_out_of_a_wrapped_push() {
        let body = wrap(EVENT.as_bytes());
        let notification = read(&body);
        assert_eq!(notification.source, Source::Wrapped);
        assert_eq!(
            notification.arrival,
            Arrival {
                pubsub_message_id: Some("7".to_owned()),
                subscription: Some("projects/p/subscriptions/s".to_owned()),
                attempt: Some(5),
                publish_time: time::parse_rfc3339("2026-11-23T14:12:42.123Z"),
                ordering_key: Some("usr_1".to_owned()),
                attributes: Attributes::default(),
            }
        );
        assert_eq!(notification.check().expect("valid").json, EVENT);
    }

    #[test]
    fn knows_an_unwrapped_push_by_its_header() {
        let headers = Arrival {
            pubsub_message_id: Some("8".to_owned()),
            publish_time: Some(SystemTime::UNIX_EPOCH),
            ordering_key: Some("usr_1".to_owned()),
            ..Arrival::default()
        };
        let notification = read_as(EVENT, headers);
        assert_eq!(notification.source, Source::Unwrapped);
        assert_eq!(
            notification.arrival,
            Arrival {
                pubsub_message_id: Some("8".to_owned()),
                subscription: None,
                attempt: None,
                publish_time: Some(SystemTime::UNIX_EPOCH),
                ordering_key: Some("usr_1".to_owned()),
                attributes: Attributes::default(),
            }
        );
        assert_eq!(notification.check().expect("valid").json, EVENT);
    }

    #[test]
    fn an_event_with_a_field_called_message_stays_an_event() {
        let json = r#"{"id":"evt_1","type":"t","project":"dev","message":{"data":"aGk="},"subscription":"s"}"#;
        let notification = read(json);
        assert_eq!(notification.source, Source::Direct);
        assert_eq!(notification.check().expect("valid").json, json);
    }

    #[test]
    fn refuses_a_notification_without_an_event() {
        let invalid = |field, reason: &str| Rejection::Invalid(vec![Violation::new(field, reason)]);
        let not_json = |body| matches!(read(body).check(), Err(Rejection::NotJson(_)));
        assert!(not_json("not json"));
        assert!(not_json(""));
        for (body, expected) in [
            ("[]", invalid("event", "must be a JSON object")),
            (r#"{"message":{}}"#, invalid("message.data", "is required")),
            (r#"{"message":{"data":1}}"#, invalid("message.data", "must be a string")),
            (
                r#"{"message":{"data":"","attributes":{"k":"v"}}}"#,
                invalid("message.data", "must not be empty"),
            ),
            (
                r#"{"message":{"data":"e30=","attributes":[{"key":"ce-id"}]}}"#,
                Rejection::Invalid(vec![Violation::new(
                    "message.attributes",
                    "must be an object of strings",
                )]),
            ),
            (r#"{"message":{"data":"***"}}"#, Rejection::NotBase64),
            (r#"{"message":{"data":"/w=="}}"#, Rejection::NotUtf8),
        ] {
            assert_eq!(read(body).check(), Err(expected), "{body}");
        }
        assert_eq!(
            Notification::read(b"{\"id\":\"\xff\"}", Arrival::default()).check(),
            Err(Rejection::NotUtf8)
        );
        assert!(matches!(read(&wrap(b"{")).check(), Err(Rejection::NotJson(_))));
    }

    #[test]
    fn reads_the_valid_fields_of_an_invalid_event() {
        let body = wrap(br#"{"id":"evt_1","type":7,"project":"app_1"}"#);
        let notification = read(&body);
        assert!(notification.check().is_err());
        assert_eq!(
            notification.unchecked_fields(),
            UncheckedFields {
                id: Some("evt_1".to_owned()),
                event_type: None,
                project: Some("app_1".to_owned()),
            }
        );
        assert_eq!(read("nonsense").unchecked_fields(), UncheckedFields::default());
    }

    #[test]
    fn a_message_without_a_valid_event_is_known_by_its_identifier() {
        let key = |body: &str| key_of(&read(body));
        for bytes in [b"no event".as_slice(), b"\xff"] {
            let body = wrap(bytes);
            let later = body.replace(r#""deliveryAttempt":5"#, r#""deliveryAttempt":6"#);
            assert_eq!(key(&body), key(&later), "another delivery");
            let reordered = body.replacen('{', r#"{"subscription":"s","#, 1);
            assert_eq!(key(&body), key(&reordered), "fields in another order");
            let restamped = body.replace("T14:12:42.123Z", "T14:12:43.123Z");
            assert_eq!(key(&body), key(&restamped), "the same message and data");
            let another = wrap(b"no other event");
            assert_ne!(key(&body), key(&another), "a topic that begins anew");
            let attributed = body.replace(r#""data""#, r#""attributes":{"ce-id":"9"},"data""#);
            assert_ne!(key(&body), key(&attributed), "a topic that begins anew");
            let published_again = body.replace(r#"Id":"7""#, r#"Id":"8""#);
            assert_ne!(key(&body), key(&published_again), "another message");
            let elsewhere = body.replace("subscriptions/s", "subscriptions/t");
            assert_ne!(key(&body), key(&elsewhere), "another topic may use the identifier");
        }
        assert_ne!(key(&wrap(EVENT.as_bytes())), key(&wrap(b"{}")));
    }

    #[test]
    fn a_broken_message_is_known_alike_in_either_form() {
        for data in [&b"\xff"[..], b"no event", b""] {
            for ce_id in ["", r#","ce-id":"9""#] {
                let attributes = format!(r#""attributes":{{"k":"v"{ce_id}}},"data""#);
                let wrapped = wrap(data).replace(r#""data""#, &attributes);
                let id = (!ce_id.is_empty()).then(|| ("ce-id".to_owned(), "9".to_owned()));
                let headers = Arrival {
                    pubsub_message_id: Some("7".to_owned()),
                    subscription: Some("projects/p/subscriptions/s".to_owned()),
                    attributes: Attributes(id.into_iter().collect()),
                    ..Arrival::default()
                };
                let unwrapped = Notification::read(data, headers);
                assert_eq!(key_of(&read(&wrapped)), key_of(&unwrapped), "{data:?} {ce_id}");
            }
        }
    }

    #[test]
    fn a_message_that_can_not_be_opened_is_known_by_its_identifier_and_its_data() {
        let key = |data: &str, time: &str| {
            let message = format!(r#"{{{data}"messageId":"7","publishTime":"{time}"}}"#);
            key_of(&read(&format!(r#"{{"message":{message}}}"#)))
        };
        let (noon, later) = ("2026-11-23T12:00:00Z", "2026-11-23T13:00:00Z");
        for data in [r#""data":"%","#, r#""data":7,"#, r#""data":"","#] {
            assert_eq!(key(data, noon), key(data, later), "{data}");
            assert_ne!(key(data, noon), key(r#""data":"%%","#, noon), "{data}");
        }
        assert_eq!(key("", noon), key("", later));
    }

    #[test]
    fn attributes_never_stand_in_an_event_s_way() {
        for attributes in ["null", "{}", "[]", "[ ]", r#"{"k":"\ud800"}"#] {
            let with = format!(r#"{{"message":{{"attributes":{attributes},"data""#);
            let body = wrap(EVENT.as_bytes()).replace(r#"{"message":{"data""#, &with);
            assert_eq!(read(&body).check().expect(attributes).json, EVENT);
        }
    }

    #[test]
    fn an_identifier_may_be_a_number_or_have_either_name() {
        let id = |fields: &str| {
            let body = format!(r#"{{"message":{{"data":"%",{fields}}},"subscription":"s"}}"#);
            read(&body).arrival.pubsub_message_id.clone()
        };
        assert_eq!(id(r#""messageId":7"#).as_deref(), Some("7"));
        for absent in ["null", "\"\"", "{}", "1.5"] {
            let either = format!(r#""messageId":{absent},"message_id":"8""#);
            assert_eq!(id(&either).as_deref(), Some("8"), "{absent}");
            assert_eq!(id(&format!(r#""messageId":{absent}"#)), None, "{absent}");
        }
    }

    const CARRIER: &str = "google.cloud.pubsub.topic.v1.messagePublished";

    fn cloud_event(event_type: &str, data: &str) -> String {
        format!(r#"{{"id":"9","specversion":"1.0","type":"{event_type}","data":{data}}}"#)
    }

    #[test]
    fn a_push_is_opened_that_is_the_data_of_a_whole_cloud_event() {
        let body = cloud_event(CARRIER, &wrap(EVENT.as_bytes()));
        let repeating = Arrival {
            attributes: Attributes(vec![("ce-type".to_owned(), CARRIER.to_owned())]),
            ..Arrival::default()
        };
        let encoded = format!("\"{}\"", BASE64.encode(wrap(EVENT.as_bytes())));
        let encoded = cloud_event(CARRIER, &encoded).replace("data", "data_base64");
        for (body, headers) in
            [(&body, Arrival::default()), (&body, repeating), (&encoded, Arrival::default())]
        {
            let notification = read_as(body, headers);
            assert_eq!(notification.source, Source::Wrapped);
            assert_eq!(notification.check().expect("valid").json, EVENT);
        }
    }

    #[test]
    fn data_of_a_cloud_event_that_is_no_push_is_never_sent_under_its_own_names() {
        let push = wrap(EVENT.as_bytes());
        for body in [
            cloud_event("user.created", &push),
            cloud_event(CARRIER, EVENT),
            cloud_event(CARRIER, &cloud_event(CARRIER, &push)),
            cloud_event(CARRIER, "7"),
            cloud_event(CARRIER, r#"{"message":"text"}"#),
            cloud_event(CARRIER, r#""%""#).replace("data", "data_base64"),
            cloud_event(CARRIER, r#""/w==""#).replace("data", "data_base64"),
        ] {
            let notification = read(&body);
            assert_eq!(notification.source, Source::Direct, "{body}");
            assert!(notification.check().is_err(), "{body}");
        }
        // Nor is it opened when its letter is replayed.
        let headers = Arrival { pubsub_message_id: Some("8".to_owned()), ..Arrival::default() };
        let body = cloud_event(CARRIER, &push);
        let replayed = Notification::of_letter(body.as_bytes(), headers);
        assert!(replayed.check().is_err());
    }

    #[test]
    fn an_unwrapped_push_is_never_opened_as_a_wrapper() {
        let headers = || Arrival { pubsub_message_id: Some("8".to_owned()), ..Arrival::default() };
        for body in [r#"{"message":{"text":"hi"}}"#, &wrap(EVENT.as_bytes())] {
            let notification = read_as(body, headers());
            assert_eq!(notification.source, Source::Unwrapped, "{body}");
            assert_eq!(notification.arrival.pubsub_message_id.as_deref(), Some("8"));
            assert!(notification.check().is_err());
        }
    }

    #[test]
    fn the_bytes_identify_what_has_no_identifier() {
        let key = |data, attempt| {
            let body = format!(r#"{{"message":{{"data":"{data}"}},"deliveryAttempt":{attempt}}}"#);
            key_of(&read(&body))
        };
        assert_eq!(key("%", 1), key("%", 2));
        assert_ne!(key("%", 1), key("&", 1));
        assert_eq!(key("/w==", 1), key("/w", 2), "the decoded bytes");
    }

    #[test]
    fn skips_a_byte_order_mark() {
        let marked = format!("\u{feff}{EVENT}");
        let wrapped = wrap(marked.as_bytes());
        for body in [&marked, &wrapped, &format!("\u{feff}{wrapped}")] {
            assert_eq!(read(body).check().expect("valid").json, EVENT, "{body}");
        }
    }

    #[test]
    fn reads_either_base64_alphabet_padded_or_not_escaped_or_broken_into_lines() {
        let event = r#"{"id":"a?~~>>??€","type":"t","project":"dev"}"#;
        let standard = BASE64.encode(event);
        assert!(standard.contains('+') && standard.contains('/'));
        let url_safe = standard.replace('+', "-").replace('/', "_");
        let escaped = standard.replace('/', "\\/");
        let lines = format!("{}\\n{}", &standard[..20], &standard[20..]);
        for data in [&standard, &url_safe, &escaped, &lines] {
            for data in [data.as_str(), data.trim_end_matches('=')] {
                let body = format!(r#"{{"message":{{"data":"{data}"}}}}"#);
                assert_eq!(read(&body).check().expect("valid").json, event, "{data}");
            }
        }
    }

    #[test]
    fn names_the_encoding_of_bytes_that_are_no_text() {
        let encoded = |name: &str| Err(Rejection::Encoded(name.to_owned()));
        assert_eq!(read(&wrap(b"\x1f\x8b\x08\x00")).check(), encoded("gzip"));
        let gzip = Notification::read(b"\x1f\x8b\x08\xff", Arrival::default());
        assert_eq!(gzip.check(), encoded("gzip"));
        let attribute = r#"{"message":{"data":"/w==","attributes":{"Content-Encoding":"br"}}}"#;
        assert_eq!(read(attribute).check(), encoded("br"));
        // Text that says it is encoded and isn't is read all the same.
        let data = BASE64.encode(EVENT);
        let body = format!(
            r#"{{"message":{{"data":"{data}","attributes":{{"content-encoding":"gzip"}}}}}}"#
        );
        assert_eq!(read(&body).check().expect("valid").json, EVENT);
    }

    /// Headers or attributes of a CloudEvent in binary mode.
    const BINARY: [(&str, &str); 3] =
        [("ce-specversion", "1.0"), ("ce-id", "evt_9"), ("ce-type", "user.created")];

    fn with_attributes(body: &str, attributes: &[(&str, &str)]) -> Result<String, Rejection> {
        let owned =
            attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let headers = Arrival { attributes: Attributes(owned.collect()), ..Arrival::default() };
        let notification = read_as(body, headers);
        notification.check().map(|event| event.id.into_owned())
    }

    #[test]
    fn the_data_of_a_binary_cloud_event_is_never_sent_under_its_own_names() {
        let binary = Err(Rejection::BinaryMode);
        for body in [EVENT, "{}", "[]", "", "no JSON", r#"{"message":{"data":"e30="}}"#] {
            assert_eq!(with_attributes(body, &BINARY), binary, "{body}");
        }
        assert_eq!(with_attributes(EVENT, &BINARY[1..2]), binary, "the id alone");
        let data = BASE64.encode(EVENT);
        for attributes in [
            r#"{"ce-specversion":"1.0","ce-id":"evt_9"}"#,
            r#"{"ce-id":"evt_1","ce-type":"user.created"}"#,
            r#"{"cloudEvents:type":"user.created"}"#,
            r#"{"ce-id":"evt_9","n":null}"#,
            r#"{"n":1,"CE-EventID":"evt_9"}"#,
            r#"{"specversion":"1.0","id":"evt_9"}"#,
        ] {
            let body = format!(
                r#"{{"message":{{"data":"{data}","attributes":{attributes},"messageId":"7"}}}}"#
            );
            assert_eq!(read(&body).check(), Err(Rejection::BinaryMode), "{attributes}");
        }
    }

    #[test]
    fn a_whole_cloud_event_may_come_with_attributes_that_repeat_it() {
        let whole = EVENT.replacen('{', r#"{"specversion":"1.0","#, 1);
        let same = [("ce-id", "evt_1"), ("ce-type", "user.created")];
        assert_eq!(with_attributes(&whole, &same), Ok("evt_1".to_owned()));
        assert_eq!(with_attributes(&whole, &BINARY), Err(Rejection::BinaryMode));
        let media_type = ("content-type", "application/cloudevents+json");
        let structured = [BINARY[0], BINARY[1], media_type];
        assert_eq!(with_attributes(EVENT, &structured), Ok("evt_1".to_owned()));
    }

    #[test]
    fn eventarc_carries_a_push_in_a_cloud_event() {
        let carrier = [
            ("ce-specversion", "1.0"),
            ("ce-id", "7"),
            ("ce-type", "google.cloud.pubsub.topic.v1.messagePublished"),
        ];
        let push = wrap(EVENT.as_bytes());
        assert_eq!(with_attributes(&push, &carrier), Ok("evt_1".to_owned()));
        assert_eq!(with_attributes(EVENT, &carrier), Err(Rejection::BinaryMode));
    }

    proptest! {
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
                let read = notification.check().expect("valid");
                prop_assert_eq!(read.json, event.as_str());
                prop_assert_eq!(read.id, id.as_str());
            }
        }
    }
}
