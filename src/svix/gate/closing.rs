//! A closed gate: why, for whom, and for how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::run::EventAtGate;
use crate::time::as_millis;

/// How long the first closing lasts where Svix doesn't say; it doubles with every further one.
const FIRST: Duration = Duration::from_secs(1);
/// The longest closing where Svix doesn't say.
const LONGEST_GROWING: Duration = Duration::from_secs(30);
/// The longest closing, whatever Svix asks for. Svix may have been wrong, and only a probe finds out.
pub const LONGEST: Duration = Duration::from_mins(1);

/// Why the gate is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Svix limits the rate.
    RateLimited,
    /// Svix fails, or doesn't answer.
    SvixUnavailable,
}

impl Reason {
    /// The reason's name in the log and in metrics, the same as in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::RateLimited => "rate-limited",
            Self::SvixUnavailable => "svix-unavailable",
        }
    }
}

/// A closed gate, as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Closing {
    pub reason: Reason,
    /// The length of the closing from the state's beginning, in milliseconds.
    pub millis: u64,
    /// How often the gate was closed since it was last open.
    pub times: u32,
    /// Whether a probe is on its way.
    pub probing: bool,
    /// The event whose probe failed last.
    pub failed_probe: Option<String>,
    /// The only project whose events wait. `None` if all do, and for versions before this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

impl Closing {
    /// Whether events of this project wait.
    pub fn concerns(&self, project: &str) -> bool {
        self.project.as_deref().is_none_or(|only| only == project)
    }
}

/// A failure of Svix.
pub struct Failure<'a> {
    pub event: EventAtGate<'a>,
    pub reason: Reason,
    /// For how long Svix asks to wait, at most the longest closing.
    pub asked: Option<Duration>,
    pub jitter: f64,
}

impl Failure<'_> {
    /// How long the gate closes after `times` closings, in milliseconds.
    pub fn wait(&self, times: u32) -> u64 {
        as_millis(self.asked.unwrap_or_else(|| growing(times, self.jitter)))
    }

    /// The closing that follows when this failure is the probe's.
    pub fn of_probe(&self, before: Closing) -> Closing {
        // An event that fails as the probe again may be at fault itself. Let another event be the probe soon.
        let again = self.reason == Reason::SvixUnavailable
            && before.failed_probe.as_deref() == Some(self.event.key);
        let (millis, times) = if again {
            (as_millis(growing(0, self.jitter)), before.times)
        } else {
            (self.wait(before.times), before.times.saturating_add(1))
        };
        Closing {
            reason: self.reason,
            millis,
            times,
            probing: false,
            failed_probe: Some(self.event.key.to_owned()),
            project: before.project.filter(|_| self.reason == Reason::SvixUnavailable),
        }
    }
}

/// The longest closing that Svix can ask for. It is shorter after a failure, since a failing server knows less about
/// its recovery than a limiting server about its limit.
pub fn longest(reason: Reason) -> Duration {
    match reason {
        Reason::RateLimited => LONGEST,
        Reason::SvixUnavailable => LONGEST_GROWING,
    }
}

/// The length of a closing after `times` closings, from half of the bound to all of it.
fn growing(times: u32, jitter: f64) -> Duration {
    FIRST
        .saturating_mul(2u32.saturating_pow(times))
        .min(LONGEST_GROWING)
        .mul_f64(f64::midpoint(1.0, jitter))
}

/// `wait`, up to a quarter longer, so that senders don't all come back in one instant. `jitter` is
/// between 0 and 1.
pub fn lengthened(wait: Duration, jitter: f64) -> Duration {
    wait + wait.mul_f64(jitter / 4.0)
}
