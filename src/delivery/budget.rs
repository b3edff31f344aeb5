//! The time of one request: how much of it is left for Svix, and for the store.

use std::time::Duration;

use crate::config::Config;
use crate::host::clock::Stopwatch;
use crate::host::store;
use crate::svix::retry::MIN_ATTEMPT;
use crate::svix::{self, Cause};

#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Started when the request came in.
    pub stopwatch: Stopwatch,
    /// How long the request may take.
    pub time: Duration,
}

impl Budget {
    pub fn of(config: &Config, stopwatch: Stopwatch) -> Self {
        Self {
            stopwatch,
            time: config.retry.budget,
        }
    }

    /// The time that is left for Svix.
    pub fn remaining(self) -> Duration {
        self.stopwatch.remaining(self.time)
    }

    /// The time that is left for a write to the store. The write may exceed the budget, since a message that Svix
    /// has must not be sent again only because the store is slow.
    pub fn time_to_store(self) -> Duration {
        self.stopwatch.remaining(self.time + store::TIMEOUT)
    }

    /// Fails if too little time is left for a request to Svix: it would most likely time out, and leave open
    /// what Svix has done.
    pub fn check(self) -> Result<(), svix::Error> {
        if self.remaining() < MIN_ATTEMPT {
            return Err(Cause::OutOfTime.into());
        }
        Ok(())
    }
}
