//! The key-value store.
//!
//! The store is opened once per instance. Every operation ends within a time, except for those of
//! `wasi:keyvalue`, which are synchronous: they hold up the whole instance.

use std::borrow::Cow;
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use futures::future::join_all;
use spin_sdk::experimental::wasi::keyvalue::{atomics, batch, store as bucket};
use spin_sdk::key_value::{self, Store};

use super::Error;
use super::clock::{self, Stopwatch};

/// The longest that one operation may take unless the caller says otherwise.
///
/// A record is written after the retries may have spent their whole budget, by default 8 s. Budget and
/// write together stay below Pub/Sub's default deadline of 10 s.
pub const TIMEOUT: Duration = Duration::from_millis(1_500);

/// The name of a value that only shows whether the store answers. Some stores, such as Azure's Cosmos DB, refuse
/// names with a slash, which most names here have.
pub const PROBE: &str = "readyz/probe";

/// How many values are read at once.
const AT_ONCE: usize = 16;

/// For how long an answer of the store shows that the store is there.
const AWAKE: Duration = Duration::from_millis(100);

/// A call may take this time before it counts as one that held up the instance.
const UNNOTICED: Duration = Duration::from_millis(2);

/// For how long a store counts as one that holds up instances.
const REMEMBERED: Duration = Duration::from_secs(10);

static STORE: OnceLock<Store> = OnceLock::new();

thread_local! {
    /// When the store last answered.
    static ANSWERED: Cell<Option<Stopwatch>> = const { Cell::new(None) };
    /// How long its answers take of late. A slow one counts at once, and is forgotten over the next ones.
    static TOOK: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// Whether the instance could go on while a call waited.
    static LEAVES_FREE: Cell<bool> = const { Cell::new(false) };
    /// When a call last held up the whole instance.
    static HELD_UP: Cell<Option<Stopwatch>> = const { Cell::new(None) };
}

/// The beginning of every name in the store.
static PREFIX: OnceLock<String> = OnceLock::new();

/// Sets the beginning of every name. Until this is called, every operation fails.
pub fn use_prefix(prefix: &str) {
    PREFIX.get_or_init(|| prefix.to_owned());
}

/// The name as the store has it.
fn full<'a>(what: &'static str, name: &'a str) -> Result<Cow<'a, str>, Error> {
    match PREFIX.get() {
        Some(prefix) if prefix.is_empty() => Ok(name.into()),
        Some(prefix) => Ok(format!("{prefix}{name}").into()),
        None => Err(Error { what, reason: "the relay is not configured".to_owned() }),
    }
}

/// An operation on one value, which may bring the value.
enum Operation<'a> {
    Get,
    Set(&'a [u8]),
    Delete,
    /// Brings an empty value.
    Exists,
}

pub async fn get(name: &str, time: Duration) -> Result<Option<Vec<u8>>, Error> {
    operate("read from the store", name, time, Operation::Get).await
}

/// Reads several values, in the order of their names, and a few at once: the host may take a thread for each. If some
/// that are read at once all fail, so do the rest, without another wait for the store.
pub async fn get_all(names: &[String]) -> Vec<Result<Option<Vec<u8>>, Error>> {
    let mut found: Vec<Result<_, Error>> = Vec::with_capacity(names.len());
    for chunk in names.chunks(AT_ONCE) {
        let values = join_all(chunk.iter().map(|name| get(name, TIMEOUT))).await;
        let have_failed = values.iter().all(Result::is_err);
        found.extend(values);
        if have_failed && let Some(Err(error)) = found.last().cloned() {
            found.resize(names.len(), Err(error));
            break;
        }
    }
    found
}

/// Writes a value within `time`. The value is durable when this returns, as far as the store promises
/// that. After a failure the value may or may not be there.
pub async fn set(name: &str, bytes: &[u8], time: Duration) -> Result<(), Error> {
    let operation = Operation::Set(bytes);
    operate("write to the store", name, time, operation).await?;
    Ok(())
}

pub async fn delete(what: &'static str, name: &str) -> Result<(), Error> {
    operate(what, name, TIMEOUT, Operation::Delete).await?;
    Ok(())
}

/// Writes several values at once: all or none, where the store has transactions. The call is
/// synchronous, and no time limits it.
pub async fn set_many(what: &'static str, values: &[(String, Vec<u8>)]) -> Result<(), Error> {
    let named = |(name, bytes): &(String, Vec<u8>)| {
        let name = full(what, name)?.into_owned();
        Ok((name, bytes.clone()))
    };
    // Without a prefix there is nothing to copy.
    let values: Cow<'_, [_]> = match PREFIX.get() {
        Some(prefix) if prefix.is_empty() => values.into(),
        _ => values.iter().map(named).collect::<Result<Vec<_>, _>>()?.into(),
    };
    check_awake().await?;
    bucket()
        .and_then(|bucket| batch::set_many(&bucket, &values))
        .inspect(|()| note_answer())
        .map_err(|error| bucket_failing(what, &error))
}

