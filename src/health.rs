//! `GET /healthz` and `GET /readyz`: is the relay alive, and could it deliver?

use std::cell::Cell;

use serde::Serialize;

use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::config::load;
use crate::delivery::shared_gate;
use crate::host::store;
use crate::svix::gate::Standing;
use crate::watch;
use crate::watch::change::Change;

/// The size of the value that is written as a probe, in bytes.
const PROBE_SIZE: usize = 8 * 1024;

thread_local! {
    /// The last answer of this instance.
    static READY: Cell<bool> = const { Cell::new(true) };
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Readiness {
    status: &'static str,
    ingest_auth: &'static str,
    gate: Standing,
}

/// The relay is alive. Touches nothing.
pub fn live() -> Success {
    Success::status("alive")
}

/// Whether the configuration is valid and the store can be read and written. A change is logged.
pub async fn ready() -> Result<Success, Problem> {
    let readiness = readiness().await;
    let ready = readiness.is_ok();
    if READY.replace(ready) != ready {
        watch::change(match &readiness {
            Ok(_) => Change::ready(),
            Err(problem) => Change::not_ready(problem),
        });
    }
    Ok(Success::document("ready", &readiness?))
}

async fn readiness() -> Result<Readiness, Problem> {
    let config = load::config().await?;
    let gate = shared_gate::standing().await?;
    // Write as well: a store that can only be read would let no event through. The value needs a place of
    // its own each time, as that of an event does, so that a full disk shows.
    store::set(store::PROBE, &[b'.'; PROBE_SIZE], store::TIMEOUT).await?;
    store::delete("write to the store", store::PROBE).await?;
    Ok(Readiness { status: "ready", ingest_auth: config.ingest.name(), gate })
}
