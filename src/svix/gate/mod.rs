//! The gate: a circuit breaker before Svix that all instances share.
//!
//! The gate is open, or closed until a point in time. After that time one notification goes through as the
//! probe, and the gate stays closed for the others until the probe is back. If the probe succeeds, the gate
//! opens; if the probe fails, the gate closes for longer. The state lies in the key-value store; this folder
//! only computes it. Times are wall-clock times, since nodes share them. A state never blocks for longer
//! than the time it was made for, even if a clock is wrong.
//!
//! A [`Closing`] is what the store holds of the closed gate, a [`Shut`] what one event meets, and a [`Standing`] what
//! operators see.
//!
//! - A 429 closes the gate for its `Retry-After`, a minute at most; without one, for as long as failures do.
//! - Five failures in a row close it for a second. Each probe that fails doubles that, up to half a minute. A closing
//!   lasts between half and all of that time. If a failure that closes the gate has a `Retry-After`, that counts
//!   instead, up to half a minute. The run of failures is part of the state, since an instance may live for one event
//!   only.
//! - If all failures of the run are of one project, the gate closes for that project alone: the others' events go on.
//!   Failures of several projects close it for all. If another project succeeds during a run of one project, that run
//!   goes on: it tells of the project, not of Svix. Another project's next failure then begins a run of its own. While
//!   the gate is closed for one project, five failures of the others in a row close it for all. A 429 tells of no
//!   project, so it closes the gate for all.
//! - One event alone can't keep the gate closed. Of one event only three failures in succession count.
//!   An event that fails as the probe a second time closes the gate for a second only.
//! - A notification that meets the closed gate waits for about a second, if that helps. Then it is refused, with
//!   the rest of the closing as `Retry-After`, and up to a quarter more, so that senders don't come back at once.
//!
//! The state also names the projects that operators hold, so that every instance knows them. Every change takes them
//! along. The gate itself lets their events pass: `delivery` fails with `Held`.
//!
//! An invalid event never comes to the gate, nor does one that its record answers.

mod closing;
mod run;

use std::mem;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use self::closing::{Closing, Failure, LONGEST, longest};
pub use self::closing::{Reason, lengthened};
pub use self::run::EventAtGate;
use self::run::Run;
use crate::json;
use crate::time::{SKEW, as_millis, unix_millis};

/// The name of the gate in the store.
pub const NAME: &str = "gate";

/// The version of the states that this relay writes.
const VERSION: u32 = 1;

/// How many attempts must fail in a row, wherever they are made, to close the gate.
const RUN: u32 = 5;
/// How many projects can be held at once.
pub const MAX_HELD: usize = 64;
/// An attempt that was sent before the gate closed may get a 429. The 429 replaces the closing only if its
/// `Retry-After` exceeds the rest of the closing by more than this.
const NEWS: Duration = Duration::from_secs(1);

/// The gate as operators see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Standing {
    Open,
    Closed {
        reason: Reason,
        /// The rest of the closing, at most.
        seconds: f64,
        /// The only project whose events wait. `None` if all do.
        #[serde(skip_serializing_if = "Option::is_none")]
        project: Option<String>,
    },
}

/// The state as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    version: u32,
    /// The time at which this state was made, in milliseconds since 1970.
    #[serde(rename = "changed")]
    changed_at: u64,
    /// `None`: open.
    closed: Option<Closing>,
    run: Run,
    /// The projects that an operator holds. The gate only keeps their names: `delivery` refuses their events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    held: Vec<String>,
}

impl State {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let state: Self = serde_json::from_slice(bytes).ok()?;
        (state.version == VERSION).then_some(state)
    }

    fn holds(&self, project: &str) -> bool {
        self.held.iter().any(|held| held == project)
    }
}

/// Whether the state in the store holds the project.
pub fn holds(stored: Option<&[u8]>, project: &str) -> bool {
    let state = stored.and_then(State::decode);
    state.is_some_and(|state| state.holds(project))
}

/// The closed gate, as a notification meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shut {
    pub reason: Reason,
    /// The rest of the closing, at most.
    pub rest: Duration,
    /// Whether a probe is on its way, which may open the gate at any moment.
    pub probing: bool,
}

/// The gate's answer to a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Go on.
    Open,
    /// Go on as the probe, once [`Gate::send_probe`] has told the others.
    Probe,
    /// Not yet.
    Closed(Shut),
}

/// An instance's view of the gate.
#[derive(Clone, Debug)]
pub struct Gate {
    state: State,
    /// When the state began, by the clock of its writer but never later than now, in milliseconds since 1970.
    since: u64,
}

