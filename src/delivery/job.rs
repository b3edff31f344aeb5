//! One delivery: the event, and the time that it may take.

use std::time::{Duration, SystemTime};

use crate::config::Config;
use crate::event::Event;
use crate::host::clock::Stopwatch;
use crate::host::store;
use crate::svix::retry::MIN_ATTEMPT;
use crate::svix::{self, Cause};

/// One event to deliver, within the budget of one request.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    pub config: &'a Config,
    pub event: &'a Event<'a>,
    /// The earliest time at which the event is known to have existed.
    pub published: Option<SystemTime>,
    /// Whether a dead letter of the event acknowledges it. A replay delivers it all the same.
    pub letter_acknowledges: bool,
    /// The headers by which Svix joins the trace.
    pub trace: &'a [(&'static str, String)],
    /// Started when the request came in.
    pub stopwatch: Stopwatch,
}

impl Job<'_> {
    /// Whether the relay would not send the event, if Svix doesn't have it yet.
    pub fn is_too_large(&self) -> bool {
        self.event.json.len() > self.config.max_body_bytes
    }

    /// The time that is left for Svix.
    pub fn remaining(&self) -> Duration {
        self.stopwatch.remaining(self.config.retry.budget)
    }

    /// The time that is left for a write to the store.
    pub fn time_to_store(&self) -> Duration {
        store::time_left(self.stopwatch, self.config.retry.budget)
    }

    /// Fails if too little time is left for an attempt: it would most likely time out, and leave open
    /// whether Svix stored the message.
    pub fn check_time(&self) -> Result<(), svix::Error> {
        if self.remaining() < MIN_ATTEMPT {
            return Err(Cause::OutOfTime.into());
        }
        Ok(())
    }
}
