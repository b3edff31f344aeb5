//! Group commit: the records that requests of one instance write at the same time become one
//! transaction of the store, and each request goes on once that is durable.
//!
//! The first to come leads: it lets everyone else who has something to do have a turn, and whoever
//! comes to write meanwhile follows. So nobody waits for company, and alone, a record is written as
//! if there were no batches. A batch (`set-many`) is one transaction on SQLite and Redis; it is
//! synchronous and holds up the whole instance, which costs little where most of it waits for the
//! same disk.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures::future::{join, join_all};
use spin_sdk::wasip3::wit_bindgen::yield_async;

use crate::host::{self, Stopwatch};
use crate::problem::{HostError, Problem};
use crate::tally;
use crate::wake::{self, Wake};

type Outcome = Result<(), Problem>;

thread_local! {
    /// How many requests may come to write.
    static COMING: Cell<usize> = const { Cell::new(0) };
    /// Who follows the one that leads, if there is one.
    static FOLLOWERS: RefCell<Option<Vec<Follower>>> = const { RefCell::new(None) };
}

/// A request that may come to write, for as long as this lives.
#[derive(Debug)]
pub struct Coming(());

/// One more.
pub fn coming() -> Coming {
    COMING.set(COMING.get() + 1);
    Coming(())
}

impl Drop for Coming {
    fn drop(&mut self) {
        COMING.set(COMING.get() - 1);
    }
}

/// A record's name and bytes.
type Record = (String, Vec<u8>);

/// A request whose record another one writes.
struct Follower {
    record: Record,
    waiting: Waiting,
}

/// What a request waits for.
struct Waiting {
    time: Duration,
    outcome: Rc<Cell<Option<Outcome>>>,
    _wake: Wake,
}

/// Writes a record, within `time` if it is alone. It is durable when this returns.
pub async fn write(record: Record, time: Duration) -> Outcome {
    // Before it is: a failure may leave it there.
    tally::written(&record.0, None);
    if COMING.get() <= 1 {
        return alone(&record, time).await;
    }
    if FOLLOWERS.with_borrow(Option::is_some) {
        return follow(record, time).await;
    }
    FOLLOWERS.set(Some(Vec::new()));
    let gathering = Gathering;
    yield_async().await;
    let followers = FOLLOWERS.take().unwrap_or_default();
    drop(gathering);
    lead(record, time, followers).await
}

async fn follow(record: Record, time: Duration) -> Outcome {
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
        Err(Problem::StoreFailing(HostError {
            what: "write the record",
            reason: "the request that wrote for others was cancelled".to_owned(),
        }))
    })
}

/// While the first lets the others come. However that ends, nobody follows it any more.
struct Gathering;

impl Drop for Gathering {
    fn drop(&mut self) {
        FOLLOWERS.take();
    }
}

async fn lead(record: Record, time: Duration, followers: Vec<Follower>) -> Outcome {
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
    if host::set_many("write the records", &records).is_ok() {
        for other in others {
            other.outcome.set(Some(Ok(())));
        }
        return Ok(());
    }
    // One of them may be at fault: each for itself, and nobody waits for another.
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

async fn alone((name, bytes): &Record, time: Duration) -> Outcome {
    host::set(name, bytes, time).await
}
