//! Messages: one event is sent as one message, and looked up by its id.
//!
//! Under one configuration, the same event always makes the same request, to the byte and to the URI, since Svix's
//! idempotency covers nothing less.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use super::{Answer, Error};
use crate::config::Messages;
use crate::digest;
use crate::event::Event;
use crate::event::field::{self, Field};
use crate::identifier;
use crate::json;
use crate::time::{SKEW, parse_rfc3339};

/// Starts every eventId that is not the event's own id. An id that starts so itself is mapped, too,
/// which keeps the mapping free of collisions.
const MAPPED_PREFIX: &str = "sha256.";

/// For how long Svix knows an `Idempotency-Key`, and its answer to the first post with that key.
pub const KEY_LIFETIME: Duration = Duration::from_hours(12);

/// For how long the relay relies on a key: two minutes less. A post may reach Svix up to a minute after the relay has
/// decided on it (`svix_timeout_ms`), and the clocks that tell an event's age may differ.
const RELIED_ON: Duration = Duration::from_mins(11 * 60 + 58);

/// Whether Svix may have made this id of a message.
pub fn is_id(id: &str) -> bool {
    id.starts_with("msg_") && identifier::check(id).is_ok()
}

/// The eventId under which Svix stores an event: the event's own id where Svix accepts it, otherwise
/// a stable stand-in made of its SHA-256.
pub fn event_id(id: &str) -> Cow<'_, str> {
    let acceptable = !id.is_empty()
        && identifier::check(id).is_ok()
        && !id.starts_with("msg_")
        && !is_mapped(id)
        && !identifier::is_dot_segment(id);
    if acceptable {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(format!("{MAPPED_PREFIX}{}", digest::sha256_hex(&[id.as_bytes()])))
    }
}

/// Whether the eventId is a stand-in, which doesn't tell the event's own id.
pub fn is_mapped(event_id: &str) -> bool {
    event_id.starts_with(MAPPED_PREFIX)
}

/// Whether Svix may have forgotten a key by the time that a post with it arrives. The key was first sent at `since` or
/// later, and the post is decided on at `now`. If so, the event must be looked up first.
pub fn may_have_forgotten(since: SystemTime, now: SystemTime) -> bool {
    match now.duration_since(since) {
        Ok(age) => age >= RELIED_ON,
        // Another clock may be a little ahead. Otherwise the time says nothing of the past.
        Err(ahead) => ahead.duration() > SKEW,
    }
}

/// The path, with query, of the request that creates a message.
pub fn create_path(project: &str) -> String {
    format!("/api/v1/app/{project}/msg/?with_content=false")
}

/// The path, with query, of the request that asks for a message, by its id or its eventId.
pub fn lookup_path(project: &str, id: &str) -> String {
    format!("/api/v1/app/{project}/msg/{id}/?with_content=false")
}

