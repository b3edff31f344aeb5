//! Reads and writes records.
//!
//! Spin's SQLite serves one call at a time, and a call that waits holds up its whole instance. So Spin makes an
//! instance for nearly every request, and each record is a transaction with an fsync. Where the store does that,
//! requests wait a moment for company: when they come, and when they write. Meanwhile their instance takes more
//! requests. The first request to write leads: it writes the records of all those that follow as one transaction
//! (`set-many`), and each goes on once that is durable.
//!
//! Any other store takes each record by itself: its calls wait side by side.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread::LocalKey;
use std::time::Duration;

use futures::future::{join, join_all};

use super::{Record, journal};
use crate::event;
use crate::host::clock::{self, Stopwatch};
use crate::host::wake::{self, Wake};
use crate::host::{self, store};

type Outcome = Result<(), host::Error>;

thread_local! {
    /// The requests that follow the leader, while there is one.
    static FOLLOWERS: RefCell<Option<Vec<Follower>>> = const { RefCell::new(None) };
    /// The requests that go to the store together with the first of them, while that one waits.
    static ARRIVED: RefCell<Option<Vec<Wake>>> = const { RefCell::new(None) };
}

/// `None` if no group gathers.
type Group<T> = LocalKey<RefCell<Option<Vec<T>>>>;

/// How long requests wait for company if the store holds up the instance. Meanwhile the instance takes more
/// requests, which Spin would otherwise give instances of their own.
const COMPANY: Duration = Duration::from_millis(5);

/// Waits for company before the first look into a store that holds up the instance.
pub async fn arrive() {
    if !store::holds_up() {
        return;
    }
    if ARRIVED.with_borrow(Option::is_none) {
        // Dropping them wakes them.
        drop(gather(&ARRIVED).await);
        return;
    }
    let (wake, sleep) = wake::pair();
    ARRIVED.with_borrow_mut(|arrived| arrived.get_or_insert_default().push(wake));
    sleep.until_woken().await;
}

/// A record, read within `time`. `None` if the value is missing, or of a later version.
pub async fn read(name: &str, time: Duration) -> Result<Option<Record>, host::Error> {
    let bytes = store::get(name, time).await?;
    Ok(bytes.as_deref().and_then(Record::decode))
}

/// The record of an event, with its bytes. `None` if the record is missing, or of a later version.
pub async fn find(project: &str, event_id: &str) -> Result<Option<(Vec<u8>, Record)>, host::Error> {
    // An invalid project never has a record; do not build a key from it.
    if event::identifier(project).is_err() {
        return Ok(None);
    }
    let name = Record::name(&event::key(project, event_id));
    let bytes = store::get(&name, store::TIMEOUT).await?;
    Ok(bytes.and_then(|bytes| {
        let record = Record::decode(&bytes)?;
        Some((bytes, record))
    }))
}

/// A record's name and bytes.
type Named = (String, Vec<u8>);

/// A request whose record the leader writes.
struct Follower {
    record: Named,
    waiting: Waiting,
}

/// A follower's end of the group: its time, and the outcome that it is woken for.
struct Waiting {
    time: Duration,
    outcome: Rc<Cell<Option<Outcome>>>,
    _wake: Wake,
}

/// Writes a record, within `time` if it is alone. The record is durable when this returns.
pub async fn write(record: Named, time: Duration) -> Outcome {
    // Journal the record before writing it: the store may keep the record and still report a failure.
    journal::note(&record.0);
    if !store::holds_up() {
        return alone(&record, time).await;
    }
    if FOLLOWERS.with_borrow(Option::is_some) {
        return follow(record, time).await;
    }
    let followers = gather(&FOLLOWERS).await;
    lead(record, time, followers).await
}

/// Lets requests come to `group`, and returns those that came.
async fn gather<T>(group: &'static Group<T>) -> Vec<T> {
    group.set(Some(Vec::new()));
    let gathering = Gathering(group);
    clock::sleep(COMPANY).await;
    let members = group.take().unwrap_or_default();
    drop(gathering);
    members
}

async fn follow(record: Named, time: Duration) -> Outcome {
    let (wake, sleep) = wake::pair();
    let outcome = Rc::new(Cell::new(None));
    let waiting = Waiting {
        time,
        outcome: outcome.clone(),
        _wake: wake,
    };
    let follower = Follower { record, waiting };
    FOLLOWERS.with_borrow_mut(|followers| followers.get_or_insert_default().push(follower));
    sleep.until_woken().await;
    outcome.take().unwrap_or_else(|| {
        Err(host::Error {
            what: "write to the store",
            reason: "the request that wrote for others is gone".to_owned(),
        })
    })
}

/// Held while a group gathers. Dropping it closes the group.
struct Gathering<T: 'static>(&'static Group<T>);

impl<T> Drop for Gathering<T> {
    fn drop(&mut self) {
        self.0.take();
    }
}

async fn lead(record: Named, time: Duration, followers: Vec<Follower>) -> Outcome {
    if followers.is_empty() {
        return alone(&record, time).await;
    }
    let mut records = vec![record];
    let mut others = Vec::with_capacity(followers.len());
    for follower in followers {
        records.push(follower.record);
        others.push(follower.waiting);
    }
    let stopwatch = Stopwatch::start();
    if store::set_many("write the records", &records).await.is_ok() {
        for other in others {
            other.outcome.set(Some(Ok(())));
        }
        return Ok(());
    }
    // One record of the group may be at fault, so each is written by itself. All at once: no request
    // waits for another.
    let own = alone(&records[0], stopwatch.remaining(time));
    let rest = records[1..]
        .iter()
        .zip(others)
        .map(async |(record, other)| {
            let outcome = alone(record, stopwatch.remaining(other.time)).await;
            other.outcome.set(Some(outcome));
        });
    join(own, join_all(rest)).await.0
}

async fn alone((name, bytes): &Named, time: Duration) -> Outcome {
    store::set(name, bytes, time).await
}
