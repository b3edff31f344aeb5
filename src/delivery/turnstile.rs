//! The gate as this instance knows it: wait at it, tell it how an attempt went, share its state.
//!
//! [`crate::svix::gate`] decides. This file waits, and reads and writes the store.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::budget::Budget;
use crate::config::Config;
use crate::host::clock::{self, Stopwatch};
use crate::host::later::spread;
use crate::host::{self, store};
use crate::svix::gate::{self, Caller, Closing, Gate, Pass, Standing};
use crate::svix::retry::MIN_ATTEMPT;
use crate::svix::{self, Cause, Misconfiguration};
use crate::watch;
use crate::watch::change::Change;

/// The longest that a notification waits for the gate to open. Pub/Sub waits out what is longer.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Waiting notifications come back to the gate within this time, each at a random moment: the first
/// becomes the probe, and the others shall have heard of it.
const SPREAD: Duration = Duration::from_millis(250);

/// For how long an instance goes by what it has read of the gate.
const FRESH: Duration = Duration::from_millis(20);

/// After what time a hold is read again, at least, and how often it is written.
const HOLD_SETTLING: Duration = Duration::from_millis(500);
const HOLD_WRITES: u32 = 8;

/// How long, and how often, a notification waits for a probe to come back.
const PROBE_TIME: Duration = Duration::from_millis(150);
const PROBE_TURNS: u32 = 2;

thread_local! {
    /// The gate as this instance knows it.
    static GATE: RefCell<Gate> = const { RefCell::new(Gate::open()) };
    /// When the knowledge was last read from the store.
    static LEARNED: Cell<Option<Stopwatch>> = const { Cell::new(None) };
}

/// Reads the gate from the store, unless this instance has just done so. If that fails, the instance goes
/// by what it knows.
pub async fn refresh() {
    let fresh = LEARNED.get().is_some_and(|since| since.elapsed() < FRESH);
    if !fresh {
        let _ = learn(store::TIMEOUT).await;
    }
}

/// Takes over what the store holds of the gate, if it is newer.
async fn learn(time: Duration) -> Result<(), host::Error> {
    let begun = Stopwatch::start();
    let stored = store::get(gate::NAME, time).await?;
    LEARNED.set(Some(begun));
    GATE.with_borrow_mut(|gate| gate.learn(stored.as_deref(), clock::now()));
    Ok(())
}

/// Opens the gate for every instance: an operator knows that Svix is well.
pub async fn open() -> Result<(), host::Error> {
    learn(store::TIMEOUT).await?;
    // Until the store has it, the others keep the gate closed, and so does this instance.
    let state = GATE.with_borrow(Gate::clone).open_now(clock::now());
    store::set(gate::NAME, &state, store::TIMEOUT).await?;
    GATE.with_borrow_mut(|gate| gate.learn(Some(&state), clock::now()));
    Ok(())
}

/// Whether an operator holds the project, as this instance knows it.
pub fn holds(project: &str) -> bool {
    GATE.with_borrow(|gate| gate.holds(project))
}

/// The projects that operators hold, as this instance knows them.
pub fn held() -> Vec<String> {
    GATE.with_borrow(|gate| gate.held().to_vec())
}

/// Holds a project for every instance, or lets it go. `false` if too many are held.
///
/// Another instance may replace the gate with what it knew before. So this one reads the gate again later, and
/// writes once more if the change is missing.
pub async fn hold(project: &str, hold: bool) -> Result<bool, host::Error> {
    let mut random = host::random();
    for _ in 0..HOLD_WRITES {
        learn(store::TIMEOUT).await?;
        if holds(project) == hold {
            return Ok(true);
        }
        let state = GATE
            .with_borrow(Gate::clone)
            .hold(project, hold, clock::now());
        let Some(state) = state else {
            return Ok(false);
        };
        store::set(gate::NAME, &state, store::TIMEOUT).await?;
        clock::sleep(spread(HOLD_SETTLING, &mut random)).await;
    }
    Err(host::Error {
        what: "hold the project",
        reason: "other instances replaced the gate again and again".to_owned(),
    })
}

/// How the gate is closed for all events, as this instance knows it. `None` if it is open.
pub fn closed() -> Option<Closing> {
    GATE.with_borrow(|gate| gate.closed_for_all(clock::now()))
}

