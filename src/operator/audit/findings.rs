//! A finding of the audit, and when it has resolved itself.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::digest;
use crate::records::Record;
use crate::time::{parse_rfc3339, rfc3339};

const VERSION: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A record says `delivered`, and Svix has no such message.
    Missing,
    /// Svix holds two messages of one event.
    Doubled,
    /// Svix holds a message of which the relay has no record.
    Unrecorded,
    /// Svix has the message, and has not tried to send it to an endpoint that takes it.
    Unsent,
    /// Svix has no application of a project with delivered events.
    ApplicationMissing,
    /// An attempt ended without an answer, Svix has no message, and no sender has come back.
    Unsettled,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::Missing,
        Self::Doubled,
        Self::Unrecorded,
        Self::Unsettled,
        Self::Unsent,
        Self::ApplicationMissing,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Doubled => "doubled",
            Self::Unrecorded => "unrecorded",
            Self::ApplicationMissing => "application-missing",
            Self::Unsettled => "unsettled",
            Self::Unsent => "unsent",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    version: u32,
    pub id: String,
    pub kind: Kind,
    pub project: String,
    /// The platform's id of the event. Of an unrecorded message, Svix's.
    pub event_id: String,
    /// The record's message first, if there is one.
    pub svix_message_ids: Vec<String>,
    /// The name of the event's record in the store.
    #[serde(rename = "record")]
    pub record_name: String,
    /// In RFC 3339, UTC.
    pub found_at: String,
    /// Until this time a sender may bring the event again, which resolves the finding. In RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_until: Option<String>,
}

impl Finding {
    pub fn new(
        kind: Kind,
        project: &str,
        event_id: &str,
        record_name: &str,
        svix_message_ids: Vec<String>,
        now: SystemTime,
    ) -> Self {
        let last = svix_message_ids.last().map_or("", String::as_str);
        let id =
            digest::sha256_hex(&[kind.name().as_bytes(), record_name.as_bytes(), last.as_bytes()]);
        Self {
            version: VERSION,
            id: id[..16].to_owned(),
            kind,
            project: project.to_owned(),
            event_id: event_id.to_owned(),
            svix_message_ids,
            record_name: record_name.to_owned(),
            found_at: rfc3339(now),
            pending_until: None,
        }
    }

    /// A finding that may resolve itself until then.
    pub fn pending(self, until: SystemTime) -> Self {
        let pending_until = Some(rfc3339(until));
        Self { pending_until, ..self }
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let finding: Self = serde_json::from_slice(bytes).ok()?;
        (finding.version == VERSION).then_some(finding)
    }

    pub fn is_pending(&self) -> bool {
        self.pending_until.is_some()
    }

