//! Every fault of Svix and the outcome for an event that meets it, in one table.

use fake_svix::{Fault, RetryAfter};

use super::{DELIVERED, LIMITED, NO_RECORD, State, UNAVAILABLE, UNKNOWN, View};

const TAKEN: View = "422 event-id-taken";
pub const REFUSED: View = "422 refused-by-svix";
const TOKEN_REFUSED: View = "503 token-refused, retry";
const UNEXPECTED: View = "503 unexpected-status, retry";

#[derive(Clone, Debug)]
pub struct Row {
    pub fault: Fault,
    /// The reply to a sender if one post of its event meets the fault, and if every request does.
    pub post: (View, View),
    /// The same, if the event is looked up in Svix first, and is there.
    pub lookup: (View, View),
    /// Whether a post takes effect all the same.
    pub stores: bool,
    /// The store's knowledge if the event is not delivered.
    pub leaves: State,
}

/// One line for each fault: the variant, and the instances of it to try. If a variant of `Fault` is missing
/// in the table, the table doesn't compile.
macro_rules! table {
    ($($variant:pat => [$($row:expr),+ $(,)?],)+) => {
        pub fn rows() -> Vec<Row> {
            /// Fails to compile if the table lacks a variant.
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
        outage(Fault::status(500)),
        outage(Fault::status_after_storing(500)),
        outage(Fault::status(502)),
        outage(Fault::status_after_storing(503)),
        outage(Fault::status_after_storing(504)),
        outage(Fault::status_after_storing(408)),
        outage(Fault::status(425)),
        outage(Fault::retry_after(503, RetryAfter::Seconds(1))),
        outage(Fault::retry_after(503, RetryAfter::Raw(String::new()))),
        // The wait exceeds the budget, so the sender must wait.
        lasting(outage(Fault::retry_after(503, RetryAfter::Seconds(30)))),
        limit(Fault::status(429)),
        limit(Fault::retry_after(429, RetryAfter::Seconds(0))),
        limit(Fault::retry_after(429, RetryAfter::Date(2))),
        limit(Fault::retry_after(429, RetryAfter::Raw("soon".to_owned()))),
        lasting(limit(Fault::retry_after(429, RetryAfter::Seconds(30)))),
        lasting(limit(Fault::retry_after(429, RetryAfter::Date(30)))),
        refusal(Fault::status(400)),
        refusal(Fault::status(413)),
        refusal(Fault::status(422)),
        // A wait doesn't make a refusal retryable.
        refusal(Fault::retry_after(422, RetryAfter::Seconds(1))),
        mistake(Fault::status(401), TOKEN_REFUSED),
        mistake(Fault::status(403), TOKEN_REFUSED),
        unexpected(Fault::status(302)),
        unexpected(Fault::status(418)),
        // The relay believes a lookup that finds nothing; then the eventId prevents a second message.
        unexpected(Fault::status(404)),
        // A lookup explains one conflict. A lookup that conflicts, too, is an unexpected status.
        conflict(Fault::status(409)),
        conflict(Fault::status_after_storing(409)),
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
    Fault::TwoLengths => [harmless(Fault::TwoLengths)],
    Fault::MalformedReply => [unexpected(Fault::MalformedReply)],
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
        outage(Fault::OversizedReply { bytes: 3_000_000 }),
    ],
    Fault::SlowBody { .. } => [
        harmless(Fault::SlowBody { millis: 2_000 }),
        outage(Fault::SlowBody { millis: 20_000 }),
    ],
    Fault::EchoCredentials => [refusal(Fault::EchoCredentials)],
    Fault::Page { .. } => [
        unexpected(Fault::page(301)),
        unexpected(Fault::page(400)),
        unexpected(Fault::page(401)),
        unexpected(Fault::page(403)),
        unexpected(Fault::page(404)),
        unexpected(Fault::page(409)),
        unexpected(Fault::page(413)),
        unexpected(Fault::page(422)),
        limit(Fault::page(429)),
        outage(Fault::page(502)),
        unexpected(Fault::page(200)),
    ],
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

/// A short outage is bridged within the request. After a long one it is unknown whether Svix has the
/// message.
fn outage(fault: Fault) -> Row {
    let stores = match &fault {
        Fault::Status { stored, .. } => *stored,
        fault => !matches!(
            fault,
            Fault::HangBeforeStoring | Fault::ResetBeforeStoring | Fault::Page { .. }
        ),
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

/// The row of a fault that outlasts a request even if it is met once.
fn lasting(row: Row) -> Row {
    Row { post: (row.post.1, row.post.1), lookup: (row.lookup.1, row.lookup.1), ..row }
}

/// Svix will never take the event. A lookup can't be refused like this.
fn refusal(fault: Fault) -> Row {
    Row {
        post: (REFUSED, UNEXPECTED),
        lookup: (DELIVERED, UNEXPECTED),
        stores: false,
        leaves: NO_RECORD,
        fault,
    }
}

/// Something between answers in Svix's place. Whether Svix has the message is unknown.
fn unexpected(fault: Fault) -> Row {
    Row { post: (DELIVERED, UNEXPECTED), lookup: (DELIVERED, UNEXPECTED), ..outage(fault) }
}

/// An operator has to act; no event can be delivered until then.
fn mistake(fault: Fault, view: View) -> Row {
    Row { post: (view, view), lookup: (view, view), stores: false, leaves: NO_RECORD, fault }
}

/// A conflict. If it lasts, every lookup meets it, too.
fn conflict(fault: Fault) -> Row {
    Row {
        post: (DELIVERED, UNEXPECTED),
        lookup: (DELIVERED, UNEXPECTED),
        leaves: UNKNOWN,
        ..outage(fault)
    }
}
