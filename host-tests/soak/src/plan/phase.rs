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

/// One line for each kind of fault: the variant, its name, and the faults that have a phase of their own. If a
/// variant of `Fault` is missing, this doesn't compile.
macro_rules! kinds {
    ($($variant:pat => $name:literal [$($fault:expr),* $(,)?],)+) => {
        /// The names of all kinds. The first one is no fault.
        pub const KINDS: [&str; [$($name),+].len()] = [$($name),+];

        /// The name of a fault's kind.
        pub fn kind(fault: &Fault) -> &'static str {
            match fault {
                $($variant => $name,)+
            }
        }

        /// All faults that have a phase of their own.
        pub fn faults() -> Vec<Fault> {
            vec![$($($fault,)*)+]
        }
    };
}

kinds! {
    Fault::None => "calm" [],
    // The second one is longer than the relay waits for Svix.
    Fault::Delay { .. } => "delay" [Fault::Delay { millis: 100 }, Fault::Delay { millis: 600 }],
    Fault::HangBeforeStoring => "hang before storing" [Fault::HangBeforeStoring],
    Fault::HangAfterStoring => "hang after storing" [Fault::HangAfterStoring],
    Fault::ResetBeforeStoring => "reset before storing" [Fault::ResetBeforeStoring],
    Fault::ResetAfterStoring => "reset after storing" [Fault::ResetAfterStoring],
    Fault::TruncatedReply => "truncated reply" [Fault::TruncatedReply],
    Fault::TwoLengths => "two lengths" [Fault::TwoLengths],
    Fault::MalformedReply => "malformed reply" [Fault::MalformedReply],
    Fault::GarbageBytes => "garbage bytes" [Fault::GarbageBytes],
    Fault::RaceToCreateApplication => "race to create application" [Fault::RaceToCreateApplication],
    Fault::OversizedReply { .. } => "oversized reply" [Fault::OversizedReply { bytes: 300_000 }],
    Fault::SlowBody { .. } => "slow body" [
        Fault::SlowBody { millis: 100 },
        Fault::SlowBody { millis: 700 },
    ],
    Fault::EchoCredentials => "echo credentials" [Fault::EchoCredentials],
    Fault::Page { .. } => "page" [
        Fault::page(403),
        Fault::page(404),
        Fault::page(409),
        Fault::page(422),
    ],
    Fault::Status { .. } => "status" [
        Fault::retry_after(429, RetryAfter::Seconds(1)),
        Fault::retry_after(429, RetryAfter::Date(1)),
        Fault::retry_after(503, RetryAfter::Seconds(1)),
        Fault::retry_after(503, RetryAfter::Raw("soon".to_owned())),
        Fault::status_after_storing(409),
        Fault::status_after_storing(429),
        Fault::status_after_storing(500),
        Fault::status_after_storing(504),
        Fault::status(400),
        Fault::status(401),
        Fault::status(404),
        Fault::status(408),
        Fault::status(409),
        Fault::status(413),
        Fault::status(422),
        Fault::status(429),
        Fault::status(500),
        Fault::status(502),
        Fault::status(503),
    ],
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
