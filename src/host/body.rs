//! Reads a body of bounded size, in bounded time, if this instance has room for it.

use std::cell::Cell;
use std::time::Duration;

use super::clock;
use super::http::Unread;
use super::server::Incoming;

/// From this size on, in bytes, a body takes room. If its length is announced, it takes the room before it is read.
/// Otherwise it does so once this much of it has come.
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

/// Reads a body within `time`. `limit` is asked as often as `admit` in [`Incoming::read_or_leave`], and says how many
/// bytes a body with this beginning may have.
pub async fn read_bounded(
    incoming: &mut Incoming,
    limit: impl Fn(&[u8]) -> usize,
    time: Duration,
) -> Result<Body, Unread> {
    let room = Cell::new(None);
    let admit = |begin: &[u8], length: Option<usize>| {
        let limit = limit(begin);
        let most = length.unwrap_or(if begin.len() < LARGE { 0 } else { limit });
        if most > limit || begin.len() > limit {
            return Err(Unread::TooLarge(limit));
        }
        let taken = room.take();
        room.set(match taken {
            None if most >= LARGE => Some(Room::take(most).ok_or(Unread::NoRoom)?),
            taken => taken,
        });
        Ok(limit)
    };
    let bytes = clock::timeout(time, incoming.read_or_leave(admit)).await;
    Ok(Body { bytes: bytes.unwrap_or(Err(Unread::TooSlow))?, _room: room.take() })
}
