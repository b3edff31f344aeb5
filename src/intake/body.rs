//! Reads the body of a notification, and bounds its size.

use crate::api::problem::Problem;
use crate::config::Config;
use crate::event::arrival::BodyHint;
use crate::event::push::may_be_wrapped;
use crate::host::body::{self, Body};
use crate::host::deadline::Deadline;
use crate::host::http::Unread;
use crate::host::server::Incoming;

/// The most bytes that Pub/Sub takes as one message, with its attributes: 10 MB, in the larger reading.
const LARGEST_MESSAGE: usize = 10 * 1024 * 1024;

/// The most bytes of a push beside its data: 100 attributes with names of 256 and values of 1,024 bytes,
/// and an ordering key of 1,024. JSON may take six bytes for each of these. The rest is punctuation, and
/// the names and identifiers of Pub/Sub.
const LARGEST_WRAPPER: usize = (100 * (256 + 1_024) + 1_024) * 6 + 64 * 1024;

/// Reads a notification, before the deadline.
pub async fn read_notification(
    config: &Config,
    incoming: &mut Incoming,
    hint: BodyHint,
    deadline: Deadline,
) -> Result<Body, Problem> {
    // If dead letters are kept, an event that is too large for the relay is read all the same when it may come from
    // Pub/Sub: only a dead letter keeps Pub/Sub from sending it again.
    let event = if config.keep_dead_letters {
        config.max_body_bytes.max(LARGEST_MESSAGE)
    } else {
        config.max_body_bytes
    };
    let wrapped = event.div_ceil(3) * 4 + LARGEST_WRAPPER;
    let limit = |begin: &[u8]| match hint {
        BodyHint::Unwrapped => event,
        BodyHint::WrappedInCloudEvent => wrapped,
        BodyHint::EventOrWrapped if may_be_wrapped(begin) => wrapped,
        BodyHint::EventOrWrapped | BodyHint::OtherCloudEvent => config.max_body_bytes,
    };
    let body = body::read_bounded(incoming, limit, deadline.remaining()).await;
    // The sender is told the limit for its event, not for what is wrapped around it.
    body.map_err(|unread| match unread {
        Unread::TooLarge(_) => Problem::BodyTooLarge(config.max_body_bytes),
        unread => unread.into(),
    })
}
