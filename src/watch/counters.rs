//! The counts of this instance, and their way to the metrics in the store.
//!
//! The counts are written in the background, after the answers, so no event waits for them. Counts that are
//! not written yet are lost if the instance dies.

use std::cell::{Cell, RefCell};

use super::metrics::{Counts, PAGES, Page};
use crate::host::change::write_until_seen;
use crate::host::later::{self, Left};
use crate::host::{self, clock, store};
use crate::json;

/// How often an addition is written before more is gathered.
const WRITES: u32 = 3;

thread_local! {
    /// The counts since the last addition.
    static COUNTED: RefCell<Counts> = RefCell::new(Counts::default());
    /// An addition that the store may or may not hold.
    static PENDING: RefCell<Option<Addition>> = const { RefCell::new(None) };
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

pub fn count(what: impl FnOnce(&mut Counts)) {
    COUNTED.with_borrow_mut(what);
    later::begin(&AT_WORK, add_counts);
}

/// The counts that all instances have written. Counts that only this instance knows are left out. The next
/// scrape may meet another instance, and a counter that falls looks as if it had begun anew.
pub async fn total() -> Result<Counts, host::Error> {
    let mut total = Counts::default();
    let names: Vec<_> = (0..PAGES).map(Page::name).collect();
    for bytes in store::get_all(&names).await {
        total.merge(&Page::decode(bytes?.as_deref()).counts);
    }
    total.forget_before(clock::now());
    Ok(total)
}

async fn add_counts() -> Left {
    let pending = PENDING.take();
    if pending.is_none() && COUNTED.with_borrow(Counts::is_empty) {
        return Left::Nothing;
    }
    let mut random = host::random();
    let addition = pending.unwrap_or_else(|| Addition {
        counts: COUNTED.take(),
        page: Page::name(random.usize(..PAGES)),
        nonce: random.u64(..),
    });
    if addition.write().await.is_err() {
        PENDING.set(Some(addition));
        return Left::All;
    }
    if COUNTED.with_borrow(Counts::is_empty) { Left::Nothing } else { Left::Something }
}

/// Counts on their way to a page.
struct Addition {
    counts: Counts,
    page: String,
    nonce: u64,
}

impl Addition {
    /// Adds the counts to their page. If this fails, the page may hold them or not.
    async fn write(&self) -> Result<(), host::Error> {
        write_until_seen("add to the counts", WRITES, async || {
            let bytes = store::get(&self.page, store::TIMEOUT).await?;
            let mut page = Page::decode(bytes.as_deref());
            if page.holds(self.nonce) {
                return Ok(Some(()));
            }
            page.add(self.nonce, &self.counts, clock::now());
            // Ignore the result. Whether the write arrived is read back from the page.
            let _ = store::set(&self.page, &json::encode(&page), store::TIMEOUT).await;
            Ok(None)
        })
        .await
    }
}
