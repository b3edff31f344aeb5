//! The counts, and the pages on which the store keeps them.
//!
//! Instances come and go, and there may be many nodes. Each instance adds its counts to one of a few pages,
//! and the sum of the pages is the truth. The store can't add to a page, only replace it. So an instance
//! reads the page again later, and adds once more if another instance has replaced the page from an older
//! copy. A nonce tells whether an addition is in a page.
//!
//! Two errors remain. A write that reaches the store more than half a second after its page was read undoes
//! additions that others have seen confirmed. So do three writes that overlap and last as long together: the
//! first drops an addition, the second brings it back from an older copy, and the third drops it again. An
//! addition whose confirmation is lost, and looked for only after 32 more additions, counts twice. `cas` would
//! be simpler, but doesn't work under Spin. `increment` is exact, but costs a transaction for each number and
//! holds up the instance.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::api::reply::{DELIVERED, DUPLICATE, IGNORED};
use crate::time::unix_seconds;

/// How many pages there are: enough that two instances seldom write one page at once, and few enough to
/// read all for each scrape.
pub const PAGES: usize = 16;

/// The version of the pages that this relay writes.
const VERSION: u32 = 1;

/// How many additions a page remembers: more than are made before an instance looks for its own.
const REMEMBERED: usize = 32;

/// How many series a page keeps apart. Notifications of further projects are counted together, without a
/// project. Twice as many series leave room for failures, since alerts name their projects.
const MAX_SERIES: usize = 2_000;
const MAX_WITH_FAILURES: usize = 2 * MAX_SERIES;

/// The outcomes of most notifications, whose projects are the first to go without a name.
const SUCCESSES: [&str; 3] = [DELIVERED, DUPLICATE, IGNORED];

/// The series of [`Counts::left_unknown`].
pub const LEFT_UNKNOWN: &str = "unknown";

/// The series of [`Counts::differing`].
pub const DIFFERING: &str = "differing";

/// The series of [`Counts::expired`].
pub const EXPIRED: &str = "expired";

/// For how many minutes outcomes are kept.
const MINUTES: u64 = 60;

/// The upper bounds of a histogram's buckets: in microseconds, and in seconds as text.
pub const BOUNDS: [(u64, &str); 14] = [
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1.0"),
    (2_500_000, "2.5"),
    (5_000_000, "5.0"),
    (10_000_000, "10.0"),
    (u64::MAX, "+Inf"),
];

pub type Numbers = BTreeMap<String, u64>;

/// The counts by series: `notifications/{outcome}/{project}`, `minutes/{minute}/{outcome}`,
/// `attempts/{result}`, `reports/{kind}`, `unknown`, `expired` and `differing`. The histograms `svix` and
/// `request` have a series for each bucket, named by its bound, and `sum` in microseconds.
///
/// The map is flat, so that all counts are added up, stored and read in the same way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts(Numbers);

impl Counts {
    /// A notification was answered. `project` is `None` unless the event is valid.
    pub fn notification(
        &mut self,
        project: Option<&str>,
        outcome: &str,
        took: Duration,
        now: SystemTime,
    ) {
        let project = project.unwrap_or_default();
        self.add_bounded(&format!("notifications/{outcome}/{project}"), 1);
        self.add(&format!("minutes/{}/{outcome}", minute(now)), 1);
        self.observe("request", took);
    }

    /// A notification ended, and Svix may or may not have the message.
    pub fn left_unknown(&mut self) {
        self.add(LEFT_UNKNOWN, 1);
    }

    pub fn differing(&mut self) {
        self.add(DIFFERING, 1);
    }

    /// A letter was deleted on which no operator had decided.
    pub fn expired(&mut self) {
        self.add(EXPIRED, 1);
    }

    /// Svix has reported something of this kind.
    pub fn reported(&mut self, kind: &str) {
        self.add(&format!("reports/{kind}"), 1);
    }

    pub fn attempt(&mut self, result: &str) {
        self.add(&format!("attempts/{result}"), 1);
    }

    /// Svix has answered, or the relay has stopped waiting.
    pub fn asked_svix(&mut self, took: Duration) {
        self.observe("svix", took);
    }

    /// The series whose names begin with `prefix`: the rest of each name, and its number.
    pub fn under(&self, prefix: &str) -> impl Iterator<Item = (&str, u64)> {
        let series = self.0.range(prefix.to_owned()..);
        series.map_while(move |(name, number)| Some((name.strip_prefix(prefix)?, *number)))
    }

    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub fn merge(&mut self, other: &Self) {
        for (name, number) in &other.0 {
            self.add(name, *number);
        }
    }

