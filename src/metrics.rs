//! What is counted, and the pages on which the store keeps it.
//!
//! Instances come and go and there may be many nodes, so each adds what it has counted to one of a
//! few pages, and the pages together are the truth. The store can't add to a page, only replace it:
//! who has added reads the page again later, and adds once more if another one, who had read an older
//! page, has replaced it in the meantime. A nonce tells whether an addition is in a page.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// How many pages there are: so many that two instances seldom want the same one at once, and so few
/// that all can be read for each scrape.
pub const PAGES: usize = 16;

/// The version of the pages that this relay writes.
const VERSION: u32 = 1;

/// How many additions a page remembers: more than are made while one is waiting to be looked for.
const REMEMBERED: usize = 32;

/// How many projects a page knows by name. Those beyond are counted together, under no name.
const MAX_PROJECTS: usize = 500;

/// For how many minutes outcomes are kept.
const MINUTES: u64 = 60;

/// The upper bounds of a histogram's buckets, in microseconds; the last bucket has none.
const BOUNDS: [u64; 13] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// How often each of some named things happened.
pub type Numbers = BTreeMap<String, u64>;

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Notifications by project, then by outcome.
    pub notifications: BTreeMap<String, Numbers>,
    /// Attempts by result.
    pub attempts: Numbers,
    /// How long Svix took for its answers.
    pub svix: Histogram,
    /// How long the relay took for its own, to notifications.
    pub requests: Histogram,
    /// The outcomes of notifications by minute, in minutes since 1970.
    pub minutes: BTreeMap<u64, Numbers>,
}

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// By bucket; each counts for itself.
    buckets: [u64; BOUNDS.len() + 1],
    /// All together, in microseconds.
    sum: u64,
}

impl Counts {
    /// A notification was answered. What is no valid project has no name.
    pub fn notification(
        &mut self,
        project: Option<&str>,
        outcome: &str,
        took: Duration,
        now: SystemTime,
    ) {
        count(
            self.project(project.unwrap_or_default(), MAX_PROJECTS),
            outcome,
            1,
        );
        count(self.minutes.entry(minute(now)).or_default(), outcome, 1);
        self.requests.observe(took);
    }

    /// An attempt was made.
    pub fn attempt(&mut self, result: &str) {
        count(&mut self.attempts, result, 1);
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.merge_within(other, usize::MAX);
    }

    fn merge_within(&mut self, other: &Self, max_projects: usize) {
        for (project, outcomes) in &other.notifications {
            merge(self.project(project, max_projects), outcomes);
        }
        merge(&mut self.attempts, &other.attempts);
        self.svix.merge(&other.svix);
        self.requests.merge(&other.requests);
        for (minute, outcomes) in &other.minutes {
            merge(self.minutes.entry(*minute).or_default(), outcomes);
        }
    }

    /// Forgets the minutes that are over for an hour, and those of clocks that are far ahead.
    pub fn forget_before(&mut self, now: SystemTime) {
        let now = minute(now);
        self.minutes
            .retain(|minute, _| (now.saturating_sub(MINUTES - 1)..=now + 1).contains(minute));
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The numbers of a project, or of all that have no place of their own.
    fn project(&mut self, project: &str, max_projects: usize) -> &mut Numbers {
        let known = self.notifications.contains_key(project);
        let name = if known || self.notifications.len() < max_projects {
            project
        } else {
            ""
        };
        self.notifications.entry(name.to_owned()).or_default()
    }
}

impl Histogram {
    /// Something took so long.
    pub fn observe(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        self.buckets[bucket] += 1;
        self.sum = self.sum.saturating_add(micros);
    }

    /// The upper bound of each bucket in seconds, and what it counts for itself.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.map(seconds).into_iter().chain([f64::INFINITY]);
        bounds.zip(self.buckets).collect()
    }

    /// How often it happened.
    pub fn count(&self) -> u64 {
        self.buckets.iter().copied().fold(0, u64::saturating_add)
    }

    /// How many seconds it took in all.
    pub fn sum(&self) -> f64 {
        seconds(self.sum)
    }

    fn merge(&mut self, other: &Self) {
        for (bucket, other) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket = bucket.saturating_add(other);
        }
        self.sum = self.sum.saturating_add(other.sum);
    }
}

/// A page as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    version: u32,
    /// The nonces of the latest additions.
    added: Vec<u64>,
    /// What they come to, with all before them.
    pub counts: Counts,
}

impl Page {
    /// The name of a page in the store.
    pub fn name(number: usize) -> String {
        format!("metrics/{number}")
    }

    /// Reads what the store holds; what is no page of this version is as if it weren't there.
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

