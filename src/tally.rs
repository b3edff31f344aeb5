//! What this instance has counted and written, and the task that tells the store: the metrics of
//! what was counted, the journal of what was written.
//!
//! The task works in the background, after the replies, for all that came together in one moment, so
//! no event waits for it or costs the store a call of its own. What it has not written down yet is
//! lost if the instance dies.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use spin_sdk::wasip3;

use crate::host;
use crate::journal;
use crate::metrics::{self, Counts, PAGES};
use crate::problem::Problem;
use crate::record::rfc3339;

/// How long things are gathered before they are written down, at least. An instance that takes no
/// more requests lives on for as long, so longer would mean more instances.
const GATHERING: Duration = Duration::from_secs(1);

/// After what time an addition is looked for, at least: longer than another instance takes from
/// reading a page to replacing it.
const SETTLING: Duration = Duration::from_millis(500);

/// How often an addition is written before the task gathers again, and how often it does that before
/// it gives up, until there is more.
const WRITES: u32 = 3;
const ROUNDS: u32 = 3;

thread_local! {
    /// What was counted since the last addition.
    static COUNTED: RefCell<Counts> = RefCell::new(Counts::default());
    /// An addition of which nobody knows whether the store holds it.
    static LEFT: RefCell<Option<Addition>> = const { RefCell::new(None) };
    /// What is on no page of the journal yet, and the number of the page that comes next.
    static WRITTEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static CLAIMED: Cell<Option<u64>> = const { Cell::new(None) };
    /// Whether the task is at work.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Counts something.
pub fn count(what: impl FnOnce(&mut Counts)) {
    COUNTED.with_borrow_mut(what);
    work();
}

/// Notes that a record is written, and maybe a dead letter with it: they may be due one day.
pub fn written(record: &str, letter: Option<u64>) {
    WRITTEN.with_borrow_mut(|written| written.push(journal::entry(record, letter)));
    work();
}

/// What all instances have counted and written down. What this one has not is left out: counters that
/// went down again with the next instance would look as if they had begun anew.
pub async fn total() -> Result<Counts, Problem> {
    let mut total = Counts::default();
    for number in 0..PAGES {
        let bytes = host::get(&metrics::Page::name(number), host::STORE_TIMEOUT).await?;
        total.merge(&metrics::Page::decode(bytes.as_deref()).counts);
    }
    total.forget_before(host::now());
    Ok(total)
}

/// Has the task begin, unless it has.
fn work() {
    if !AT_WORK.replace(true) {
        wasip3::spawn(write_down());
    }
}

/// Writes down what there is, until there is nothing more.
async fn write_down() {
    let _end = End;
    let mut random = host::random();
    let mut rounds = 0;
    while rounds < ROUNDS {
        host::sleep(spread(GATHERING, &mut random)).await;
        let journal = add_page().await;
        let metrics = add_counts(&mut random).await;
        rounds = if journal && metrics { 0 } else { rounds + 1 };
        if LEFT.with_borrow(Option::is_none)
            && COUNTED.with_borrow(Counts::is_empty)
            && WRITTEN.with_borrow(Vec::is_empty)
        {
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

/// Adds a page to the journal, about what is on none. Whether it is there for certain.
async fn add_page() -> bool {
    let entries = WRITTEN.with_borrow(|written| {
        let page = written.len().min(journal::PAGE);
        written[..page].to_vec()
    });
    if entries.is_empty() {
        return true;
    }
    let number = match CLAIMED.take() {
        Some(number) => number,
        None => match host::increment(journal::COUNTER, 1) {
            Ok(number) => number,
            Err(_) => return false,
        },
    };
    let added = entries.len();
    let page = journal::Page {
        written_at: rfc3339(host::now()),
        entries,
    };
    let name = journal::Page::name(number);
    let written = host::set(&name, &page.encode(), host::STORE_TIMEOUT).await;
    if written.is_ok() {
        WRITTEN.with_borrow_mut(|written| drop(written.drain(..added)));
    } else {
        // It may be there: the next attempt replaces it.
        CLAIMED.set(Some(number));
    }
    written.is_ok()
}

/// Adds what was counted to the metrics. Whether it is there for certain.
async fn add_counts(random: &mut fastrand::Rng) -> bool {
    let left = LEFT.take();
    if left.is_none() && COUNTED.with_borrow(Counts::is_empty) {
        return true;
    }
    let addition = left.unwrap_or_else(|| Addition {
        counts: COUNTED.take(),
        page: metrics::Page::name(random.usize(..PAGES)),
        nonce: random.u64(..),
    });
    let written = addition.write(random).await;
    if !written {
        LEFT.set(Some(addition));
    }
    written
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
            let mut page = metrics::Page::decode(bytes.as_deref());
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
