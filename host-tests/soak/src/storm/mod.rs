//! Carries the plan out: makes Svix fail, and ends the relays in turn and starts them again. It also tells
//! the publisher when to publish, so that every phase has traffic.

pub mod outage;
pub mod process;
pub mod relays;

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use http::Method;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{self, Instant};

use crate::plan::phase::{End, KINDS, Phase, Weather, kind};
use crate::progress::Progress;
use crate::publisher::Order;
use fake_svix::{FakeSvix, Fault};
use rig::Process;

/// The time between two looks at relays and Svix.
const TICK: Duration = Duration::from_millis(10);

/// The number of faults in Svix's queue: more than requests can meet within a tick.
const QUEUED: usize = 256;

/// How long a phase waits for a request that meets a fault: longer than publisher or relay ever
/// hold requests back.
const PATIENCE: Duration = Duration::from_secs(35);

/// The latency of Svix before a kill that must hit requests in flight.
const LATENCY: Duration = Duration::from_millis(100);

/// How many posts without an answer Svix must hold at such a kill, and how long the kill waits for them.
const IN_FLIGHT: usize = 8;
const IN_FLIGHT_WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub struct Storm {
    svix: FakeSvix,
    relays: Vec<Process>,
    /// The relay that ends next.
    turn: usize,
    progress: Progress,
    random: Rng,
    /// The faults in Svix's queue that no request is known to have met.
    queued: VecDeque<&'static str>,
    met: BTreeSet<&'static str>,
    kills: Vec<Instant>,
    terminations: usize,
}

impl Storm {
    pub fn new(svix: FakeSvix, relays: Vec<Process>, random: Rng, progress: Progress) -> Self {
        Self {
            svix,
            relays,
            turn: 0,
            progress,
            random,
            queued: VecDeque::new(),
            met: BTreeSet::new(),
            kills: Vec::new(),
            terminations: 0,
        }
    }

    /// Goes through the phases. At the end the relays run and Svix works.
    pub async fn run(&mut self, phases: &[Phase], orders: UnboundedSender<Order>) -> Result<()> {
        for phase in phases {
            self.progress.phase(phase.to_string());
            self.svix.set_down(phase.weather == Weather::Down);
            self.weather(phase, &orders).await?;
            self.count_met();
            self.queued.clear();
            self.svix.clear_faults();
        }
        self.svix.set_down(false);
        self.progress.phase("the last acknowledgements".to_owned());
        for relay in &mut self.relays {
            relay.is_up().await?;
        }
        Ok(())
    }

    async fn weather(&mut self, phase: &Phase, orders: &UnboundedSender<Order>) -> Result<()> {
        // Sending fails only if the publisher has been dropped, and then the soak ends.
        let order = |order| {
            let _ = orders.send(order);
        };
        let start = Instant::now();
        let mut published = 0;
        let mut ends = phase.ends.iter().peekable();
        let mut is_met = phase.weather == Weather::Down || phase.events == 0;
        loop {
            let elapsed = start.elapsed();
            let due = due(phase, elapsed);
            if due > published {
                order(Order::Publish(due - published));
                published = due;
            }
            is_met |= self.queue_faults(phase);
            let is_soon = |(at, end): &&(Duration, End)| {
                *end == End::KilledInFlight && *at <= elapsed + LATENCY
            };
            if ends.peek().is_some_and(is_soon) {
                self.svix.set_latency(LATENCY);
            }
            let is_due = |(at, end): &&(Duration, End)| {
                let hits = *end != End::KilledInFlight || self.svix.waiting_posts() >= IN_FLIGHT;
                *at <= elapsed && (hits || *at + IN_FLIGHT_WITHIN <= elapsed)
            };
            if let Some((_, end)) = ends.next_if(is_due) {
                self.end_relay(*end).await?;
                order(Order::Restarted);
            }
            for relay in &mut self.relays {
                relay.check()?;
            }
            let is_over = elapsed >= phase.duration && published == phase.events;
            let patience = phase.duration + PATIENCE;
            if is_over && ends.peek().is_none() && (is_met || elapsed > patience) {
                return Ok(());
            }
            time::sleep(TICK).await;
        }
    }

    /// Ends the relays with SIGTERM, which lets their requests end.
    pub async fn calm_down(&mut self) -> Result<()> {
        for relay in &mut self.relays {
            relay.terminate().await?;
        }
        Ok(())
    }

    pub fn kills(&self) -> &[Instant] {
        &self.kills
    }

    pub fn terminations(&self) -> usize {
        self.terminations
    }

    /// The kinds of faults that no request has met.
    pub fn unmet(&self) -> Vec<&'static str> {
        let unmet = KINDS.into_iter().filter(|kind| !self.met.contains(kind));
        unmet.collect()
    }

    async fn end_relay(&mut self, end: End) -> Result<()> {
        let turn = (self.turn + 1) % self.relays.len();
        let relay = &mut self.relays[mem::replace(&mut self.turn, turn)];
        match end {
            End::Killed | End::KilledInFlight => {
                self.kills.push(Instant::now());
                relay.kill().await?;
                self.svix.set_latency(Duration::ZERO);
                self.progress.killed();
            }
            End::Terminated => {
                relay.terminate().await?;
                self.terminations += 1;
            }
        }
        relay.restart()
    }

    /// Keeps Svix's queue of faults full. Returns whether a request has met the phase. A calm phase
    /// must be met, too: otherwise the relay would still wait for Svix in the next phase.
    fn queue_faults(&mut self, phase: &Phase) -> bool {
        let faults = match &phase.weather {
            Weather::Down => return false,
            Weather::Calm => &[Fault::None][..],
            Weather::Faults(faults) => faults,
        };
        let met = self.count_met();
        let mut more = Vec::new();
        while self.queued.len() < QUEUED {
            // The first request always meets a fault, because a short soak may have few others.
            let is_bad = self.queued.is_empty() || self.random.f64() < phase.share;
            let fault = match self.random.choice(faults) {
                Some(fault) if is_bad => fault.clone(),
                _ => Fault::None,
            };
            self.queued.push_back(kind(&fault));
            more.push(fault);
        }
        // Only for posts: a lookup would use the race up without effect.
        if faults == [Fault::RaceToCreateApplication] {
            self.svix.script_for(&Method::POST, more);
        } else {
            self.svix.script(more);
        }
        met.iter().any(|kind| *kind != KINDS[0] || phase.weather == Weather::Calm)
    }

    /// Notes and returns the queued faults that requests have met.
    fn count_met(&mut self) -> Vec<&'static str> {
        let met = self.queued.len().saturating_sub(self.svix.queued_faults());
        let met: Vec<_> = self.queued.drain(..met).collect();
        self.met.extend(&met);
        met
    }
}

/// How many events of the phase are due by now.
fn due(phase: &Phase, elapsed: Duration) -> usize {
    if elapsed >= phase.publishing {
        return phase.events;
    }
    let share = elapsed.as_secs_f64() / phase.publishing.as_secs_f64();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share of a number of events"
    )]
    let due = (phase.events as f64 * share) as usize;
    due
}
