//! The run of failures before the gate closes.

use serde::{Deserialize, Serialize};

/// How many failures of one event in succession count.
const RUN_OF_ONE_EVENT: u32 = 3;

/// An event at the gate.
#[derive(Clone, Copy, Debug)]
pub struct EventAtGate<'a> {
    /// The event's idempotency key.
    pub key: &'a str,
    pub project: &'a str,
}

/// Attempts that failed in a row, while the gate was open for them. Successes of others don't end a run of one project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub failures: u32,
    /// The event of the most recent failure, by its idempotency key.
    pub event: String,
    /// How often that event has failed in succession, counted up to `RUN_OF_ONE_EVENT`.
    pub of_event: u32,
    /// The project of all these failures. `None` if there are several, or no failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Whether Svix has answered another project since: then the run says nothing of Svix.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub others_succeed: bool,
}

impl Run {
    pub const fn none() -> Self {
        Self {
            failures: 0,
            event: String::new(),
            of_event: 0,
            project: None,
            others_succeed: false,
        }
    }

    /// The run with one more failure, of this event.
    pub fn and(&self, event: EventAtGate<'_>) -> Self {
        if self.others_succeed && self.project.as_deref() != Some(event.project) {
            return Self::none().and(event);
        }
        let of_event = if self.event == event.key { self.of_event } else { 0 };
        let counts = u32::from(of_event < RUN_OF_ONE_EVENT);
        Self {
            failures: self.failures.saturating_add(counts),
            event: event.key.to_owned(),
            of_event: of_event.saturating_add(counts),
            project: match &self.project {
                Some(only) if only == event.project => self.project.clone(),
                None if *self == Self::none() => Some(event.project.to_owned()),
                _ => None,
            },
            others_succeed: self.others_succeed,
        }
    }
}
