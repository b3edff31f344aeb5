//! Parts of a network for tests and the soak: processes, a real Redis, certificates, a proxy that can be cut, free ports.

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test that can't go on has failed"))]

pub mod ports;
mod process;
mod proxy;
mod redis_server;
mod tls;

pub use process::{Process, serve, unset_variables};
pub use proxy::Proxy;
pub use redis_server::RedisServer;
pub use tls::{Identity, Tls};

/// Ends the test if this machine lacks the program that the test needs; otherwise unwraps it.
#[macro_export]
macro_rules! or_skip {
    ($needed:expr) => {
        match $needed {
            Some(needed) => needed,
            None => return,
        }
    };
}
