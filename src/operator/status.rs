//! The relay as a whole, for operators: numbers for a monitoring system, and one document for people.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::audit;
use super::canary::{self, Canary};
use super::request::OperatorRequest;
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::config::check::Values;
use crate::config::{Config, Operator, load};
use crate::delivery::shared_gate;
use crate::host::{self, clock, store};
use crate::letters::{self, waiting};
use crate::records::endpoints::{self, Endpoints, Reported};
use crate::svix::gate::Standing;
use crate::time::rfc3339;
use crate::watch::counters;
use crate::watch::metrics::{Counts, Numbers};
use crate::watch::openmetrics::{Audit, CONTENT_TYPE, Snapshot};

pub async fn metrics(config: &Config) -> Result<Success, Problem> {
    // The canary counts only while it is sent.
    let canary = match config.canary_project {
        Some(_) => canary::last().await?,
        None => None,
    };
    let snapshot = snapshot(config, canary.as_ref()).await?;
    Ok(Success::Text {
        name: "metrics",
        content_type: CONTENT_TYPE,
        headers: Vec::new(),
        text: snapshot.text(),
    })
}

pub async fn status(request: &mut OperatorRequest<'_>) -> Result<Success, Problem> {
    let operator = request.caller.operator()?;
    let canary = canary::last().await?;
    let snapshot = snapshot(request.config, canary.as_ref()).await?;
    let mut configuration = load::shown().await?;
    // Show the origin in use, also where it follows from the token.
    configuration.insert("svix_url", request.config.svix.origin.to_string());
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        time: rfc3339(clock::now()),
        operator,
        gate: snapshot.gate,
        configuration,
        dead_letters: DeadLetters {
            written: snapshot.dead_letters,
            unresolved: snapshot.unresolved,
        },
        audit: snapshot.audit,
        held_projects: snapshot.held,
        endpoints: Lists {
            disabled: snapshot.endpoints.disabled,
            exhausted: snapshot.endpoints.exhausted,
        },
        canary: canary.map(Canary::shown),
        last_hour: last_hour(&snapshot.counts),
    };
    Ok(Success::document("status", &status))
}

/// Opens the gate, and shows it.
pub async fn open_gate(request: &mut OperatorRequest<'_>) -> Result<Success, Problem> {
    shared_gate::open().await?;
    request.entry.message = "an operator has opened the gate".into();
    let gate = shared_gate::standing().await?;
    Ok(Success::document("gate-opened", &Opened { gate }))
}

async fn snapshot(config: &Config, canary: Option<&Canary>) -> Result<Snapshot, host::Error> {
    let waiting = waiting::count(config.letter_retention).await?;
    Ok(Snapshot {
        counts: counters::total().await?,
        gate: shared_gate::standing().await?,
        dead_letters: store::counter(letters::COUNTER).await?,
        unresolved: waiting.unresolved,
        expiring: waiting.expiring,
        // The standing has just been read, and the holds with it.
        held: shared_gate::held(),
        audit: audit::numbers().await?,
        endpoints: if config.svix.webhook_keys.is_empty() {
            Endpoints::default()
        } else {
            endpoints::read().await?
        },
        canary_at: canary.and_then(Canary::last_seen),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    version: &'static str,
    time: String,
    /// The operator that asks.
    operator: &'static Operator,
    gate: Standing,
    configuration: Values,
    dead_letters: DeadLetters,
    audit: Audit,
    held_projects: Vec<String>,
    endpoints: Lists,
    canary: Option<Canary>,
    last_hour: Vec<Minute>,
}

/// The endpoints of customers, as Svix has reported.
#[derive(Serialize)]
struct Lists {
    disabled: Vec<Reported>,
    exhausted: Vec<Reported>,
}

#[derive(Serialize)]
struct Opened {
    gate: Standing,
}

#[derive(Serialize)]
struct DeadLetters {
    written: u64,
    unresolved: u64,
}

#[derive(Serialize)]
struct Minute {
    minute: String,
    outcomes: Numbers,
}

/// The outcomes of each minute, oldest first.
fn last_hour(counts: &Counts) -> Vec<Minute> {
    let minutes = counts.minutes().into_iter();
    let minutes = minutes.map(|(minute, outcomes)| Minute {
        minute: rfc3339(UNIX_EPOCH + Duration::from_mins(minute)),
        outcomes,
    });
    minutes.collect()
}
