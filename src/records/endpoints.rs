//! The customers' endpoints that Svix has reported as disabled, and the events that it has given up.
//!
//! Reports are rare, so one value holds them all.

use serde::{Deserialize, Serialize};

use crate::digest;
use crate::host::change::{WRITES, write_until_seen};
use crate::host::{self, clock, store};
use crate::json;
use crate::time::rfc3339;

const VERSION: u32 = 1;

const NAME: &str = "endpoints";

/// The most entries that are kept. The oldest go first; the log has them all.
const MAX_DISABLED: usize = 100;
const MAX_EXHAUSTED: usize = 50;
const MAX_SEEN: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    version: u32,
    /// Oldest first.
    pub disabled: Vec<Reported>,
    /// Oldest first.
    pub exhausted: Vec<Reported>,
    /// The latest reports, as [`report_id`] names them.
    seen: Vec<String>,
}

/// An endpoint to which Svix sends nothing, or not this event any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reported {
    pub project: String,
    pub endpoint_id: String,
    /// The eventId of an event that was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Since when a disabled endpoint has failed, as far as Svix has said, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<String>,
    /// When Svix reported the endpoint, or made the last attempt with the event, in RFC 3339.
    pub at: String,
}

/// The effect of a report on the lists.
#[derive(Clone, Debug)]
pub enum Effect {
    Disabled(Reported),
    Enabled {
        project: String,
        endpoint_id: String,
    },
    Exhausted(Reported),
    /// Nothing of this project is to be kept.
    Forgotten {
        project: String,
    },
}

impl Default for Endpoints {
    fn default() -> Self {
        Self { version: VERSION, disabled: Vec::new(), exhausted: Vec::new(), seen: Vec::new() }
    }
}

impl Endpoints {
    /// Reads what the store holds. Anything but a value of this version is treated as absent.
    fn decode(stored: Option<&[u8]>) -> Self {
        stored
            .and_then(|bytes| serde_json::from_slice::<Self>(bytes).ok())
            .filter(|endpoints| endpoints.version == VERSION)
            .unwrap_or_default()
    }

    pub fn has_seen(&self, report: &str) -> bool {
        self.seen.iter().any(|seen| seen == report)
    }

    /// Has a report take effect, unless it has already.
    fn apply(&mut self, report: &str, effect: &Effect) -> bool {
        if self.has_seen(report) {
            return false;
        }
        push(&mut self.seen, report.to_owned(), MAX_SEEN);
        match effect {
            Effect::Disabled(disabled) => {
                if !self.lists_as_disabled(&disabled.project, &disabled.endpoint_id) {
                    push(&mut self.disabled, disabled.clone(), MAX_DISABLED);
                }
            }
            Effect::Enabled { project, endpoint_id } => {
                self.disabled.retain(|known| !known.is(project, endpoint_id));
            }
            Effect::Forgotten { project } => {
                self.disabled.retain(|known| known.project != *project);
                self.exhausted.retain(|known| known.project != *project);
            }
            Effect::Exhausted(exhausted) => {
                push(&mut self.exhausted, exhausted.clone(), MAX_EXHAUSTED);
            }
        }
        true
    }

    pub fn lists_as_disabled(&self, project: &str, endpoint_id: &str) -> bool {
        let mut disabled = self.disabled.iter();
        disabled.any(|known| known.is(project, endpoint_id))
    }
}

impl Reported {
    fn is(&self, project: &str, endpoint_id: &str) -> bool {
        self.project == project && self.endpoint_id == endpoint_id
    }
}

fn push<T>(list: &mut Vec<T>, entry: T, most: usize) {
    list.push(entry);
    list.drain(..list.len().saturating_sub(most));
}

/// A short name of a webhook, from its `svix-id`.
pub fn report_id(svix_id: &str) -> String {
    let mut id = digest::sha256_hex(&[svix_id.as_bytes()]);
    id.truncate(16);
    id
}

