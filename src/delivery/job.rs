//! One delivery: the event, and the time that it may take.

use std::time::SystemTime;

use super::budget::Budget;
use crate::config::Config;
use crate::event::Event;

/// How an event comes to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// By a sender that a dead letter of the event satisfies: Pub/Sub, if the relay keeps letters.
    Push,
    /// By any other sender.
    Post,
    /// By the replay of a letter, which also lets an event of a held project go.
    Replay,
}

/// One event to deliver, within the budget of one request.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    pub config: &'a Config,
    pub event: &'a Event<'a>,
    /// The earliest time at which the event is known to have existed.
    pub published: Option<SystemTime>,
    /// As in [`crate::event::arrival::Arrival`].
    pub ordering_key: Option<&'a str>,
    pub occasion: Occasion,
    /// The headers by which Svix joins the trace.
    pub trace: &'a [(&'static str, String)],
    pub budget: Budget,
}

impl Job<'_> {
    /// Whether the relay would not send the event, if Svix doesn't have it yet.
    pub fn is_too_large(&self) -> bool {
        self.event.json.len() > self.config.max_body_bytes
    }
}
