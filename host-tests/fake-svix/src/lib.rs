//! A Svix for tests and for trying the relay out. The fake keeps messages in memory, fails on
//! demand in many ways, and shows what it received. It only imagines deliveries: no request leaves but the
//! operational webhooks, if they are asked for.
//!
//! The fake behaves as Svix was observed to behave, above all where that is inconvenient. A request
//! passes through these files:
//!
//! - `connection`: serves a stream, and breaks it if the outcome says so.
//! - `fake`: the state that all clones share, and the way of a request through it.
//! - `request`, `route`, `call`: the request as received, its route, and what it asks for.
//! - `script`, `fault`, `outcome`: the faults to come, and what a fault makes of a request.
//! - `store`, `message`, `idempotency`: what Svix stores, and its rules.
//! - `list`, `application`, `portal`, `event_type`: lists of messages, applications, portals, event types.
//! - `endpoint`, `delivery`, `attempt`, `recovery`: the endpoints of customers, and what reaches them.
//! - `report`, `sender`: operational webhooks, and how the program sends them.
//! - `page`: the pages of all lists.
//! - `refusal`, `reply`, `trickle`: the replies.
//! - `control`, `helpers`: the switches for tests, and the same for people with curl.

mod application;
mod attempt;
mod call;
mod connection;
mod control;
mod delivery;
mod endpoint;
mod event_type;
mod fake;
mod fault;
mod helpers;
mod idempotency;
mod list;
mod message;
mod outcome;
mod page;
mod portal;
mod recovery;
mod refusal;
mod reply;
mod report;
mod request;
mod route;
mod script;
mod sender;
mod store;
#[cfg(test)]
mod tests;
mod trickle;

pub use fake::FakeSvix;
pub use fault::{Fault, RetryAfter};
pub use message::StoredMessage;
pub use report::Report;
pub use request::ReceivedRequest;
pub use script::Target;
pub use sender::send_reports;
pub use store::{EventIdScope, EventType};
