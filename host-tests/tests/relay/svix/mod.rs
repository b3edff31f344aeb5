//! What Svix is asked beside messages, and how it is spared.

mod customers;
mod event_types;
mod gate;
