//! Google's keys, as far as they are known: in the instance, and in the store for the others. What
//! is known decides when to fetch them; the end of the file does it.
//!
//! They are fetched when they have run out, or when a token names one that isn't there, but not more
//! than once a minute. Until a new set has come the old one goes on for a day: Google announces its
//! keys days ahead and takes them back as slowly, while an outage is over in hours.

use std::borrow::Cow;
use std::cell::RefCell;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::value::RawValue;
use spin_sdk::wasip3;

use crate::config::Address;
use crate::event::shortened;
use crate::host::{self, Stopwatch};
use crate::json;
use crate::log::Change;
use crate::oidc::{self, Key};
use crate::problem::{HostError, Problem, Severity};
use crate::record;
use crate::wake::{self, Wake};
use crate::wire::{self, Call};

/// Their name in the store.
const NAME: &str = "keys";

/// The version of the states that this relay writes.
const VERSION: u64 = 1;

/// How long after an attempt to fetch the keys there may be another one, in seconds: with keys
/// and without, when every notification waits for them.
const PAUSE: u64 = 60;
const PAUSE_WITHOUT: u64 = 5;

/// For how long keys are fresh, in seconds: if their server doesn't say, and at least and at most.
const LIFETIME: u64 = 3_600;
const SHORTEST: u64 = 60;
const LONGEST: u64 = 24 * 3_600;

/// For how long keys are good after that, if there are no newer ones, in seconds.
const GRACE: u64 = 24 * 3_600;

/// How far apart the clocks of nodes may be, in seconds.
const SKEW: u64 = 5;

/// The longest that fetching them may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The largest set that is read: Google's has 2 kB.
const MAX_REPLY: usize = 64 * 1024;

/// What is known, as it is shared: a JWK set with some more fields. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    version: u64,
    /// Where the keys are from.
    url: String,
    fetched_at: u64,
    expires_at: u64,
    /// When somebody last tried to fetch them.
    attempted_at: u64,
    /// Why that failed, if it did.
    failure: Option<String>,
    keys: Vec<Key>,
}

/// What to do for a token.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// This key should have signed it.
    Use(Key),
    /// No key has this name.
    Unknown,
    /// Fetch the keys; if somebody does so already, this one is good enough.
    Fetch(Option<Key>),
    /// It may be one of those that there was no way to get just now.
    Unavailable,
}

impl Known {
    const fn nothing() -> Self {
        Self {
            version: VERSION,
            url: String::new(),
            fetched_at: 0,
            expires_at: 0,
            attempted_at: 0,
            failure: None,
            keys: Vec::new(),
        }
    }

    fn step(&self, kid: &str, now: u64) -> Step {
        let usable = self.is_usable(now);
        let mut keys = self.keys.iter().filter(|_| usable);
        let key = keys.find(|key| key.kid == kid).cloned();
        let pause = if usable { PAUSE } else { PAUSE_WITHOUT };
        // Either way: the clock may have been set back.
        let rested = now.abs_diff(self.attempted_at) >= pause;
        match key {
            Some(key) if now < self.expires_at => Step::Use(key),
            key if rested => Step::Fetch(key),
            Some(key) => Step::Use(key),
            None if usable && self.failure.is_none() => Step::Unknown,
            None => Step::Unavailable,
        }
    }

