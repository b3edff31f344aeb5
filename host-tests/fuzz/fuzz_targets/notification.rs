//! Fuzzes the way of a notification: route, form, event, the requests to Svix, and the dead letter of an
//! undeliverable event.
//!
//! An input is a small request of five lines: method and path, `x-goog-pubsub-message-id`,
//! `x-goog-pubsub-publish-time`, names and values of attributes separated by spaces, and the body. A missing
//! line is empty. The body is read in all forms, also inside a wrapper of its own, since no mutation of
//! bytes finds its way into base64.

#![no_main]

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use svix_relay::fuzz::{
    self as relay, Arrival, Attributes, DeadLetter, Delivered, Event, Field, Messages,
    Notification, Operation, Record, Route, Source, Undelivered, Unknown, check_identifier,
    event_id, key, parse_rfc3339, rfc3339, shortened,
};

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(5, |byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let [request, message_id, publish_time, attributes, body] =
        [part(), part(), part(), part(), part()];
    // The relay decodes headers in the same way.
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let header = |bytes: &[u8]| (!bytes.is_empty()).then(|| text(bytes));

    let attributes = text(attributes);
    let words: Vec<_> = attributes.split(' ').collect();
    let pairs = words.chunks_exact(2);
    let pairs = pairs.map(|pair| (pair[0].to_owned(), pair[1].to_owned()));

    check_route(&text(request));
    check_forms(
        body,
        &Arrival {
            pubsub_message_id: header(message_id),
            publish_time: parse_rfc3339(&text(publish_time)),
            attributes: Attributes(pairs.collect()),
            ..Arrival::default()
        },
    );
});

fn check_route(request: &str) {
    let (method, path) = request.split_once(' ').unwrap_or(("GET", request));
    match Route::of(method, path) {
        Ok(Route::Lookup(name)) => {
            assert!(!name.project.is_empty() && !name.event_id.is_empty());
            let (project, event_id) = (name.project, name.event_id);
            assert_eq!(lookup(&project, &event_id), Some((project, event_id)));
        }
        Ok(Route::Find(query)) => {
            if let Ok(name) = query.name() {
                assert!(!name.project.is_empty() && !name.event_id.is_empty());
            }
        }
        Ok(Route::Operator(Operation::List(query) | Operation::ReplayAll(query))) => {
            if let Ok(selection) = query.selection() {
                assert!((1..=100).contains(&selection.limit));
            }
        }
        _ => {}
    }
}

fn check_forms(body: &[u8], headers: &Arrival) {
    let direct = read(body, &Arrival::default());
    let unwrapped = read(body, headers);
    if headers.attributes.is_empty() && direct.source == Source::Direct {
        assert_eq!(unwrapped.check(), direct.check(), "headers change no event");
        assert_eq!(unwrapped.unchecked_fields(), direct.unchecked_fields());
    } else if let (Ok(event), Some(described)) =
        (unwrapped.check(), headers.attributes.cloud_event())
    {
        let own = described.id.is_none_or(|id| id == event.id);
        let carried = unwrapped.source == Source::Wrapped;
        assert!(own || carried, "data is never sent under its own names");
    }
    if unwrapped.check().is_ok() && direct.check().is_ok() {
        assert_eq!(key_of(&unwrapped), key_of(&direct));
    }

    // Empty data is refused by its wrapper already.
    if body.is_empty() {
        return;
    }
    let pushed = [5, 6].map(|attempt| wrap(body, headers, attempt));
    let [wrapped, again] = pushed.each_ref().map(|body| read(body.as_bytes(), &Arrival::default()));
    assert_eq!(wrapped.source, Source::Wrapped);
    assert_eq!(wrapped.arrival.pubsub_message_id, headers.pubsub_message_id);
    let publish_time = headers.publish_time.map(rfc3339);
    assert_eq!(wrapped.arrival.publish_time.map(rfc3339), publish_time);
    assert_eq!([wrapped.arrival.attempt, again.arrival.attempt], [Some(5), Some(6)]);
    assert_eq!(key_of(&wrapped), key_of(&again));
    // The content of a wrapper is an event, and not one more wrapper.
    if direct.source == Source::Direct && headers.attributes.is_empty() {
        assert_eq!(wrapped.check(), direct.check());
        assert_eq!(wrapped.unchecked_fields(), direct.unchecked_fields());
        if direct.check().is_ok() {
            assert_eq!(key_of(&wrapped), key_of(&direct));
        }
    }
}

