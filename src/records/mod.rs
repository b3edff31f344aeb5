//! The record of an event: what the key-value store holds so that no event is sent twice, and none
//! is sent again blindly.
//!
//! A record is JSON, so that a person who looks into the store can read it. It begins with a version,
//! so that a later relay can tell what an earlier one wrote.

pub mod customer;
pub mod endpoints;
pub mod journal;
pub mod storage;

use std::time::{Duration, SystemTime};

use crate::event::Event;
use crate::json;
use crate::time::{SKEW, parse_rfc3339, rfc3339};
use serde::Serialize;
use serde_json::value::RawValue;

/// The version of the records that this relay writes.
const VERSION: u32 = 1;

/// The most endpoints of which a record says that the event was given up there.
const MAX_EXHAUSTED: usize = 16;

/// The state of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Record {
    /// Svix has stored the message.
    Delivered(Delivered),
    /// Only Svix knows whether it has the message: an attempt had no clear end, or Svix has lost the message.
    Unknown(Unknown),
    /// The event is kept as a dead letter.
    DeadLettered(DeadLettered),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivered {
    pub project: String,
    pub event_id: String,
    pub event_type: String,
    pub svix_message_id: String,
    /// How often the request that wrote this posted the event. 0 if a lookup found the message before any post.
    pub attempts: u32,
    /// When the delivery was known, in RFC 3339, UTC.
    pub delivered_at: String,
    /// The number of the dead letter that the event was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<u64>,
    /// The fingerprint of the event's bytes. `None` if the message was found in Svix, and for earlier versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The event's `time` or Pub/Sub's publish time, whichever is earlier, in RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_at: Option<String>,
    /// The beginning of the key within which Pub/Sub kept the event in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<String>,
    /// Where Svix has given the event up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exhausted: Vec<GivenUp>,
}

/// An endpoint at which all attempts with an event have failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GivenUp {
    pub endpoint_id: String,
    /// When Svix made the last attempt, in RFC 3339.
    pub at: String,
}

/// An event of which only Svix knows whether it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unknown {
    pub project: String,
    pub event_id: String,
    pub event_type: String,
    /// When the first notification that left the outcome unknown came in, in RFC 3339, UTC. For a lost message, when it
    /// was delivered.
    pub first_attempt_at: String,
    /// When the last one came in, to within half a minute, if that was later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempt_at: Option<String>,
    /// The message that Svix had, and has lost. The event is posted under another key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_message_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLettered {
    pub dead_letter: u64,
    /// When the letter was discarded, in RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discarded_at: Option<String>,
    /// The project of a discarded letter, by which an operator erases the record. `None` for earlier versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// As in [`Unknown`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_message_id: Option<String>,
    /// The fingerprint of the letter's event. `None` without a valid event, and for earlier versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// The value that the store has under the name of an event's record.
#[derive(Debug)]
pub enum Found {
    Nothing,
    Unreadable(Unreadable),
    Record(Box<Record>),
}

/// Why a value can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// A later version wrote it: JSON with a higher `version`.
    Later,
    Damaged,
}

impl Unreadable {
    /// Why these bytes can't be read. `version` is the number with which this relay writes such values.
    pub fn of(bytes: &[u8], version: u32) -> Self {
        let found = json::Stored::read(bytes).and_then(|stored| stored.number("version"));
        if found.is_some_and(|found| found > u64::from(version)) {
            Self::Later
        } else {
            Self::Damaged
        }
    }
}

impl Found {
    pub fn of(value: Option<&[u8]>) -> Self {
        let Some(value) = value else {
            return Self::Nothing;
        };
        match Record::decode(value) {
            None => Self::Unreadable(Unreadable::of(value, VERSION)),
            Some(record) => Self::Record(record.into()),
        }
    }

    pub fn record(&self) -> Option<&Record> {
        match self {
            Self::Record(record) => Some(record),
            Self::Nothing | Self::Unreadable(_) => None,
        }
    }
}

impl Delivered {
    /// The record of `event`, known to be delivered at `now`.
    pub fn of(event: &Event<'_>, svix_message_id: String, attempts: u32, now: SystemTime) -> Self {
        Self {
            project: event.project.clone().into_owned(),
            event_id: event.id.clone().into_owned(),
            event_type: event.event_type.clone().into_owned(),
            svix_message_id,
            attempts,
            delivered_at: rfc3339(now),
            dead_letter: None,
            fingerprint: Some(fingerprint_of(event)),
            published_at: None,
            ordering_key: None,
            exhausted: Vec::new(),
        }
    }

