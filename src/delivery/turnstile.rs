//! One event at the gate: wait until it may go, and tell the gate how its attempt went.
//!
//! [`crate::svix::gate`] decides; [`super::shared_gate`] is what this instance knows of it.

use std::mem;
use std::time::Duration;

use super::shared_gate::{GATE, learn};
use crate::config::Config;
use crate::host::clock;
use crate::host::deadline::Deadline;
use crate::host::store;
use crate::svix::gate::{self, EventAtGate, Gate, Pass};
use crate::svix::retry::{self, MIN_ATTEMPT};
use crate::svix::{self, Cause, Misconfiguration};
use crate::watch;
use crate::watch::change::Change;

/// About how long a notification waits for the gate to open. Pub/Sub waits out what is longer.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Waiting notifications come back to the gate within this time, each at a random moment: the first
/// becomes the probe, and the others shall have heard of it.
const SPREAD: Duration = Duration::from_millis(250);

/// How long, and how often, a notification waits for a probe to come back.
const PROBE_TIME: Duration = Duration::from_millis(150);
const PROBE_TURNS: u32 = 2;

pub struct Turnstile<'a> {
    config: &'a Config,
    deadline: Deadline,
    event: EventAtGate<'a>,
    random: fastrand::Rng,
    /// Whether the event is the gate's probe.
    is_probe: bool,
}

impl<'a> Turnstile<'a> {
    pub fn new(
        config: &'a Config,
        deadline: Deadline,
        event: EventAtGate<'a>,
        random: fastrand::Rng,
    ) -> Self {
        Self { config, deadline, event, random, is_probe: false }
    }

    /// Returns when the event may be sent, perhaps as the gate's probe. Fails if the gate stays closed, or if time runs
    /// out.
    pub async fn wait(&mut self) -> Result<(), svix::Error> {
        if self.is_probe {
            return retry::check_time(self.deadline.remaining());
        }
        let entered = self.deadline.since.elapsed();
        let mut turns = 0;
        loop {
            retry::check_time(self.deadline.remaining())?;
            let mut pass = self.pass();
            let mut learned = true;
            if pass == Pass::Probe {
                // Another instance may have changed the gate since, and its change must not get lost.
                learned = learn(self.time()).await.is_ok();
                pass = self.pass();
            }
            let shut = match pass {
                Pass::Open => return Ok(()),
                Pass::Probe => {
                    let lease = self.config.svix.timeout.min(self.deadline.remaining());
                    let state = GATE.with_borrow_mut(|gate| gate.send_probe(lease, clock::now()));
                    if learned {
                        self.share(&state).await;
                    }
                    retry::check_time(self.deadline.remaining())?;
                    self.is_probe = true;
                    return Ok(());
                }
                Pass::Closed(shut) => shut,
            };
            let (rest, patient) = if shut.probing {
                turns += 1;
                (shut.rest.min(PROBE_TIME), turns <= PROBE_TURNS)
            } else {
                let waited = self.deadline.since.elapsed().saturating_sub(entered);
                (shut.rest, waited + shut.rest <= MAX_WAIT)
            };
            let wait = rest + SPREAD.mul_f64(self.random.f64());
            if !patient || wait + MIN_ATTEMPT > self.deadline.remaining() {
                return Err(svix::Error::Unavailable {
                    cause: Cause::Gate(shut.reason),
                    retry_after: Some(gate::lengthened(shut.rest, self.random.f64())),
                });
            }
            clock::sleep(wait).await;
            let _ = learn(self.time()).await;
        }
    }

    fn pass(&self) -> Pass {
        GATE.with_borrow(|gate| gate.pass(self.event.project, clock::now()))
    }

    /// If the event is the probe and isn't posted, lets the next event be the probe. If this probe's lease has expired,
    /// another event may be the probe already. One more event then becomes a probe beside that one: the gate can't tell
    /// whose probe is given up.
    pub async fn give_up_probe(&mut self) {
        if mem::take(&mut self.is_probe) && learn(self.time()).await.is_ok() {
            let state = GATE.with_borrow_mut(|gate| gate.give_up_probe(clock::now()));
            if let Some(state) = state {
                self.share(&state).await;
            }
        }
    }

    /// Tells the gate how a lookup went. A message that is found ends a run of failures. But it doesn't show that Svix
    /// takes new messages, so a probe passes its task on. A lookup that finds nothing is not told: the post will show
    /// how Svix is.
    pub async fn tell_lookup(&mut self, found: &Result<Option<String>, svix::Error>) {
        match found {
            Ok(None) => {}
            Ok(Some(_)) if self.is_probe => self.give_up_probe().await,
            Ok(Some(_)) | Err(_) => self.tell(found).await,
        }
    }

    /// Tells the gate how an attempt went, and shares its state if that changed.
    pub async fn tell<T>(&mut self, result: &Result<T, svix::Error>) {
        let probe = mem::take(&mut self.is_probe);
        let failure = match result {
            // The request never left the host, which says nothing of Svix.
            Err(svix::Error::Misconfigured(Misconfiguration::OutboundDenied)) => return,
            Err(svix::Error::Unavailable { cause, retry_after }) => match cause.gate_reason() {
                // This says nothing of Svix. If the event was the probe, another one follows after the lease.
                None => return,
                Some(reason) => Some((reason, *retry_after)),
            },
            _ => None,
        };
        let mut learned = true;
        if failure.is_some() || probe || GATE.with_borrow(Gate::is_counting) {
            // Other instances may have failed since, and together the failures make a run. Or an operator may
            // have held a project, which must not get lost.
            learned = learn(self.time()).await.is_ok();
        }
        let jitter = self.random.f64();
        let now = clock::now();
        let (before, state, after) = GATE.with_borrow_mut(|gate| {
            let before = gate.standing(now);
            let state = match failure {
                None => gate.answered(self.event.project, probe, now),
                Some((reason, asked)) => gate.failed(self.event, probe, reason, asked, jitter, now),
            };
            (before, state, gate.standing(now))
        });
        let Some(state) = state else { return };
        if let Some(change) = Change::of_gate(&before, after) {
            watch::change(change);
        }
        if learned {
            self.share(&state).await;
        }
    }

    /// A failure is ignored: other instances then find out for themselves.
    async fn share(&self, state: &[u8]) {
        let _ = store::set(gate::NAME, state, self.time()).await;
    }

    /// The time that the gate may take: half of what is left stays for the record.
    fn time(&self) -> Duration {
        store::TIMEOUT.min(self.deadline.time_to_store() / 2)
    }
}
