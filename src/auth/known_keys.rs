//! Google's keys as far as they are known, and when to fetch them. [`super::keys`] does the fetching.
//!
//! Keys are fetched when they have expired, or when a token names an unknown one, but not more than once a
//! minute. If that fails, expired keys are used for one more day. Google announces its keys days ahead and
//! withdraws them as slowly, while an outage is over in hours.

use serde::Serialize;

use super::token::{self, Key};
use crate::json::{self, Stored};
use crate::time::SKEW;

/// The version of the states that this relay writes.
const VERSION: u64 = 1;

/// How long the relay waits after an attempt to fetch the keys, in seconds. The second number applies
/// without usable keys, when every notification waits for them.
const PAUSE: u64 = 60;
const PAUSE_WITHOUT: u64 = 5;

/// How long an attempt may take that an instance has announced, in seconds. After that the instance has died.
const ATTEMPT: u64 = 6;

/// For how long keys are fresh, in seconds: the default if their server doesn't say, the minimum, and the maximum.
const LIFETIME: u64 = 3_600;
const SHORTEST: u64 = 60;
const LONGEST: u64 = 24 * 3_600;

/// For how long expired keys are used while no newer ones can be fetched, in seconds.
const GRACE: u64 = 24 * 3_600;

/// The keys as the store holds them: a JWK set with more fields. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownKeys {
    version: u64,
    /// Where the keys are from.
    url: String,
    fetched_at: u64,
    expires_at: u64,
    /// When an instance last tried to fetch the keys.
    attempted_at: u64,
    /// Whether that attempt is under way.
    is_fetching: bool,
    /// Why the last attempt that ended failed, if it did.
    pub failure: Option<String>,
    keys: Vec<Key>,
}

/// A change that is logged for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The keys were replaced by this many.
    Fetched(usize),
    /// The keys can't be fetched. `usable`: whether those that are known are still used.
    Failing { reason: String, usable: bool },
}

/// How to get the key of a token.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyStep {
    /// Verify the token with this key.
    Use(Key),
    /// No key has this name.
    Unknown,
    /// The key is unknown, and another instance is fetching the keys.
    Learn,
    /// Fetch the keys. Until they have come, this key may be used.
    Fetch(Option<Key>),
    /// The key is unknown, and the keys could not be fetched just now.
    Unavailable,
}

impl KnownKeys {
    pub const fn nothing() -> Self {
        Self {
            version: VERSION,
            url: String::new(),
            fetched_at: 0,
            expires_at: 0,
            attempted_at: 0,
            is_fetching: false,
            failure: None,
            keys: Vec::new(),
        }
    }

    pub fn step(&self, kid: &str, now: u64) -> KeyStep {
        let usable = self.is_usable(now);
        let mut keys = self.keys.iter().filter(|_| usable);
        let key = keys.find(|key| key.kid == kid).cloned();
        let pause = if usable { PAUSE } else { PAUSE_WITHOUT };
        // The distance counts in both directions, since the clock may have been set back.
        let rest = now.abs_diff(self.attempted_at);
        let rested = rest >= if self.is_fetching { ATTEMPT } else { pause };
        match key {
            Some(key) if now < self.expires_at => KeyStep::Use(key),
            key if rested => KeyStep::Fetch(key),
            Some(key) => KeyStep::Use(key),
            None if self.is_fetching => KeyStep::Learn,
            None if usable && self.failure.is_none() => KeyStep::Unknown,
            None => KeyStep::Unavailable,
        }
    }

