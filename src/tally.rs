//! What this instance has counted and the store doesn't hold yet, and the task that takes it there.
//!
//! The task works in the background, after the replies, for all that is counted in one moment, so no
//! event waits for it or costs the store a call of its own. What it has not written down yet is lost
//! if the instance dies.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use spin_sdk::wasip3;

use crate::host;
use crate::metrics::{Counts, PAGES, Page};
use crate::problem::Problem;

/// How long counts are gathered before they are written, at least. An instance that takes no more
/// requests lives on for as long, so longer would mean more instances.
const GATHERING: Duration = Duration::from_secs(1);

/// After what time an addition is looked for, at least: longer than another instance takes from
/// reading a page to replacing it.
const SETTLING: Duration = Duration::from_millis(500);

/// How often an addition is written before the task gathers again, and how often it does that before
/// it gives up, until more is counted.
const WRITES: u32 = 3;
const ROUNDS: u32 = 3;

thread_local! {
    /// What was counted since the last addition.
    static COUNTED: RefCell<Counts> = RefCell::new(Counts::default());
    /// An addition of which nobody knows whether the store holds it.
    static LEFT: RefCell<Option<Addition>> = const { RefCell::new(None) };
    /// Whether the task is at work.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Counts something.
pub fn count(what: impl FnOnce(&mut Counts)) {
    COUNTED.with_borrow_mut(what);
    if !AT_WORK.replace(true) {
        wasip3::spawn(write_down());
    }
}

/// What all instances have counted and written down. What this one has not is left out: counters that
/// went down again with the next instance would look as if they had begun anew.
pub async fn total() -> Result<Counts, Problem> {
    let mut total = Counts::default();
    for number in 0..PAGES {
        let bytes = host::get(&Page::name(number), host::STORE_TIMEOUT).await?;
        total.merge(&Page::decode(bytes.as_deref()).counts);
    }
    total.forget_before(host::now());
    Ok(total)
}

/// Writes down what is counted, until there is nothing more.
async fn write_down() {
    let _end = End;
    let mut random = host::random();
    let mut rounds = 0;
    while rounds < ROUNDS {
        host::sleep(spread(GATHERING, &mut random)).await;
        let addition = LEFT.take().unwrap_or_else(|| Addition {
            counts: COUNTED.take(),
            page: Page::name(random.usize(..PAGES)),
            nonce: random.u64(..),
        });
        if addition.write(&mut random).await {
            rounds = 0;
        } else {
            LEFT.set(Some(addition));
            rounds += 1;
        }
        if LEFT.with_borrow(Option::is_none) && COUNTED.with_borrow(Counts::is_empty) {
            break;
        }
    }
}

/// However the task ends, another one may begin.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        AT_WORK.set(false);
    }
}

/// Counts on their way to a page.
struct Addition {
    counts: Counts,
    page: String,
    nonce: u64,
}

impl Addition {
    /// Adds them to their page. Whether they are there for certain.
    async fn write(&self, random: &mut fastrand::Rng) -> bool {
        for _ in 0..WRITES {
            let Ok(bytes) = host::get(&self.page, host::STORE_TIMEOUT).await else {
                return false;
            };
            let mut page = Page::decode(bytes.as_deref());
            if page.holds(self.nonce) {
                return true;
            }
            page.add(self.nonce, &self.counts, host::now());
            // Whatever comes of it: the page tells.
            let _ = host::set(&self.page, &page.encode(), host::STORE_TIMEOUT).await;
            host::sleep(spread(SETTLING, random)).await;
        }
        false
    }
}

/// Up to twice as long: instances that began together don't write together.
fn spread(wait: Duration, random: &mut fastrand::Rng) -> Duration {
    wait.mul_f64(1.0 + random.f64())
}
