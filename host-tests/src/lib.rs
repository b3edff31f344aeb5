//! A host for the relay on one machine, imitating `spin up`; and a fake Svix.
//!
//! A request's way through it, and who is where:
//!
//! - `serve` is what the binary runs: options, the start, the end.
//! - `manifest` and `variables` read the configuration, `allowed_hosts` a part of it.
//! - `server` is the host itself: HTTP in front of the component.
//! - `component` is the component compiled; `worker` decides how its instances live, `instance`
//!   is what each has of its own.
//! - `imports` answers what the component asks for, over the interfaces of `bindings`:
//!   `key_value` holds its records, `outbound` sends its requests, `output` takes what it prints.
//! - `clock` and `fake_svix` are the world around it.
//! - `redis_server` and `proxy` are a real Redis and a way to it that can be cut, on `ports`.
//! - `soak` is what the binary `soak` runs: all of it together, in several processes and in
//!   real time.
//!
//! Everything but the last two runs in one process and, in tests, in paused time: nothing waits for
//! the system's clock, and nothing needs a socket.

#![cfg_attr(
    test,
    expect(clippy::unwrap_used, reason = "a test that can't go on has failed")
)]

pub mod allowed_hosts;
mod bindings;
pub mod clock;
pub mod component;
pub mod fake_svix;
mod imports;
pub mod instance;
pub mod key_value;
pub mod manifest;
pub mod outbound;
pub mod output;
pub mod ports;
pub mod proxy;
pub mod redis_server;
pub mod serve;
pub mod server;
pub mod soak;
pub mod variables;
pub mod worker;
