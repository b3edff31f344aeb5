//! The replay of all dead letters at the end of a soak. Each must still have its event.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use http::Method;
use serde_json::Value;
use tokio::time;

use super::audit::ask;

/// The pause after a replay that stopped, for example at the closed gate.
const PAUSE: Duration = Duration::from_millis(500);

/// How many letters were replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    pub resolved: u64,
    /// How many are left that no replay can deliver.
    pub left: u64,
}

/// Replays every letter until none waits, or none of those that wait can be delivered.
pub async fn replay(relay: SocketAddr) -> Result<Replayed> {
    let mut replayed = Replayed::default();
    let mut after = 0;
    loop {
        let path = format!("/dead-letters/replay?limit=100&after={after}");
        let part = ask(relay, Method::POST, &path).await?;
        replayed.resolved += part["resolved"].as_u64().unwrap_or_default();
        replayed.left += part["failed"].as_u64().unwrap_or_default();
        if part["stopped"].is_string() {
            time::sleep(PAUSE).await;
        }
        match &part["next"] {
            Value::Null => return Ok(replayed),
            next => after = next.as_u64().unwrap_or_default(),
        }
    }
}
