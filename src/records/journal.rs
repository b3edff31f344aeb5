//! The journal: which records have been written, in the order of time, so that those that are old
//! are found without a list of all keys.
//!
//! Its pages are numbered from 1 by a counter. An instance adds one for all the records that it has
//! written in a moment, after the answers, so an event costs the store no call of its own. What is
//! on no page is never purged: what an instance has not added yet when it dies, and what a relay
//! without a journal wrote.

use std::cell::{Cell, RefCell};

use crate::host::later::{self, Left};
use crate::host::{clock, store};
use crate::time::rfc3339;

/// The name of the counter in the store.
pub const COUNTER: &str = "journal";

/// The name of the number of the last page that was purged, in decimal, in the store.
pub const PURGED: &str = "journal/purged";

/// How many entries a page has at most: some stores take no more than 400 kB.
pub const PAGE: usize = 1_000;

/// How the pages that this relay writes begin: with their version.
const VERSION: &str = "1 ";

/// A page. The store holds it as lines: version and time, then the entries.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// When it was written, in RFC 3339, UTC.
    pub written_at: String,
    /// What it names; see [`entry`].
    pub entries: Vec<String>,
}

/// What a page names: a record, and the number of the dead letter that was written with it.
pub fn entry(record: &str, letter: Option<u64>) -> String {
    match letter {
        Some(letter) => format!("{record} {letter}"),
        None => record.to_owned(),
    }
}

/// The record and the number of an [`entry`].
pub fn parse_entry(entry: &str) -> (&str, Option<u64>) {
    match entry.split_once(' ') {
        Some((record, letter)) => (record, letter.parse().ok()),
        None => (entry, None),
    }
}

impl Page {
    /// The name of the page with this number in the store.
    pub fn name(number: u64) -> String {
        format!("journal/{number}")
    }

    /// The page as the store holds it.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = [VERSION, &self.written_at].concat();
        for entry in &self.entries {
            text.push('\n');
            text.push_str(entry);
        }
        text.into_bytes()
    }

    /// Reads what the store holds; `None` for anything that this relay has not written.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut lines = str::from_utf8(bytes).ok()?.split('\n').map(str::to_owned);
        Some(Self {
            written_at: lines.next()?.strip_prefix(VERSION)?.to_owned(),
            entries: lines.collect(),
        })
    }
}

thread_local! {
    /// The entries that are on no page yet.
    static NOTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// The number that was claimed for the next page.
    static CLAIMED: Cell<Option<u64>> = const { Cell::new(None) };
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Notes that a record is about to be written, with the number of its dead letter if there is one.
///
/// The name reaches the store one to two seconds later, with all others that the instance noted
/// meanwhile. A crash before that loses the name, and the record is never purged.
pub fn note(record: &str, letter: Option<u64>) {
    NOTED.with_borrow_mut(|noted| noted.push(entry(record, letter)));
    later::begin(&AT_WORK, add_page);
}

async fn add_page() -> Left {
    let entries = NOTED.with_borrow(|noted| noted[..noted.len().min(PAGE)].to_vec());
    if entries.is_empty() {
        return Left::Nothing;
    }
    let number = match CLAIMED.take() {
        Some(number) => number,
        None => match store::increment(COUNTER, 1) {
            Ok(number) => number,
            Err(_) => return Left::All,
        },
    };
    let added = entries.len();
    let page = Page {
        written_at: rfc3339(clock::now()),
        entries,
    };
    let written = store::set(&Page::name(number), &page.encode(), store::TIMEOUT).await;
    if written.is_err() {
        // The store may have kept the page all the same, so the next attempt replaces that page.
        CLAIMED.set(Some(number));
        return Left::All;
    }
    NOTED.with_borrow_mut(|noted| {
        noted.drain(..added);
        if noted.is_empty() {
            Left::Nothing
        } else {
            Left::Something
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_stored_as_it_always_was() {
        let page = Page {
            written_at: "2026-11-23T14:12:42.123Z".to_owned(),
            entries: vec![entry("record/a", None), entry("record/b", Some(7))],
        };
        let text = "1 2026-11-23T14:12:42.123Z\nrecord/a\nrecord/b 7";
        assert_eq!(String::from_utf8(page.encode()).expect("text"), text);
        assert_eq!(Page::decode(text.as_bytes()), Some(page));
        assert_eq!(parse_entry("record/a"), ("record/a", None));
        assert_eq!(parse_entry("record/b 7"), ("record/b", Some(7)));
    }

    #[test]
    fn what_is_no_page_is_not_taken_for_one() {
        for bytes in [
            &b""[..],
            b"{}",
            b"\xff",
            b"2 2026-11-23T14:12:42Z\nrecord/a",
        ] {
            assert_eq!(Page::decode(bytes), None, "{bytes:?}");
        }
    }
}
