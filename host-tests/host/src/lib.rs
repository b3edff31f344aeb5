//! A host for the relay on one machine, imitating `spin up`.
//!
//! - `serve` is what the binary runs: options, the start, the end.
//! - `manifest` reads the configuration: `spin.toml`, its variables, the hosts that may be called.
//! - `server` puts HTTP in front of the component.
//! - `component` is the component compiled, the life of its instances, and what they import.
//! - `store` holds the component's records, `outbound` sends its requests, `output` takes what it
//!   prints; `life` ends all three with the instance that uses them.
//! - `descriptors` shares this process's file descriptors among them; `metrics` shows how many are in use, and more.
//!
//! In tests everything runs in one process and in paused time: nothing waits for the system's
//! clock, and nothing needs a socket.

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test that can't go on has failed"))]

mod component;
mod descriptors;
mod life;
mod lock;
mod manifest;
mod metrics;
mod outbound;
mod output;
pub mod serve;
mod server;
mod store;

pub use component::{Program, Reuse};
pub use manifest::Manifest;
pub use outbound::Connector;
pub use server::{Cut, Host, HostBuilder};
pub use store::{Faults, KeyValue, Location, Op};