    /// The page as the store holds it.
    pub fn encode(&self) -> Vec<u8> {
        // Names and numbers only: this can't fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether the addition with this nonce is among the latest.
    pub fn holds(&self, nonce: u64) -> bool {
        self.added.contains(&nonce)
    }

    /// Adds `counts`.
    pub fn add(&mut self, nonce: u64, counts: &Counts, now: SystemTime) {
        self.counts.merge_within(counts, MAX_PROJECTS);
        self.counts.forget_before(now);
        let forgotten = (self.added.len() + 1).saturating_sub(REMEMBERED);
        self.added.drain(..forgotten);
        self.added.push(nonce);
    }
}

/// Counts `name` so many times more, without an allocation for a name that is known.
fn count(numbers: &mut Numbers, name: &str, by: u64) {
    match numbers.get_mut(name) {
        Some(number) => *number = number.saturating_add(by),
        None => drop(numbers.insert(name.to_owned(), by)),
    }
}

fn merge(numbers: &mut Numbers, others: &Numbers) {
    for (name, number) in others {
        count(numbers, name, *number);
    }
}

fn minute(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
        / 60
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(minute: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(60 * minute)
    }

    /// What one instance may have counted.
    fn counts(project: &str, outcome: &str) -> Counts {
        let mut counts = Counts::default();
        counts.notification(Some(project), outcome, Duration::from_millis(7), at(100));
        counts.attempt("stored");
        counts.svix.observe(Duration::from_millis(5));
        counts
    }

    fn numbers<const N: usize>(numbers: [(&str, u64); N]) -> Numbers {
        numbers.map(|(name, n)| (name.to_owned(), n)).into()
    }

    #[test]
    fn is_stored_as_it_always_was() {
        let mut page = Page::decode(None);
        page.add(5, &counts("dev", "delivered"), at(100));
        let text = concat!(
            r#"{"version":1,"added":[5],"counts":{"notifications":{"dev":{"delivered":1}},"#,
            r#""attempts":{"stored":1},"#,
            r#""svix":{"buckets":[0,0,1,0,0,0,0,0,0,0,0,0,0,0],"sum":5000},"#,
            r#""requests":{"buckets":[0,0,0,1,0,0,0,0,0,0,0,0,0,0],"sum":7000},"#,
            r#""minutes":{"100":{"delivered":1}}}}"#,
        );
        assert_eq!(String::from_utf8(page.encode()).expect("text"), text);
        assert_eq!(Page::decode(Some(text.as_bytes())), page);
        for other in [
            &text.replace(r#""version":1"#, r#""version":2"#),
            &text.replacen("[0,", "[", 1),
            &text[1..],
            "",
        ] {
            assert_eq!(Page::decode(Some(other.as_bytes())), Page::decode(None));
        }
    }

    #[test]
    fn what_is_counted_anywhere_adds_up() {
        let mut all = Counts::default();
        assert!(all.is_empty());
        for (project, outcome) in [("a", "delivered"), ("a", "duplicate"), ("b", "delivered")] {
            all.merge(&counts(project, outcome));
        }
        all.merge(&counts("a", "delivered"));
        assert!(!all.is_empty());
        let outcomes = numbers([("delivered", 2), ("duplicate", 1)]);
        assert_eq!(all.notifications["a"], outcomes);
        assert_eq!(all.attempts, numbers([("stored", 4)]));
        let outcomes = numbers([("delivered", 3), ("duplicate", 1)]);
        assert_eq!(all.minutes, [(100, outcomes)].into());
        assert_eq!(all.requests.count(), 4);
        assert!((all.requests.sum() - 0.028).abs() < 1e-9);
    }

    #[test]
    fn a_bucket_ends_with_its_bound() {
        let mut histogram = Histogram::default();
        for micros in [0, 1_000, 1_001, 10_000_000, 10_000_001, u64::MAX] {
            histogram.observe(Duration::from_micros(micros));
        }
        let buckets = histogram.buckets();
        assert_eq!(buckets[..2], [(0.001, 2), (0.0025, 1)]);
        assert_eq!(buckets[12..], [(10.0, 1), (f64::INFINITY, 2)]);
        assert_eq!(histogram.count(), 6);
    }

    #[test]
    fn minutes_are_forgotten_after_an_hour() {
        let mut page = Page::decode(None);
        for minute in [10, 40, 99, 100, 101, 5_000] {
            let mut counts = Counts::default();
            counts.notification(None, "delivered", Duration::ZERO, at(minute));
            page.add(minute, &counts, at(100));
        }
        let kept: Vec<_> = page.counts.minutes.into_keys().collect();
        assert_eq!(
            kept,
            [99, 100, 101],
            "the last 60, and a clock's difference"
        );
        let mut counts = Counts::default();
        counts.notification(None, "delivered", Duration::ZERO, at(41));
        counts.forget_before(at(100));
        assert_eq!(counts.minutes.len(), 1);
    }

    #[test]
    fn projects_beyond_the_bound_are_counted_together() {
        let (mut page, mut here) = (Page::decode(None), Counts::default());
        for number in 0..510 {
            let project = number.to_string();
            page.add(number, &counts(&project, "delivered"), at(100));
            here.notification(Some(&project), "delivered", Duration::ZERO, at(100));
        }
        page.add(510, &counts("1", "delivered"), at(100));
        assert_eq!(page.counts.notifications["1"], numbers([("delivered", 2)]));
        for counts in [&page.counts, &here] {
            assert_eq!(counts.notifications.len(), 501);
            assert_eq!(counts.notifications[""], numbers([("delivered", 10)]));
        }
        let mut all = counts("another", "delivered");
        all.merge(&page.counts);
        assert_eq!(
            all.notifications.len(),
            502,
            "of several pages, each counts"
        );
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
        assert_eq!(other.counts.requests.count(), 2);
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
        fn what_is_no_page_is_as_if_it_were_missing(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            prop_assert_eq!(Page::decode(Some(&bytes)), Page::decode(None));
        }

        #[test]
        fn any_duration_is_counted_once(nanos: u64) {
            let mut histogram = Histogram::default();
            histogram.observe(Duration::from_nanos(nanos));
            prop_assert_eq!(histogram.count(), 1);
        }
    }
}
