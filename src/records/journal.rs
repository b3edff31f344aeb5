//! The journal: which records were written on which day, so that old ones are found without a list of
//! all keys.
//!
//! An instance adds a page for all the records that it has written in a moment, after the answers, so an
//! event costs the store no call of its own. Only the record of a letter, or of an
//! event that the audit reopens, is on a page before it is written. Pages are
//! named by their day and numbered within it by a counter, so a page's name is its age. A page says to the
//! millisecond when it was written.
//!
//! A record that is on no page is never purged. If an instance dies, the names of its last two seconds are on no page,
//! or those of its last two minutes if the store was very slow. The same holds for an idle instance if the store takes
//! no writes for longer than a minute.

use std::cell::{Cell, RefCell};
use std::time::SystemTime;

use crate::host::later::{self, Left};
use crate::host::{self, clock, store};
use crate::time::{rfc3339, unix_seconds};

/// How many names a page has at most. A purge looks at no less than a page.
pub const PAGE: usize = 256;

/// How the pages that this relay writes begin: with their version.
const VERSION: &str = "2";

/// The name of the counter of a day's pages.
pub fn counter(day: u64) -> String {
    format!("journal/day/{day}")
}

/// The name of a page.
pub fn page_name(day: u64, page: u64) -> String {
    format!("journal/day/{day}/{page}")
}

/// The day of a time, in days since 1970.
pub fn day(time: SystemTime) -> u64 {
    unix_seconds(time) / (24 * 60 * 60)
}

/// A page. Most of its records were written in the seconds before it; a slow store or the purge adds older ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In RFC 3339, UTC. Empty on pages of the first builds of this version.
    pub written_at: String,
    pub names: Vec<String>,
}

impl Page {
    /// The page as the store holds it: lines, the version with the time and then the names.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{VERSION} {}", self.written_at);
        for name in &self.names {
            text.push('\n');
            text.push_str(name);
        }
        text.into_bytes()
    }

    /// `None` for anything that this version has not written.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut lines = str::from_utf8(bytes).ok()?.split('\n');
        let (version, written_at) =
            lines.next().map(|line| line.split_once(' ').unwrap_or((line, "")))?;
        if version != VERSION {
            return None;
        }
        Some(Self { written_at: written_at.to_owned(), names: lines.map(str::to_owned).collect() })
    }
}

/// How many pages a day has. `None` if the day has no journal.
pub async fn pages(day: u64) -> Result<Option<u64>, host::Error> {
    let counter = counter(day);
    if store::exists(&counter).await? { store::counter(&counter).await.map(Some) } else { Ok(None) }
}

/// A page of the store. `None` if it is missing or of a later version.
pub async fn page(day: u64, page: u64) -> Result<Option<Page>, host::Error> {
    let bytes = store::get(&page_name(day, page), store::TIMEOUT).await?;
    Ok(bytes.as_deref().and_then(Page::decode))
}

thread_local! {
    /// The names that are on no page yet.
    static NOTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Notes that a record is about to be written. The name reaches the store one to two seconds later, or
/// later if the store is slow, with all others that the instance noted meanwhile.
pub fn note(record: &str) {
    NOTED.with_borrow_mut(|noted| noted.push(record.to_owned()));
    later::begin(&AT_WORK, add_page);
}

async fn add_page() -> Left {
    let names = NOTED.with_borrow(|noted| noted[..noted.len().min(PAGE)].to_vec());
    if names.is_empty() {
        return Left::Nothing;
    }
    // If the store kept the page and reports a failure all the same, the names are on two pages.
    if append(&names).await.is_err() {
        return Left::All;
    }
    NOTED.with_borrow_mut(|noted| {
        noted.drain(..names.len());
        if noted.is_empty() { Left::Nothing } else { Left::Something }
    })
}

/// Adds pages with these names to today's.
pub async fn append(names: &[String]) -> Result<(), host::Error> {
    for names in names.chunks(PAGE) {
        let now = clock::now();
        let page = Page { written_at: rfc3339(now), names: names.to_vec() };
        let number = store::increment(&counter(day(now))).await?;
        let name = page_name(day(now), number);
        store::set(&name, &page.encode(), store::TIMEOUT).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    /// Stored bytes outlive the relay that wrote them: this text must never need to change.
    #[test]
    fn a_page_is_stored_as_it_always_was() {
        let page = Page {
            written_at: "2026-11-23T14:12:42.123Z".to_owned(),
            names: ["record/a", "record/b"].map(str::to_owned).to_vec(),
        };
        let text = b"2 2026-11-23T14:12:42.123Z\nrecord/a\nrecord/b";
        assert_eq!(page.encode(), text);
        assert_eq!(Page::decode(text), Some(page));
        assert_eq!(page_name(20_780, 7), "journal/day/20780/7");
    }

    #[test]
    fn bytes_of_another_version_are_not_taken_for_a_page() {
        for bytes in [
            &b""[..],
            b"{}",
            b"\xff",
            b"1 2026-11-23T14:12:42Z\nrecord/a",
            b"3 2026-11-23T14:12:42Z\na",
        ] {
            assert_eq!(Page::decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_day_ends_at_midnight_utc() {
        let at = |seconds| day(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!((at(86_399), at(86_400)), (0, 1));
    }
}
