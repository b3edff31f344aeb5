//! The end of a request, or of a part of it: how much time is left until then.

use std::time::Duration;

use super::clock::Stopwatch;
use super::store;

#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// Started when the request came in, or its part began.
    pub since: Stopwatch,
    /// How long the request or the part may take.
    pub length: Duration,
}

impl Deadline {
    pub fn new(since: Stopwatch, length: Duration) -> Self {
        Self { since, length }
    }

    pub fn remaining(self) -> Duration {
        self.since.remaining(self.length)
    }

    pub fn is_over(self) -> bool {
        self.remaining().is_zero()
    }

    /// The time that is left for a write to the store. The write may exceed the deadline, since a message that Svix
    /// has must not be sent again only because the store is slow.
    pub fn time_to_store(self) -> Duration {
        self.since.remaining(self.length + store::TIMEOUT)
    }
}
