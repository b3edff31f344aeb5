//! Parts that the tests share.
//!
//! - `world` is a world for one test: the relay in its host, a fake Svix, a store, and a clock.
//! - `requests` holds events in their forms, and the requests of senders and operators.
//! - `reply` sends one request over a connection, and checks the reply.
//! - `build` builds the component and the programs once for all tests.

mod build;
mod reply;
mod requests;
mod world;

pub use build::{binary, build_component, manifest, program, root};
pub use reply::{Body, Reply, assert_contains, assert_fields, full, notification, send};
pub use requests::{
    ADMIN, JSON, UNWRAPPED, ask, ask_as, event, event_of, has_metric, hold_up, letter_bodies, post,
    post_of, refuse, refuse_of, replay, settle, show, unresolved, unwrapped, world, wrapped,
};
pub use world::{NOWHERE, Setup, TOKEN, World, start};
