//! Fetches Google's keys, for this instance and through the store for the others.

use std::cell::RefCell;
use std::time::Duration;

use spin_sdk::wasip3;

use super::Denial;
use super::known_keys::{KeyStep, KnownKeys, News, lifetime};
use super::token::{self, Key};
use crate::host::client::{self, Call};
use crate::host::clock;
use crate::host::deadline::Deadline;
use crate::host::origin::Address;
use crate::host::wake::{self, Wake};
use crate::host::{self, store};
use crate::identifier::shortened;
use crate::time;

/// The name of the keys in the store.
const NAME: &str = "keys";

/// The longest that fetching the keys may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How often a request looks whether another instance has fetched the keys.
const POLL: Duration = Duration::from_millis(500);

/// The largest set that is read, in bytes. Google's has 2 kB.
const MAX_ANSWER: usize = 64 * 1024;

thread_local! {
    static KNOWN: RefCell<KnownKeys> = const { RefCell::new(KnownKeys::nothing()) };
    /// The requests that wait for the one that fetches the keys, while there is one.
    static WAITING: RefCell<Option<Vec<Wake>>> = const { RefCell::new(None) };
}

/// The key that is called `kid`, if there is one. `tell` is called with
/// changes of the keys.
pub async fn find(
    jwks: &'static Address,
    kid: &str,
    deadline: Deadline,
    tell: fn(News),
) -> Result<Option<Key>, Denial> {
    let mut has_learned = false;
    loop {
        match KNOWN.with_borrow(|known| known.step(kid, time::unix_seconds(clock::now()))) {
            KeyStep::Use(key) => return Ok(Some(key)),
            KeyStep::Unknown => return Ok(None),
            KeyStep::Learn => {
                if has_learned {
                    clock::sleep(POLL.min(deadline.remaining())).await;
                }
                has_learned = true;
                if deadline.is_over() {
                    return Err(unavailable());
                }
                let _ = learn(jwks, deadline.remaining()).await;
            }
            KeyStep::Unavailable => return Err(unavailable()),
            KeyStep::Fetch(spare) => {
                if WAITING.with_borrow(Option::is_none) {
                    // Fetch in the background: the keys are for all requests, and may take longer than this one has.
                    wasip3::spawn(refresh(Fetching::begin(), jwks, kid.to_owned(), tell));
                }
                if let Some(key) = spare {
                    return Ok(Some(key));
                }
                let (wake, sleep) = wake::pair();
                WAITING.with_borrow_mut(|waiting| waiting.get_or_insert_default().push(wake));
                let woken = clock::timeout(deadline.remaining(), sleep.until_woken());
                woken.await.ok_or_else(unavailable)?;
            }
        }
    }
}

fn unavailable() -> Denial {
    let failure = KNOWN.with_borrow(|known| known.failure.clone());
    Denial::KeysUnavailable(host::Error {
        what: "fetch the keys",
        reason: failure.unwrap_or_else(|| "another instance is fetching them".to_owned()),
    })
}

/// Held while the keys are being fetched. Dropping it, even on cancellation, wakes all that wait.
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

/// Takes over what the store has of the keys.
async fn learn(jwks: &Address, time: Duration) -> Result<(), host::Error> {
    let stored = store::get(NAME, time.min(store::TIMEOUT)).await?;
    let now = time::unix_seconds(clock::now());
    KNOWN.with_borrow_mut(|known| known.learn(stored, &jwks.to_string(), now));
    Ok(())
}

/// Gets the keys from the store, or else from their server.
async fn refresh(fetching: Fetching, jwks: &'static Address, kid: String, tell: fn(News)) {
    let url = jwks.to_string();
    // A store that can't be read is treated as empty, and must not lose what is newer.
    let has_learned = learn(jwks, store::TIMEOUT).await.is_ok();
    let now = time::unix_seconds(clock::now());
    let (step, had) = KNOWN.with_borrow(|known| (known.step(&kid, now), known.fetched_at()));
    if !matches!(step, KeyStep::Fetch(_)) {
        return;
    }
    // If keys are at hand, announce the attempt, so that other instances leave it to this one. Without
    // keys other instances can't wait for it.
    let ahead = KNOWN.with_borrow(|known| known.ahead(&url, now));
    if let Some(ahead) = ahead.filter(|_| has_learned) {
        let _ = store::set(NAME, &ahead, store::TIMEOUT).await;
    }
    let result = fetch(jwks, TIMEOUT).await;
    let mut may_write = true;
    if result.is_err() {
        // Another instance may have stored keys since. A failure must not take them away.
        may_write = learn(jwks, store::TIMEOUT).await.is_ok();
        if KNOWN.with_borrow(KnownKeys::fetched_at) > had {
            return;
        }
    }
    let now = time::unix_seconds(clock::now());
    let (news, usable) = KNOWN.with_borrow_mut(|known| {
        let news = known.note(result, now);
        (news, known.is_usable(now))
    });
    // Wake the waiting requests now: they need no more than what the instance knows.
    drop(fetching);
    if let Some(news) = news {
        tell(news);
    }
    if may_write && usable {
        let state = KNOWN.with_borrow(|known| known.encode(&url));
        let _ = store::set(NAME, &state, store::TIMEOUT).await;
    }
}

/// The keys and for how long they are fresh, in seconds, or why they could not be fetched.
async fn fetch(jwks: &Address, limit: Duration) -> Result<(Vec<Key>, u64), String> {
    let call = Call { origin: &jwks.origin, path: &jwks.path, headers: Vec::new(), body: None };
    let answer = match clock::timeout(limit, client::fetch(call, MAX_ANSWER)).await {
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
    let keys = str::from_utf8(&body).ok().and_then(token::keys);
    let keys = keys.ok_or("the answer holds no RSA key that signs")?;
    Ok((keys, lifetime))
}