    /// The finding as it is by now, after its record. `None` if it has resolved itself.
    pub fn reviewed(mut self, record: Option<&Record>, now: SystemTime) -> Option<Self> {
        let message = match record {
            Some(Record::Delivered(record)) => Some(record.svix_message_id.as_str()),
            _ => None,
        };
        let is_letter = matches!(record, Some(Record::DeadLettered(_)));
        let found = self.svix_message_ids.first().map(String::as_str);
        let resolved = match self.kind {
            Kind::Missing => message.is_some() && message != found,
            Kind::Unrecorded => is_letter || (message.is_some() && message == found),
            Kind::Unsettled => is_letter || message.is_some(),
            Kind::Doubled | Kind::Unsent | Kind::ApplicationMissing => false,
        };
        if resolved {
            return None;
        }
        if let (Kind::Unrecorded, Some(message)) = (self.kind, message) {
            // The event was sent again, though Svix had its message.
            let ids = [vec![message.to_owned()], self.svix_message_ids].concat();
            let kind = Kind::Doubled;
            return Some(Self::new(
                kind,
                &self.project,
                &self.event_id,
                &self.record_name,
                ids,
                now,
            ));
        }
        let until = self.pending_until.as_deref().and_then(parse_rfc3339);
        if until.is_some_and(|until| until <= now) {
            self.pending_until = None;
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::records::{DeadLettered, Delivered, Unknown};
    use std::time::{Duration, UNIX_EPOCH};

    fn finding(kind: Kind, ids: &[&str]) -> Finding {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let found_at = UNIX_EPOCH + Duration::from_secs(1);
        Finding::new(kind, "dev", "evt_1", "record/a", ids, found_at)
    }

    fn unknown() -> Unknown {
        Unknown {
            project: "dev".to_owned(),
            event_id: "evt_1".to_owned(),
            event_type: "user.created".to_owned(),
            first_attempt_at: rfc3339(UNIX_EPOCH),
            last_attempt_at: None,
            lost_message_id: None,
        }
    }

    fn delivered(message: &str) -> Record {
        let record: Delivered = unknown().delivered(message.to_owned(), UNIX_EPOCH);
        Record::Delivered(record)
    }

    #[test]
    fn a_finding_is_stored_as_it_always_was() {
        let finding = finding(Kind::Unrecorded, &["msg_1"]).pending(UNIX_EPOCH);
        let text = concat!(
            r#"{"version":1,"id":"b3cba99f2bd8a1f1","kind":"unrecorded","project":"dev","#,
            r#""eventId":"evt_1","svixMessageIds":["msg_1"],"record":"record/a","#,
            r#""foundAt":"1970-01-01T00:00:01Z","pendingUntil":"1970-01-01T00:00:00Z"}"#,
        );
        assert_eq!(String::from_utf8(json::encode(&finding)).expect("text"), text);
        assert_eq!(Finding::decode(text.as_bytes()), Some(finding));
        let newer = text.replace(r#""version":1"#, r#""version":2"#);
        assert_eq!(Finding::decode(newer.as_bytes()), None);
    }

    #[test]
    fn a_finding_lasts_until_its_record_resolves_it() {
        let now = UNIX_EPOCH + Duration::from_hours(1);
        let letter = Record::DeadLettered(DeadLettered {
            dead_letter: 1,
            discarded_at: None,
            project: None,
            lost_message_id: None,
            fingerprint: None,
        });
        let others = [None, Some(Record::Unknown(unknown()))];
        for (kind, resolving) in [
            (Kind::Missing, vec![delivered("msg_2")]),
            (Kind::Doubled, vec![]),
            (Kind::ApplicationMissing, vec![]),
            (Kind::Unrecorded, vec![delivered("msg_1"), letter.clone()]),
            (Kind::Unsettled, vec![delivered("msg_2"), letter]),
        ] {
            let finding = finding(kind, &["msg_1"]);
            for record in &others {
                let reviewed = finding.clone().reviewed(record.as_ref(), now);
                assert_eq!(reviewed.as_ref(), Some(&finding), "{record:?}");
            }
            for record in resolving {
                let reviewed = finding.clone().reviewed(Some(&record), now);
                assert_eq!(reviewed, None, "{kind:?} {record:?}");
            }
        }
    }

    #[test]
    fn a_message_that_was_sent_again_is_doubled() {
        let finding = finding(Kind::Unrecorded, &["msg_1"]).pending(UNIX_EPOCH);
        let reviewed = finding.reviewed(Some(&delivered("msg_2")), UNIX_EPOCH);
        let reviewed = reviewed.expect("a finding");
        assert_eq!(reviewed.kind, Kind::Doubled);
        assert_eq!(reviewed.svix_message_ids, ["msg_2", "msg_1"]);
        assert!(!reviewed.is_pending());
    }

    #[test]
    fn a_finding_is_pending_until_no_sender_can_come_again() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        for (now, pending) in [(9, true), (10, false)] {
            let finding = finding(Kind::Unrecorded, &["msg_1"]).pending(at(10));
            let reviewed = finding.reviewed(None, at(now)).expect("a finding");
            assert_eq!(reviewed.is_pending(), pending);
        }
    }
}