    /// Whether Svix may have stored the message without queuing it for the endpoints. The post that stored it then got
    /// no good answer, so a further post or a lookup has found the message.
    pub fn may_be_unsent(&self) -> bool {
        self.fingerprint.is_none() || self.attempts > 1
    }

    /// Notes that Svix has given the event up at an endpoint. `false` if that changes nothing.
    pub fn give_up(&mut self, endpoint_id: &str, at: &str) -> bool {
        let mut exhausted = self.exhausted.iter();
        let is_known = exhausted.any(|known| known.endpoint_id == endpoint_id);
        if is_known || self.exhausted.len() >= MAX_EXHAUSTED {
            return false;
        }
        self.exhausted.push(GivenUp { endpoint_id: endpoint_id.to_owned(), at: at.to_owned() });
        true
    }

    /// Whether `event`, which has the same id, has other bytes.
    pub fn differs_from(&self, event: &Event<'_>) -> bool {
        differs(self.fingerprint.as_deref(), event)
    }
}

impl DeadLettered {
    /// Whether `event`, which has the same id, has other bytes than the letter's.
    pub fn differs_from(&self, event: &Event<'_>) -> bool {
        differs(self.fingerprint.as_deref(), event)
    }
}

fn differs(fingerprint: Option<&str>, event: &Event<'_>) -> bool {
    fingerprint.is_some_and(|known| *known != fingerprint_of(event))
}

/// Tells different events with one id apart (FNV-1a, 64 bits). It shows a publisher's mistakes, and
/// needn't resist forgery.
pub fn fingerprint_of(event: &Event<'_>) -> String {
    let hash = event.json.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

impl GivenUp {
    /// Reads a list of them.
    fn all(list: &RawValue) -> Option<Vec<Self>> {
        let list: Vec<&RawValue> = serde_json::from_str(list.get()).ok()?;
        let read = |one: &RawValue| {
            let stored = json::Stored::read(one.get().as_bytes())?;
            Some(Self { endpoint_id: stored.string("endpointId")?, at: stored.string("at")? })
        };
        list.into_iter().map(read).collect()
    }
}

impl Unknown {
    /// The record of `event` after attempts that began at `begun` or later and ended without an answer.
    pub fn of(event: &Event<'_>, begun: SystemTime) -> Self {
        Self {
            project: event.project.clone().into_owned(),
            event_id: event.id.clone().into_owned(),
            event_type: event.event_type.clone().into_owned(),
            first_attempt_at: rfc3339(begun),
            last_attempt_at: None,
            lost_message_id: None,
        }
    }

    /// The record after more such attempts.
    #[must_use]
    pub fn again(self, begun: SystemTime) -> Self {
        Self { last_attempt_at: Some(rfc3339(begun)), ..self }
    }

    /// The record of an event whose message Svix has lost.
    pub fn lost(record: Delivered) -> Self {
        Self {
            project: record.project,
            event_id: record.event_id,
            event_type: record.event_type,
            first_attempt_at: record.delivered_at,
            last_attempt_at: None,
            lost_message_id: Some(record.svix_message_id),
        }
    }

    /// The record once Svix is known to have the message.
    pub fn delivered(&self, svix_message_id: String, now: SystemTime) -> Delivered {
        Delivered {
            project: self.project.clone(),
            event_id: self.event_id.clone(),
            event_type: self.event_type.clone(),
            svix_message_id,
            attempts: 0,
            delivered_at: rfc3339(now),
            dead_letter: None,
            fingerprint: None,
            published_at: None,
            ordering_key: None,
            exhausted: Vec::new(),
        }
    }

    /// How long ago the last attempts began, at `now`. An unreadable time counts as infinitely old, and so does one
    /// that a clock far ahead has written.
    pub fn age(&self, now: SystemTime) -> Duration {
        let last = self.last_attempt_at.as_ref();
        let begun = parse_rfc3339(last.unwrap_or(&self.first_attempt_at));
        begun.map_or(Duration::MAX, |begun| match now.duration_since(begun) {
            Ok(age) => age,
            Err(ahead) if ahead.duration() <= SKEW => Duration::ZERO,
            Err(_) => Duration::MAX,
        })
    }
}

/// A record as it is written.
#[derive(Serialize)]
struct Versioned<'a> {
    version: u32,
    #[serde(flatten)]
    record: &'a Record,
}

impl Record {
    /// The name of an event's record in the store, from [`crate::event::key`].
    pub fn name(key: &str) -> String {
        format!("record/{key}")
    }