/// The gate as the store knows it.
pub async fn standing() -> Result<Standing, host::Error> {
    learn(store::TIMEOUT).await?;
    Ok(GATE.with_borrow(|gate| gate.standing(clock::now())))
}

/// One event at the gate, or an operator's work.
pub struct Turnstile<'a> {
    config: &'a Config,
    budget: Budget,
    caller: Caller<'a>,
    random: fastrand::Rng,
}

impl<'a> Turnstile<'a> {
    pub fn new(
        config: &'a Config,
        budget: Budget,
        caller: Caller<'a>,
        random: fastrand::Rng,
    ) -> Self {
        Self {
            config,
            budget,
            caller,
            random,
        }
    }

    /// Waits until the event may be sent, for as long as waiting makes sense. Returns whether the event
    /// is the gate's probe.
    pub async fn wait(&mut self) -> Result<bool, svix::Error> {
        let entered = self.budget.stopwatch.elapsed();
        let mut turns = 0;
        loop {
            self.budget.check()?;
            let mut pass = self.pass();
            if pass == Pass::Probe {
                // Another instance may have changed the gate since, and its change must not get lost.
                let _ = learn(self.time()).await;
                pass = self.pass();
            }
            let closing = match pass {
                Pass::Open => return Ok(false),
                Pass::Probe => {
                    let lease = self.config.svix.timeout.min(self.budget.remaining());
                    let state = GATE.with_borrow_mut(|gate| gate.probing(lease, clock::now()));
                    self.share(&state).await;
                    self.budget.check()?;
                    return Ok(true);
                }
                Pass::Closed(closing) => closing,
            };
            let (rest, patient) = if closing.probing {
                turns += 1;
                (closing.rest.min(PROBE_TIME), turns <= PROBE_TURNS)
            } else {
                let waited = self.budget.stopwatch.elapsed().saturating_sub(entered);
                (closing.rest, waited + closing.rest <= MAX_WAIT)
            };
            let wait = rest + SPREAD.mul_f64(self.random.f64());
            if !patient || wait + MIN_ATTEMPT > self.budget.remaining() {
                return Err(svix::Error::Unavailable {
                    cause: Cause::Gate(closing.reason),
                    retry_after: Some(gate::spread(closing.rest, self.random.f64())),
                });
            }
            clock::sleep(wait).await;
            let _ = learn(self.time()).await;
        }
    }

    fn pass(&self) -> Pass {
        GATE.with_borrow(|gate| gate.pass(self.caller.project, clock::now()))
    }

    /// Tells the gate how an attempt or a lookup went, and shares its state if that changed.
    pub async fn tell<T>(&mut self, result: &Result<T, svix::Error>, probe: bool) {
        let failure = match result {
            // The request never left the host, which says nothing of Svix.
            Err(svix::Error::Misconfigured(Misconfiguration::OutboundDenied)) => return,
            Err(svix::Error::Unavailable { cause, retry_after }) => match cause.gate_reason() {
                // If the event was the probe, another one follows when its time is over.
                None => return,
                Some(reason) => Some((reason, *retry_after)),
            },
            _ => None,
        };
        if failure.is_some() || probe || GATE.with_borrow(Gate::is_counting) {
            // Other instances may have failed since, and together the failures make a run. Or an operator may
            // have held a project, which must not get lost.
            let _ = learn(self.time()).await;
        }
        let jitter = self.random.f64();
        let now = clock::now();
        let (before, state, after) = GATE.with_borrow_mut(|gate| {
            let before = gate.standing(now);
            let state = match failure {
                None => gate.succeeded(self.caller.project, probe, now),
                Some((reason, asked)) => {
                    gate.failed(self.caller, probe, reason, asked, jitter, now)
                }
            };
            (before, state, gate.standing(now))
        });
        let Some(state) = state else { return };
        if let Some(change) = Change::of_gate(&before, after) {
            watch::change(change);
        }
        self.share(&state).await;
    }

    /// A failure is ignored: other instances then find out for themselves.
    async fn share(&self, state: &[u8]) {
        let _ = store::set(gate::NAME, state, self.time()).await;
    }

    /// The time that the gate may take: half of what is left stays for the record.
    fn time(&self) -> Duration {
        store::TIMEOUT.min(self.budget.time_to_store() / 2)
    }
}
