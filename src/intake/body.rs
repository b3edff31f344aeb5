//! How large the body of a notification may be.

use crate::api::problem::Problem;
use crate::config::Config;
use crate::event::arrival::BodyHint;
use crate::event::push::may_be_wrapped;
use crate::host::body::{self, Body};
use crate::host::clock::Stopwatch;
use crate::host::http::{Incoming, Unread};

/// The most bytes that Pub/Sub takes as one message, with its attributes: 10 MB, in the larger reading.
const LARGEST_MESSAGE: usize = 10 * 1024 * 1024;

/// The most bytes of a push beside its data: 100 attributes with names of 256 and values of 1,024 bytes,
/// and an ordering key of 1,024. JSON may take six bytes for each of these. The rest is punctuation, and
/// the names and identifiers of Pub/Sub.
const LARGEST_WRAPPER: usize = (100 * (256 + 1_024) + 1_024) * 6 + 64 * 1024;

/// Reads a notification, for as long as the budget lasts.
pub async fn read(
    config: &Config,
    incoming: &mut Incoming,
    hint: BodyHint,
    stopwatch: Stopwatch,
) -> Result<Body, Problem> {
    let limits = Limits::of(config);
    let limit = |begin: &[u8]| match hint {
        BodyHint::Unwrapped => limits.event,
        BodyHint::WrappedInCloudEvent => limits.wrapped,
        BodyHint::EventOrWrapped if may_be_wrapped(begin) => limits.wrapped,
        BodyHint::EventOrWrapped | BodyHint::OtherCloudEvent => config.max_body_bytes,
    };
    let time = stopwatch.remaining(config.retry.budget);
    let body = body::read(incoming, limit, time).await;
    body.map_err(|unread| match unread {
        // The sender is told the limit for its event, not for what is wrapped around it.
        Unread::TooLarge(_) => Problem::BodyTooLarge(config.max_body_bytes),
        unread => unread.into(),
    })
}

/// How many bytes are read at most.
struct Limits {
    event: usize,
    wrapped: usize,
}

impl Limits {
    /// If dead letters are kept, an event that is too large for the relay is read all the same when it may
    /// come from Pub/Sub: only a dead letter keeps Pub/Sub from sending it again.
    fn of(config: &Config) -> Self {
        let event = if config.keep_dead_letters {
            config.max_body_bytes.max(LARGEST_MESSAGE)
        } else {
            config.max_body_bytes
        };
        let base64 = event.div_ceil(3) * 4;
        Self {
            event,
            wrapped: base64 + LARGEST_WRAPPER,
        }
    }
}