    /// Forgets minutes that ended more than an hour ago, and minutes of clocks that are far ahead.
    pub fn forget_before(&mut self, now: SystemTime) {
        let now = minute(now);
        let kept = now.saturating_sub(MINUTES - 1)..=now + 1;
        self.0.retain(|name, _| match name.strip_prefix("minutes/") {
            Some(rest) => split_minute(rest).is_some_and(|(minute, _)| kept.contains(&minute)),
            None => true,
        });
    }

    /// The outcomes of notifications in each minute in which there were any, oldest first; minutes
    /// since 1970.
    pub fn minutes(&self) -> BTreeMap<u64, Numbers> {
        let mut minutes = BTreeMap::<_, Numbers>::new();
        let series = self.under("minutes/");
        for ((minute, outcome), number) in
            series.filter_map(|(rest, number)| Some((split_minute(rest)?, number)))
        {
            let outcomes = minutes.entry(minute).or_default();
            outcomes.insert(outcome.to_owned(), number);
        }
        minutes
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn observe(&mut self, histogram: &str, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < micros);
        self.add(&format!("{histogram}/{}", BOUNDS[bucket].1), 1);
        self.add(&format!("{histogram}/sum"), micros);
    }

    /// Adds without an allocation if the series is known.
    fn add(&mut self, name: &str, by: u64) {
        match self.0.get_mut(name) {
            Some(number) => *number = number.saturating_add(by),
            None => drop(self.0.insert(name.to_owned(), by)),
        }
    }

    /// Adds without the project if there are too many series.
    fn add_bounded(&mut self, name: &str, by: u64) {
        let nameless = name.strip_prefix("notifications/").and_then(|rest| {
            let (outcome, _) = rest.split_once('/')?;
            let most = if SUCCESSES.contains(&outcome) { MAX_SERIES } else { MAX_WITH_FAILURES };
            let full = self.0.len() >= most && !self.0.contains_key(name);
            full.then(|| format!("notifications/{outcome}/"))
        });
        self.add(nameless.as_deref().unwrap_or(name), by);
    }
}

/// The minute and the outcome that a series is named by.
fn split_minute(rest: &str) -> Option<(u64, &str)> {
    let (minute, outcome) = rest.split_once('/')?;
    Some((minute.parse().ok()?, outcome))
}

/// A page as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    version: u32,
    /// The nonces of the latest additions.
    added: Vec<u64>,
    /// The sum of all additions.
    pub counts: Counts,
}

impl Page {
    pub fn name(number: usize) -> String {
        format!("metrics/{number}")
    }

    /// Reads what the store holds. Anything but a page of this version is treated as an empty page.
    pub fn decode(stored: Option<&[u8]>) -> Self {
        stored
            .and_then(|bytes| serde_json::from_slice::<Self>(bytes).ok())
            .filter(|page| page.version == VERSION)
            .unwrap_or_else(|| Self {
                version: VERSION,
                added: Vec::new(),
                counts: Counts::default(),
            })
    }

    /// Whether the addition with this nonce is among the latest.
    pub fn holds(&self, nonce: u64) -> bool {
        self.added.contains(&nonce)
    }

    pub fn add(&mut self, nonce: u64, counts: &Counts, now: SystemTime) {
        for (name, number) in &counts.0 {
            self.counts.add_bounded(name, *number);
        }
        self.counts.forget_before(now);
        let forgotten = (self.added.len() + 1).saturating_sub(REMEMBERED);
        self.added.drain(..forgotten);
        self.added.push(nonce);
    }
}

