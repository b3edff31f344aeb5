//! HTTP in front of the component. The `host` serves requests, and `builder` holds its settings.
//! `body` is the body of a reply, `refusal` a reply of the host itself.

mod body;
mod builder;
mod host;
mod refusal;
#[cfg(test)]
mod tests;

pub use builder::HostBuilder;
pub(crate) use host::ENTRANCES;
pub use host::{Cut, Host};