    /// The project of the event. `None` for a letter that isn't discarded: the letter itself has it.
    pub fn project(&self) -> Option<&str> {
        match self {
            Self::Delivered(record) => Some(&record.project),
            Self::Unknown(record) => Some(&record.project),
            Self::DeadLettered(record) => record.project.as_deref(),
        }
    }

    /// The number of the letter that the event is or was.
    pub fn dead_letter(&self) -> Option<u64> {
        match self {
            Self::Delivered(record) => record.dead_letter,
            Self::DeadLettered(record) => Some(record.dead_letter),
            Self::Unknown(_) => None,
        }
    }

    /// The message that Svix had, and has lost.
    pub fn lost_message_id(&self) -> Option<&str> {
        match self {
            Self::Delivered(_) => None,
            Self::Unknown(record) => record.lost_message_id.as_deref(),
            Self::DeadLettered(record) => record.lost_message_id.as_deref(),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let stored = Versioned { version: VERSION, record: self };
        json::encode(&stored)
    }

    /// Reads what the store holds; `None` for anything that this version has not written.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let stored = json::Stored::read(bytes)?;
        let string = |name| stored.string(name);
        let number = |name| stored.number(name);
        if number("version")? != u64::from(VERSION) {
            return None;
        }
        match string("state")?.as_str() {
            "delivered" => Some(Self::Delivered(Delivered {
                project: string("project")?,
                event_id: string("eventId")?,
                event_type: string("eventType")?,
                svix_message_id: string("svixMessageId").filter(|id| !id.is_empty())?,
                attempts: number("attempts")?.try_into().ok()?,
                delivered_at: string("deliveredAt")?,
                dead_letter: number("deadLetter"),
                fingerprint: string("fingerprint"),
                published_at: string("publishedAt"),
                ordering_key: string("orderingKey"),
                exhausted: stored.raw("exhausted").and_then(GivenUp::all).unwrap_or_default(),
            })),
            "unknown" => Some(Self::Unknown(Unknown {
                project: string("project")?,
                event_id: string("eventId")?,
                event_type: string("eventType")?,
                first_attempt_at: string("firstAttemptAt")?,
                last_attempt_at: string("lastAttemptAt"),
                lost_message_id: string("lostMessageId"),
            })),
            "dead-lettered" => Some(Self::DeadLettered(DeadLettered {
                dead_letter: number("deadLetter")?,
                discarded_at: string("discardedAt"),
                project: string("project"),
                lost_message_id: string("lostMessageId"),
                fingerprint: string("fingerprint"),
            })),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::event;
    use proptest::prelude::*;
    use std::time::UNIX_EPOCH;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_795_443_162_123)
    }

