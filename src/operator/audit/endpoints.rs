//! Asks Svix again about the endpoints that it has reported as disabled: the report of a change may have been lost.

use crate::api::problem::Problem;
use crate::config::Config;
use crate::host::clock::Stopwatch;
use crate::operator::conversation::Conversation;
use crate::records::endpoints::{self, Change, Reported};

/// Removes every endpoint from the list that is not disabled any more.
pub async fn review(config: &Config, stopwatch: Stopwatch) -> Result<(), Problem> {
    if config.svix.webhook_keys.is_empty() {
        return Ok(());
    }
    let mut conversation = Conversation::behind_the_gate(config, stopwatch);
    for reported in endpoints::read().await?.disabled {
        let Reported {
            project,
            endpoint_id,
            at,
            ..
        } = reported;
        if !conversation.is_disabled(&project, &endpoint_id).await? {
            let report = endpoints::report_id(&format!("{project} {endpoint_id} {at}"));
            let enabled = Change::Enabled {
                project,
                endpoint_id,
            };
            endpoints::note(&report, &enabled).await?;
        }
    }
    Ok(())
}
