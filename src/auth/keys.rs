//! Fetches Google's keys, for this instance and through the store for the others.

use std::cell::RefCell;
use std::pin::Pin;
use std::time::Duration;

use spin_sdk::wasip3;

use super::Denial;
use super::known_keys::{Known, News, Step, lifetime};
use super::token::{self, Key};
use crate::event::shortened;
use crate::host::clock::{self, Stopwatch};
use crate::host::http::{self, Call, header};
use crate::host::origin::Address;
use crate::host::wake::{self, Wake};
use crate::host::{self, store};
use crate::time;

/// The name of the keys in the store.
const NAME: &str = "keys";

/// The longest that fetching the keys may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The largest set that is read, in bytes. Google's has 2 kB.
const MAX_ANSWER: usize = 64 * 1024;

thread_local! {
    static KNOWN: RefCell<Known> = const { RefCell::new(Known::nothing()) };
    /// The requests that wait for the one that fetches the keys, while there is one.
    static WAITING: RefCell<Option<Vec<Wake>>> = const { RefCell::new(None) };
}

/// The key that is called `kid`, if there is one, within what is left of `budget`. `tell` is called with
/// changes of the keys.
pub async fn find(
    jwks: &'static Address,
    kid: &str,
    stopwatch: Stopwatch,
    budget: Duration,
    tell: fn(News),
) -> Result<Option<Key>, Denial> {
    loop {
        let fetching = WAITING.with_borrow(Option::is_some);
        match KNOWN.with_borrow(|known| known.step(kid, time::unix_seconds(clock::now()))) {
            Step::Use(key) => return Ok(Some(key)),
            Step::Fetch(Some(key)) if fetching => return Ok(Some(key)),
            Step::Fetch(None) if fetching => {
                let (wake, sleep) = wake::pair();
                WAITING.with_borrow_mut(|waiting| waiting.get_or_insert_default().push(wake));
                sleep.until_woken().await;
            }
            Step::Fetch(Some(key)) => {
                // The expired key is still within its grace period: use it and refresh in the
                // background.
                wasip3::spawn(refresh(jwks, kid.to_owned(), stopwatch, budget, tell));
                return Ok(Some(key));
            }
            Step::Fetch(None) => refresh(jwks, kid.to_owned(), stopwatch, budget, tell).await,
            Step::Unknown => return Ok(None),
            Step::Unavailable => return Err(unavailable()),
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

/// Gets the keys from the store, or else from their server.
///
/// `Fetching` is set before this returns. The future is boxed so that the caller can either await it
/// or spawn it.
fn refresh(
    jwks: &'static Address,
    kid: String,
    stopwatch: Stopwatch,
    budget: Duration,
    tell: fn(News),
) -> Pin<Box<dyn Future<Output = ()>>> {
    let fetching = Fetching::begin();
    Box::pin(fetch_or_learn(fetching, jwks, kid, stopwatch, budget, tell))
}

async fn fetch_or_learn(
    fetching: Fetching,
    jwks: &Address,
    kid: String,
    stopwatch: Stopwatch,
    budget: Duration,
    tell: fn(News),
) {
    let url = jwks.to_string();
    let time_to_store = || stopwatch.remaining(budget).min(store::TIMEOUT);
    // A store that can't be read is treated as empty.
    let stored = store::get(NAME, time_to_store()).await.unwrap_or_default();
    let now = time::unix_seconds(clock::now());
    let step = KNOWN.with_borrow_mut(|known| {
        known.learn(stored, &url, now);
        known.step(&kid, now)
    });
    if !matches!(step, Step::Fetch(_)) {
        return;
    }
    // If keys are at hand, announce the attempt, so that other instances leave it to this one. Without
    // keys other instances can't wait for it.
    let ahead = KNOWN.with_borrow(|known| known.ahead(&url, now));
    if let Some(ahead) = ahead {
        let _ = store::set(NAME, &ahead, time_to_store()).await;
    }
    let result = fetch(jwks, stopwatch.remaining(budget).min(TIMEOUT)).await;
    let now = time::unix_seconds(clock::now());
    let (news, state) =
        KNOWN.with_borrow_mut(|known| (known.note(result, now), known.encode(&url)));
    // Wake the waiting requests now: they need no more than what the instance knows.
    drop(fetching);
    if let Some(news) = news {
        tell(news);
    }
    let _ = store::set(NAME, &state, time_to_store()).await;
}

/// The keys and for how long they are fresh, in seconds, or why they could not be fetched.
async fn fetch(jwks: &Address, limit: Duration) -> Result<(Vec<Key>, u64), String> {
    let call = Call {
        origin: &jwks.origin,
        path: &jwks.path,
        headers: vec![
            header("accept", "application/json"),
            header("user-agent", http::USER_AGENT),
        ],
        body: None,
    };
    let answer = match clock::timeout(limit, http::fetch(call, MAX_ANSWER)).await {
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