    /// Stored bytes outlive the relay that wrote them: these texts must never need to change.
    fn stored() -> [(Record, &'static str); 6] {
        [
            (
                Record::Delivered(Delivered::of(&event("{}"), "msg_1".to_owned(), 2, now())),
                r#"{"version":1,"state":"delivered","project":"dev","eventId":"evt_1","eventType":"user.created","svixMessageId":"msg_1","attempts":2,"deliveredAt":"2026-11-23T14:12:42.123Z","fingerprint":"08f44b07b5901a25"}"#,
            ),
            (
                Record::Delivered(Delivered {
                    published_at: Some(rfc3339(now())),
                    exhausted: vec![GivenUp { endpoint_id: "ep_1".to_owned(), at: rfc3339(now()) }],
                    ..Delivered::of(&event("{}"), "msg_1".to_owned(), 2, now())
                }),
                r#"{"version":1,"state":"delivered","project":"dev","eventId":"evt_1","eventType":"user.created","svixMessageId":"msg_1","attempts":2,"deliveredAt":"2026-11-23T14:12:42.123Z","fingerprint":"08f44b07b5901a25","publishedAt":"2026-11-23T14:12:42.123Z","exhausted":[{"endpointId":"ep_1","at":"2026-11-23T14:12:42.123Z"}]}"#,
            ),
            (
                Record::Delivered(Delivered {
                    ordering_key: Some("usr_1".to_owned()),
                    ..Delivered::of(&event("{}"), "msg_1".to_owned(), 2, now())
                }),
                r#"{"version":1,"state":"delivered","project":"dev","eventId":"evt_1","eventType":"user.created","svixMessageId":"msg_1","attempts":2,"deliveredAt":"2026-11-23T14:12:42.123Z","fingerprint":"08f44b07b5901a25","orderingKey":"usr_1"}"#,
            ),
            (
                Record::Unknown(Unknown::of(&event("{}"), now())),
                r#"{"version":1,"state":"unknown","project":"dev","eventId":"evt_1","eventType":"user.created","firstAttemptAt":"2026-11-23T14:12:42.123Z"}"#,
            ),
            (
                Record::DeadLettered(DeadLettered {
                    dead_letter: 7,
                    discarded_at: None,
                    project: None,
                    lost_message_id: None,
                    fingerprint: None,
                }),
                r#"{"version":1,"state":"dead-lettered","deadLetter":7}"#,
            ),
            (
                Record::DeadLettered(DeadLettered {
                    dead_letter: 7,
                    discarded_at: Some(rfc3339(now())),
                    project: Some("dev".to_owned()),
                    lost_message_id: Some("msg_0".to_owned()),
                    fingerprint: Some("08f44b07b5901a25".to_owned()),
                }),
                r#"{"version":1,"state":"dead-lettered","deadLetter":7,"discardedAt":"2026-11-23T14:12:42.123Z","project":"dev","lostMessageId":"msg_0","fingerprint":"08f44b07b5901a25"}"#,
            ),
        ]
    }

    #[test]
    fn a_record_is_stored_as_it_always_was() {
        for (record, text) in stored() {
            assert_eq!(String::from_utf8(record.encode()).expect("text"), text);
            assert_eq!(Record::decode(text.as_bytes()), Some(record));
        }
    }

    #[test]
    fn a_record_names_each_endpoint_that_never_took_the_event_once() {
        let mut record = Delivered::of(&event("{}"), "msg_1".to_owned(), 1, now());
        assert!(record.give_up("ep_0", "2026-11-23T14:12:42Z"));
        assert!(!record.give_up("ep_0", "2026-11-24T14:12:42Z"));
        for number in 1..100 {
            record.give_up(&format!("ep_{number}"), "2026-11-23T14:12:42Z");
        }
        assert_eq!(record.exhausted.len(), MAX_EXHAUSTED);
    }

    #[test]
    fn an_unknown_record_is_as_old_as_its_last_attempt() {
        let hour = Duration::from_hours(1);
        let again = Unknown::of(&event("{}"), now()).again(now() + hour);
        assert_eq!(again.age(now() + 2 * hour), hour);
        assert_eq!(again.first_attempt_at, rfc3339(now()));
        let record = Record::Unknown(again);
        assert_eq!(Record::decode(&record.encode()), Some(record));
    }

    #[test]
    fn another_event_under_the_same_id_has_another_fingerprint() {
        let record = Delivered::of(&event("{}"), "msg_1".to_owned(), 1, now());
        let other = event(r#"{"a":1}"#);
        assert!(!record.differs_from(&event("{}")));
        assert!(record.differs_from(&other));
        let of_an_earlier_version = Delivered { fingerprint: None, ..record };
        assert!(!of_an_earlier_version.differs_from(&other));
    }

    #[test]
    fn bytes_of_another_version_are_not_taken_for_a_record() {
        for (_, text) in stored() {
            let newer = text.replace(r#""version":1"#, r#""version":2"#);
            let other = text.replace(r#""state":""#, r#""state":"un"#);
            let nameless = text.replace("msg_1", "");
            let cut = &text[..text.len() - 1];
            for bytes in ["", "{}", "null", "delivered", &newer, &other, cut] {
                assert_eq!(Record::decode(bytes.as_bytes()), None, "{bytes}");
            }
            if nameless != text {
                assert_eq!(Record::decode(nameless.as_bytes()), None);
            }
        }
    }

    proptest! {
        #[test]
        fn any_record_is_read_back(
            project in "\\PC*", id in "\\PC*", message in "\\PC+", attempts: u32,
            millis in 0u64..4_000_000_000_000, dead_letter: u64,
        ) {
            let event = Event { id: id.into(), project: project.into(), ..event("{}") };
            let now = UNIX_EPOCH + Duration::from_millis(millis);
            for record in [
                Record::Delivered(Delivered::of(&event, message, attempts, now)),
                Record::Unknown(Unknown::of(&event, now)),
                Record::DeadLettered(DeadLettered { dead_letter, discarded_at: None, project: None, lost_message_id: None, fingerprint: None }),
            ] {
                prop_assert_eq!(Record::decode(&record.encode()), Some(record));
            }
        }
    }

    #[test]
    fn an_unknown_record_of_a_clock_far_ahead_is_old() {
        let age =
            |seconds| Unknown::of(&event("{}"), now() + Duration::from_secs(seconds)).age(now());
        assert_eq!(age(5), Duration::ZERO);
        assert_eq!(age(6), Duration::MAX);
    }
}
