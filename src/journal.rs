//! The journal: which records have been written, in the order of time, so that those that are old
//! are found without a list of all keys.
//!
//! Its pages are numbered from 1 by a counter. An instance adds one for all the records that it has
//! written in a moment, after the answers, so an event costs the store no call of its own; what an
//! instance has not added yet when it dies stays in the store for good.

use std::time::{Duration, SystemTime};

use crate::record::parse_rfc3339;

/// The name of the counter in the store.
pub const COUNTER: &str = "journal";

/// The name of the number of the last page that was purged, in decimal, in the store.
pub const PURGED: &str = "journal/purged";

/// How many records a page names at most: some stores take no more than 400 kB.
pub const PAGE: usize = 1_000;

/// How the pages that this relay writes begin: with their version.
const VERSION: &str = "1 ";

/// A page. The store holds it as lines: version and time, then the names.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// When it was written, so after all its records were, in RFC 3339, UTC.
    pub written_at: String,
    /// The names of the records.
    pub records: Vec<String>,
}

impl Page {
    /// The name of the page with this number in the store.
    pub fn name(number: u64) -> String {
        format!("journal/{number}")
    }

    /// The page as the store holds it.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = [VERSION, &self.written_at].concat();
        for record in &self.records {
            text.push('\n');
            text.push_str(record);
        }
        text.into_bytes()
    }

    /// Reads what the store holds; `None` for anything that this relay has not written.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut lines = str::from_utf8(bytes).ok()?.split('\n').map(str::to_owned);
        Some(Self {
            written_at: lines.next()?.strip_prefix(VERSION)?.to_owned(),
            records: lines.collect(),
        })
    }
}

/// Whether the point in time `at`, in RFC 3339, is at least `ago` before `now`. One that can't be
/// read is not.
pub fn is_from(at: &str, ago: Duration, now: SystemTime) -> bool {
    parse_rfc3339(at)
        .and_then(|at| now.duration_since(at).ok())
        .is_some_and(|age| age >= ago)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn is_stored_as_it_always_was() {
        let page = Page {
            written_at: "2026-11-23T14:12:42.123Z".to_owned(),
            records: vec!["record/a".to_owned(), "record/b".to_owned()],
        };
        let text = "1 2026-11-23T14:12:42.123Z\nrecord/a\nrecord/b";
        assert_eq!(String::from_utf8(page.encode()).expect("text"), text);
        assert_eq!(Page::decode(text.as_bytes()), Some(page));
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

    #[test]
    fn is_due_to_the_second() {
        let at = |after| SystemTime::UNIX_EPOCH + after;
        let then = "1970-01-01T00:00:00Z";
        assert!(is_from(then, DAY, at(DAY)));
        assert!(!is_from(then, DAY + Duration::from_secs(1), at(DAY)));
        assert!(!is_from("", DAY, at(DAY)));
        assert!(!is_from("2999-01-01T00:00:00Z", DAY, at(DAY)));
    }
}
