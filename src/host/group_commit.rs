//! Group commit: one transaction for the values of several requests, where the store holds up instances.
//!
//! Spin's SQLite serves one call at a time, and a call that waits holds up its whole instance. So Spin makes an
//! instance for nearly every request, and each write is a transaction with an fsync. Where the store does that,
//! requests wait a moment for others: when they come, and when they write. Meanwhile their instance takes more
//! requests. The first request to write leads: it writes the values of all those that follow as one transaction
//! (`set-many`), and each goes on once that is durable.
//!
//! Any other store takes each value by itself: its calls wait side by side.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread::LocalKey;
use std::time::Duration;

use futures::future::{join, join_all};

use super::clock::{self, Stopwatch};
use super::wake::{self, Wake};
use super::{Error, store};

type Outcome = Result<(), Error>;

thread_local! {
    /// The requests that follow the leader, while there is one.
    static FOLLOWERS: RefCell<Option<Vec<Follower>>> = const { RefCell::new(None) };
    /// The requests that go to the store together with the first of them, while that one waits.
    static ARRIVED: RefCell<Option<Vec<Wake>>> = const { RefCell::new(None) };
}

/// `None` if no group gathers.
type Group<T> = LocalKey<RefCell<Option<Vec<T>>>>;

/// How long requests wait for others if the store holds up the instance. Meanwhile the instance takes more
/// requests, which Spin would otherwise give instances of their own.
const WAIT: Duration = Duration::from_millis(5);

/// If the store holds up the instance, waits before the first read, so that other requests may come.
pub async fn wait_for_others() {
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

/// A name and its value.
type Named = (String, Vec<u8>);

/// A request whose value the leader writes.
struct Follower {
    value: Named,
    waiting: Waiting,
}

/// A follower's end of the group: its time, and the outcome that it is woken for.
struct Waiting {
    time: Duration,
    outcome: Rc<Cell<Option<Outcome>>>,
    _wake: Wake,
}

/// Writes a value. The value is durable when this returns. `time` limits the write only if no group shares it.
pub async fn write(value: Named, time: Duration) -> Outcome {
    if !store::holds_up() {
        return alone(&value, time).await;
    }
    if FOLLOWERS.with_borrow(Option::is_some) {
        return follow(value, time).await;
    }
    let followers = gather(&FOLLOWERS).await;
    lead(value, time, followers).await
}

/// Lets requests come to `group`, and returns those that came.
async fn gather<T>(group: &'static Group<T>) -> Vec<T> {
    group.set(Some(Vec::new()));
    let gathering = Gathering(group);
    clock::sleep(WAIT).await;
    let members = group.take().unwrap_or_default();
    drop(gathering);
    members
}

async fn follow(value: Named, time: Duration) -> Outcome {
    let (wake, sleep) = wake::pair();
    let outcome = Rc::new(Cell::new(None));
    let waiting = Waiting { time, outcome: outcome.clone(), _wake: wake };
    let follower = Follower { value, waiting };
    FOLLOWERS.with_borrow_mut(|followers| followers.get_or_insert_default().push(follower));
    sleep.until_woken().await;
    outcome.take().unwrap_or_else(|| {
        Err(Error {
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

async fn lead(value: Named, time: Duration, followers: Vec<Follower>) -> Outcome {
    if followers.is_empty() {
        return alone(&value, time).await;
    }
    let mut values = vec![value];
    let mut others = Vec::with_capacity(followers.len());
    for follower in followers {
        values.push(follower.value);
        others.push(follower.waiting);
    }
    let stopwatch = Stopwatch::start();
    if store::set_many("write the records", &values).await.is_ok() {
        for other in others {
            other.outcome.set(Some(Ok(())));
        }
        return Ok(());
    }
    // One value of the group may be at fault, so each is written by itself. All at once: no request
    // waits for another.
    let own = alone(&values[0], stopwatch.remaining(time));
    let rest = values[1..].iter().zip(others).map(async |(value, other)| {
        let outcome = alone(value, stopwatch.remaining(other.time)).await;
        other.outcome.set(Some(outcome));
    });
    join(own, join_all(rest)).await.0
}

async fn alone((name, bytes): &Named, time: Duration) -> Outcome {
    store::set(name, bytes, time).await
}
