//! One stretch of the soak, as data: Svix's behaviour, the number of events, and the times at which a relay
//! is ended. `storm` carries it out.

use std::fmt;
use std::time::Duration;

use fake_svix::{Fault, RetryAfter};

#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    pub weather: Weather,
    /// The share of the requests that meet a fault, from 0 to 1.
    pub share: f64,
    /// The least length. A phase with faults also waits for the first request that meets one.
    pub duration: Duration,
    /// The number of events that are published, evenly over `publishing`.
    pub events: usize,
    pub publishing: Duration,
    /// When a relay is ended and started again, from the beginning of the phase, in order.
    pub ends: Vec<(Duration, End)>,
}

/// The behaviour of Svix during a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weather {
    Calm,
    /// Svix resets every connection.
    Down,
    /// Each request may meet one of these, at random.
    Faults(Vec<Fault>),
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGKILL, at any moment.
    Killed,
    /// SIGKILL, while many events have reached Svix and few of them are recorded.
    KilledInFlight,
    Terminated,
}

/// The names of all kinds of faults.
pub const KINDS: [&str; 16] = [
    "calm",
    "status",
    "delay",
    "hang before storing",
    "hang after storing",
    "reset before storing",
    "reset after storing",
    "truncated reply",
    "malformed reply",
    "garbage bytes",
    "race to create application",
    "oversized reply",
    "slow body",
    "echo credentials",
    "page",
    "two lengths",
];

/// The name of a fault's kind. A new kind must be added to [`KINDS`] and [`faults`].
pub fn kind(fault: &Fault) -> &'static str {
    KINDS[match fault {
        Fault::None => 0,
        Fault::Status { .. } => 1,
        Fault::Delay { .. } => 2,
        Fault::HangBeforeStoring => 3,
        Fault::HangAfterStoring => 4,
        Fault::ResetBeforeStoring => 5,
        Fault::ResetAfterStoring => 6,
        Fault::TruncatedReply => 7,
        Fault::MalformedReply => 8,
        Fault::GarbageBytes => 9,
        Fault::RaceToCreateApplication => 10,
        Fault::OversizedReply { .. } => 11,
        Fault::SlowBody { .. } => 12,
        Fault::EchoCredentials => 13,
        Fault::Page { .. } => 14,
        Fault::TwoLengths => 15,
    }]
}

/// All faults that have a phase of their own.
pub fn faults() -> Vec<Fault> {
    let raw = RetryAfter::Raw("soon".to_owned());
    let mut faults = vec![
        Fault::Delay { millis: 100 },
        // Longer than the relay waits for Svix.
        Fault::Delay { millis: 600 },
        Fault::HangBeforeStoring,
        Fault::HangAfterStoring,
        Fault::ResetBeforeStoring,
        Fault::ResetAfterStoring,
        Fault::TruncatedReply,
        Fault::TwoLengths,
        Fault::MalformedReply,
        Fault::GarbageBytes,
        Fault::RaceToCreateApplication,
        Fault::OversizedReply { bytes: 300_000 },
        Fault::SlowBody { millis: 100 },
        Fault::SlowBody { millis: 700 },
        Fault::EchoCredentials,
        Fault::page(403),
        Fault::page(404),
        Fault::page(409),
        Fault::page(422),
        Fault::retry_after(429, RetryAfter::Seconds(1)),
        Fault::retry_after(429, RetryAfter::Date(1)),
        Fault::retry_after(503, RetryAfter::Seconds(1)),
        Fault::retry_after(503, raw),
        Fault::status_after_storing(409),
        Fault::status_after_storing(429),
        Fault::status_after_storing(500),
        Fault::status_after_storing(504),
    ];
    let plain = [400, 401, 404, 408, 409, 413, 422, 429, 500, 502, 503];
    faults.extend(plain.map(Fault::status));
    faults
}

/// Whether the fault makes requests wait for a timeout. A large share of them would stop
/// everything.
pub fn is_slow(fault: &Fault) -> bool {
    match fault {
        Fault::HangBeforeStoring | Fault::HangAfterStoring => true,
        Fault::Delay { millis } | Fault::SlowBody { millis } => *millis > 500,
        _ => false,
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = (self.share * 100.0).round();
        match &self.weather {
            Weather::Calm => f.write_str("calm"),
            Weather::Down => f.write_str("down"),
            Weather::Faults(faults) => match &faults[..] {
                [Fault::Status { status, .. }] => write!(f, "status {status}, {share} %"),
                [fault] => write!(f, "{}, {share} %", kind(fault)),
                _ => write!(f, "everything at once, {share} %"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_of_fault_has_a_phase() {
        let kinds: HashSet<_> = faults().iter().map(kind).chain([KINDS[0]]).collect();
        assert_eq!(kinds, KINDS.into_iter().collect());
    }
}