impl Gate {
    pub const fn open() -> Self {
        Self {
            state: State {
                version: VERSION,
                changed_at: 0,
                closed: None,
                run: Run::none(),
                held: Vec::new(),
            },
            since: 0,
        }
    }

    /// Takes over what the store holds, if that is newer and not from the future. The held projects are always those
    /// in the store: no clock shall hide what an operator has done. Unreadable states are treated as absent.
    pub fn learn(&mut self, stored: Option<&[u8]>, now: SystemTime) {
        let Some(mut state) = stored.and_then(State::decode) else {
            return;
        };
        self.state.held = mem::take(&mut state.held);
        if is_plausible(state.changed_at, now) && state.changed_at > self.latest_change(now) {
            self.since = state.changed_at.min(unix_millis(now));
            state.held = mem::take(&mut self.state.held);
            self.state = state;
        }
    }

    /// The time of the last change, or 0 if it lies in the future: the clock was ahead, and is set right.
    fn latest_change(&self, now: SystemTime) -> u64 {
        let changed = self.state.changed_at;
        if is_plausible(changed, now) { changed } else { 0 }
    }

    /// Whether an event of this project may go on.
    pub fn pass(&self, project: &str, now: SystemTime) -> Pass {
        match self.closed_for(project, now) {
            None => Pass::Open,
            Some(shut) if shut.rest.is_zero() => Pass::Probe,
            Some(shut) => Pass::Closed(shut),
        }
    }

    /// How the gate is closed for events of this project. `None` if it is open for them. A rest of zero means that
    /// a probe is due.
    pub fn closed_for(&self, project: &str, now: SystemTime) -> Option<Shut> {
        let closing = self.state.closed.as_ref();
        closing.filter(|closing| closing.concerns(project))?;
        self.closed(now)
    }

    /// How the gate is closed for all events. `None` if it is open, or if only one project's wait.
    pub fn closed_for_all(&self, now: SystemTime) -> Option<Shut> {
        let closing = self.state.closed.as_ref();
        closing.filter(|closing| closing.project.is_none())?;
        self.closed(now)
    }

    fn closed(&self, now: SystemTime) -> Option<Shut> {
        let closing = self.state.closed.as_ref()?;
        let rest = match unix_millis(now).checked_sub(self.since) {
            Some(elapsed) => closing.millis.min(as_millis(LONGEST)).saturating_sub(elapsed),
            // The clock was set back, so the elapsed time is unknown.
            None => 0,
        };
        Some(Shut {
            reason: closing.reason,
            rest: Duration::from_millis(rest),
            probing: closing.probing,
        })
    }

    pub fn standing(&self, now: SystemTime) -> Standing {
        match self.closed(now) {
            None => Standing::Open,
            Some(shut) => Standing::Closed {
                reason: shut.reason,
                seconds: shut.rest.as_secs_f64(),
                project: self.state.closed.as_ref().and_then(|it| it.project.clone()),
            },
        }
    }

    /// A probe is on its way, for `lease` at most, and the gate is closed for all others. Returns the
    /// state to share.
    pub fn send_probe(&mut self, lease: Duration, now: SystemTime) -> Vec<u8> {
        let closing = self.state.closed.take().map(|closing| Closing {
            millis: as_millis(lease),
            probing: true,
            ..closing
        });
        self.change(closing, Run::none(), now)
    }

    /// The probe has shown nothing, and the next event is the probe. Returns the state to share. `None` if no probe is
    /// on its way.
    pub fn give_up_probe(&mut self, now: SystemTime) -> Option<Vec<u8>> {
        let closing = self.state.closed.clone().filter(|closing| closing.probing)?;
        let due = Closing { millis: 0, probing: false, ..closing };
        Some(self.change(Some(due), Run::none(), now))
    }

    /// An operator opens the gate. Returns the state to share.
    pub fn open_now(&mut self, now: SystemTime) -> Vec<u8> {
        self.change(None, Run::none(), now)
    }

    pub fn held(&self) -> &[String] {
        &self.state.held
    }

    pub fn holds(&self, project: &str) -> bool {
        self.state.holds(project)
    }

    /// An operator holds a project, or lets it go. Returns the state to share. `None` if too many are held.
    pub fn hold(&mut self, project: &str, hold: bool, now: SystemTime) -> Option<Vec<u8>> {
        if hold && self.state.held.len() >= MAX_HELD {
            return None;
        }
        self.state.held.retain(|held| held != project);
        if hold {
            self.state.held.push(project.to_owned());
        }
        let closing = self.rest_of_closing(now);
        Some(self.change(closing, self.state.run.clone(), now))
    }

