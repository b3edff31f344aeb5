//! svix-relay: takes platform events over HTTP and sends each to Svix exactly once.
//!
//! # The way of an event
//!
//! ```text
//! POST /notifications
//!   route         which request asks for what
//!   config        every variable, checked                            (host: variables)
//!   auth          who may post?       (with oidc and keys: of Pub/Sub, host: outbound HTTP)
//!   notification  direct, wrapped or unwrapped: where is the event?
//!   event         id, type, project; the rest stays bytes
//!   record        delivered before? then answer "duplicate"          (host: key-value get)
//!   gate          is Svix to be left alone just now?                 (host: key-value get)
//!   svix          the message; what each reply means                 (host: outbound HTTP)
//!   retry         how long to wait, when to give up
//!   record        "delivered", before anyone hears of it             (host: key-value set,
//!                                                                   or with others: set-many)
//!   dead_letter   or kept, if it can never be delivered              (host: key-value set-many)
//!   reply         200, or what `problem` says
//!   log           one line
//!   metrics       counted; written down later by `tally`            (host: key-value get, set)
//!   journal       and noted, so that `purge` finds it one day       (host: key-value set)
//!   event_type    and Svix is told of a type that is new            (host: key-value get)
//! ```
//!
//! Few modules do things, in the order in which they happen: [`relay`] takes a request to its reply,
//! [`delivery`] an event to Svix, [`letters`] is what operators do with dead letters, [`customer`]
//! what they do for a customer, [`status`] what they see of the whole, [`purge`] forgets what is old.
//! Behind them work [`tally`], which writes down what was counted and what was written,
//! [`event_type`], which tells Svix what types there are, and [`keys`], which fetches Google's. They
//! reach Svix through [`client`], and the host through [`host`] and [`wire`]. Everything else decides,
//! in plain functions that are tested natively. [`problem`] holds the one table of failures.
//!
//! To read one event's way in ten minutes: [`relay`] from `handle` down, [`delivery::deliver`], then
//! the three decisions that it leans on, [`svix::classify_create`], [`retry`] and [`gate`].
//!
//! What is in the key-value store:
//!
//! | name | value | goes |
//! | --- | --- | --- |
//! | `record/{SHA-256}` | what is known of an event ([`record`]) | by [`purge`] |
//! | `journal`, `journal/{n}`, `journal/purged` | which records were written when ([`journal`]) | by [`purge`] |
//! | `dead-letters`, `dead-letter/{n}`, `dead-letters/…` | events that can't be delivered ([`dead_letter`]) | discarded, or with their record |
//! | `gate` | whether Svix is left alone ([`mod@gate`]) | stays |
//! | `metrics/{n}` | 16 pages of counters ([`metrics`]) | stay |
//! | `event-type/{type}` | what Svix has been told ([`event_type`]) | stay |
//! | `keys` | Google's keys ([`keys`]) | stays |
//! | `readyz` | nothing: whether it can be written | stays |

pub mod auth;
pub mod check;
pub mod client;
pub mod commit;
pub mod config;
pub mod console;
pub mod customer;
pub mod dead_letter;
pub mod delivery;
pub mod event;
pub mod event_type;
pub mod gate;
pub mod host;
pub mod journal;
pub mod json;
pub mod keys;
pub mod letters;
pub mod log;
pub mod metrics;
pub mod notification;
pub mod oidc;
pub mod openapi;
pub mod openmetrics;
pub mod operator;
pub mod problem;
pub mod purge;
pub mod record;
pub mod relay;
pub mod reply;
pub mod retry;
pub mod route;
pub mod status;
pub mod svix;
pub mod tally;
pub mod trace;
pub mod violation;
pub mod wake;
pub mod wire;

/// The component's export. Only for WebAssembly: natively its symbol's name doesn't link.
#[cfg(target_family = "wasm")]
mod component {
    use spin_sdk::wasip3::exports::http::handler::Guest;
    use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};

    struct Component;

    impl Guest for Component {
        async fn handle(request: Request) -> Result<Response, ErrorCode> {
            Ok(crate::relay::handle(request).await)
        }
    }

    spin_sdk::wasip3::http::service::export!(Component);
}
