//! What tests and the soak need of a network: a real Redis, a way to it that can be cut, free ports.

#![cfg_attr(
    test,
    expect(clippy::unwrap_used, reason = "a test that can't go on has failed")
)]

pub mod ports;
mod proxy;
mod redis_server;

pub use proxy::Proxy;
pub use redis_server::RedisServer;