    /// Svix has answered an event of this project, and not with a failure of its own. Returns the state to share,
    /// if it changed.
    pub fn answered(&mut self, project: &str, probe: bool, now: SystemTime) -> Option<Vec<u8>> {
        match &self.state.closed {
            Some(closing) if closing.concerns(project) => {
                probe.then(|| self.change(None, Run::none(), now))
            }
            _ if self.state.run == Run::none() => None,
            _ => {
                let of_another = self.state.run.project.as_deref() != Some(project);
                let run = if self.state.run.project.is_some() && of_another {
                    Run { others_succeed: true, ..self.state.run.clone() }
                } else {
                    Run::none()
                };
                let closing = self.rest_of_closing(now);
                let news = run != self.state.run;
                news.then(|| self.change(closing, run, now))
            }
        }
    }

    /// Whether failures are being counted, so that a success may be news.
    pub fn is_counting(&self) -> bool {
        self.state.run != Run::none()
    }

    /// The closing as it is by now, for a state that begins now.
    fn rest_of_closing(&self, now: SystemTime) -> Option<Closing> {
        let rest = self.closed(now)?.rest;
        let closing = self.state.closed.clone()?;
        Some(Closing { millis: as_millis(rest), ..closing })
    }

    /// Svix has failed on this event. Returns the state to share, if it changed. `asked` is Svix's own
    /// `Retry-After`; `jitter` is between 0 and 1.
    pub fn failed(
        &mut self,
        event: EventAtGate<'_>,
        probe: bool,
        reason: Reason,
        asked: Option<Duration>,
        jitter: f64,
        now: SystemTime,
    ) -> Option<Vec<u8>> {
        let failure =
            Failure { event, reason, asked: asked.map(|asked| asked.min(longest(reason))), jitter };
        let closing = self.state.closed.clone();
        match closing.filter(|closing| closing.concerns(event.project)) {
            None => self.failed_while_open(&failure, now),
            Some(closing) if probe => {
                let closing = failure.of_probe(closing);
                Some(self.change(Some(closing), Run::none(), now))
            }
            Some(closing) => self.failed_late(&failure, closing, now),
        }
    }

    fn failed_while_open(&mut self, failure: &Failure<'_>, now: SystemTime) -> Option<Vec<u8>> {
        let run = self.state.run.and(failure.event);
        let of_another = self.rest_of_closing(now);
        if failure.reason == Reason::SvixUnavailable && run.failures < RUN {
            let is_news = run != self.state.run;
            return is_news.then(|| self.change(of_another, run, now));
        }
        // Once a second project is in trouble, Svix may be.
        let is_alone = failure.reason == Reason::SvixUnavailable && of_another.is_none();
        let closing = Closing {
            reason: failure.reason,
            millis: failure.wait(0),
            times: 1,
            probing: false,
            failed_probe: None,
            project: run.project.filter(|_| is_alone),
        };
        Some(self.change(Some(closing), Run::none(), now))
    }

    /// The attempt was sent before the gate closed. Only a longer wait changes the closing.
    fn failed_late(
        &mut self,
        failure: &Failure<'_>,
        closing: Closing,
        now: SystemTime,
    ) -> Option<Vec<u8>> {
        let rest = self.closed(now).map_or(Duration::ZERO, |gate| gate.rest);
        let asked = failure.asked.filter(|_| failure.reason == Reason::RateLimited)?;
        if asked <= rest.saturating_add(NEWS) {
            return None;
        }
        let closing = Closing {
            reason: Reason::RateLimited,
            millis: as_millis(asked),
            probing: false,
            project: None,
            ..closing
        };
        Some(self.change(Some(closing), Run::none(), now))
    }

    fn change(&mut self, closing: Option<Closing>, run: Run, now: SystemTime) -> Vec<u8> {
        self.since = unix_millis(now);
        self.state = State {
            version: VERSION,
            // A state must be newer than the one it replaces, or other instances ignore it.
            changed_at: unix_millis(now).max(self.latest_change(now) + 1),
            closed: closing,
            run,
            held: mem::take(&mut self.state.held),
        };
        json::encode(&self.state)
    }
}

/// Whether a time of another node's clock may be in the past.
fn is_plausible(millis_there: u64, now: SystemTime) -> bool {
    millis_there <= unix_millis(now).saturating_add(as_millis(SKEW))
}

#[cfg(test)]
mod tests;
