//! Asks Svix again about endpoints that it has reported as disabled: the report of a change may have been lost.

use crate::api::problem::Problem;
use crate::config::Config;
use crate::conversation::Conversation;
use crate::host;
use crate::host::deadline::Deadline;
use crate::records::endpoints::{self, Effect, Reported};

/// How many endpoints one audit asks about: each costs Svix a request, and the audit time.
const MOST: usize = 5;

/// Removes some endpoints from the list that are not disabled any more. Each audit takes some at random.
pub async fn review(config: &Config, deadline: Deadline) -> Result<(), Problem> {
    if config.svix.webhook_keys.is_empty() {
        return Ok(());
    }
    let mut disabled = endpoints::read().await?.disabled;
    if disabled.len() > MOST {
        host::random().shuffle(&mut disabled);
        disabled.truncate(MOST);
    }
    let mut conversation = Conversation::behind_the_gate(config, deadline);
    let mut result = Ok(());
    for reported in disabled {
        let Reported { project, endpoint_id, at, .. } = reported;
        let endpoint = match conversation.endpoint(&project, &endpoint_id).await {
            Ok(endpoint) => endpoint,
            // The endpoint must not hold up the others.
            Err(error) => {
                result = Err(error.into());
                continue;
            }
        };
        if !endpoint.is_some_and(|endpoint| endpoint.disabled) {
            let report = endpoints::report_id(&format!("{project} {endpoint_id} {at}"));
            let enabled = Effect::Enabled { project, endpoint_id };
            endpoints::note(&report, &enabled).await?;
        }
    }
    result
}