fn key_of(notification: &Notification<'_>) -> String {
    notification.record_key(notification.check().ok().as_ref())
}

/// A wrapped push, as Pub/Sub sends it.
fn wrap(event: &[u8], headers: &Arrival, attempt: u64) -> String {
    let message = serde_json::json!({
        "data": BASE64_STANDARD.encode(event),
        "attributes": headers.attributes,
        "messageId": headers.pubsub_message_id,
        "publishTime": headers.publish_time.map(rfc3339),
    });
    format!(r#"{{"message":{message},"subscription":"s","deliveryAttempt":{attempt}}}"#)
}

/// Reads a notification, and checks the properties that every notification has.
fn read<'a>(body: &'a [u8], headers: &Arrival) -> Notification<'a> {
    let notification = Notification::read(body, headers.clone());
    let again = Notification::read(body, headers.clone());
    assert_eq!(key_of(&notification), key_of(&again), "stable");

    if let Ok(event) = notification.check() {
        check_bytes(&event, &notification, body);
        check_event(&event);
    }
    check_dead_letter(&notification, body);
    notification
}

/// The event holds the bytes that came.
fn check_bytes(event: &Event<'_>, notification: &Notification<'_>, body: &[u8]) {
    let fields = notification.unchecked_fields();
    assert_eq!(fields.id, Some(shortened(&event.id)));
    assert_eq!(fields.event_type.as_deref(), Some(&*event.event_type));
    assert_eq!(fields.project.as_deref(), Some(&*event.project));
    match notification.source {
        Source::Direct | Source::Unwrapped => {
            let marked = body.strip_prefix("\u{feff}".as_bytes());
            assert_eq!(event.json.as_bytes(), marked.unwrap_or(body));
        }
        Source::Wrapped => {
            // This reader differs from the relay's own. It refuses duplicate keys, and then can't check
            // anything.
            if let Ok(push) = serde_json::from_slice::<Push>(body) {
                let data = push.message.data.replace('-', "+").replace('_', "/");
                let data: String = data.split_ascii_whitespace().collect();
                let data = data.trim_end_matches('=');
                let known = BASE64_STANDARD_NO_PAD.encode(event.json);
                // A byte order mark is left out, and bits after the last byte count for nothing.
                let shared = &known[..known.len() - 1];
                assert!(data.starts_with(shared) || data.starts_with("77u/"));
            }
        }
    }
}

#[derive(Deserialize)]
struct Push {
    message: PushMessage,
}

#[derive(Deserialize)]
struct PushMessage {
    data: String,
}

