//! HTTP in front of the component. The `host` serves requests, and `builder` holds its settings.
//!
//! - `connections` says how many clients may be connected; `connection` serves one of them through its
//!   `client_io`.
//! - `room` says how many large bodies may come at once; `body` is the body of a request or of a reply.
//! - `refusal` is a reply of the host itself.

mod body;
mod builder;
mod client_io;
mod connection;
mod connections;
mod host;
mod refusal;
mod room;
#[cfg(test)]
mod tests;

pub use builder::HostBuilder;
pub(crate) use builder::MAX_CONNECTIONS;
pub(crate) use host::ENTRANCES;
pub use host::{Cut, Host};
