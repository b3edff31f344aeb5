//! The visible side of the relay: the metrics, and the log, with a line for each request but routine ones, and for each
//! change that concerns several requests.

pub mod change;
pub mod counters;
pub mod entry;
mod line;
pub mod metrics;
pub mod openmetrics;
pub mod trace;

use self::change::Change;
use self::entry::Entry;
use crate::auth::known_keys::News;
use crate::host;
use crate::host::clock::{self, Stopwatch};
use crate::time::{as_millis, rfc3339};

/// Leaves the line of a request, and counts it if it was a notification.
pub fn request(entry: Entry, stopwatch: Stopwatch) {
    let (took, now) = (stopwatch.elapsed(), clock::now());
    if entry.is_notification() {
        counters::count(|counts| {
            counts.notification(entry.counted_project(), entry.outcome, took, now);
            if entry.left_unknown {
                counts.left_unknown();
            }
            if entry.content_differs {
                counts.differing();
            }
        });
    }
    host::print(&entry.line(rfc3339(now), as_millis(took)));
}

pub fn change(change: Change) {
    host::print(&change.line(rfc3339(clock::now())));
}

/// Leaves the line of a change of Google's keys.
pub fn keys(news: News) {
    change(Change::of_keys(news));
}
