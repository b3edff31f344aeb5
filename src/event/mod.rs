//! An event as the platform published it: the few fields the relay looks at, and the rules that
//! Svix sets for them.
//!
//! Only the fields that the relay or Svix needs are required. The rest of the event is the customer's
//! business and passes through untouched.

pub mod arrival;
pub mod content;
pub mod field;
pub mod media_type;
pub mod notification;
pub mod push;
pub mod rejection;

use std::borrow::Cow;
use std::time::SystemTime;

use serde_json::value::RawValue;

use crate::digest;
use crate::identifier;
use crate::json;
use crate::time;
use crate::violation::Violation;

/// A valid event, borrowed from the bytes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The platform's identifier: any non-empty text.
    pub id: Cow<'a, str>,
    /// For example `user.created`; a valid Svix event type.
    pub event_type: Cow<'a, str>,
    /// The customer; a valid uid of a Svix application.
    pub project: Cow<'a, str>,
    /// The event's own time, if it is there and in RFC 3339.
    pub time: Option<SystemTime>,
    /// The whole event, exactly as it came.
    pub json: &'a str,
}

impl<'a> Event<'a> {
    /// The names of the fields that [`Event::from_fields`] takes, in its order.
    pub const FIELDS: [&'static str; 4] = ["id", "type", "project", "time"];

    /// Checks the fields of an event whose whole text is `json`.
    ///
    /// Fails with every violation there is.
    pub fn from_fields(
        json: &'a str,
        [id, event_type, project, time]: [Option<&'a RawValue>; 4],
    ) -> Result<Self, Vec<Violation>> {
        let mut violations = Vec::new();
        let id = required("id", id, &mut violations, |_| Ok(()));
        let event_type = required("type", event_type, &mut violations, identifier::check);
        let project = required("project", project, &mut violations, identifier::check_project);
        let time = time.and_then(json::string);
        match (id, event_type, project) {
            (Some(id), Some(event_type), Some(project)) => Ok(Self {
                id,
                event_type,
                project,
                time: time.as_deref().and_then(time::parse_rfc3339),
                json,
            }),
            _ => Err(violations),
        }
    }
}

/// Identifies an event by project and id alone, as 64 hexadecimal digits: its first `Idempotency-Key`, and the end of
/// its record's name.
pub fn key(project: &str, id: &str) -> String {
    digest::of_pair(project, id)
}

/// The key of an event after `key`, under which Svix has lost this message.
pub fn next_key(key: &str, lost_message_id: &str) -> String {
    digest::sha256_hex(&[key.as_bytes(), lost_message_id.as_bytes()])
}

fn required<'a>(
    field: &'static str,
    raw: Option<&'a RawValue>,
    violations: &mut Vec<Violation>,
    rule: impl FnOnce(&str) -> Result<(), String>,
) -> Option<Cow<'a, str>> {
    let raw = raw.ok_or_else(|| "is required".to_owned());
    raw.and_then(|raw| json::text(raw, rule))
        .map_err(|reason| violations.push(Violation::new(field, reason)))
        .ok()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An event whose whole text is `json`, whatever that says.
    pub fn event(json: &str) -> Event<'_> {
        Event {
            id: "evt_1".into(),
            event_type: "user.created".into(),
            project: "dev".into(),
            time: None,
            json,
        }
    }

    #[test]
    fn the_key_depends_on_project_and_id_alone() {
        assert_eq!(
            key("dev", "evt_1"),
            "193e465eef8b7ffec290ebb03ed5391f528a1474ee89d4089e611e77e4ee7e50"
        );
        assert_ne!(key("dev", "evt_1"), key("dev", "evt_2"));
        assert_ne!(key("dev", "evt_1"), key("gigs", "evt_1"));
        assert_ne!(key("a", "bc"), key("ab", "c"));
    }

    fn parse(json: &str) -> Result<Event<'_>, Vec<Violation>> {
        Event::from_fields(json, json::pick(json, Event::FIELDS).expect("an object"))
    }

    fn refused(json: &str) -> Vec<(&'static str, String)> {
        parse(json)
            .expect_err(json)
            .into_iter()
            .map(|violation| (violation.field, violation.reason))
            .collect()
    }

    #[test]
    fn needs_no_more_than_id_type_and_project() {
        let json = r#"{"id":"evt_1","type":"user.created","project":"dev"}"#;
        let event = parse(json).expect("valid");
        assert_eq!(event.id, "evt_1");
        assert_eq!(event.event_type, "user.created");
        assert_eq!(event.project, "dev");
        assert_eq!(event.time, None);
        assert_eq!(event.json, json);
    }

    #[test]
    fn reads_the_time_where_there_is_one() {
        let time = |time| {
            let json = format!(r#"{{"id":"e","type":"t","project":"dev","time":{time}}}"#);
            parse(&json).expect("valid").time
        };
        assert_eq!(time(r#""1970-01-01T00:00:00Z""#), Some(SystemTime::UNIX_EPOCH));
        for nonsense in [r#""noon""#, "12", "null"] {
            assert_eq!(time(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn reports_every_violation_at_once() {
        assert_eq!(
            refused(r#"{"id":"","type":7}"#),
            [
                ("id", "must not be empty".to_owned()),
                ("type", "must be a string".to_owned()),
                ("project", "is required".to_owned()),
            ]
        );
        let half = refused(r#"{"id":"\ud800","type":"t","project":"dev"}"#);
        let reason = "must be Unicode: it holds half of a surrogate pair";
        assert_eq!(half, [("id", reason.to_owned())]);
    }

    #[test]
    fn holds_type_and_project_to_the_rules_of_svix() {
        let charset = "may hold only letters, digits, '-', '_' and '.'".to_owned();
        assert_eq!(
            refused(r#"{"id":"e","type":"user created","project":"dév"}"#),
            [("type", charset.clone()), ("project", charset)]
        );
        let long = "x".repeat(257);
        assert_eq!(
            refused(&format!(r#"{{"id":"e","type":"{long}","project":"app_1"}}"#)),
            [
                ("type", "must be at most 256 characters long".to_owned()),
                ("project", "must not start with 'app_'".to_owned()),
            ]
        );
        let longest = "x".repeat(256);
        parse(&format!(r#"{{"id":"e","type":"{longest}","project":"{longest}"}}"#))
            .expect("256 characters are allowed");
    }

    #[test]
    fn refuses_a_project_that_would_climb_the_path() {
        for project in [".", ".."] {
            assert_eq!(
                refused(&format!(r#"{{"id":"e","type":"t","project":"{project}"}}"#)),
                [("project", "must not be '.' or '..'".to_owned())]
            );
        }
        parse(r#"{"id":"e","type":"t","project":"..."}"#).expect("three dots are a name");
    }

    #[test]
    fn takes_any_text_as_id() {
        for id in ["msg_1", "with space", "ü/..?#", "\\u0000", "\\\"quoted\\\""] {
            parse(&format!(r#"{{"id":"{id}","type":"t","project":"dev"}}"#)).expect(id);
        }
    }
}
