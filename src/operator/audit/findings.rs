//! The findings of the audit, in the store until an operator resolves them.
//!
//! A finding has a slot that follows from its id, so two audits that find the same thing store it once,
//! and no list of findings has to be kept. If no slot is free, the finding is only in the log.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::event;
use crate::host::{self, store};
use crate::json;
use crate::records::Record;
use crate::time::{parse_rfc3339, rfc3339};
use crate::watch;
use crate::watch::change::Change;

/// How many findings the store holds at most.
const SLOTS: u64 = 1_024;

/// In how many slots a finding is looked for.
const TRIES: u64 = 8;

/// The name of the number of findings of each kind, as the last review left them.
const NUMBERS: &str = "audit/numbers";

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
    /// An attempt ended without an answer, Svix has no message, and no sender has come back.
    Unsettled,
}

impl Kind {
    pub const ALL: [Self; 4] = [
        Self::Missing,
        Self::Doubled,
        Self::Unrecorded,
        Self::Unsettled,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Doubled => "doubled",
            Self::Unrecorded => "unrecorded",
            Self::Unsettled => "unsettled",
        }
    }
}

/// The name under which [`Numbers`] counts findings that may still resolve themselves.
pub const PENDING: &str = "pending";

/// How many findings there are, by the name of their kind.
pub type Numbers = BTreeMap<String, u64>;

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
    pub record: String,
    /// In RFC 3339, UTC.
    found_at: String,
    /// Until then a sender may come again and resolve it. In RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_until: Option<String>,
}

impl Finding {
    pub fn new(
        kind: Kind,
        project: &str,
        event_id: &str,
        record: &str,
        svix_message_ids: Vec<String>,
        now: SystemTime,
    ) -> Self {
        let last = svix_message_ids.last().map_or("", String::as_str);
        let id = event::sha256_hex(&[kind.name().as_bytes(), record.as_bytes(), last.as_bytes()]);
        Self {
            version: VERSION,
            id: id[..16].to_owned(),
            kind,
            project: project.to_owned(),
            event_id: event_id.to_owned(),
            svix_message_ids,
            record: record.to_owned(),
            found_at: rfc3339(now),
            pending_until: None,
        }
    }

    /// A finding that may resolve itself until then.
    pub fn pending(self, until: SystemTime) -> Self {
        let pending_until = Some(rfc3339(until));
        Self {
            pending_until,
            ..self
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let finding: Self = serde_json::from_slice(bytes).ok()?;
        (finding.version == VERSION).then_some(finding)
    }

    fn is_pending(&self) -> bool {
        self.pending_until.is_some()
    }

    /// The finding as it is by now, after its record. `None` if it has resolved itself.
    fn reviewed(mut self, record: Option<&Record>, now: SystemTime) -> Option<Self> {
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
            Kind::Doubled => false,
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
                &self.record,
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

fn slots(id: &str) -> impl Iterator<Item = String> {
    let first = u64::from_str_radix(id, 16).unwrap_or_default();
    (0..TRIES).map(move |more| slot(first.wrapping_add(more) % SLOTS))
}

fn slot(number: u64) -> String {
    format!("audit/finding/{number}")
}

/// Stores a finding and leaves its line, unless it is known. Returns whether it is new.
pub async fn report(finding: &Finding) -> Result<bool, host::Error> {
    if find(&finding.id).await?.is_some() {
        return Ok(false);
    }
    if !finding.is_pending() {
        tell(finding);
    }
    put(finding).await?;
    Ok(true)
}

fn tell(finding: &Finding) {
    watch::change(Change::of_finding(
        finding.kind.name(),
        &finding.project,
        &finding.event_id,
        &finding.svix_message_ids,
    ));
}

/// Stores a finding, in place of the one with its id.
async fn put(finding: &Finding) -> Result<(), host::Error> {
    let mut free = None;
    for slot in slots(&finding.id) {
        match read(&slot).await? {
            Some(other) if other.id != finding.id => {}
            Some(_) => {
                free = Some(slot);
                break;
            }
            None => free = free.or(Some(slot)),
        }
    }
    match free {
        Some(slot) => store::set(&slot, &json::encode(finding), store::TIMEOUT).await,
        None => Ok(()),
    }
}

async fn read(slot: &str) -> Result<Option<Finding>, host::Error> {
    let bytes = store::get(slot, store::TIMEOUT).await?;
    Ok(bytes.as_deref().and_then(Finding::decode))
}

pub async fn find(id: &str) -> Result<Option<Finding>, host::Error> {
    for slot in slots(id) {
        if let Some(finding) = read(&slot).await?.filter(|finding| finding.id == id) {
            return Ok(Some(finding));
        }
    }
    Ok(None)
}

pub async fn remove(id: &str) -> Result<(), host::Error> {
    for slot in slots(id) {
        if read(&slot).await?.is_some_and(|finding| finding.id == id) {
            store::delete("delete the finding", &slot).await?;
        }
    }
    Ok(())
}

/// All findings, oldest first.
pub async fn all() -> Result<Vec<Finding>, host::Error> {
    let mut all = Vec::new();
    let names: Vec<_> = (0..SLOTS).map(slot).collect();
    for bytes in store::get_all(&names).await {
        all.extend(bytes?.as_deref().and_then(Finding::decode));
    }
    all.sort_by(|one, other| {
        one.found_at
            .cmp(&other.found_at)
            .then(one.id.cmp(&other.id))
    });
    Ok(all)
}

/// Looks at every finding again: what its record has resolved goes, and what is no longer pending is told.
/// Counts the rest.
pub async fn review(now: SystemTime) -> Result<(), host::Error> {
    let mut numbers: Numbers = Kind::ALL.map(|kind| (kind.name().to_owned(), 0)).into();
    numbers.insert(PENDING.to_owned(), 0);
    for finding in all().await? {
        let record = store::get(&finding.record, store::TIMEOUT).await?;
        let record = record.as_deref().and_then(Record::decode);
        let reviewed = finding.clone().reviewed(record.as_ref(), now);
        match &reviewed {
            Some(same) if *same == finding => {}
            Some(due) if due.id == finding.id => {
                tell(due);
                put(due).await?;
            }
            Some(other) => {
                report(other).await?;
                remove(&finding.id).await?;
            }
            None => remove(&finding.id).await?,
        }
        if let Some(finding) = reviewed {
            let name = if finding.is_pending() {
                PENDING
            } else {
                finding.kind.name()
            };
            *numbers.entry(name.to_owned()).or_default() += 1;
        }
    }
    store::set(NUMBERS, &json::encode(&numbers), store::TIMEOUT).await
}

/// How many findings the last review has left.
pub async fn numbers() -> Result<Numbers, host::Error> {
    let bytes = store::get(NUMBERS, store::TIMEOUT).await?;
    let numbers = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(numbers.unwrap_or_default())
}

/// For how long a message may be without a record: Pub/Sub brings its event again until then.
pub fn pending_until(stored: &str, pubsub_retention: Duration) -> Option<SystemTime> {
    parse_rfc3339(stored)?.checked_add(pubsub_retention)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{DeadLettered, Delivered, Unknown};
    use std::time::UNIX_EPOCH;

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
        assert_eq!(
            String::from_utf8(json::encode(&finding)).expect("text"),
            text
        );
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
        });
        let others = [None, Some(Record::Unknown(unknown()))];
        for (kind, resolving) in [
            (Kind::Missing, vec![delivered("msg_2")]),
            (Kind::Doubled, vec![]),
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
