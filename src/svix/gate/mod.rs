//! The gate: a circuit breaker before Svix that all instances share.
//!
//! The gate is open, or closed until a point in time. After that time one notification goes through as the
//! probe, and the gate stays closed for the others until the probe is back. If the probe succeeds, the gate
//! opens; if the probe fails, the gate closes for longer. The state lies in the key-value store; this folder
//! only computes it. Times are wall-clock times, since nodes share them. A state never blocks for longer
//! than the time it was made for, even if a clock is wrong.
//!
//! - A 429 closes the gate for its `Retry-After`, a minute at most; without one, like failures below.
//! - Five failures in a row close it for a second, then two, up to half a minute, half of that random. A failure's
//!   `Retry-After` comes first, up to half a minute.
//!   The run of failures is part of the state, since an instance may live for one event only.
//! - If all failures of the run are of one project, the gate closes for that project alone: the others' events
//!   go on. Their successes don't end such a run; then it says nothing of Svix, and is never added to theirs.
//!   Five failures of theirs in a row close the gate for all. A 429 says nothing of a project, so it closes the
//!   gate for all.
//! - One event alone can't keep the gate closed. Of one event only three failures in succession count.
//!   An event that fails as the probe a second time closes the gate for a second only.
//! - A notification that meets the closed gate waits for up to a second, if that helps. Then it is refused, with
//!   the rest of the closing as `Retry-After`, and up to a quarter more, so that senders don't come back at once.
//!
//! The state also names the projects that operators hold, so that every instance knows them. Every change takes them
//! along. The gate itself lets their events pass: `delivery` refuses them.
//!
//! Duplicates and invalid events never come to the gate.

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
/// A 429 to an attempt that began before the closing replaces it only if its wait is longer than the rest by this much.
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
    /// When the state began, by this instance's clock, in milliseconds since 1970.
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
        if is_plausible(changed, now) {
            changed
        } else {
            0
        }
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

    /// How the gate is closed for all events. `None` if only one project's wait.
    pub fn closed_for_all(&self, now: SystemTime) -> Option<Shut> {
        let closing = self.state.closed.as_ref();
        closing.filter(|closing| closing.project.is_none())?;
        self.closed(now)
    }

    fn closed(&self, now: SystemTime) -> Option<Shut> {
        let closing = self.state.closed.as_ref()?;
        let rest = match unix_millis(now).checked_sub(self.since) {
            Some(elapsed) => closing
                .millis
                .min(as_millis(LONGEST))
                .saturating_sub(elapsed),
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
        let closing = self
            .state
            .closed
            .clone()
            .filter(|closing| closing.probing)?;
        let due = Closing {
            millis: 0,
            probing: false,
            ..closing
        };
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
    pub fn succeeded(&mut self, project: &str, probe: bool, now: SystemTime) -> Option<Vec<u8>> {
        match &self.state.closed {
            Some(closing) if closing.concerns(project) => {
                probe.then(|| self.change(None, Run::none(), now))
            }
            _ if self.state.run == Run::none() => None,
            _ => {
                let of_another = self.state.run.project.as_deref() != Some(project);
                let run = if self.state.run.project.is_some() && of_another {
                    Run {
                        others_succeed: true,
                        ..self.state.run.clone()
                    }
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
        Some(Closing {
            millis: as_millis(rest),
            ..closing
        })
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
        let failure = Failure {
            event,
            reason,
            asked: asked.map(|asked| asked.min(longest(reason))),
            jitter,
        };
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
        let asked = failure
            .asked
            .filter(|_| failure.reason == Reason::RateLimited)?;
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::UNIX_EPOCH;

    const JITTER: f64 = 1.0;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    /// An event of the project `dev`.
    fn of(event: &str) -> EventAtGate<'_> {
        EventAtGate {
            key: event,
            project: "dev",
        }
    }

    fn limited(gate: &mut Gate, probe: bool, asked: Option<u64>, now: SystemTime) -> bool {
        let asked = asked.map(Duration::from_secs);
        gate.failed(of("a"), probe, Reason::RateLimited, asked, JITTER, now)
            .is_some()
    }

    fn unavailable(gate: &mut Gate, event: &str, probe: bool, now: SystemTime) -> bool {
        gate.failed(of(event), probe, Reason::SvixUnavailable, None, JITTER, now)
            .is_some()
    }

    fn closed_for(gate: &Gate, now: SystemTime) -> Option<u64> {
        gate.closed_for("dev", now).map(|shut| shut.rest.as_secs())
    }

    #[test]
    fn a_rate_limit_closes_the_gate_for_as_long_as_svix_asks() {
        let mut gate = Gate::open();
        assert_eq!(gate.pass("dev", at(0)), Pass::Open);
        assert!(limited(&mut gate, false, Some(7), at(0)));
        let shut = Shut {
            reason: Reason::RateLimited,
            rest: Duration::from_secs(5),
            probing: false,
        };
        assert_eq!(gate.pass("dev", at(2)), Pass::Closed(shut));
        assert_eq!(gate.pass("dev", at(7)), Pass::Probe);
    }

    #[test]
    fn a_rate_limit_without_a_wait_closes_the_gate_longer_each_time_up_to_half_a_minute() {
        let mut gate = Gate::open();
        let mut waits = Vec::new();
        for _ in 0..7 {
            let wait = closed_for(&gate, at(0)).unwrap_or_default();
            waits.push(wait);
            assert!(limited(&mut gate, true, None, at(0)));
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 30]);
    }

    #[test]
    fn five_failures_in_a_row_close_the_gate_unless_all_are_of_one_event() {
        let mut gate = Gate::open();
        for failure in 0..20 {
            let news = unavailable(&mut gate, "poison", false, at(0));
            assert_eq!(news, failure < 3, "only what counts is shared");
        }
        unavailable(&mut gate, "another", false, at(0));
        assert_eq!(closed_for(&gate, at(0)), None);
        unavailable(&mut gate, "another", false, at(0));
        assert_eq!(closed_for(&gate, at(0)), Some(1));
    }

    #[test]
    fn failures_anywhere_are_one_run() {
        let mut shared = None;
        for event in ["a", "b", "c", "d", "e"] {
            let mut gate = Gate::open();
            gate.learn(shared.as_deref(), at(0));
            assert_eq!(closed_for(&gate, at(0)), None);
            shared = gate.failed(
                of(event),
                false,
                Reason::SvixUnavailable,
                None,
                JITTER,
                at(0),
            );
        }
        let mut gate = Gate::open();
        gate.learn(shared.as_deref(), at(0));
        assert_eq!(closed_for(&gate, at(0)), Some(1));
    }

    #[test]
    fn a_success_ends_a_run_of_failures() {
        let mut gate = Gate::open();
        for event in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            unavailable(&mut gate, event, false, at(0));
            assert_eq!(closed_for(&gate, at(0)), None);
            if event == "d" {
                assert!(
                    gate.succeeded("dev", false, at(0)).is_some(),
                    "others may count on"
                );
                assert_eq!(gate.succeeded("dev", false, at(0)), None, "nothing new");
            }
        }
    }

    #[test]
    fn while_a_probe_is_on_its_way_the_gate_is_closed_for_other_events() {
        let mut gate = Gate::open();
        limited(&mut gate, false, Some(1), at(0));
        assert_eq!(gate.pass("dev", at(1)), Pass::Probe);
        gate.send_probe(Duration::from_secs(3), at(1));
        assert_eq!(closed_for(&gate, at(1)), Some(3));
        // A probe that never came back.
        assert_eq!(gate.pass("dev", at(4)), Pass::Probe);
    }

    #[test]
    fn the_outcome_of_the_probe_decides() {
        let mut gate = Gate::open();
        limited(&mut gate, false, Some(1), at(0));
        gate.send_probe(Duration::from_secs(3), at(1));
        assert_eq!(
            gate.succeeded("dev", false, at(1)),
            None,
            "sent before it closed"
        );
        assert_eq!(closed_for(&gate, at(1)), Some(3));

        let mut failed = gate.clone();
        assert!(unavailable(&mut failed, "a", true, at(1)));
        assert_eq!(closed_for(&failed, at(1)), Some(2), "the second time");

        assert!(gate.succeeded("dev", true, at(1)).is_some());
        assert_eq!(gate.pass("dev", at(1)), Pass::Open);
    }

    #[test]
    fn an_attempt_sent_before_the_gate_closed_changes_it_only_for_a_longer_wait() {
        let mut gate = Gate::open();
        limited(&mut gate, false, Some(10), at(0));
        assert!(!limited(&mut gate, false, None, at(0)));
        assert!(!limited(&mut gate, false, Some(5), at(0)));
        for event in ["a", "b", "c", "d", "e", "f"] {
            assert!(!unavailable(&mut gate, event, false, at(0)));
        }
        assert!(limited(&mut gate, false, Some(20), at(0)));
        assert_eq!(closed_for(&gate, at(0)), Some(20));
    }

    #[test]
    fn late_answers_do_not_make_the_next_closing_longer() {
        let mut gate = Gate::open();
        for asked in [2, 4, 6] {
            assert!(limited(&mut gate, false, Some(asked), at(0)));
        }
        assert!(!limited(&mut gate, false, Some(7), at(0)), "hardly longer");
        assert!(limited(&mut gate, true, None, at(6)));
        assert_eq!(closed_for(&gate, at(6)), Some(2));
    }

    #[test]
    fn one_event_alone_can_not_keep_the_gate_closed() {
        let mut gate = Gate::open();
        limited(&mut gate, false, Some(1), at(0));
        let mut waits = Vec::new();
        for event in ["a", "b", "b", "b", "c"] {
            assert!(unavailable(&mut gate, event, true, at(0)));
            waits.extend(closed_for(&gate, at(0)));
        }
        assert_eq!(waits, [2, 4, 1, 1, 8]);
    }

    #[test]
    fn a_failing_server_closes_the_gate_for_half_a_minute_at_most() {
        let mut gate = Gate::open();
        limited(&mut gate, false, Some(1), at(0));
        let asked = Some(Duration::from_mins(15));
        gate.failed(of("a"), true, Reason::SvixUnavailable, asked, JITTER, at(1));
        assert_eq!(closed_for(&gate, at(1)), Some(30));
    }

    #[test]
    fn other_instances_learn_of_a_closing_and_of_its_end() {
        let (mut here, mut there) = (Gate::open(), Gate::open());
        let close = here.failed(
            of("a"),
            false,
            Reason::RateLimited,
            Some(Duration::from_secs(9)),
            0.0,
            at(0),
        );
        there.learn(close.as_deref(), at(1));
        assert_eq!(closed_for(&there, at(1)), Some(8));

        there.send_probe(Duration::from_secs(1), at(9));
        let open = there.succeeded("dev", true, at(9));
        here.learn(open.as_deref(), at(9));
        assert_eq!(here.pass("dev", at(9)), Pass::Open);
        here.learn(close.as_deref(), at(9));
        assert_eq!(
            here.pass("dev", at(9)),
            Pass::Open,
            "older news change nothing"
        );
    }

    #[test]
    fn a_state_never_blocks_for_longer_than_its_own_time() {
        let mut far_ahead = Gate::open();
        let state = far_ahead.failed(
            of("a"),
            false,
            Reason::RateLimited,
            Some(Duration::MAX),
            0.0,
            at(9_999),
        );
        let mut gate = Gate::open();
        gate.learn(state.as_deref(), at(0));
        assert_eq!(gate.pass("dev", at(0)), Pass::Open, "from the future");
        gate.learn(state.as_deref(), at(9_999));
        assert_eq!(closed_for(&gate, at(9_999)), Some(60));

        let eternal = br#"{"version":1,"changed":1000000000,"closed":{"reason":"rate-limited","millis":18446744073709551615,"times":4294967295,"probing":false,"failedProbe":null},"run":{"failures":0,"event":"","ofEvent":0}}"#;
        let mut gate = Gate::open();
        gate.learn(Some(eternal), at(0));
        assert_eq!(closed_for(&gate, at(0)), Some(60));
        assert_eq!(gate.pass("dev", at(60)), Pass::Probe);
        assert!(limited(&mut gate, true, None, at(60)));
    }

    #[test]
    fn clocks_that_differ_or_are_set_back_never_block_for_longer() {
        let asked = Some(Duration::from_secs(9));
        let mut ahead = Gate::open();
        let state = ahead.failed(of("a"), false, Reason::RateLimited, asked, 0.0, at(4));
        let mut gate = Gate::open();
        gate.learn(state.as_deref(), at(0));
        gate.learn(state.as_deref(), at(3));
        assert_eq!(
            closed_for(&gate, at(3)),
            Some(6),
            "from when it was heard of"
        );

        let mut gate = Gate::open();
        assert!(limited(&mut gate, false, Some(9), at(5_000)));
        assert_eq!(gate.pass("dev", at(0)), Pass::Probe, "set back");
        gate.send_probe(Duration::from_secs(3), at(0));
        assert_eq!(closed_for(&gate, at(1)), Some(2));
        let mut there = Gate::open();
        let open = there.failed(of("a"), false, Reason::RateLimited, asked, 0.0, at(1));
        gate.learn(open.as_deref(), at(1));
        assert_eq!(closed_for(&gate, at(1)), Some(9), "what is new is heard of");
    }

    fn fail(gate: &mut Gate, event: &str, project: &str, probe: bool, now: SystemTime) {
        let event = EventAtGate {
            key: event,
            project,
        };
        gate.failed(event, probe, Reason::SvixUnavailable, None, JITTER, now);
    }

    /// A gate that five failures of one project have closed.
    fn closed_for_sick() -> Gate {
        let mut gate = Gate::open();
        for event in ["a", "b", "c", "d", "e"] {
            fail(&mut gate, event, "sick", false, at(0));
        }
        gate
    }

    #[test]
    fn the_failures_of_one_project_make_only_its_events_wait() {
        let mut gate = closed_for_sick();
        assert!(matches!(gate.pass("sick", at(0)), Pass::Closed(_)));
        assert_eq!(gate.pass("dev", at(0)), Pass::Open);
        assert_eq!(gate.closed_for_all(at(0)), None);
        let project = Some("sick".to_owned());
        assert!(
            matches!(gate.standing(at(0)), Standing::Closed { project: known, .. } if known == project)
        );
        // Successes of others say nothing of it, and its own probe opens the gate.
        assert_eq!(gate.succeeded("dev", false, at(0)), None);
        assert_eq!(gate.pass("sick", at(1)), Pass::Probe);
        gate.send_probe(Duration::from_secs(3), at(1));
        assert!(matches!(gate.pass("sick", at(1)), Pass::Closed(_)));
        assert_eq!(gate.pass("dev", at(1)), Pass::Open);
        assert!(gate.succeeded("sick", true, at(1)).is_some());
        assert_eq!(gate.standing(at(1)), Standing::Open);
    }

    #[test]
    fn the_successes_of_others_do_not_end_the_run_of_one_project() {
        let mut gate = Gate::open();
        for (number, event) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
            assert_eq!(gate.pass("sick", at(0)), Pass::Open, "{event}");
            fail(&mut gate, event, "sick", false, at(0));
            let news = gate.succeeded("dev", false, at(0)).is_some();
            assert_eq!(news, number == 0, "only the first is shared");
        }
        assert!(matches!(gate.pass("sick", at(0)), Pass::Closed(_)));
        assert_eq!(gate.closed_for_all(at(0)), None);
    }

    #[test]
    fn the_run_of_one_project_is_never_added_to_that_of_others() {
        let mut gate = Gate::open();
        for event in ["a", "b", "c", "d"] {
            fail(&mut gate, event, "sick", false, at(0));
        }
        gate.succeeded("dev", false, at(0));
        fail(&mut gate, "x", "other", false, at(0));
        assert_eq!(gate.standing(at(0)), Standing::Open);
        assert!(gate.succeeded("other", false, at(0)).is_some());
        assert!(!gate.is_counting());
    }

    #[test]
    fn failures_of_several_projects_close_the_gate_for_all() {
        let mut gate = Gate::open();
        for (event, project) in [("a", "x"), ("b", "x"), ("c", "y"), ("d", "x"), ("e", "x")] {
            fail(&mut gate, event, project, false, at(0));
        }
        assert!(gate.closed_for_all(at(0)).is_some());
        assert!(matches!(gate.pass("z", at(0)), Pass::Closed(_)));
    }

    #[test]
    fn five_failures_of_others_in_a_row_close_the_gate_for_all() {
        let mut gate = closed_for_sick();
        for (number, event) in ["f", "g", "h", "i", "k", "l", "m"].iter().enumerate() {
            assert_eq!(gate.pass("dev", at(0)), Pass::Open, "{event}");
            fail(&mut gate, event, "dev", false, at(0));
            if number == 1 {
                // A success between their failures begins a new run, and the closing stays as it is.
                assert!(gate.succeeded("dev", false, at(0)).is_some());
                assert_eq!(
                    gate.closed_for("sick", at(0))
                        .map(|shut| shut.rest.as_secs()),
                    Some(1)
                );
            }
        }
        assert!(matches!(gate.pass("dev", at(0)), Pass::Closed(_)));
        assert!(gate.closed_for_all(at(0)).is_some());
    }

    #[test]
    fn the_closing_of_one_project_ends_while_others_fail() {
        let mut gate = closed_for_sick();
        for tenths in 1..=9 {
            let now = at(0) + Duration::from_millis(100 * tenths);
            fail(&mut gate, "poison", "dev", false, now);
            gate.succeeded("dev", false, now);
        }
        assert_eq!(gate.pass("sick", at(1)), Pass::Probe);
    }

    #[test]
    fn a_rate_limit_is_for_all_whichever_project_meets_it() {
        let mut gate = closed_for_sick();
        let asked = Some(Duration::from_secs(7));
        gate.failed(of("a"), false, Reason::RateLimited, asked, JITTER, at(0));
        assert_eq!(gate.closed_for_all(at(0)).map(|shut| shut.rest), asked);
        let mut gate = closed_for_sick();
        let event = EventAtGate {
            key: "a",
            project: "sick",
        };
        gate.failed(event, true, Reason::RateLimited, asked, JITTER, at(1));
        assert_eq!(gate.closed_for_all(at(1)).map(|shut| shut.rest), asked);
    }

    #[test]
    fn a_state_without_projects_is_read_as_a_closing_for_all() {
        let earlier = br#"{"version":1,"changed":1000000000,"closed":{"reason":"svix-unavailable","millis":5000,"times":1,"probing":false,"failedProbe":null},"run":{"failures":0,"event":"","ofEvent":0}}"#;
        let mut gate = Gate::open();
        gate.learn(Some(earlier), at(0));
        assert!(gate.closed_for_all(at(0)).is_some());
        let mut there = Gate::open();
        let mut sick = closed_for_sick();
        there.learn(Some(&sick.send_probe(Duration::from_secs(3), at(1))), at(1));
        assert_eq!(there.pass("dev", at(1)), Pass::Open);
        assert!(matches!(there.pass("sick", at(1)), Pass::Closed(_)));
    }

    #[test]
    fn a_held_project_stays_held_through_every_change() {
        let mut gate = closed_for_sick();
        assert!(gate.hold("dev", true, at(0)).is_some());
        assert_eq!(
            gate.closed_for("sick", at(0))
                .map(|shut| shut.rest.as_secs()),
            Some(1)
        );
        fail(&mut gate, "f", "other", false, at(0));
        gate.succeeded("other", false, at(0));
        limited(&mut gate, false, Some(3), at(0));
        gate.send_probe(Duration::from_secs(1), at(3));
        gate.succeeded("sick", true, at(3));
        gate.open_now(at(3));
        let shared = gate.hold("more", true, at(3)).expect("room");
        let mut there = Gate::open();
        there.learn(Some(&shared), at(3));
        assert_eq!(there.held(), ["dev", "more"]);
        assert!(there.holds("dev") && !there.holds("sick"));
        there.hold("dev", false, at(4));
        there.hold("dev", false, at(4));
        assert_eq!(there.held(), ["more"]);
        assert_eq!(there.pass("dev", at(4)), Pass::Open, "a hold is no closing");
    }

    #[test]
    fn a_hold_counts_whatever_the_clock_that_has_written_it() {
        let now = UNIX_EPOCH + Duration::from_hours(1);
        let later = now + Duration::from_secs(20);
        let held = Gate::open().hold("dev", true, now).expect("room");
        let mut ahead = Gate::open();
        ahead.open_now(later);
        ahead.learn(Some(&held), later);
        assert!(ahead.holds("dev"), "an older state");
        let held = Gate::open().hold("dev", true, later).expect("room");
        let mut behind = Gate::open();
        behind.learn(Some(&held), now);
        assert!(behind.holds("dev"), "a state from the future");
        let released = behind.hold("dev", false, now).expect("a state");
        behind.learn(Some(&released), now);
        assert!(!behind.holds("dev"));
    }

    #[test]
    fn a_bounded_number_of_projects_is_held() {
        let mut gate = Gate::open();
        for number in 0..MAX_HELD {
            assert!(gate.hold(&number.to_string(), true, at(0)).is_some());
        }
        assert_eq!(gate.hold("more", true, at(0)), None);
        assert!(gate.hold("0", false, at(0)).is_some());
        assert!(gate.hold("more", true, at(0)).is_some());
    }

    #[test]
    fn spreads_waits_by_a_quarter() {
        let wait = Duration::from_secs(8);
        assert_eq!(lengthened(wait, 0.0), wait);
        assert_eq!(lengthened(wait, 1.0), Duration::from_secs(10));
    }

    proptest! {
        #[test]
        fn unreadable_bytes_leave_the_gate_open(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut gate = Gate::open();
            gate.learn(Some(&bytes), at(0));
            prop_assert_eq!(gate.pass("dev", at(0)), Pass::Open);
        }
    }
}