pub async fn read() -> Result<Endpoints, host::Error> {
    let bytes = store::get(NAME, store::TIMEOUT).await?;
    Ok(Endpoints::decode(bytes.as_deref()))
}

/// Has a report take effect, once. The effect is in the store when this returns.
pub async fn note(report: &str, effect: &Effect) -> Result<(), host::Error> {
    write_until_seen("note a report", WRITES, async || {
        let mut endpoints = read().await?;
        if !endpoints.apply(report, effect) {
            return Ok(Some(()));
        }
        store::set(NAME, &json::encode(&endpoints), store::TIMEOUT).await?;
        Ok(None)
    })
    .await
}

/// Removes what is kept of a project, if there is anything.
pub async fn forget(project: &str) -> Result<(), host::Error> {
    let endpoints = read().await?;
    let mut known = endpoints.disabled.iter().chain(&endpoints.exhausted);
    if !known.any(|known| known.project == project) {
        return Ok(());
    }
    let report = report_id(&format!("{project} {}", rfc3339(clock::now())));
    let project = project.to_owned();
    note(&report, &Effect::Forgotten { project }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disabled(endpoint_id: &str) -> Effect {
        Effect::Disabled(Reported {
            project: "dev".to_owned(),
            endpoint_id: endpoint_id.to_owned(),
            event_id: None,
            failing_since: None,
            at: "2026-11-23T14:12:42Z".to_owned(),
        })
    }

    #[test]
    fn an_endpoint_is_listed_once_until_it_is_enabled() {
        let mut endpoints = Endpoints::default();
        assert!(endpoints.apply("1", &disabled("ep_1")));
        assert!(endpoints.apply("2", &disabled("ep_1")));
        assert!(endpoints.apply("3", &disabled("ep_2")));
        let enabled = Effect::Enabled { project: "dev".to_owned(), endpoint_id: "ep_1".to_owned() };
        assert_eq!(endpoints.disabled.len(), 2);
        assert!(endpoints.apply("4", &enabled));
        assert_eq!(endpoints.disabled[0].endpoint_id, "ep_2");
        // The second report comes again, late.
        assert!(!endpoints.apply("2", &disabled("ep_1")));
        assert_eq!(endpoints.disabled.len(), 1);
    }

    #[test]
    fn the_oldest_entries_go_first() {
        let mut endpoints = Endpoints::default();
        for number in 0..1_000 {
            let id = number.to_string();
            endpoints.apply(&id, &disabled(&id));
            let exhausted = Reported {
                project: "dev".to_owned(),
                event_id: Some(id.clone()),
                endpoint_id: "ep_1".to_owned(),
                failing_since: None,
                at: "2026-11-23T14:12:42Z".to_owned(),
            };
            endpoints.apply(&format!("x{id}"), &Effect::Exhausted(exhausted));
        }
        assert_eq!(endpoints.disabled.len(), MAX_DISABLED);
        assert_eq!(endpoints.exhausted[MAX_EXHAUSTED - 1].event_id.as_deref(), Some("999"));
        assert!(endpoints.has_seen("999") && !endpoints.has_seen("1"));
        assert!(json::encode(&endpoints).len() < 64 * 1024);
    }

    #[test]
    fn the_value_is_stored_as_it_always_was() {
        let mut endpoints = Endpoints::default();
        endpoints.apply(&report_id("msg_1"), &disabled("ep_1"));
        let text = r#"{"version":1,"disabled":[{"project":"dev","endpointId":"ep_1","at":"2026-11-23T14:12:42Z"}],"exhausted":[],"seen":["116b88f173007be5"]}"#;
        assert_eq!(String::from_utf8(json::encode(&endpoints)).expect("text"), text);
        assert_eq!(Endpoints::decode(Some(text.as_bytes())), endpoints);
        let newer = text.replace(":1,", ":2,");
        for bytes in ["", "{}", &newer] {
            assert_eq!(Endpoints::decode(Some(bytes.as_bytes())), Endpoints::default());
        }
    }
}
