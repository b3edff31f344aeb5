//! The results: as a table and as JSON.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::figures::Special;
use crate::load::Load;
use crate::median::median;
use crate::server::Usage;

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub cells: Vec<Cell>,
    /// `None` with `--load-only`.
    pub special: Option<Special>,
}

/// One server under one load; the medians of all rounds.
#[derive(Debug, Serialize)]
pub struct Cell {
    pub contender: &'static str,
    pub connections: usize,
    pub latency_milliseconds: u64,
    pub events_per_second: f64,
    pub p50_milliseconds: f64,
    pub p99_milliseconds: f64,
    /// The server's processor time for an event.
    pub cpu_milliseconds: f64,
    /// The server's fsyncs for an event.
    pub fsyncs: f64,
    pub peak_memory_bytes: f64,
    #[serde(skip)]
    rounds: Vec<[f64; 6]>,
}

impl Cell {
    pub fn new(contender: &'static str, connections: usize, latency: Duration) -> Self {
        Self {
            contender,
            connections,
            latency_milliseconds: u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
            events_per_second: 0.0,
            p50_milliseconds: 0.0,
            p99_milliseconds: 0.0,
            cpu_milliseconds: 0.0,
            fsyncs: 0.0,
            peak_memory_bytes: 0.0,
            rounds: Vec::new(),
        }
    }

    pub fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_milliseconds)
    }

    pub fn add(&mut self, load: &Load, before: Usage, after: Usage, peak_memory: u64) {
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1_000.0;
        let events = load.events as f64;
        let fsyncs = after.fsyncs - before.fsyncs;
        self.rounds.push([
            load.rate(),
            milliseconds(load.percentile(50)),
            milliseconds(load.percentile(99)),
            milliseconds(after.cpu.saturating_sub(before.cpu)) / events,
            fsyncs as f64 / events,
            peak_memory as f64,
        ]);
        let medians: [f64; 6] = std::array::from_fn(|at| {
            let mut figures: Vec<_> = self.rounds.iter().map(|round| round[at]).collect();
            median(&mut figures)
        });
        [
            self.events_per_second,
            self.p50_milliseconds,
            self.p99_milliseconds,
            self.cpu_milliseconds,
            self.fsyncs,
            self.peak_memory_bytes,
        ] = medians;
    }
}

impl Report {
    /// Writes bench.json.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        Ok(fs::write(directory.join("bench.json"), text)?)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<15} {:>5} {:>5} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8}",
            "server", "conns", "Svix", "events/s", "p50 ms", "p99 ms", "CPU ms", "fsyncs", "MiB"
        )?;
        for cell in &self.cells {
            writeln!(
                f,
                "{:<15} {:>5} {:>2} ms {:>9.0} {:>9.2} {:>9.2} {:>9.3} {:>8.3} {:>8.1}",
                cell.contender,
                cell.connections,
                cell.latency_milliseconds,
                cell.events_per_second,
                cell.p50_milliseconds,
                cell.p99_milliseconds,
                cell.cpu_milliseconds,
                cell.fsyncs,
                cell.peak_memory_bytes / 1_048_576.0,
            )?;
        }
        let Some(special) = &self.special else {
            return Ok(());
        };
        writeln!(f)?;
        writeln!(f, "start, cold              {:.2} s", special.cold_start_seconds)?;
        writeln!(f, "start, warm              {:.2} s", special.warm_start_seconds)?;
        writeln!(f, "instantiation            {:.3} ms", special.instantiation_milliseconds)?;
        writeln!(f, "wasm                     {} bytes", special.wasm_bytes)?;
        writeln!(f, "notification in flight   {} bytes", special.bytes_per_notification)?;
        for (records, cost) in &special.cpu_by_records {
            writeln!(f, "CPU with {records:>9} records  {cost:.3} ms")?;
        }
        let purging = &special.purging;
        let ((p99, p99_beside), (rate, rate_beside)) =
            (purging.p99_milliseconds, purging.events_per_second);
        writeln!(
            f,
            "purge of 500,000         {:.0} records/s; p99 {p99:.2} -> {p99_beside:.2} ms; events/s {rate:.0} -> {rate_beside:.0}",
            purging.records_per_second
        )?;
        writeln!(f, "{}", special.auditing)
    }
}
