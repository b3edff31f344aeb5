//! The means that the host gives: the key-value store, HTTP, clocks, randomness and standard output.
//!
//! This folder imports nothing of the relay. It has errors of its own, and [`crate::api::problem`] decides what they
//! mean for a sender.

mod alarm;
pub mod body;
pub mod change;
pub mod client;
pub mod clock;
pub mod deadline;
pub mod group_commit;
pub mod http;
pub mod later;
pub mod origin;
pub mod server;
pub mod store;
pub mod wake;

use std::cell::RefCell;
use std::io::Write as _;

use spin_sdk::wasip3::random::random;
use spin_sdk::wasip3::wit_bindgen::yield_async;

/// A failure of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The operation, as a verb and its object, such as `read from the store`.
    pub what: &'static str,
    /// The host's own words. They may hold secrets of a provider, so only the log repeats them.
    pub reason: String,
}

/// A source of random numbers for waits, traces and names that need not be secret. The host seeds
/// it once for all of an instance.
pub fn random() -> fastrand::Rng {
    thread_local! {
        static SOURCE: RefCell<fastrand::Rng> =
            RefCell::new(fastrand::Rng::with_seed(random::get_random_u64()));
    }
    SOURCE.with_borrow_mut(fastrand::Rng::fork)
}

/// Lets all else run first that is ready: the host's own work, and other requests.
///
/// If an event is pending, a yield only handles that event. So there are two.
pub async fn step_back() {
    yield_async().await;
    yield_async().await;
}

/// Writes a line of the log. A failure is ignored: no request may fail because of its log line.
pub fn print(line: &str) {
    let _ = std::io::stdout().write_all(line.as_bytes());
}
