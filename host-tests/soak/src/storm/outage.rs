//! The outages of the Redis that several relays share. They come one after the other, independent
//! of the storm: Redis is killed, its machine stops, or the ways to Redis are cut. During an outage
//! nothing can be acknowledged. Soon after it, every relay must be ready.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use fastrand::Rng;
use tokio::time::{self, Instant};

use rig::{Proxy, RedisServer};

use crate::progress::Progress;
use crate::publisher::endpoint::Endpoint;
use crate::publisher::outcome::Outcome;

/// A relay must be ready again within this time.
const READY: Duration = Duration::from_secs(2);

/// How long a relay may be down because it was killed itself.
const PATIENCE: Duration = Duration::from_mins(1);

const POLL: Duration = Duration::from_millis(20);

/// With `appendfsync everysec`, older writes are on the disk when the machine stops.
const UNSYNCED: Duration = Duration::from_secs(1);

/// If the disk is busy, Redis delays writing its log for so long.
const UNWRITTEN: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Redis gets SIGKILL.
    Killed,
    /// The machine of Redis stops: the writes of the last second are lost.
    Stopped,
    /// Everything that is sent to Redis is lost.
    Cut,
    /// Everything that one relay sends to Redis is lost, while the other relays go on.
    CutFromOne,
}

const KINDS: [Outage; 4] = [Outage::Killed, Outage::Stopped, Outage::Cut, Outage::CutFromOne];

/// An outage to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedOutage {
    after: Duration,
    outage: Outage,
    lasts: Duration,
}

/// A past outage. Times are since the start of the soak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away {
    /// Writes from this time on may be lost.
    pub lost_from: Duration,
    /// From this time on Redis was out of reach…
    pub from: Duration,
    /// …until this time.
    pub until: Duration,
}

/// Draws the outages. In a long soak there is more time between them.
pub fn plan(count: usize, is_long: bool, random: &mut Rng) -> Vec<PlannedOutage> {
    let (after, lasts) =
        if is_long { (1_000..=3_000, 500..=2_000) } else { (300..=1_000, 200..=1_500) };
    let mut kinds = Vec::new();
    let mut plan = || {
        if kinds.is_empty() {
            kinds = KINDS.to_vec();
            random.shuffle(&mut kinds);
        }
        Some(PlannedOutage {
            outage: kinds.pop()?,
            after: Duration::from_millis(random.u64(after.clone())),
            lasts: Duration::from_millis(random.u64(lasts.clone())),
        })
    };
    (0..count).filter_map(|_| plan()).collect()
}

/// Carries the outages out.
#[derive(Debug)]
pub struct Outages {
    redis: RedisServer,
    ways: Vec<Proxy>,
    relays: Endpoint,
    start: Instant,
    been: Vec<Away>,
    late: usize,
    progress: Progress,
}

impl Outages {
    /// `ways` holds the way to `redis` of each relay.
    pub fn new(
        redis: RedisServer,
        ways: Vec<Proxy>,
        relays: Endpoint,
        start: Instant,
        progress: Progress,
    ) -> Self {
        Self { redis, ways, relays, start, been: Vec::new(), late: 0, progress }
    }

    /// Goes through the plan. At the end Redis works.
    pub async fn run(&mut self, plan: &[PlannedOutage]) -> Result<()> {
        for next in plan {
            time::sleep(next.after).await;
            let (lost_from, from) = self.begin(next.outage).await?;
            time::sleep(next.lasts).await;
            let until = self.start.elapsed();
            let mut away = Away { lost_from, from, until };
            if next.outage == Outage::CutFromOne {
                // Through the other relays Redis was in reach: for the verdict it was never away.
                (away.lost_from, away.from) = (until, until);
            }
            self.been.push(away);
            self.end(next.outage).await?;
            let relays = self.relays.addresses().iter();
            let ready = relays.map(|relay| is_ready_in_time(&self.relays, *relay));
            let ready = futures::future::try_join_all(ready).await?;
            self.late += ready.iter().filter(|in_time| !**in_time).count();
            let away = until.saturating_sub(from).as_millis();
            self.progress.say(&format!("Redis {}, away for {away} ms", next.outage));
        }
        Ok(())
    }

    /// Begins an outage. Returns from when on writes may be lost, and from when on Redis is away.
    async fn begin(&mut self, outage: Outage) -> Result<(Duration, Duration)> {
        let lost_from = match outage {
            Outage::Killed => {
                let lost_from = self.start.elapsed().saturating_sub(UNWRITTEN);
                self.redis.kill()?;
                lost_from
            }
            Outage::Stopped => {
                let lost_from = self.start.elapsed();
                let written = self.redis.written()?;
                time::sleep(UNSYNCED).await;
                self.redis.kill()?;
                self.redis.forget_after(written)?;
                lost_from
            }
            Outage::Cut => {
                self.ways.iter().for_each(Proxy::cut);
                self.start.elapsed()
            }
            Outage::CutFromOne => {
                self.ways[self.been.len() % self.ways.len()].cut();
                self.start.elapsed()
            }
        };
        Ok((lost_from, self.start.elapsed()))
    }

    async fn end(&mut self, outage: Outage) -> Result<()> {
        match outage {
            Outage::Killed | Outage::Stopped => self.redis.restart().await,
            Outage::Cut | Outage::CutFromOne => {
                self.ways.iter().for_each(Proxy::heal);
                Ok(())
            }
        }
    }

    /// The past outages.
    pub fn been(&self) -> &[Away] {
        &self.been
    }

    /// How often a relay was not ready in time.
    pub fn late(&self) -> usize {
        self.late
    }
}

async fn is_ready_in_time(relays: &Endpoint, relay: SocketAddr) -> Result<bool> {
    let patience = Instant::now() + PATIENCE;
    let mut deadline = Instant::now() + READY;
    loop {
        let outcome = relays.is_ready(relay).await;
        let now = Instant::now();
        ensure!(now < patience, "the relay at {relay} doesn't come back");
        match outcome {
            Outcome::Answered { status: 200, .. } => return Ok(now <= deadline),
            Outcome::Answered { .. } | Outcome::Late => {
                if now > deadline {
                    return Ok(false);
                }
            }
            // The relay was killed: its time begins when it has been started again.
            Outcome::Unreachable | Outcome::Broken => deadline = now + READY,
        }
        time::sleep(POLL).await;
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "killed",
            Self::Stopped => "stopped without its last second",
            Self::Cut => "cut off",
            Self::CutFromOne => "cut off from one relay",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_outages_as_there_are_kinds_are_of_all_kinds() {
        for seed in 0..50 {
            let plan = plan(9, seed % 2 == 0, &mut Rng::with_seed(seed));
            assert_eq!(plan.len(), 9);
            for some in plan.chunks_exact(KINDS.len()) {
                for kind in KINDS {
                    assert!(some.iter().any(|one| one.outage == kind));
                }
            }
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_outages() {
        let drawn = |seed| plan(9, true, &mut Rng::with_seed(seed));
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }
}
