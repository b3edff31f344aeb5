//! Every fault of Svix, and what becomes of an event that meets it: the one table.

use fake_svix::{Fault, RetryAfter};

use super::{DELIVERED, LIMITED, NO_RECORD, State, UNAVAILABLE, UNKNOWN, View};

const REFUSED: View = "422 refused-by-svix";
const TAKEN: View = "422 event-id-taken";
const TOKEN_REFUSED: View = "503 token-refused, retry";
const UNEXPECTED: View = "503 unexpected-status, retry";

/// A fault and its consequences.
#[derive(Clone, Debug)]
pub struct Row {
    pub fault: Fault,
    /// What the sender is told if one post of its event meets the fault, and if every request does.
    pub post: (View, View),
    /// The same, if the event is looked up in Svix first, and is there.
    pub lookup: (View, View),
    /// Whether a post takes effect all the same.
    pub stores: bool,
    /// What the store knows if the event is not delivered.
    pub leaves: State,
}

/// One line for each fault: the variant, and what there is to try of it. What is no line of this
/// table doesn't compile as a `Fault`.
macro_rules! table {
    ($($variant:pat => [$($row:expr),+ $(,)?],)+) => {
        /// All of them.
        pub fn rows() -> Vec<Row> {
            /// Has no other purpose than to be incomplete without one of them.
            fn is_complete(fault: &Fault) {
                match fault { $($variant => {})+ }
            }
            let rows = vec![$($($row),+),+];
            for row in &rows {
                is_complete(&row.fault);
            }
            rows
        }
    };
}

table! {
    Fault::None => [harmless(Fault::None)],
    Fault::Status { .. } => [
        outage(status(500, false)),
        outage(status(500, true)),
        outage(status(502, false)),
        outage(status(503, true)),
        outage(status(504, true)),
        outage(status(408, true)),
        outage(status(425, false)),
        outage(Fault::retry_after(503, RetryAfter::Seconds(1))),
        outage(Fault::retry_after(503, RetryAfter::Raw(String::new()))),
        // Longer than the budget: the sender's to wait.
        lasting(outage(Fault::retry_after(503, RetryAfter::Seconds(30)))),
        limit(status(429, false)),
        limit(Fault::retry_after(429, RetryAfter::Seconds(0))),
        limit(Fault::retry_after(429, RetryAfter::Date(2))),
        limit(Fault::retry_after(429, RetryAfter::Raw("soon".to_owned()))),
        lasting(limit(Fault::retry_after(429, RetryAfter::Seconds(30)))),
        lasting(limit(Fault::retry_after(429, RetryAfter::Date(30)))),
        refusal(status(400, false)),
        refusal(status(413, false)),
        refusal(status(422, false)),
        // A wait makes nothing of it passing.
        refusal(Fault::retry_after(422, RetryAfter::Seconds(1))),
        mistake(status(401, false), TOKEN_REFUSED),
        mistake(status(403, false), TOKEN_REFUSED),
        mistake(status(302, false), UNEXPECTED),
        mistake(status(418, false), UNEXPECTED),
        // A lookup that says so is believed, and the eventId prevents the worst.
        Row { lookup: (DELIVERED, UNEXPECTED), ..mistake(status(404, false), UNEXPECTED) },
        // One is explained by a lookup. If that conflicts, too, it is no answer of Svix.
        conflict(status(409, false)),
        conflict(status(409, true)),
    ],
    Fault::Delay { .. } => [
        harmless(Fault::Delay { millis: 2_900 }),
        outage(Fault::Delay { millis: 3_100 }),
    ],
    Fault::HangBeforeStoring => [outage(Fault::HangBeforeStoring)],
    Fault::HangAfterStoring => [outage(Fault::HangAfterStoring)],
    Fault::ResetBeforeStoring => [outage(Fault::ResetBeforeStoring)],
    Fault::ResetAfterStoring => [outage(Fault::ResetAfterStoring)],
    Fault::TruncatedReply => [outage(Fault::TruncatedReply)],
    Fault::MalformedReply => [outage(Fault::MalformedReply)],
    Fault::GarbageBytes => [outage(Fault::GarbageBytes)],
    // Each post conflicts, and no message is ever there.
    Fault::RaceToCreateApplication => [Row {
        post: (DELIVERED, TAKEN),
        lookup: (DELIVERED, DELIVERED),
        stores: false,
        leaves: NO_RECORD,
        fault: Fault::RaceToCreateApplication,
    }],
    Fault::OversizedReply { .. } => [
        harmless(Fault::OversizedReply { bytes: 60_000 }),
        outage(Fault::OversizedReply { bytes: 1_000_000 }),
    ],
    Fault::SlowBody { .. } => [
        harmless(Fault::SlowBody { millis: 2_000 }),
        outage(Fault::SlowBody { millis: 20_000 }),
    ],
    Fault::EchoCredentials => [refusal(Fault::EchoCredentials)],
}

fn status(status: u16, stored: bool) -> Fault {
    Fault::Status {
        status,
        retry_after: None,
        stored,
    }
}

/// The event is delivered all the same, at the first attempt.
fn harmless(fault: Fault) -> Row {
    Row {
        post: (DELIVERED, DELIVERED),
        lookup: (DELIVERED, DELIVERED),
        stores: true,
        leaves: NO_RECORD,
        fault,
    }
}

/// The request bridges it if it passes; if it lasts, nobody knows what Svix has done.
fn outage(fault: Fault) -> Row {
    let stores = match &fault {
        Fault::Status { stored, .. } => *stored,
        fault => !matches!(fault, Fault::HangBeforeStoring | Fault::ResetBeforeStoring),
    };
    Row {
        post: (DELIVERED, UNAVAILABLE),
        lookup: (DELIVERED, UNAVAILABLE),
        stores,
        leaves: UNKNOWN,
        fault,
    }
}

/// Svix has certainly not stored the event.
fn limit(fault: Fault) -> Row {
    Row {
        post: (DELIVERED, LIMITED),
        lookup: (DELIVERED, LIMITED),
        stores: false,
        leaves: NO_RECORD,
        fault,
    }
}

/// Even once it is too long for a request.
fn lasting(row: Row) -> Row {
    Row {
        post: (row.post.1, row.post.1),
        lookup: (row.lookup.1, row.lookup.1),
        ..row
    }
}

/// Svix will never take the event. A lookup can't be refused so.
fn refusal(fault: Fault) -> Row {
    Row {
        post: (REFUSED, REFUSED),
        lookup: (UNEXPECTED, UNEXPECTED),
        stores: false,
        leaves: NO_RECORD,
        fault,
    }
}

/// An operator has to act; no event can be delivered until then.
fn mistake(fault: Fault, view: View) -> Row {
    Row {
        post: (view, view),
        lookup: (view, view),
        stores: false,
        leaves: NO_RECORD,
        fault,
    }
}

/// A conflict, which also every lookup meets if it lasts.
fn conflict(fault: Fault) -> Row {
    Row {
        post: (DELIVERED, UNEXPECTED),
        lookup: (UNEXPECTED, UNEXPECTED),
        leaves: UNKNOWN,
        ..outage(fault)
    }
}