/// Checks the requests to Svix about a valid event, its record's name, and its look-up.
fn check_event(event: &Event<'_>) {
    for plain in [&*event.event_type, &*event.project] {
        assert!(!plain.is_empty());
        assert_eq!(check_identifier(plain), Ok(()));
    }
    assert!(!event.project.contains('/'));
    assert!(!event.project.starts_with("app_"));
    assert!(!matches!(&*event.project, "." | ".."));

    let mapped = event_id(&event.id);
    assert!(!mapped.is_empty());
    assert_eq!(check_identifier(&mapped), Ok(()));
    assert!(!mapped.starts_with("msg_"));
    assert!(!matches!(&*mapped, "." | ".."));
    assert_eq!(mapped, event_id(&event.id), "stable");
    if mapped != event.id {
        assert_ne!(event_id(&mapped), mapped, "a mapped id is another one");
    }

    let name = key(&event.project, &event.id);
    assert_eq!(name.len(), 64);
    assert!(name.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(name, key(&event.project, &event.id), "stable");

    assert_eq!(relay::create_path(&event.project).split('/').nth(4), Some(&*event.project));
    assert_eq!(relay::lookup_path(&event.project, &mapped).split('/').nth(6), Some(&*mapped));
    assert_eq!(
        lookup(&event.project, &event.id),
        Some((event.project.clone().into_owned(), event.id.clone().into_owned()))
    );

    for create_application in [true, false] {
        check_message(event, &mapped, create_application);
    }
    for record in [
        Record::Unknown(Unknown::of(event, now())),
        Record::Delivered(Delivered::of(event, "msg_1".to_owned(), 1, now())),
    ] {
        assert_eq!(Record::decode(&record.encode()), Some(record));
    }
}

/// The project and id that the path of their record leads to.
fn lookup(project: &str, event_id: &str) -> Option<(String, String)> {
    let encode = |text: &str| -> String {
        let encoded = text.bytes().map(|byte| format!("%{byte:02X}"));
        encoded.collect()
    };
    let path = format!("/notifications/{}/{}", encode(project), encode(event_id));
    match Route::of("GET", &path) {
        Ok(Route::Lookup(name)) => Some((name.project, name.event_id)),
        _ => None,
    }
}

/// A message as Svix reads it. Other fields are refused: an event must not get out of its payload.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Message<'a> {
    event_type: String,
    event_id: String,
    application: Option<Application>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Application {
    uid: String,
    name: String,
}

fn check_message(event: &Event<'_>, event_id: &str, create_application: bool) {
    let field = |name| Field::parse(name).expect("a name");
    let messages = Messages {
        tags: vec![field("id"), field("data.id"), field("data.a.id")],
        channels: vec![field("project"), field("data")],
        ..Messages::default()
    };
    let body = relay::body(event, create_application, &messages);
    let body = str::from_utf8(&body).expect("made of text");
    let around = body.strip_suffix('}').expect("an object");
    assert!(around.ends_with(event.json), "byte for byte");

    // An event is read as JSON before it counts as one, so its message must be JSON as well.
    let message: Message<'_> = serde_json::from_str(body).expect(body);
    assert_eq!(message.event_type, event.event_type);
    assert_eq!(message.event_id, event_id);
    let application = message.application.map(|it| (it.uid, it.name));
    let project = || event.project.clone().into_owned();
    assert_eq!(application, create_application.then(|| (project(), project())));
    for value in message.tags.iter().chain(&message.channels) {
        assert!((1..=128).contains(&value.len()), "{value}");
        assert!(check_identifier(value).is_ok(), "{value}");
    }
    assert!(message.tags.len() <= 3 && message.channels.len() <= 2);
    // White space around a value isn't part of it.
    let value = event.json.trim_matches([' ', '\t', '\r', '\n']);
    assert_eq!(message.payload.get(), value);
}

/// A dead letter gives back the headers, and so its replay delivers the same event.
fn check_dead_letter(notification: &Notification<'_>, body: &[u8]) {
    let name = Record::name(&key_of(notification));
    let problem = to_raw_value("a problem").expect("JSON");
    let undelivered = Undelivered {
        record_name: &name,
        notification,
        event: None,
        body,
        reason: "not-json",
        problem,
        lost_message_id: None,
    };
    let letter = DeadLetter::new(7, undelivered, now());
    let stored = DeadLetter::decode(&letter.encode()).expect("what is written can be read");
    // The type has no equality of its own; all its fields are in here.
    assert_eq!(format!("{stored:?}"), format!("{letter:?}"));

    let replayed = Notification::of_letter(body, stored.arrival());
    // An invalid event that looks like a push is opened by its replay.
    if notification.check().is_ok() {
        assert_eq!(replayed.source, notification.source);
        assert_eq!(replayed.check(), notification.check());
    }
}

/// The one time at which everything happens, so that a finding can be repeated.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_443_162_123)
}
