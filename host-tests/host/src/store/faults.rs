//! Faults between a guest and its store, on demand, and a count of the guest's calls.

use std::collections::VecDeque;
use std::future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time;

use super::write::{Error, Result};
use crate::lock::lock;

/// The calls of a guest to its store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Op {
    Open,
    Get,
    Set,
    Delete,
    Exists,
    Increment,
    SetMany,
    DeleteMany,
}

/// The number of variants of [`Op`].
const OPS: usize = Op::DeleteMany as usize + 1;

/// The faults to come and the calls so far. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    inner: Arc<Inner>,
    metrics: Arc<Inner>,
    journal: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    called: Notify,
}

#[derive(Debug, Default)]
struct State {
    ops: [Schedule; OPS],
    /// For the next calls of `set` or `set-many`.
    sets: VecDeque<Fault>,
    /// How many values of the next `set-many` are written before it fails.
    partial: Option<usize>,
}

#[derive(Debug, Default)]
struct Schedule {
    next: VecDeque<Fault>,
    fail_always: bool,
    delay: Duration,
    before: Option<fn()>,
    calls: usize,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Fail,
    Hang,
    Lose,
    DoThenFail,
    DoThenHang,
}

impl Faults {
    /// Faults and calls for the pages of metrics. The relay reads and writes them in the
    /// background, some time after an event. They must not use up the faults that are meant for
    /// events, nor count as calls of an event.
    #[must_use]
    pub fn metrics(&self) -> Self {
        Self { inner: self.metrics.clone(), ..self.clone() }
    }

    /// Faults and calls for the journal, which is also written in the background.
    #[must_use]
    pub fn journal(&self) -> Self {
        Self { inner: self.journal.clone(), ..self.clone() }
    }

    pub(super) fn of(&self, key: &str) -> Self {
        if key.starts_with("metrics/") {
            self.metrics()
        } else if key.starts_with("journal") {
            self.journal()
        } else {
            self.clone()
        }
    }

    /// The next `n` calls of `op` fail without effect.
    pub fn fail_next(&self, op: Op, n: usize) {
        self.state().ops[op as usize].next.extend(vec![Fault::Fail; n]);
    }

    /// The `n`th call of `op` from now fails without effect, and no call before it.
    pub fn fail_nth(&self, op: Op, n: usize) {
        self.nth(op, n, Fault::Fail);
    }

    /// The `n`th call of `op` from now has no effect and never returns.
    pub fn hang_nth(&self, op: Op, n: usize) {
        self.nth(op, n, Fault::Hang);
    }

    fn nth(&self, op: Op, n: usize, fault: Fault) {
        let mut state = self.state();
        let next = &mut state.ops[op as usize].next;
        next.extend(vec![Fault::None; n.saturating_sub(1)]);
        next.push_back(fault);
    }

    /// Every call of `op` fails without effect until [`Faults::clear`].
    pub fn fail_always(&self, op: Op) {
        self.state().ops[op as usize].fail_always = true;
    }

    /// The next call of `op` has no effect and never returns.
    pub fn hang_next(&self, op: Op) {
        self.state().ops[op as usize].next.push_back(Fault::Hang);
    }

    /// The next `set` or `set-many` meets no fault. The one after it meets the next fault.
    pub fn spare_next_set(&self) {
        self.state().sets.push_back(Fault::None);
    }

    /// The next `set` or `set-many` succeeds without effect.
    pub fn lose_next_set(&self) {
        self.state().sets.push_back(Fault::Lose);
    }

    /// The next `set` or `set-many` writes, and fails all the same.
    pub fn write_then_fail_next_set(&self) {
        self.state().sets.push_back(Fault::DoThenFail);
    }

    /// The next `set-many` writes only its first values, and fails, as where a store writes one after the other.
    pub fn write_first_of_next_set_many(&self, values: usize) {
        self.state().partial = Some(values);
    }

    /// How many values the call is to write before it fails, if it is to fail so.
    pub(super) fn take_partial(&self, op: Op) -> Option<usize> {
        let mut state = self.state();
        let values = state.partial.take_if(|_| op == Op::SetMany)?;
        state.sets.push_front(Fault::DoThenFail);
        Some(values)
    }

    /// The next `set` or `set-many` writes and never returns.
    pub fn write_then_hang_next_set(&self) {
        self.state().sets.push_back(Fault::DoThenHang);
    }

    /// Every call of `op` begins after this delay.
    pub fn delay(&self, op: Op, delay: Duration) {
        self.state().ops[op as usize].delay = delay;
    }

    /// Every call of `op` runs this first, in the guest's own call: until it returns, the instance does
    /// nothing else.
    pub fn before(&self, op: Op, act: fn()) {
        self.state().ops[op as usize].before = Some(act);
    }

    /// Removes all faults. The counts stay, and a call that hangs goes on hanging.
    pub fn clear(&self) {
        let mut state = self.state();
        state.sets.clear();
        state.partial = None;
        for schedule in &mut state.ops {
            *schedule = Schedule { calls: schedule.calls, ..Schedule::default() };
        }
    }

    /// How often the guest has called `op` so far, faults included.
    pub fn count(&self, op: Op) -> usize {
        self.state().ops[op as usize].calls
    }

    /// Waits until the guest has called `op` for the `n`th time.
    pub async fn called(&self, op: Op, n: usize) {
        loop {
            let mut called = Box::pin(self.inner.called.notified());
            called.as_mut().enable();
            if self.count(op) >= n {
                return;
            }
            called.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.inner.state)
    }

    fn begin(&self, op: Op) -> (Duration, Option<Fault>) {
        let mut state = self.state();
        let set = matches!(op, Op::Set | Op::SetMany).then(|| state.sets.pop_front()).flatten();
        let schedule = &mut state.ops[op as usize];
        schedule.calls += 1;
        let fault = set.or_else(|| schedule.next.pop_front());
        let fault = fault.or_else(|| schedule.fail_always.then_some(Fault::Fail));
        self.inner.called.notify_waiters();
        (schedule.delay, fault)
    }

    pub(super) async fn around<T: Default>(
        &self,
        op: Op,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let (delay, fault) = self.begin(op);
        let before = self.state().ops[op as usize].before;
        if let Some(act) = before {
            act();
        }
        if !delay.is_zero() {
            time::sleep(delay).await;
        }
        match fault {
            None | Some(Fault::None) => call.await,
            Some(Fault::Fail) => Err(injected()),
            Some(Fault::Hang) => future::pending().await,
            Some(Fault::Lose) => Ok(T::default()),
            Some(Fault::DoThenFail) => call.await.and_then(|_| Err(injected())),
            Some(Fault::DoThenHang) => {
                call.await?;
                future::pending().await
            }
        }
    }
}

fn injected() -> Error {
    Error("injected fault".to_owned())
}
