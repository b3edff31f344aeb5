//! The bounds of the retries within one notification.

use std::time::Duration;

use super::check::Check;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// After how many failures the event goes back to its sender, at least 1.
    pub max_attempts: u32,
    /// How long all of it may take, from the request's headers to the last answer of Svix.
    pub budget: Duration,
    /// The upper bound of the first wait. The bound doubles with every further wait.
    pub base_delay: Duration,
    /// The upper bound of every wait that Svix doesn't ask for itself.
    pub max_delay: Duration,
}

impl Retry {
    pub fn read(check: &mut Check<'_>) -> Option<Self> {
        let max_attempts = check.number("retry_max_attempts", 1..=20);
        let budget = check.milliseconds("retry_budget_ms", 1_000..=600_000);
        let base_delay = check.milliseconds("retry_base_delay_ms", 1..=60_000);
        let max_delay = check.milliseconds("retry_max_delay_ms", 1..=600_000);
        let retry = Self {
            max_attempts: u32::try_from(max_attempts?).ok()?,
            budget: budget?,
            base_delay: base_delay?,
            max_delay: max_delay?,
        };
        if retry.base_delay > retry.max_delay {
            let reason = "must not be less than retry_base_delay_ms";
            return check.refuse("retry_max_delay_ms", reason);
        }
        Some(retry)
    }
}