    /// Takes over what the store holds of the keys at `url`, as far as it is newer. Unreadable bytes
    /// and times in the future are treated as absent.
    pub fn learn(&mut self, stored: Option<Vec<u8>>, url: &str, now: u64) {
        let stored = stored.and_then(|bytes| Self::decode(&bytes));
        let Some(stored) = stored.filter(|stored| {
            let latest = stored.fetched_at.max(stored.attempted_at);
            stored.version == VERSION
                && stored.url == url
                && latest <= now + SKEW.as_secs()
                && stored.expires_at <= stored.fetched_at.saturating_add(LONGEST)
        }) else {
            return;
        };
        // An attempt often ends in the second in which it began.
        let progress = |known: &Self| (known.attempted_at, !known.is_fetching);
        if progress(&stored) > progress(self) {
            self.attempted_at = stored.attempted_at;
            self.is_fetching = stored.is_fetching;
            self.failure = stored.failure;
        }
        if stored.fetched_at > self.fetched_at {
            self.fetched_at = stored.fetched_at;
            self.expires_at = stored.expires_at;
            self.keys = stored.keys;
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let stored = Stored::read(bytes)?;
        let keys = str::from_utf8(bytes).ok().and_then(token::keys);
        Some(Self {
            version: stored.number("version")?,
            url: stored.string("url")?,
            fetched_at: stored.number("fetchedAt")?,
            expires_at: stored.number("expiresAt")?,
            attempted_at: stored.number("attemptedAt")?,
            is_fetching: stored.raw("isFetching").is_some_and(|raw| raw.get() == "true"),
            failure: stored.string("failure"),
            // Before the first success the set is empty.
            keys: keys.unwrap_or_default(),
        })
    }

    /// The state with which an instance announces its attempt, for the store. `None` without usable keys.
    pub fn ahead(&self, url: &str, now: u64) -> Option<Vec<u8>> {
        let ahead = Self { attempted_at: now, is_fetching: true, ..self.clone() };
        self.is_usable(now).then(|| ahead.encode(url))
    }

    /// Notes how an attempt ended: with keys that stay fresh for so many seconds, or without keys and
    /// why. Returns the news, if there is any.
    pub fn note(&mut self, result: Result<(Vec<Key>, u64), String>, now: u64) -> Option<News> {
        self.attempted_at = now;
        self.is_fetching = false;
        match result {
            Ok((keys, lifetime)) => {
                let failed = self.failure.take().is_some();
                let news = failed || keys != self.keys;
                self.fetched_at = now;
                self.expires_at = now + lifetime;
                self.keys = keys;
                news.then_some(News::Fetched(self.keys.len()))
            }
            Err(reason) => {
                let news = self.failure.replace(reason.clone()).is_none();
                let usable = self.is_usable(now);
                news.then_some(News::Failing { reason, usable })
            }
        }
    }

    /// When these keys were fetched, in seconds since 1970; 0 if there are none.
    pub fn fetched_at(&self) -> u64 {
        self.fetched_at
    }

    /// Whether there are keys that may still be used.
    pub fn is_usable(&self, now: u64) -> bool {
        !self.keys.is_empty() && now < self.expires_at.saturating_add(GRACE)
    }

    pub fn encode(&self, url: &str) -> Vec<u8> {
        let state = Self { version: VERSION, url: url.to_owned(), ..self.clone() };
        json::encode(&state)
    }
}

/// For how long a reply with these headers is fresh (RFC 9111), within bounds.
pub fn lifetime(cache_control: Option<&str>, age: Option<&str>) -> u64 {
    let seconds = |text: &str| text.trim().trim_matches('"').parse::<u64>().ok();
    let mut directives = cache_control.unwrap_or_default().split(',');
    let max_age = directives.find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let max_age = name.trim().eq_ignore_ascii_case("max-age");
        max_age.then(|| seconds(value)).flatten()
    });
    let age = age.and_then(seconds).unwrap_or_default();
    let rest = max_age.map_or(LIFETIME, |max_age| max_age.saturating_sub(age));
    rest.clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const URL: &str = "https://keys.example/certs";
    const START: u64 = 1_800_000_000;

    fn key(kid: &str) -> Key {
        // 2048 bits: a test verifies nothing with it.
        let n = format!("{}w", "_".repeat(341));
        let jwks = json!({"keys": [{"kty": "RSA", "kid": kid, "n": n, "e": "AQAB"}]});
        token::keys(&jwks.to_string()).expect("a key").remove(0)
    }

    fn known(kids: &[&str]) -> KnownKeys {
        let mut known = KnownKeys::nothing();
        let keys = kids.iter().map(|kid| key(kid)).collect();
        known.note(Ok((keys, 600)), START);
        known
    }

    #[test]
    fn asks_for_an_unknown_key_once_a_minute() {
        let known = known(&["a"]);
        assert_eq!(known.step("x", START + 59), KeyStep::Unknown);
        assert_eq!(known.step("x", START + 60), KeyStep::Fetch(None));
        // The clock was set back.
        assert_eq!(known.step("x", START - 61), KeyStep::Fetch(None));
    }

    #[test]
    fn uses_old_keys_for_a_day_if_there_are_no_new_ones() {
        let mut known = known(&["a"]);
        let expired = START + 600;
        let told = known.note(Err("down".to_owned()), expired);
        assert_eq!(told, Some(News::Failing { reason: "down".to_owned(), usable: true }));
        assert_eq!(known.step("a", expired + 59), KeyStep::Use(key("a")));
        assert_eq!(known.step("a", expired + 60), KeyStep::Fetch(Some(key("a"))));
        assert_eq!(known.note(Err("still down".to_owned()), expired + 60), None);
        let last = expired + GRACE;
        assert_eq!(known.step("a", last - 1), KeyStep::Fetch(Some(key("a"))));
        assert_eq!(known.step("a", last), KeyStep::Fetch(None));
        assert_eq!(known.note(Err("down".to_owned()), last), None);
        assert_eq!(known.step("a", last + 4), KeyStep::Unavailable);
        assert_eq!(known.step("a", last + 5), KeyStep::Fetch(None));
        assert!(known.note(Ok((vec![key("a")], 600)), last + 5).is_some());
        assert_eq!(known.note(Ok((vec![key("a")], 600)), last + 700), None);
        assert!(known.note(Ok((vec![key("b")], 600)), last + 1_400).is_some());
    }

    #[test]
    fn a_first_fetch_that_fails_leaves_no_keys() {
        let mut known = KnownKeys::nothing();
        assert_eq!(known.step("a", START), KeyStep::Fetch(None));
        let told = known.note(Err("down".to_owned()), START);
        assert_eq!(told, Some(News::Failing { reason: "down".to_owned(), usable: false }));
        assert_eq!(known.step("a", START), KeyStep::Unavailable);
    }

    #[test]
    fn an_attempt_under_way_is_waited_for_as_long_as_it_may_take() {
        let ahead = known(&["a"]).ahead(URL, START + 300);
        let mut other = known(&["a"]);
        other.learn(ahead, URL, START + 301);
        assert_eq!(other.step("a", START + 301), KeyStep::Use(key("a")));
        assert_eq!(other.step("x", START + 305), KeyStep::Learn);
        assert_eq!(other.step("x", START + 306), KeyStep::Fetch(None));
        let mut fetched = known(&["a"]);
        fetched.note(Ok((vec![key("x")], 600)), START + 300);
        other.learn(Some(fetched.encode(URL)), URL, START + 304);
        assert_eq!(other.step("x", START + 304), KeyStep::Use(key("x")));
        assert_eq!(other.step("a", START + 304), KeyStep::Unknown);
    }

    #[test]
    fn an_attempt_of_another_instance_counts_but_older_future_or_unreadable_keys_do_not() {
        let mut own = known(&["new"]);
        let mut other = known(&["old"]);
        other.fetched_at -= 100;
        other.note(Err("down".to_owned()), START + 30);
        own.learn(Some(other.encode(URL)), URL, START + 40);
        assert_eq!(own.step("x", START + 89), KeyStep::Unavailable);
        assert_eq!(own.step("x", START + 90), KeyStep::Fetch(None));
        assert_eq!(own.step("new", START + 70), KeyStep::Use(key("new")));
        let older = known(&["old"]).encode(URL);
        let mut ahead = known(&["x"]);
        ahead.attempted_at = START + 41 + SKEW.as_secs();
        let before = own.clone();
        for bytes in [&older[..], &ahead.encode(URL), b"{}", br#"{"version":1}"#] {
            own.learn(Some(bytes.to_vec()), URL, START + 40);
            assert_eq!(own, before);
        }
    }

    #[test]
    fn reads_how_long_a_reply_is_fresh() {
        for (cache_control, age, expected) in [
            (Some("public, max-age=21600, must-revalidate"), None, 21_600),
            (Some("Max-Age = \"600\""), None, 600),
            (Some("max-age=600"), Some("100"), 500),
            (Some("max-age=600"), Some("x"), 600),
            (Some("max-age=600"), Some("700"), SHORTEST),
            (Some("s-maxage=5"), None, LIFETIME),
            (Some("max-age=-1"), None, LIFETIME),
            (Some("max-age=99999999999"), None, LONGEST),
            (None, None, LIFETIME),
        ] {
            assert_eq!(lifetime(cache_control, age), expected, "{cache_control:?}");
        }
    }
}
