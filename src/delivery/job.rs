//! One delivery: the event, and the time that it may take.

use std::time::SystemTime;

use crate::config::Config;
use crate::event::Event;
use crate::host::deadline::Deadline;

/// How an event comes to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Pub/Sub pushes it.
    PubSub,
    /// A client posts it, or an operator sends a sample.
    Direct,
    /// An operator replays its letter, even if its project is held.
    Replay,
}

impl Occasion {
    /// Whether a dead letter may acknowledge the event. Pub/Sub would repeat a refused event, and slow down the events
    /// of every project.
    pub fn allows_letters(self, config: &Config) -> bool {
        config.keep_dead_letters && self == Self::PubSub
    }
}

/// One event to deliver, within the budget of one request.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    pub config: &'a Config,
    pub event: &'a Event<'a>,
    /// The event's `time` or Pub/Sub's publish time, whichever is earlier.
    pub published_at: Option<SystemTime>,
    pub ordering_key: Option<&'a str>,
    pub occasion: Occasion,
    /// The headers by which Svix joins the trace.
    pub trace_headers: &'a [(&'static str, String)],
    pub deadline: Deadline,
}

impl Job<'_> {
    /// Whether the event is larger than allowed. The relay looks such an event up, and never posts it.
    pub fn is_too_large(&self) -> bool {
        self.event.json.len() > self.config.max_body_bytes
    }
}
