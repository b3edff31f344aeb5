//! The figures of everything that is measured beside the load.

use serde::Serialize;

use crate::audit::Auditing;
use crate::purge::Purging;

/// The figures of `special`.
#[derive(Debug, Default, Serialize)]
pub struct Special {
    /// From the start to listening, if the component must be compiled.
    pub cold_start_seconds: f64,
    /// From the start to listening, if the component was compiled before.
    pub warm_start_seconds: f64,
    pub instantiation_milliseconds: f64,
    pub wasm_bytes: u64,
    /// The memory for a notification in flight, with 5,000 in flight.
    pub bytes_per_notification: u64,
    /// The number of records in the store, and the processor time of an event in milliseconds.
    pub cpu_by_records: Vec<(usize, f64)>,
    pub purging: Purging,
    pub auditing: Auditing,
}
