//! Wakes requests at their deadlines, with one timer for all of an instance.
//!
//! Nearly every deadline is given up, because the answer comes first. To cancel a timer, the host has to
//! go round its loop once, which costs more than the store's answer. So a waiting request listens on a stream,
//! and a task in the background drops the stream's other end at the deadline.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use spin_sdk::wasip3;
use spin_sdk::wasip3::clocks::monotonic_clock;

use super::wake::{self, Wake};

/// How often the task in the background looks for new deadlines. Alarms must not be set for less.
pub const TICK: Duration = Duration::from_millis(500);

/// A deadline in nanoseconds, and a number that makes it unique.
type Key = (u64, u64);

thread_local! {
    static ALARMS: RefCell<BTreeMap<Key, Wake>> = const { RefCell::new(BTreeMap::new()) };
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    static TICKING: Cell<bool> = const { Cell::new(false) };
}

/// Returns after `time`, which is [`TICK`] or more.
pub async fn after(time: Duration) {
    let (wake, sleep) = wake::pair();
    let alarm = Alarm::set(monotonic_clock::now() + nanoseconds(time), wake);
    if !TICKING.replace(true) {
        wasip3::spawn(tick());
    }
    sleep.until_woken().await;
    drop(alarm);
}

/// A deadline that a request waits for.
struct Alarm(Key);

impl Alarm {
    fn set(deadline: u64, wake: Wake) -> Self {
        NUMBER.set(NUMBER.get() + 1);
        let key = (deadline, NUMBER.get());
        ALARMS.with_borrow_mut(|alarms| alarms.insert(key, wake));
        Self(key)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let wake = ALARMS.with_borrow_mut(|alarms| alarms.remove(&self.0));
        drop(wake);
    }
}

/// Wakes the requests whose time has come, for as long as requests wait.
async fn tick() {
    let _end = End;
    while let Some(next) = ring(monotonic_clock::now()) {
        monotonic_clock::wait_for(next.min(nanoseconds(TICK))).await;
    }
}

/// Rings every alarm that is due. Returns the nanoseconds until the next one.
fn ring(now: u64) -> Option<u64> {
    let later = ALARMS.with_borrow_mut(|alarms| alarms.split_off(&(now + 1, 0)));
    let next = later.keys().next().map(|(deadline, _)| deadline - now);
    let due = ALARMS.replace(later);
    drop(due);
    next
}

/// Lets the ticking begin anew when dropped.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        TICKING.set(false);
    }
}

pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
