//! svix-relay: takes platform events over HTTP and sends each to Svix exactly once.
//!
//! # The way of an event
//!
//! 1. `handle` in [`relay`] finds the route, and begins the request's line in the log.
//! 2. `take` in [`intake`] lets the sender in ([`auth`]), and reads the body within its limits.
//! 3. [`event`] recognises the form of the notification. If the event's type isn't for customers, the answer is
//!    `ignored` or `unlisted`. Otherwise `take` checks the event, and calls `deliver_event`, as replays and samples do.
//! 4. `deliver` in [`delivery`] finds the event's record ([`records`]). If the record says `delivered`, the answer is
//!    `duplicate`. If it says `dead-lettered`, Pub/Sub asks and letters are kept, the answer is `dead-lettered`.
//!    Otherwise, if an operator holds the project, `deliver` fails with `held`, unless this is a replay.
//! 5. `run` in `delivery::attempts` waits at the `Turnstile` for as long as the [gate](mod@svix::gate) says. Then it
//!    posts the event to Svix, or looks it up first: `delivery::next` decides. If a failure may pass, `run` tries again
//!    within the budget.
//! 6. If Svix has the message, `deliver` writes the record. If only Svix can tell, the record says `unknown`.
//! 7. If no repeat can succeed, or the project is held, `take` keeps Pub/Sub's event as a dead letter ([`letters`]),
//!    unless the configuration rejects letters.
//! 8. `handle` logs and counts the result ([`watch`]), and answers 200, or what the table of failures says ([`api`]).
//!
//! This page and the tables of [`delivery`] and `delivery::next` take ten minutes. `relay.rs`, `intake/mod.rs`,
//! `delivery/mod.rs`, `delivery/next.rs` and `delivery/attempts.rs`, some 850 lines without tests, take half an hour.
//! Then read, in some 2,200 more lines:
//!
//! - which failure is answered how, and which becomes a letter: [`api::problem`], and the table (`api::table`);
//! - what they call: `Job` and `Turnstile` in [`delivery`], [`host::deadline`], `Found` in [`records`], `keep` in
//!   [`letters::ledger`], `send` in [`svix::client`];
//! - how bytes come in and go out: `intake::body`, [`host::server`] and [`api::reply`];
//! - how an event is read: `Arrival` in [`event::arrival`], [`event::notification`] and [`event::push`]; who may post:
//!   `notifier` in [`auth`];
//! - the heads of [`svix::gate`] and [`letters`];
//! - how an answer is read: `Cause` and `Answer::or_common_failure` in [`mod@svix`], and [`svix::message`].
//!
//! # The folders
//!
//! Imports run downwards only. `scripts/layers.py` checks this.
//!
//! | folder | what it is for |
//! | --- | --- |
//! | [`relay`], [`health`], [`lookup`] | one request; is the relay well?; what became of an event? |
//! | [`reports`] | what Svix reports of customers' endpoints |
//! | [`operator`] | what operators ask for: dead letters, customers, status, console, purge, audit, canary |
//! | [`conversation`] | what operators and reports ask Svix |
//! | [`intake`] | `POST /notifications`, and the event of a replay or a test |
//! | [`delivery`] | one event to Svix |
//! | [`exchange`] | one request at hand |
//! | [`watch`] | what is seen: log and metrics |
//! | [`api`] | what can be asked and answered; the only place that knows the relay's own HTTP statuses |
//! | [`letters`] | dead letters |
//! | [`auth`] | who may ask |
//! | [`records`] | what is remembered of events |
//! | [`svix`] | what is said to Svix, what its answers mean, how it is spared |
//! | [`config`], [`event`] | the variables; the event and how it came |
//! | [`host`] | what the host gives: store, HTTP, clocks |
//! | [`json`], [`time`], [`identifier`], [`digest`], [`violation`] | small things that all of them use |
//!
//! # What the key-value store holds
//!
//! | name | value | goes |
//! | --- | --- | --- |
//! | `record/{SHA-256}` | what is known of an event ([`records`]) | by the purge |
//! | `journal/day/{day}`, `…/{page}`, `journal/cursor` | which records were written on which day ([`records::journal`]) | by the purge |
//! | `letter/record/{SHA-256}`, `letter-body/record/{SHA-256}` | events that can't be delivered ([`letters`]) | discarded, or with their record |
//! | `dead-letters`, `dead-letter/{n}`, `dead-letters/settled` | which letter has which number, and up to which none waits | stay; entries with their letter |
//! | `gate` | whether Svix is asked just now, and which projects operators hold ([`mod@svix::gate`]) | stays |
//! | `metrics/{n}` | 16 pages of counters ([`watch::metrics`]) | stay |
//! | `event-type/{type}` | what Svix knows of a type ([`intake`]) | stay |
//! | `audit/state`, `audit/numbers`, `audit/finding/{slot}` | how far the audit has come, and its findings ([`operator`]) | stay; findings once they are resolved |
//! | `canary` | the last canary that Svix has ([`operator`]) | stays |
//! | `endpoints` | what Svix has reported of customers' endpoints ([`records::endpoints`]) | stays |
//! | `keys` | Google's keys ([`auth::keys`]) | stays |
//! | `readyz/probe` | whether the store can be written | at once |
//!
//! # What an instance remembers
//!
//! The requests of an instance share its memory, which is lost when the instance ends.
//!
//! Caches:
//!
//! - the configuration, the open store and how the store behaves ([`config::load`], [`host::store`]);
//! - the gate ([`delivery::shared_gate`]), known event types ([`intake`]) and whether the relay was ready ([`health`]);
//! - Google's keys and verified tokens ([`auth`]).
//!
//! What ends with the instance:
//!
//! - requests that wait for others or for a deadline, and the room that bodies take ([`host`]);
//! - writes to come, which are lost: names for the journal ([`records::journal`]) and counts ([`watch::counters`]).

