//! The record of a delivered event: what the key-value store holds so that no event is sent twice.
//!
//! JSON, so that a person who looks into the store can read it, with a version, so that a later
//! relay can tell what an earlier one wrote.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::event::Event;

/// The version of the records that this relay writes.
const VERSION: u32 = 1;

/// What is known of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Svix has stored it.
    Delivered,
}

/// An event that Svix has stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    version: u32,
    /// What is known of the event.
    pub state: State,
    /// The customer.
    pub project: String,
    /// The platform's identifier of the event.
    pub event_id: String,
    /// What happened.
    pub event_type: String,
    /// Svix's identifier of the message.
    pub svix_message_id: String,
    /// How many attempts the delivery took.
    pub attempts: u32,
    /// When the delivery was known, in RFC 3339, UTC.
    pub delivered_at: String,
}

impl Record {
    /// The record of `event`, delivered at `now`.
    pub fn new(event: &Event<'_>, svix_message_id: String, attempts: u32, now: SystemTime) -> Self {
        Self {
            version: VERSION,
            state: State::Delivered,
            project: event.project.clone().into_owned(),
            event_id: event.id.clone().into_owned(),
            event_type: event.event_type.clone().into_owned(),
            svix_message_id,
            attempts,
            delivered_at: rfc3339(now),
        }
    }

    /// The name of a record in the store, from [`crate::svix::key`].
    pub fn name(key: &str) -> String {
        format!("record/{key}")
    }

    /// The record as the store holds it.
    pub fn encode(&self) -> Vec<u8> {
        // Strings and numbers only: this can't fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what the store holds; `None` for anything that this relay has not written.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(bytes).ok()?;
        (record.version == VERSION && !record.svix_message_id.is_empty()).then_some(record)
    }
}

/// A point in time in RFC 3339, UTC, to the millisecond.
pub fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    time.replace_millisecond(time.millisecond())
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn record() -> Record {
        let event = Event {
            id: "evt_1".into(),
            event_type: "user.created".into(),
            project: "dev".into(),
            json: "{}",
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_443_162_123);
        Record::new(&event, "msg_1".to_owned(), 2, now)
    }

    /// Stored bytes outlive the relay that wrote them: this text must never need to change.
    const STORED: &str = r#"{"version":1,"state":"delivered","project":"dev","eventId":"evt_1","eventType":"user.created","svixMessageId":"msg_1","attempts":2,"deliveredAt":"2026-11-23T14:12:42.123Z"}"#;

    #[test]
    fn is_stored_as_it_always_was() {
        assert_eq!(String::from_utf8(record().encode()).expect("text"), STORED);
        assert_eq!(Record::decode(STORED.as_bytes()), Some(record()));
    }

    #[test]
    fn what_is_no_record_is_not_taken_for_one() {
        let newer = STORED.replace(r#""version":1"#, r#""version":2"#);
        let other = STORED.replace("delivered\"", "lost\"");
        let nameless = STORED.replace("msg_1", "");
        let cut = &STORED[..STORED.len() - 1];
        for bytes in [
            "",
            "{}",
            "null",
            "delivered",
            &newer,
            &other,
            &nameless,
            cut,
        ] {
            assert_eq!(Record::decode(bytes.as_bytes()), None, "{bytes}");
        }
    }

    #[test]
    fn writes_times_to_the_millisecond() {
        let at = |nanos| rfc3339(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(1_500_999_999), "1970-01-01T00:00:01.5Z");
    }

    proptest! {
        #[test]
        fn any_record_is_read_back(
            project in "\\PC*", id in "\\PC*", message in "\\PC+", attempts: u32, millis in 0u64..4_000_000_000_000,
        ) {
            let event = Event {
                id: id.into(), event_type: "t".into(), project: project.into(), json: "{}",
            };
            let now = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
            let record = Record::new(&event, message, attempts, now);
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
        }

        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::decode(&bytes);
        }
    }
}
