//! Work that an instance does in the background, for everything that gathered in a moment.

use std::cell::Cell;
use std::thread::LocalKey;
use std::time::Duration;

use spin_sdk::wasip3;

use super::{clock, random, step_back, store};

/// The shortest time in which things gather before they are written. An idle instance lives on for that
/// time, so a longer one would cost more instances.
const GATHERING: Duration = Duration::from_secs(1);

/// If the store is slow, things gather for this many times as long as its answers take of late: every instance does
/// such work, and together they must leave the store to the events.
const SHARE: u32 = 4;
const LONGEST_GATHERING: Duration = Duration::from_mins(1);

/// After how many failures in a row the work ends: longer than a failover of the store. It begins again when there is
/// more to do, if the instance lives on.
const MAX_FAILURES: u32 = 60;

/// The writes that are left after a round of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Nothing,
    Something,
    /// The store failed, and everything is still to be written.
    All,
}

/// Begins the work that `at_work` stands for, unless it has begun. `write` is called every one to two seconds, or more
/// seldom if the store is slow. The work ends when `write` leaves nothing, or after `MAX_FAILURES` failures in a row.
pub fn begin<W: AsyncFn() -> Left + 'static>(at_work: &'static LocalKey<Cell<bool>>, write: W) {
    if at_work.replace(true) {
        return;
    }
    wasip3::spawn(async move {
        let _end = End(at_work);
        let mut random = random();
        let mut failures = 0;
        while failures < MAX_FAILURES {
            let gathering = (store::took() * SHARE).clamp(GATHERING, LONGEST_GATHERING);
            clock::sleep(spread(gathering, &mut random)).await;
            // Let replies leave first: a store may block the instance while it writes.
            step_back().await;
            match write().await {
                Left::Nothing => break,
                Left::Something => failures = 0,
                Left::All => failures += 1,
            }
        }
    });
}

/// Lets the work begin anew when dropped.
struct End(&'static LocalKey<Cell<bool>>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Up to twice `wait`, so that instances that began together don't write together.
pub fn spread(wait: Duration, random: &mut fastrand::Rng) -> Duration {
    wait.mul_f64(1.0 + random.f64())
}
