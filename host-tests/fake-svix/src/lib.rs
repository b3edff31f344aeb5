//! A Svix for tests and for trying things out: it keeps messages in memory, can be told to fail in
//! many ways, and shows what it received. It never delivers anything.
//!
//! It behaves as Svix was observed to behave, above all where that is inconvenient. A request
//! passes through these files:
//!
//! - `connection`: a stream; carries out what was decided, the breaking included.
//! - `request`, `route`, `call`: what was received, where it goes, what it asks for.
//! - `script`, `fault`, `outcome`: what is to go wrong, and what becomes of the request then.
//! - `store`, `message`, `idempotency`: what Svix holds, and its rules.
//! - `application`, `event_type`: what it has for customers beside messages.
//! - `refusal`, `reply`, `trickle`: what goes back.
//! - `control`, `helpers`: what tests, and people with curl, make it do and see of it.

mod application;
mod call;
mod connection;
mod control;
mod event_type;
mod fake;
mod fault;
mod helpers;
mod idempotency;
mod message;
mod outcome;
mod refusal;
mod reply;
mod request;
mod route;
mod script;
mod store;
#[cfg(test)]
mod tests;
mod trickle;

pub use fake::FakeSvix;
pub use fault::{Fault, RetryAfter};
pub use message::StoredMessage;
pub use request::ReceivedRequest;
pub use script::Target;
pub use store::{EventIdScope, EventType};