/// The body of the request that creates the message of an event. The payload is the event itself,
/// byte for byte.
///
/// With `create_application`, Svix creates a missing application of the project.
pub fn body(event: &Event<'_>, create_application: bool, messages: &Messages) -> Vec<u8> {
    // Type, eventId, project, tags and channels are plain identifiers by now: nothing in them needs escaping.
    let project = &event.project;
    let event_type = format!(r#""{}""#, event.event_type);
    let event_id = format!(r#""{}""#, event_id(&event.id));
    let application =
        create_application.then(|| format!(r#"{{"uid":"{project}","name":"{project}"}}"#));
    let list = |fields: &[Field]| {
        let values = field::values(fields, event.json);
        (!values.is_empty()).then(|| format!(r#"["{}"]"#, values.join(r#"",""#)))
    };
    let retention = messages.retention_days.map(|days| days.to_string());
    json::object(&[
        ("eventType", Some(&event_type)),
        ("eventId", Some(&event_id)),
        ("application", application.as_deref()),
        ("tags", list(&messages.tags).as_deref()),
        ("channels", list(&messages.channels).as_deref()),
        ("payloadRetentionPeriod", retention.as_deref()),
        ("payload", Some(event.json)),
    ])
}

/// The path of the request that deletes a message's payload.
pub fn content_path(project: &str, id: &str) -> String {
    format!("/api/v1/app/{project}/msg/{id}/content/")
}

/// Svix's answer to a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    /// Svix has the message, or had it: an answer that it keeps for the idempotency key may outlive the message.
    Stored {
        message_id: String,
        /// How long before its answer Svix stored the message. Zero if the answer doesn't tell.
        age: Duration,
    },
    /// A conflict (409): the event may be stored already, or not. Only a lookup can tell.
    Conflict,
}

impl Posted {
    /// Its name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stored { .. } => "stored",
            Self::Conflict => "conflict",
        }
    }
}

/// Reads the answer to a request that creates the message of an eventId.
///
/// With `create_application`, the request let Svix create the project's application.
pub fn classify_create(
    answer: &Answer,
    event_id: &str,
    create_application: bool,
) -> Result<Posted, Error> {
    match answer.status {
        200..=299 => {
            let stored = stored(answer, event_id);
            let (message_id, age) = stored.ok_or_else(|| answer.not_as_promised())?;
            Ok(Posted::Stored { message_id, age })
        }
        409 => Ok(Posted::Conflict),
        404 if !create_application && answer.says_not_found() => Err(Error::ApplicationMissing),
        _ => Err(answer.refused_or_unexpected()),
    }
}

/// Reads the answer to a request that asks for an event's message: its id. `None` if this application doesn't have it.
pub fn classify_lookup(answer: &Answer, event_id: &str) -> Result<Option<String>, Error> {
    let found = answer.existing(|| stored(answer, event_id))?;
    Ok(found.map(|(message_id, _)| message_id))
}

/// The id of the message in an answer, and its age, which is zero if the answer doesn't tell it. `None` unless the
/// message is one of Svix's, and of the event that was asked about: another server's friendly answer must not be taken
/// for a delivery.
fn stored(answer: &Answer, sent_event_id: &str) -> Option<(String, Duration)> {
    let [id, event_id, stored_at] = answer.fields(["id", "eventId", "timestamp"])?;
    let id = json::string(id?)?;
    let ours = event_id.and_then(json::string).as_deref() == Some(sent_event_id);
    let stored_at = stored_at.and_then(json::string);
    let stored_at = stored_at.and_then(|time| parse_rfc3339(&time));
    let age = stored_at.and_then(|time| answer.written_at.duration_since(time).ok());
    (ours && is_id(&id)).then(|| (id.into_owned(), age.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::super::Cause;
    use super::super::tests::{answer, error_body, refusal};
    use super::*;
    use crate::event::tests::event;
    use proptest::prelude::*;

    fn create(status: u16, body: &str) -> Result<Posted, Error> {
        classify_create(&answer(status, body), "evt_1", false)
    }

    fn look_up(status: u16, body: &str) -> Result<Option<String>, Error> {
        classify_lookup(&answer(status, body), "evt_1")
    }

    #[test]
    fn an_acceptable_id_is_the_event_id() {
        let longest = "x".repeat(256);
        for id in ["evt_0SNlurA049MEWV5gNTcQ5A07h3Ol", "a", "A-Z_0.9", "...", &longest] {
            assert_eq!(event_id(id), id);
        }
    }

    #[test]
    fn an_id_that_svix_refuses_is_mapped() {
        let too_long = "x".repeat(257);
        for id in ["", "msg_1", "with space", "\u{fc}", "a/b", ".", "..", "sha256.a", &too_long] {
            let mapped = event_id(id);
            assert_ne!(mapped, id);
            assert!(identifier::check(&mapped).is_ok(), "{mapped}");
        }
        // Pinned: a change would make every mapped event new to Svix.
        assert_eq!(
            event_id("msg_1"),
            "sha256.116b88f173007be5e05df2a87105f0950bef284d0ceca39951e9bae80706ac45"
        );
    }

    #[test]
    fn an_event_is_looked_up_first_once_svix_may_have_forgotten_its_key() {
        let hours = |hours| SystemTime::UNIX_EPOCH + Duration::from_hours(hours);
        let bound = hours(13) - Duration::from_mins(2);
        assert!(!may_have_forgotten(hours(1), bound - Duration::from_nanos(1)));
        assert!(may_have_forgotten(hours(1), bound));
        let ahead = |ahead| hours(13) + Duration::from_secs(ahead);
        assert!(!may_have_forgotten(ahead(5), hours(13)), "clocks differ");
        assert!(may_have_forgotten(ahead(6), hours(13)), "planned for later");
    }

    #[test]
    fn the_message_holds_the_event_byte_for_byte() {
        let json = r#"{ "id":"evt_1", "type":"user.created","project":"dev","data":{"n":10.0} }"#;
        let event = event(json);
        for (create_application, application) in
            [(true, r#""application":{"uid":"dev","name":"dev"},"#), (false, "")]
        {
            assert_eq!(
                String::from_utf8(body(&event, create_application, &Messages::default()))
                    .expect("text"),
                format!(
                    r#"{{"eventType":"user.created","eventId":"evt_1",{application}"payload":{json}}}"#
                )
            );
        }
    }

    #[test]
    fn a_message_may_have_tags_channels_and_a_retention() {
        let json = r#"{"id":"evt_1","data":{"id":"sub_1","user":{"id":"usr_1"}}}"#;
        let event = event(json);
        let field = |name| Field::parse(name).expect("a name");
        let messages = Messages {
            tags: vec![field("data.id"), field("data.user.id")],
            channels: vec![field("data.missing"), field("data.id")],
            retention_days: Some(30),
            ..Messages::default()
        };
        assert_eq!(
            String::from_utf8(body(&event, false, &messages)).expect("text"),
            format!(
                concat!(
                    r#"{{"eventType":"user.created","eventId":"evt_1","tags":["sub_1","usr_1"],"#,
                    r#""channels":["sub_1"],"payloadRetentionPeriod":30,"payload":{}}}"#,
                ),
                json
            )
        );
    }

    #[test]
    fn a_success_that_names_the_message_is_stored() {
        for status in [200, 201, 202] {
            assert_eq!(
                create(status, r#"{"id":"msg_1","eventId":"evt_1"}"#),
                Ok(Posted::Stored { message_id: "msg_1".to_owned(), age: Duration::ZERO })
            );
        }
    }

    #[test]
    fn a_success_that_can_not_be_read_is_tried_again() {
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"id":7}"#,
            r#"{"id":""}"#,
            r#"{"id":"msg_a b"}"#,
            r#"{"id":"another server's"}"#,
            r#"{"id":"msg_1","eventId":"evt_2"}"#,
            r#"{"id":"msg_1","eventId":null}"#,
        ] {
            assert_eq!(create(202, body), Err(Cause::NotSvix(202).into()));
            assert_eq!(look_up(200, body), Err(Cause::NotSvix(200).into()));
        }
        let cut = Answer { body: None, ..answer(202, "") };
        let unreadable = Err(Cause::UnreadableAnswer.into());
        assert_eq!(classify_create(&cut, "evt_1", false), unreadable);
    }

    #[test]
    fn a_missing_application_is_told_apart_unless_svix_may_create_it() {
        let missing = error_body("not_found");
        let error = Error::ApplicationMissing;
        assert_eq!(error.name(), "misconfigured", "as the alert has it");
        assert_eq!(create(404, &missing), Err(error));
        assert_eq!(
            classify_create(&answer(404, &missing), "evt_1", true),
            Err(Cause::UnknownError(refusal(404, "not_found")).into())
        );
    }

    #[test]
    fn the_age_of_a_message_is_told_by_the_clock_of_its_answer() {
        let age = |time: &str| {
            let body = format!(r#"{{"id":"msg_1","eventId":"evt_1"{time}}}"#);
            let answer = Answer {
                written_at: SystemTime::UNIX_EPOCH + Duration::from_hours(1),
                ..answer(202, &body)
            };
            match classify_create(&answer, "evt_1", true) {
                Ok(Posted::Stored { age, .. }) => age,
                other => panic!("{other:?}"),
            }
        };
        let half = age(r#","timestamp":"1970-01-01T00:30:00.000000Z""#);
        assert_eq!(half, Duration::from_mins(30));
        for unknown in ["", r#","timestamp":7"#, r#","timestamp":"1970-01-01T02:00:00Z""#] {
            assert_eq!(age(unknown), Duration::ZERO, "{unknown}");
        }
    }

    #[test]
    fn only_a_lookup_tells_stored_from_absent() {
        assert_eq!(create(409, &error_body("conflict")), Ok(Posted::Conflict));
        let stored = Ok(Some("msg_1".to_owned()));
        assert_eq!(look_up(200, r#"{"id":"msg_1","eventId":"evt_1"}"#), stored);
        assert_eq!(look_up(404, &error_body("not_found")), Ok(None));
        for status in [404, 422] {
            let unforeseen = Err(Cause::UnknownError(refusal(status, "other")).into());
            assert_eq!(look_up(status, &error_body("other")), unforeseen);
        }
    }

    proptest! {
        #[test]
        fn every_id_maps_to_one_that_svix_accepts(id in "\\PC*") {
            let mapped = event_id(&id);
            prop_assert!(!mapped.is_empty());
            prop_assert!(identifier::check(&mapped).is_ok());
            prop_assert!(!mapped.starts_with("msg_"));
            prop_assert!(!identifier::is_dot_segment(&mapped));
            prop_assert_eq!(&mapped, &event_id(&id), "stable");
        }

        #[test]
        fn different_ids_never_meet(a in "(msg_|sha256[.])?[a-c ./]{0,4}", b in "(msg_|sha256[.])?[a-c ./]{0,4}") {
            prop_assert_eq!(a == b, event_id(&a) == event_id(&b));
        }

        #[test]
        fn a_mapped_id_is_not_its_own_preimage(id in "\\PC{0,20}") {
            let mapped = event_id(&id);
            if mapped != id.as_str() {
                prop_assert_ne!(event_id(&mapped), mapped.as_ref());
            }
        }
    }
}
