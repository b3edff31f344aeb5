//! Reads a body of bounded size, in bounded time, if this instance has room for it.

use std::cell::Cell;

use crate::api::problem::Problem;
use crate::config::Config;
use crate::event::arrival::BodyHint;
use crate::event::push::may_be_wrapped;
use crate::host::clock::{self, Stopwatch};
use crate::host::http::{Incoming, Unread};

/// The most bytes that Pub/Sub takes as one message, with its attributes: 10 MB, in the larger reading.
const LARGEST_MESSAGE: usize = 10 * 1024 * 1024;

/// The most bytes of a push beside its data: 100 attributes with names of 256 and values of 1,024 bytes,
/// and an ordering key of 1,024. JSON may take six bytes for each of these. The rest is punctuation, and
/// the names and identifiers of Pub/Sub.
const LARGEST_WRAPPER: usize = (100 * (256 + 1_024) + 1_024) * 6 + 64 * 1024;

/// A body from this size on is counted before it is read, in bytes.
const LARGE: usize = 128 * 1024;

/// How many bytes of large bodies an instance holds at once. Each may be there three times (as it came,
/// decoded, and on its way to the store), and an instance has no more than 128 MiB in all.
const ROOM: usize = 16 * 1024 * 1024;

thread_local! {
    /// The bytes of large bodies in this instance.
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

/// A body that was read to its end.
#[derive(Debug)]
pub struct Body {
    pub bytes: Vec<u8>,
    _room: Option<Room>,
}

/// A place for a large body, for as long as this lives.
#[derive(Debug)]
struct Room(usize);

impl Room {
    fn take(bytes: usize) -> Option<Self> {
        let taken = TAKEN.get() + bytes;
        // The largest body that is allowed finds a place in an instance without any other.
        (taken <= ROOM).then(|| {
            TAKEN.set(taken);
            Self(bytes)
        })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        TAKEN.set(TAKEN.get() - self.0);
    }
}

/// Reads a notification, for as long as the budget lasts.
pub async fn read_notification(
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
    // The sender is told the limit for its event, not for what is wrapped around it.
    read(config, incoming, limit, config.max_body_bytes, stopwatch).await
}

/// Reads the body of an operator's request, of at most `limit` bytes.
pub async fn read_small(
    config: &Config,
    incoming: &mut Incoming,
    limit: usize,
    stopwatch: Stopwatch,
) -> Result<Vec<u8>, Problem> {
    let body = read(config, incoming, |_| limit, limit, stopwatch).await?;
    Ok(body.bytes)
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

/// `limit` says how many bytes are read of a body that begins so, and `told` is the limit that a sender
/// hears of.
async fn read(
    config: &Config,
    incoming: &mut Incoming,
    limit: impl Fn(&[u8]) -> usize,
    told: usize,
    stopwatch: Stopwatch,
) -> Result<Body, Problem> {
    let room = Cell::new(None);
    let admit = |begin: &[u8], length: Option<usize>| {
        let limit = limit(begin);
        let most = length.unwrap_or(if begin.len() < LARGE { 0 } else { limit });
        if most > limit || begin.len() > limit {
            return Err(Unread::TooLarge);
        }
        let taken = room.take();
        room.set(match taken {
            None if most >= LARGE => Some(Room::take(most).ok_or(Unread::NoRoom)?),
            taken => taken,
        });
        Ok(limit)
    };
    let remaining = stopwatch.remaining(config.retry.budget);
    match clock::timeout(remaining, incoming.read(admit)).await {
        Some(Ok(bytes)) => Ok(Body {
            bytes,
            _room: room.take(),
        }),
        Some(Err(Unread::TooLarge)) => Err(Problem::BodyTooLarge(told)),
        Some(Err(Unread::NoRoom)) => Err(Problem::Overloaded),
        Some(Err(Unread::Incomplete)) => Err(Problem::IncompleteBody),
        None => Err(Problem::SlowBody),
    }
}
