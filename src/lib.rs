//! svix-relay: takes platform events over HTTP and sends each to Svix exactly once.
//!
//! # The way of an event
//!
//! ```text
//! POST /notifications
//!   route         which request asks for what
//!   config        every variable, checked                            (host: variables)
//!   notification  direct, wrapped or unwrapped: where is the event?
//!   event         id, type, project; the rest stays bytes
//!   record        delivered before? then answer "duplicate"          (host: key-value get)
//!   svix          the message; what each reply means                 (host: outbound HTTP)
//!   retry         how long to wait, when to give up
//!   record        "delivered", before anyone hears of it             (host: key-value set)
//!   reply         200, or what `problem` says
//!   log           one line
//! ```
//!
//! [`relay`] walks through it from top to bottom and is the only module that does anything; with
//! [`host`] and [`wire`] it is all that touches the host. Everything else decides, in plain
//! functions that are tested natively. [`problem`] holds the one table of failures.

pub mod config;
pub mod event;
pub mod host;
pub mod json;
pub mod log;
pub mod notification;
pub mod problem;
pub mod record;
pub mod relay;
pub mod reply;
pub mod retry;
pub mod route;
pub mod svix;
pub mod violation;
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
