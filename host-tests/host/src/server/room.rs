//! Room for large bodies. A guest keeps a body in memory until it has answered, so only so many bytes of large
//! bodies are let in at once. Small bodies need no room.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lock::lock;

/// The room for all large bodies together: three of Pub/Sub's largest messages. Measured with 40 pushes of
/// 10 MB at once: 180 MB resident instead of 595 without a bound. With 20 such pushes a second: 276 MB.
pub(crate) const BODY_ROOM: usize = 32 << 20;

/// A body up to this size is small, as nearly all notifications are.
const SMALL: usize = 64 << 10;

/// The component keeps no more of one body: the largest push has 14 MB.
const LARGEST: usize = 16 << 20;

/// The room of one host.
pub(super) struct Rooms(Arc<Semaphore>);

/// The part of it that one body takes.
pub(super) struct Room {
    free: Arc<Semaphore>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
    was_refused: bool,
    is_released: bool,
}

impl Rooms {
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    pub fn none_yet(&self) -> Arc<Room> {
        Arc::new(Room { free: self.0.clone(), taken: Mutex::default() })
    }
}

impl Room {
    /// Makes room for a body of so many bytes. `false` if there is too little.
    pub fn grow_to(&self, bytes: u64) -> bool {
        let bytes = usize::try_from(bytes).map_or(LARGEST, |bytes| bytes.min(LARGEST));
        let mut taken = self.taken();
        if bytes <= SMALL || bytes <= taken.bytes || taken.is_released {
            return true;
        }
        let more = u32::try_from(bytes - taken.bytes).unwrap_or(u32::MAX);
        let Ok(more) = self.free.clone().try_acquire_many_owned(more) else {
            *taken = Taken { was_refused: true, ..Taken::default() };
            return false;
        };
        taken.bytes = bytes;
        match &mut taken.permit {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        true
    }

    /// Gives the room back: the guest has answered, and keeps nothing of what it may still read.
    pub fn release(&self) {
        let mut taken = self.taken();
        taken.permit = None;
        taken.is_released = true;
    }

    pub fn was_refused(&self) -> bool {
        self.taken().was_refused
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        lock(&self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: u64 = 1 << 20;

    #[test]
    fn large_bodies_share_the_room_and_give_it_back() {
        let rooms = Rooms::new(2 << 20);
        let [first, second, third] = [(); 3].map(|()| rooms.none_yet());
        assert!(first.grow_to(LARGE) && second.grow_to(LARGE));
        assert!(!third.grow_to(LARGE) && third.was_refused());
        first.release();
        let fourth = rooms.none_yet();
        assert!(fourth.grow_to(LARGE) && !fourth.was_refused());
        assert!(first.grow_to(4 * LARGE), "what follows isn't kept");
        drop(second);
        assert!(rooms.none_yet().grow_to(LARGE));
    }

    #[test]
    fn a_small_body_needs_no_room() {
        let rooms = Rooms::new(0);
        assert!(rooms.none_yet().grow_to(64 << 10));
        assert!(!rooms.none_yet().grow_to((64 << 10) + 1));
    }

    #[test]
    fn a_body_of_unknown_length_takes_room_as_it_grows_and_none_if_refused() {
        let rooms = Rooms::new(3 << 20);
        let [first, second] = [(); 2].map(|()| rooms.none_yet());
        assert!(first.grow_to(LARGE) && first.grow_to(2 * LARGE));
        assert!(second.grow_to(LARGE) && !second.grow_to(LARGE + 1));
        assert!(first.grow_to(3 * LARGE), "the second gave its room back");
    }

    #[test]
    fn a_body_of_any_length_needs_no_more_room_than_the_component_keeps() {
        assert!(Rooms::new(LARGEST).none_yet().grow_to(u64::MAX));
    }
}