/// Deletes several values at once, like [`set_many`]. If the store refuses that, as DynamoDB does for more
/// than 25, each value is deleted by itself, in the order given.
pub async fn delete_many(what: &'static str, names: &[String]) -> Result<(), Error> {
    if names.is_empty() {
        return Ok(());
    }
    let full = names.iter().map(|name| Ok(full(what, name)?.into_owned()));
    let full = full.collect::<Result<Vec<_>, _>>()?;
    check_awake().await?;
    let deleted =
        bucket().and_then(|bucket| batch::delete_many(&bucket, &full)).inspect(|()| note_answer());
    if deleted.is_err() {
        for name in names {
            delete(what, name).await?;
        }
    }
    Ok(())
}

/// Whether there is a value, without reading it.
pub async fn exists(name: &str) -> Result<bool, Error> {
    let value = operate("look into the store", name, TIMEOUT, Operation::Exists).await?;
    Ok(value.is_some())
}

/// The value of a counter, or 0 if that is negative. The call is synchronous, like [`set_many`].
pub async fn counter(name: &str) -> Result<u64, Error> {
    add(name, 0).await
}

/// Adds 1 to a counter, atomically. Returns its new value, or 0 if that is negative. The call is synchronous, too.
pub async fn increment(name: &str) -> Result<u64, Error> {
    add(name, 1).await
}

async fn add(name: &str, by: i64) -> Result<u64, Error> {
    let name = full("count", name)?;
    check_awake().await?;
    bucket()
        .and_then(|bucket| atomics::increment(&bucket, &name, by))
        .inspect(|_| note_answer())
        .map(|sum| u64::try_from(sum).unwrap_or_default())
        .map_err(|error| bucket_failing("count", &error))
}

/// Fails unless the store answers, or has just done so. A synchronous call holds up the instance, and on
/// Spin it may last for minutes if the store is away. An instance that is idle and blocked keeps every other
/// request waiting.
async fn check_awake() -> Result<(), Error> {
    let awake = ANSWERED.get().is_some_and(|since| since.elapsed() < AWAKE);
    if !awake {
        exists(PROBE).await?;
    }
    Ok(())
}

/// Whether the store holds up whole instances. Spin's SQLite serves one call at a time, and while a call
/// waits, its instance can't go on, nor take another request. A busy host may also come late to one answer of another
/// store. So a store that has once let the instance go on doesn't count.
pub fn holds_up() -> bool {
    let late = HELD_UP.get();
    !LEAVES_FREE.get() && late.is_some_and(|since| since.elapsed() < REMEMBERED)
}

/// How long the store takes for an answer, of late.
pub fn took() -> Duration {
    TOOK.get()
}

fn note_answer() {
    ANSWERED.set(Some(Stopwatch::start()));
}

fn bucket() -> Result<bucket::Bucket, bucket::Error> {
    bucket::open("default")
}

fn bucket_failing(what: &'static str, error: &bucket::Error) -> Error {
    Error { what, reason: format!("{error:?}") }
}

async fn store() -> Result<&'static Store, key_value::Error> {
    if let Some(store) = STORE.get() {
        return Ok(store);
    }
    let store = Store::open_default().await?;
    Ok(STORE.get_or_init(|| store))
}

async fn operate(
    what: &'static str,
    name: &str,
    time: Duration,
    operation: Operation<'_>,
) -> Result<Option<Vec<u8>>, Error> {
    let name = &*full(what, name)?;
    let is_read = matches!(operation, Operation::Get);
    let operation = async {
        let store = store().await?;
        let call = async {
            match operation {
                Operation::Get => store.get(name).await,
                Operation::Set(bytes) => store.set(name, bytes).await.map(|()| None),
                Operation::Delete => store.delete(name).await.map(|()| None),
                Operation::Exists => Ok(store.exists(name).await?.then(Vec::new)),
            }
        };
        watch(call, is_read).await
    };
    let begun = Stopwatch::start();
    let reason = match clock::timeout(time, operation).await {
        Some(Ok(value)) => {
            let took = begun.elapsed();
            TOOK.set(took.max((TOOK.get() * 3 + took) / 4));
            note_answer();
            return Ok(value);
        }
        Some(Err(error)) => error.to_string(),
        None => format!("no answer within {time:?}"),
    };
    Err(Error { what, reason })
}

/// Notes whether the call leaves the instance free while it waits.
async fn watch<T>(call: impl Future<Output = T>, is_read: bool) -> T {
    let begun = Stopwatch::start();
    let mut call = pin!(call);
    let mut at_once = true;
    let answer = poll_fn(|context| {
        let poll = call.as_mut().poll(context);
        if poll.is_pending() {
            at_once = false;
            LEAVES_FREE.set(true);
        }
        poll
    })
    .await;
    if is_read && at_once && begun.elapsed() > UNNOTICED {
        HELD_UP.set(Some(Stopwatch::start()));
    }
    answer
}