    /// Takes over what the store holds of the keys at `url`, as far as it is newer. What can't be
    /// read, or comes from the future, is as if it weren't there.
    fn learn(&mut self, stored: Option<Vec<u8>>, url: &str, now: u64) {
        let stored = stored.and_then(|bytes| Self::decode(&bytes));
        let Some(stored) = stored.filter(|stored| {
            let latest = stored.fetched_at.max(stored.attempted_at);
            stored.version == VERSION
                && stored.url == url
                && latest <= now + SKEW
                && stored.expires_at <= stored.fetched_at.saturating_add(LONGEST)
        }) else {
            return;
        };
        if stored.attempted_at > self.attempted_at {
            self.attempted_at = stored.attempted_at;
            self.failure = stored.failure;
        }
        if stored.fetched_at > self.fetched_at {
            self.fetched_at = stored.fetched_at;
            self.expires_at = stored.expires_at;
            self.keys = stored.keys;
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        let names = [
            "version",
            "url",
            "fetchedAt",
            "expiresAt",
            "attemptedAt",
            "failure",
        ];
        let [version, url, fetched_at, expires_at, attempted_at, failure] =
            json::pick(text, names).ok()?;
        let number = |raw: Option<&RawValue>| raw?.get().parse().ok();
        Some(Self {
            version: number(version)?,
            url: json::string(url?)?.into_owned(),
            fetched_at: number(fetched_at)?,
            expires_at: number(expires_at)?,
            attempted_at: number(attempted_at)?,
            failure: failure.and_then(json::string).map(Cow::into_owned),
            // Before the first success there are none.
            keys: oidc::keys(text).unwrap_or_default(),
        })
    }

    /// Notes how an attempt ended: with keys that stay fresh for so many seconds, or why without.
    /// What there is to tell, if that changes anything.
    fn note(&mut self, result: Result<(Vec<Key>, u64), String>, now: u64) -> Option<Change> {
        self.attempted_at = now;
        match result {
            Ok((keys, lifetime)) => {
                let failed = self.failure.take().is_some();
                let news = failed || keys != self.keys;
                self.fetched_at = now;
                self.expires_at = now + lifetime;
                self.keys = keys;
                let message = format!("keys fetched: {}", self.keys.len());
                news.then(|| Change::new(Severity::Info, "keys-fetched", message))
            }
            Err(reason) => {
                let severity = if self.is_usable(now) {
                    Severity::Warning
                } else {
                    Severity::Error
                };
                let message = format!("keys can't be fetched: {reason}");
                let news = self.failure.replace(reason).is_none();
                news.then(|| Change::new(severity, "keys-failing", message))
            }
        }
    }

    fn is_usable(&self, now: u64) -> bool {
        !self.keys.is_empty() && now < self.expires_at.saturating_add(GRACE)
    }

    fn encode(&self, url: &str) -> Vec<u8> {
        let state = Self {
            version: VERSION,
            url: url.to_owned(),
            ..self.clone()
        };
        // Strings and numbers only: this can't fail.
        serde_json::to_vec(&state).unwrap_or_default()
    }
}

/// For how long a reply with these headers is fresh (RFC 9111), within bounds.
fn lifetime(cache_control: Option<&str>, age: Option<&str>) -> u64 {
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

/// A time in seconds since 1970, as tokens have it.
pub fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs()
}

thread_local! {
    static KNOWN: RefCell<Known> = const { RefCell::new(Known::nothing()) };
    /// Who waits for the one that fetches the keys, if there is one.
    static WAITING: RefCell<Option<Vec<Wake>>> = const { RefCell::new(None) };
}

/// The key that is called `kid`, if there is one, within what is left of `budget`.
pub async fn find(
    jwks: &'static Address,
    kid: &str,
    stopwatch: Stopwatch,
    budget: Duration,
) -> Result<Option<Key>, Problem> {
    loop {
        let fetching = WAITING.with_borrow(Option::is_some);
        match KNOWN.with_borrow(|known| known.step(kid, seconds(host::now()))) {
            Step::Use(key) => return Ok(Some(key)),
            Step::Fetch(Some(key)) if fetching => return Ok(Some(key)),
            Step::Fetch(None) if fetching => {
                let (wake, sleep) = wake::pair();
                WAITING.with_borrow_mut(|waiting| waiting.get_or_insert_default().push(wake));
                sleep.until_woken().await;
            }
            Step::Fetch(Some(key)) => {
                // What there is will do, so nobody waits for what is newer.
                wasip3::spawn(refresh(jwks, kid.to_owned(), stopwatch, budget));
                return Ok(Some(key));
            }
            Step::Fetch(None) => refresh(jwks, kid.to_owned(), stopwatch, budget).await,
            Step::Unknown => return Ok(None),
            Step::Unavailable => return Err(unavailable()),
        }
    }
}

fn unavailable() -> Problem {
    let failure = KNOWN.with_borrow(|known| known.failure.clone());
    Problem::KeysUnavailable(HostError {
        what: "fetch the keys",
        reason: failure.unwrap_or_else(|| "somebody else tries just now".to_owned()),
    })
}

/// While the keys are being fetched. However that ends, nobody waits for it any more.
struct Fetching(());

impl Fetching {
    fn begin() -> Self {
        WAITING.set(Some(Vec::new()));
        Self(())
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        WAITING.take();
    }
}

/// Gets the keys from the store, or else from where they are.
///
/// It has begun when this returns. Boxed, so that there is one of its kind for both who waits for it
/// and who doesn't.
fn refresh(
    jwks: &'static Address,
    kid: String,
    stopwatch: Stopwatch,
    budget: Duration,
) -> Pin<Box<dyn Future<Output = ()>>> {
    let fetching = Fetching::begin();
    Box::pin(fetch_or_learn(fetching, jwks, kid, stopwatch, budget))
}

async fn fetch_or_learn(
    fetching: Fetching,
    jwks: &Address,
    kid: String,
    stopwatch: Stopwatch,
    budget: Duration,
) {
    let url = jwks.to_string();
    let time_to_store = || stopwatch.remaining(budget).min(host::STORE_TIMEOUT);
    // A store that can't be read is one that holds nothing.
    let stored = host::get(NAME, time_to_store()).await.unwrap_or_default();
    let now = seconds(host::now());
    let step = KNOWN.with_borrow_mut(|known| {
        known.learn(stored, &url, now);
        known.step(&kid, now)
    });
    if !matches!(step, Step::Fetch(_)) {
        return;
    }
    // Others that have keys shall leave it to this one. Who has none can't wait for it.
    let ahead = KNOWN.with_borrow(|known| {
        let attempted_at = now;
        let ahead = Known {
            attempted_at,
            ..known.clone()
        };
        ahead.is_usable(now).then(|| ahead.encode(&url))
    });
    if let Some(ahead) = ahead {
        let _ = host::set(NAME, &ahead, time_to_store()).await;
    }
    let result = fetch(jwks, stopwatch.remaining(budget).min(TIMEOUT)).await;
    let now = seconds(host::now());
    let (change, state) =
        KNOWN.with_borrow_mut(|known| (known.note(result, now), known.encode(&url)));
    // Whoever waits needs no more than what the instance knows.
    drop(fetching);
    if let Some(change) = change {
        host::print(&change.line(record::rfc3339(host::now())));
    }
    let _ = host::set(NAME, &state, time_to_store()).await;
}

/// Keys and for how long they are fresh, or why there are none.
async fn fetch(jwks: &Address, time: Duration) -> Result<(Vec<Key>, u64), String> {
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let call = Call {
        origin: &jwks.origin,
        path: &jwks.path,
        headers: vec![
            header("accept", "application/json"),
            header("user-agent", wire::USER_AGENT),
        ],
        body: None,
    };
    let answer = match wire::timeout(host::nanoseconds(time), wire::fetch(call, MAX_REPLY)).await {
        Some(Ok(answer)) => answer,
        Some(Err(error)) => return Err(shortened(&error.to_string())),
        None => return Err("no answer in time".to_owned()),
    };
    if answer.status != 200 {
        return Err(format!("answered {}", answer.status));
    }
    let header = |name| answer.headers.get(name);
    let lifetime = lifetime(header("cache-control").as_deref(), header("age").as_deref());
    let body = answer.body.ok_or("the answer broke off or is too large")?;
    let keys = str::from_utf8(&body).ok().and_then(oidc::keys);
    let keys = keys.ok_or("the answer holds no RSA key that signs")?;
    Ok((keys, lifetime))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const URL: &str = "https://keys.example/certs";
    const START: u64 = 1_800_000_000;

    fn key(kid: &str) -> Key {
        // 2048 bits: good enough for whoever doesn't verify anything.
        let n = format!("{}w", "_".repeat(341));
        let jwks = json!({"keys": [{"kty": "RSA", "kid": kid, "n": n, "e": "AQAB"}]});
        oidc::keys(&jwks.to_string()).expect("a key").remove(0)
    }

    fn known(kids: &[&str]) -> Known {
        let mut known = Known::nothing();
        let keys = kids.iter().map(|kid| key(kid)).collect();
        known.note(Ok((keys, 600)), START);
        known
    }

    #[test]
    fn uses_fresh_keys() {
        let known = known(&["a", "b"]);
        assert_eq!(known.step("b", START + 599), Step::Use(key("b")));
        assert_eq!(known.step("b", START + 600), Step::Fetch(Some(key("b"))));
    }

    #[test]
    fn asks_for_an_unknown_key_once_a_minute() {
        let known = known(&["a"]);
        assert_eq!(known.step("x", START + 59), Step::Unknown);
        assert_eq!(known.step("x", START + 60), Step::Fetch(None));
        // The clock was set back.
        assert_eq!(known.step("x", START - 61), Step::Fetch(None));
    }

    #[test]
    fn uses_old_keys_for_a_day_if_there_are_no_new_ones() {
        let mut known = known(&["a"]);
        let expired = START + 600;
        let told = known.note(Err("down".to_owned()), expired);
        assert_eq!(
            told,
            Some(Change::new(
                Severity::Warning,
                "keys-failing",
                "keys can't be fetched: down"
            ))
        );
        assert_eq!(known.step("a", expired + 59), Step::Use(key("a")));
        assert_eq!(known.step("a", expired + 60), Step::Fetch(Some(key("a"))));
        assert_eq!(known.note(Err("still down".to_owned()), expired + 60), None);
        let last = expired + GRACE;
        assert_eq!(known.step("a", last - 1), Step::Fetch(Some(key("a"))));
        assert_eq!(known.step("a", last), Step::Fetch(None));
        assert_eq!(known.note(Err("down".to_owned()), last), None);
        assert_eq!(known.step("a", last + 4), Step::Unavailable);
        assert_eq!(known.step("a", last + 5), Step::Fetch(None));
        assert!(known.note(Ok((vec![key("a")], 600)), last + 5).is_some());
        assert_eq!(known.note(Ok((vec![key("a")], 600)), last + 700), None);
        assert!(
            known
                .note(Ok((vec![key("b")], 600)), last + 1_400)
                .is_some()
        );
    }

    #[test]
    fn having_none_for_the_first_time_is_an_error() {
        let mut known = Known::nothing();
        assert_eq!(known.step("a", START), Step::Fetch(None));
        let told = known.note(Err("down".to_owned()), START);
        let message = "keys can't be fetched: down";
        assert_eq!(
            told,
            Some(Change::new(Severity::Error, "keys-failing", message))
        );
        assert_eq!(known.step("a", START), Step::Unavailable);
    }

    #[test]
    fn learns_what_is_newer() {
        let stored = known(&["a"]).encode(URL);
        let learned = |mut known: Known, url: &str, now| {
            known.learn(Some(stored.clone()), url, now);
            known
        };
        let new = learned(Known::nothing(), URL, START);
        assert_eq!(new.step("a", START), Step::Use(key("a")));
        for (url, now) in [
            ("https://other.example/certs", START),
            (URL, START - SKEW - 1),
        ] {
            assert_eq!(learned(Known::nothing(), url, now), Known::nothing());
        }
        let mut newer = known(&["b"]);
        newer.note(Ok((vec![key("c")], 600)), START + 10);
        assert_eq!(learned(newer.clone(), URL, START + 20), newer);
        let mut broken = Known::nothing();
        for bytes in [&b""[..], b"{}", b"\xff", br#"{"version":1}"#] {
            broken.learn(Some(bytes.to_vec()), URL, START);
            assert_eq!(broken, Known::nothing());
        }
    }

    #[test]
    fn another_s_attempt_counts_and_its_keys_do_if_newer() {
        let mut own = known(&["new"]);
        let mut other = known(&["old"]);
        other.fetched_at -= 100;
        other.note(Err("down".to_owned()), START + 30);
        own.learn(Some(other.encode(URL)), URL, START + 40);
        assert_eq!(own.step("x", START + 89), Step::Unavailable);
        assert_eq!(own.step("x", START + 90), Step::Fetch(None));
        assert_eq!(own.step("new", START + 70), Step::Use(key("new")));
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
