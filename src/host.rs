//! What the relay has from its host besides HTTP: variables, the key-value store, clocks and
//! randomness.
//!
//! Configuration and store are fetched once per instance. An instance serves many requests and then
//! goes; what it holds is a cache and never the truth. Failures are never cached.

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use futures::future::join;
use spin_sdk::experimental::wasi::keyvalue::{atomics, batch, store as bucket};
use spin_sdk::key_value::{self, Store};
use spin_sdk::variables;
use spin_sdk::wasip3::clocks::{monotonic_clock, system_clock};
use spin_sdk::wasip3::random::random;

use crate::config::{Config, Values};
use crate::problem::{HostError, Problem};
use crate::wire;

/// The longest that the key-value store may take for one operation, if nothing else is said.
///
/// The record is written after the budget of the retries may have been spent, and still has to end
/// before Pub/Sub's default deadline of 10 s: 8 s of default budget and this are below it.
pub const STORE_TIMEOUT: Duration = Duration::from_millis(1_500);

static CONFIG: OnceLock<Config> = OnceLock::new();
static STORE: OnceLock<Store> = OnceLock::new();

/// The configuration, once it is valid.
pub async fn config() -> Result<&'static Config, Problem> {
    if let Some(config) = CONFIG.get() {
        return Ok(config);
    }
    let values = variables().await?;
    let config = Config::from_values(&values).map_err(Problem::InvalidConfiguration)?;
    Ok(CONFIG.get_or_init(|| config))
}

/// The values of all variables, secrets as well.
pub async fn variables() -> Result<Values, Problem> {
    let mut values = [const { None }; Config::VARIABLES.len()];
    for (name, value) in Config::VARIABLES.into_iter().zip(&mut values) {
        *value = match variables::get(name).await {
            Ok(value) => Some(value),
            Err(variables::Error::Undefined(_)) => None,
            Err(error) => {
                return Err(Problem::UnreadableConfiguration(HostError {
                    what: name,
                    reason: error.to_string(),
                }));
            }
        };
    }
    Ok(values)
}

/// Reads two values at once.
pub async fn get_both(
    one: &str,
    other: &str,
) -> (
    Result<Option<Vec<u8>>, Problem>,
    Result<Option<Vec<u8>>, Problem>,
) {
    let [one, other] = [one, other].map(|name| get(name, STORE_TIMEOUT));
    join(one, other).await
}

/// Reads a value within `time`.
pub async fn get(name: &str, time: Duration) -> Result<Option<Vec<u8>>, Problem> {
    let operation = async { store().await?.get(name).await };
    store_operation("read the record", time, operation).await
}

/// Writes a value within `time`. It is durable, as far as the store keeps that promise, when this
/// returns; after a failure it may or may not be there.
pub async fn set(name: &str, bytes: &[u8], time: Duration) -> Result<(), Problem> {
    let operation = async { store().await?.set(name, bytes).await };
    store_operation("write the record", time, operation).await
}

/// Deletes a value; `what` for.
pub async fn delete(what: &'static str, name: &str) -> Result<(), Problem> {
    let operation = async { store().await?.delete(name).await };
    store_operation(what, STORE_TIMEOUT, operation).await
}

/// Writes several values at once, all or none where the store has transactions; `what` for.
///
/// Only `wasi:keyvalue` can do this. Its functions are synchronous: they hold up the whole instance,
/// and no time limits them.
pub fn set_many(what: &'static str, values: &[(String, Vec<u8>)]) -> Result<(), Problem> {
    bucket()
        .and_then(|bucket| batch::set_many(&bucket, values))
        .map_err(|error| bucket_failing(what, &error))
}

/// Deletes several values at once; see [`set_many`]. Where a store doesn't take so many, DynamoDB no more
/// than 25, each by itself.
pub async fn delete_many(what: &'static str, names: &[String]) -> Result<(), Problem> {
    let deleted = bucket().and_then(|bucket| batch::delete_many(&bucket, names));
    if deleted.is_err() {
        for name in names {
            delete(what, name).await?;
        }
    }
    Ok(())
}

/// Whether there is a value, however large.
pub async fn exists(name: &str) -> Result<bool, Problem> {
    let operation = async { store().await?.exists(name).await };
    store_operation("look for the dead letter", STORE_TIMEOUT, operation).await
}

/// Adds to a counter, and returns its new value, or 0 if it is negative; adding 0 reads it. Atomic.
///
/// See [`set_many`] about its use.
pub fn increment(name: &str, by: i64) -> Result<u64, Problem> {
    bucket()
        .and_then(|bucket| atomics::increment(&bucket, name, by))
        .map(|sum| u64::try_from(sum).unwrap_or_default())
        .map_err(|error| bucket_failing("count", &error))
}

fn bucket() -> Result<bucket::Bucket, bucket::Error> {
    bucket::open("default")
}

fn bucket_failing(what: &'static str, error: &bucket::Error) -> Problem {
    let reason = format!("{error:?}");
    Problem::StoreFailing(HostError { what, reason })
}

async fn store() -> Result<&'static Store, key_value::Error> {
    if let Some(store) = STORE.get() {
        return Ok(store);
    }
    let store = Store::open_default().await?;
    Ok(STORE.get_or_init(|| store))
}

async fn store_operation<T>(
    what: &'static str,
    time: Duration,
    operation: impl Future<Output = Result<T, key_value::Error>>,
) -> Result<T, Problem> {
    let reason = match wire::timeout(nanoseconds(time), operation).await {
        Some(Ok(value)) => return Ok(value),
        Some(Err(error)) => error.to_string(),
        None => format!("no answer within {time:?}"),
    };
    Err(Problem::StoreFailing(HostError { what, reason }))
}

/// Wall-clock time.
pub fn now() -> SystemTime {
    let instant = system_clock::now();
    // A clock that shows a time before 1970 is wrong by so much that it doesn't matter.
    let seconds = u64::try_from(instant.seconds).unwrap_or_default();
    let since = Duration::new(seconds, instant.nanoseconds);
    SystemTime::UNIX_EPOCH
        .checked_add(since)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Runs from the moment a request came in.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(u64);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(monotonic_clock::now())
    }

    /// The time since the start.
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(monotonic_clock::now().saturating_sub(self.0))
    }

    /// When that was, by the wall clock.
    pub fn started(self) -> SystemTime {
        now()
            .checked_sub(self.elapsed())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// What is left of `budget`.
    pub fn remaining(self, budget: Duration) -> Duration {
        budget.saturating_sub(self.elapsed())
    }

    /// What is left for writing things down, which may take longer than `budget`: a message that
    /// Svix has should not be sent again only because the store is slow.
    pub fn time_to_store(self, budget: Duration) -> Duration {
        self.remaining(budget + STORE_TIMEOUT)
    }
}

/// Waits.
pub async fn sleep(wait: Duration) {
    monotonic_clock::wait_for(nanoseconds(wait)).await;
}

/// A wait as the host takes it.
pub fn nanoseconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)
}

/// A source of random numbers, seeded by the host once for all of an instance: for waits, traces and
/// nonces, never for what must not be guessed.
pub fn random() -> fastrand::Rng {
    thread_local! {
        static SOURCE: RefCell<fastrand::Rng> =
            RefCell::new(fastrand::Rng::with_seed(random::get_random_u64()));
    }
    SOURCE.with_borrow_mut(fastrand::Rng::fork)
}

/// Writes a line of the log. Nothing may fail because that can't be done.
pub fn print(line: &str) {
    let _ = std::io::stdout().write_all(line.as_bytes());
}
