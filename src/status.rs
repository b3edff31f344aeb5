//! What operators see of the relay as a whole: as numbers for a monitoring system, and as one document
//! for people.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::config::Config;
use crate::dead_letter;
use crate::delivery;
use crate::gate::Standing;
use crate::host;
use crate::letters;
use crate::metrics::{Counts, Numbers};
use crate::openmetrics::{CONTENT_TYPE, Told};
use crate::problem::Problem;
use crate::record::rfc3339;
use crate::reply::Success;
use crate::tally;

/// Every number there is.
pub async fn metrics() -> Result<Success, Problem> {
    let told = told().await?;
    Ok(Success::Text {
        name: "metrics",
        content_type: CONTENT_TYPE,
        headers: Vec::new(),
        text: told.text(),
    })
}

/// How the relay is.
pub async fn status(config: &Config) -> Result<Success, Problem> {
    let told = told().await?;
    let mut configuration = Config::shown(host::variables().await?);
    // What is used says more than that it follows from the token.
    configuration.insert("svix_url", config.origin.to_string());
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        time: rfc3339(host::now()),
        gate: told.gate,
        configuration,
        dead_letters: DeadLetters {
            written: told.dead_letters,
            unresolved: told.unresolved,
        },
        last_hour: last_hour(&told.counts),
    };
    Ok(Success::document("status", &status))
}

async fn told() -> Result<Told, Problem> {
    Ok(Told {
        counts: tally::total().await?,
        gate: delivery::standing().await?,
        dead_letters: host::increment(dead_letter::COUNTER, 0)?,
        unresolved: letters::unresolved()?,
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    version: &'static str,
    time: String,
    gate: Standing,
    configuration: BTreeMap<&'static str, String>,
    dead_letters: DeadLetters,
    last_hour: Vec<Minute>,
}

#[derive(Serialize)]
struct DeadLetters {
    written: u64,
    unresolved: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Minute {
    minute: String,
    outcomes: Numbers,
}

/// What happened in each minute, oldest first.
fn last_hour(counts: &Counts) -> Vec<Minute> {
    let minutes = counts.minutes().into_iter();
    let minutes = minutes.map(|(minute, outcomes)| Minute {
        minute: rfc3339(UNIX_EPOCH + Duration::from_mins(minute)),
        outcomes,
    });
    minutes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hour_begins_with_its_oldest_minute() {
        let mut counts = Counts::default();
        for minute in [29_924_051, 29_924_050] {
            let now = UNIX_EPOCH + Duration::from_secs(60 * minute + 59);
            counts.notification(None, "delivered", Duration::ZERO, now);
        }
        let outcomes = Numbers::from([("delivered".to_owned(), 1)]);
        let minute = |minute: &str| Minute {
            minute: minute.to_owned(),
            outcomes: outcomes.clone(),
        };
        let expected = ["2026-11-23T14:10:00Z", "2026-11-23T14:11:00Z"].map(minute);
        assert_eq!(last_hour(&counts), expected);
    }
}
