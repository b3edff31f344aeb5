//! What is measured beside the load.

use serde::Serialize;

use crate::purge::Purging;

/// The figures of `special`.
#[derive(Debug, Default, Serialize)]
pub struct Special {
    /// From nothing to listening, with the component to be compiled.
    pub cold_start_seconds: f64,
    /// The same with the component compiled before.
    pub warm_start_seconds: f64,
    /// A new instance.
    pub instantiation_milliseconds: f64,
    /// The component as it is deployed.
    pub wasm_bytes: u64,
    /// What a notification in flight needs, of 5,000.
    pub bytes_per_notification: u64,
    /// How many records the store holds, and the processor time of an event, in milliseconds.
    pub cpu_by_records: Vec<(usize, f64)>,
    /// What a purge costs events.
    pub purging: Purging,
}