mod api;
mod auth;
mod config;
mod conversation;
mod delivery;
mod digest;
mod event;
mod exchange;
mod health;
mod host;
mod identifier;
mod intake;
mod json;
mod letters;
mod lookup;
mod operator;
mod records;
mod relay;
mod reports;
mod svix;
mod time;
mod violation;
mod watch;

pub use relay::handle;

/// The parts that only compute, for the fuzz targets.
#[cfg(feature = "fuzz")]
pub mod fuzz {
    pub use crate::api::route::{Operation, Route};
    pub use crate::config::{Messages, Secret};
    pub use crate::event::arrival::{Arrival, Attributes, Source};
    pub use crate::event::field::Field;
    pub use crate::event::notification::Notification;
    pub use crate::event::rejection::Rejection;
    pub use crate::event::{Event, key};
    pub use crate::identifier::{check as check_identifier, shortened};
    pub use crate::letters::{DeadLetter, Undelivered};
    pub use crate::records::{Delivered, Record, Unknown};
    pub use crate::svix::gate::{EventAtGate, Gate, Pass, Reason, Standing};
    pub use crate::svix::message::{
        Posted, body, classify_create, classify_lookup, create_path, event_id, lookup_path,
    };
    pub use crate::svix::retry::{parse_retry_after, whole_seconds};
    pub use crate::svix::{Answer, Error};
    pub use crate::time::{parse_rfc3339, rfc3339};
}

/// The component's export. Native linkers refuse the name of its symbol.
#[cfg(target_family = "wasm")]
mod component {
    use spin_sdk::wasip3::exports::http::handler::Guest;
    use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};

    struct Component;

    impl Guest for Component {
        async fn handle(request: Request) -> Result<Response, ErrorCode> {
            Ok(crate::handle(request).await)
        }
    }

    spin_sdk::wasip3::http::service::export!(Component);
}