fn minute(time: SystemTime) -> u64 {
    unix_seconds(time) / 60
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use proptest::prelude::*;
    use std::time::UNIX_EPOCH;

    fn at(minute: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(60 * minute)
    }

    /// Counts of one instance.
    fn counts(project: &str, outcome: &str) -> Counts {
        let mut counts = Counts::default();
        counts.notification(Some(project), outcome, Duration::from_millis(7), at(100));
        counts.attempt("stored");
        counts.asked_svix(Duration::from_millis(5));
        counts
    }

    #[test]
    fn a_page_of_counts_is_stored_as_it_always_was() {
        let mut page = Page::decode(None);
        page.add(5, &counts("dev", "delivered"), at(100));
        let text = concat!(
            r#"{"version":1,"added":[5],"counts":{"attempts/stored":1,"#,
            r#""minutes/100/delivered":1,"notifications/delivered/dev":1,"#,
            r#""request/0.01":1,"request/sum":7000,"svix/0.005":1,"svix/sum":5000}}"#,
        );
        assert_eq!(String::from_utf8(json::encode(&page)).expect("text"), text);
        assert_eq!(Page::decode(Some(text.as_bytes())), page);
        for other in [
            &text.replace(r#""version":1"#, r#""version":2"#),
            &text.replacen(":1,", ":-1,", 2),
            &text[1..],
            "",
        ] {
            assert_eq!(Page::decode(Some(other.as_bytes())), Page::decode(None));
        }
    }

    #[test]
    fn the_counts_of_all_instances_add_up() {
        let mut all = Counts::default();
        assert!(all.is_empty());
        for (project, outcome) in [("a", "delivered"), ("a", "duplicate"), ("b", "delivered")] {
            all.merge(&counts(project, outcome));
        }
        all.merge(&counts("a", "delivered"));
        assert!(!all.is_empty());
        let series: Vec<_> = all.under("notifications/").collect();
        let expected = [("delivered/a", 2), ("delivered/b", 1), ("duplicate/a", 1)];
        assert_eq!(series, expected);
        assert_eq!(all.get("attempts/stored"), 4);
        let outcomes = [("delivered", 3), ("duplicate", 1)];
        let outcomes = outcomes.map(|(name, n)| (name.to_owned(), n)).into();
        assert_eq!(all.minutes(), [(100, outcomes)].into());
        assert_eq!(all.get("request/sum"), 28_000);
    }

    #[test]
    fn a_bucket_ends_with_its_bound() {
        let mut counts = Counts::default();
        for micros in [0, 1_000, 1_001, 10_000_000, 10_000_001, u64::MAX] {
            counts.asked_svix(Duration::from_micros(micros));
        }
        for (bound, count) in [("0.001", 2), ("0.0025", 1), ("10.0", 1), ("+Inf", 2)] {
            assert_eq!(counts.get(&format!("svix/{bound}")), count, "{bound}");
        }
    }

    #[test]
    fn minutes_are_forgotten_after_an_hour() {
        let mut page = Page::decode(None);
        for minute in [10, 40, 41, 99, 100, 101, 5_000] {
            let mut counts = Counts::default();
            counts.notification(None, "delivered", Duration::ZERO, at(minute));
            page.add(minute, &counts, at(100));
        }
        let kept: Vec<_> = page.counts.minutes().into_keys().collect();
        let expected = [41, 99, 100, 101];
        assert_eq!(kept, expected, "the last 60, and a clock's difference");
        assert_eq!(page.counts.get("notifications/delivered/"), 7);
    }

    #[test]
    fn beyond_the_bound_projects_are_counted_together() {
        let (mut page, mut here) = (Page::decode(None), Counts::default());
        for number in 0..2_010 {
            let project = number.to_string();
            page.add(number, &counts(&project, "delivered"), at(100));
            here.notification(Some(&project), "delivered", Duration::ZERO, at(100));
        }
        page.add(9_999, &counts("1", "delivered"), at(100));
        assert_eq!(page.counts.get("notifications/delivered/1"), 2);
        for counts in [&page.counts, &here] {
            let all: u64 = counts.under("notifications/").map(|(_, n)| n).sum();
            let nameless = counts.get("notifications/delivered/");
            assert!(all >= 2_010 && (10..20).contains(&nameless), "{nameless}");
            assert!(counts.0.len() <= 2_001);
        }
        // A failure still names its project.
        page.add(10_000, &counts("new", "refused-by-svix"), at(100));
        assert_eq!(page.counts.get("notifications/refused-by-svix/new"), 1);
    }

    #[test]
    fn an_addition_that_was_overwritten_is_seen_to_be_missing() {
        let (mut one, mut other) = (Page::decode(None), Page::decode(None));
        one.add(1, &counts("a", "delivered"), at(100));
        other.add(2, &counts("b", "delivered"), at(100));
        // The other came later, and so its page is the one that stands.
        assert!(!other.holds(1));
        other.add(1, &counts("a", "delivered"), at(100));
        assert!(other.holds(1) && other.holds(2));
        assert_eq!(other.counts.get("attempts/stored"), 2);
    }

    #[test]
    fn remembers_the_latest_additions() {
        let mut page = Page::decode(None);
        for nonce in 0..40 {
            page.add(nonce, &Counts::default(), at(100));
        }
        let held: Vec<_> = (0..40).filter(|nonce| page.holds(*nonce)).collect();
        assert_eq!(held, (8..40).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn any_duration_is_counted_in_one_bucket(nanos: u64) {
            let mut counts = Counts::default();
            counts.asked_svix(Duration::from_nanos(nanos));
            let buckets = BOUNDS.map(|(_, bound)| counts.get(&format!("svix/{bound}")));
            prop_assert_eq!(buckets.iter().sum::<u64>(), 1);
        }
    }
}
