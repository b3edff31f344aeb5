//! The soak. A publisher that behaves like Pub/Sub push delivers events to the real `serve`.
//! Meanwhile `serve` is killed and started again, and the fake Svix goes through all its faults. In
//! the end, each event must be in Svix exactly once. With `--nodes`, several relays share a real
//! Redis that fails as well. Everything happens in real time.
//!
//! - `plan` draws the phases of the soak.
//! - `storm` carries them out, on the fake Svix, on the processes of the relays, and on their
//!   Redis.
//! - `publisher` delivers the events and notes the outcome of each delivery.
//! - `verdict` compares what was published with what Svix has, judges the relay, and has the relay audit itself.
//! - `progress` shows how far the soak is.

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test that can't go on has failed"))]

mod options;
mod plan;
mod progress;
mod publisher;
mod storm;
mod verdict;

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use fastrand::Rng;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

use clock::{Clock, rfc3339};
use fake_svix::FakeSvix;
use rig::Process;

pub use self::options::Options;
use self::options::TOKEN;
use self::progress::Progress;
use self::publisher::Publisher;
use self::publisher::backoff::Waits;
use self::publisher::endpoint::Endpoint;
use self::publisher::event::Event;
use self::publisher::message::{Duplicate, Message};
use self::storm::Storm;
use self::storm::outage::{self, Outages};
use self::storm::relays::{self, SharedRedis};
pub use self::verdict::Report;
use self::verdict::at_risk;
use self::verdict::audit::{Audit, audit};
use self::verdict::comparison::Comparison;
use self::verdict::letters::{self, Replayed};

/// Runs a soak. An error says why it broke off; the report says whether the relay passed.
pub async fn run(options: Options) -> Result<Report> {
    let start = Instant::now();
    let directory = tempfile::Builder::new().prefix("soak-").tempdir()?;
    let mut report = match soak(options, directory.path(), start).await {
        Ok(report) => report,
        Err(error) => {
            let kept = directory.keep();
            return Err(error.context(format!("the soak broke off; see {}", kept.display())));
        }
    };
    report.elapsed = start.elapsed();
    if !report.is_clean() {
        report.evidence = Some(directory.keep());
    }
    Ok(report)
}

async fn soak(options: Options, directory: &Path, start: Instant) -> Result<Report> {
    let deadline = start + Duration::from_secs(options.deadline);
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut random = Rng::with_seed(seed);
    let progress = Progress::new(options.events, options.quiet);
    progress.say(&format!("soak: --seed {seed}"));
    let messages = messages(&options, &mut random.fork());
    let phases = if options.calm {
        plan::calm(options.events)
    } else {
        plan::phases(options.events, options.kills, &mut random.fork())
    };

    let clock = Clock::system();
    let svix = svix(&options, clock.clone());
    let waits = options.limit.map_or(Waits::SHORT, |_| Waits::REAL);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let svix_address = listener.local_addr()?;
    let mut listening = JoinSet::new();
    listening.spawn(svix.clone().listen(listener));
    let redis = SharedRedis::start(options.nodes).await?;
    let settings = relays::settings(&options, directory, svix_address, redis.as_ref())?;
    let relays = relays::start(&settings).await?;

    let endpoint = Endpoint::new(relays.iter().map(Process::address));
    let (nodes, first) = (relays.len(), relays[0].address());
    let mut storm = Storm::new(svix.clone(), relays, random.fork(), progress.clone());
    let (width, fork) = (options.concurrency, random.fork());
    let mut publisher =
        Publisher::new(messages, endpoint.clone(), width, waits, fork, progress.clone());
    let started = publisher.start();
    let mut outages = redis.map(|SharedRedis { server, ways }| {
        Outages::new(server, ways, endpoint, started, progress.clone())
    });
    let count = if options.calm { 0 } else { options.outages };
    let outages_to_come = outage::plan(count, plan::is_long(options.events), &mut random.fork());
    let began = clock.now();
    let (mut redeliveries, mut took) = (None, None);
    let mut replayed = Replayed::default();
    let work = async {
        let (orders, to_obey) = mpsc::unbounded_channel();
        let delivered = async {
            publisher.run(to_obey).await;
            took = Some(started.elapsed());
            Ok(())
        };
        let befallen = async {
            match &mut outages {
                Some(outages) => outages.run(&outages_to_come).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(storm.run(&phases, orders), delivered, befallen)?;
        redeliveries = Some(progress.redeliveries());
        let kills = storm.kills().iter().map(|at| *at - started);
        let been = outages.as_ref().map_or(&[][..], Outages::been);
        let sample = at_risk::sample(publisher.messages(), kills, been, &mut random);
        if options.letters {
            replayed = letters::replay(first).await?;
        }
        publisher.deliver_again(sample).await;
        // End the relays, so that nothing reaches Svix after the comparison.
        storm.calm_down().await
    };
    let in_time = tokio::select! {
        ended = time::timeout_at(deadline, work) => ended.ok().transpose(),
        never = progress.show() => match never {},
    };
    let in_time = in_time?.is_some();

    let stored = svix.messages();
    let messages = publisher.messages();
    let events: Vec<_> = messages.iter().map(|it| it.event.clone()).collect();
    let kills: Vec<_> = storm.kills().iter().map(|at| *at - started).collect();
    let been = outages.as_ref().map_or(&[][..], Outages::been);
    let unmet = (!options.calm).then(|| storm.unmet());
    let audit = match settings.into_iter().next() {
        Some(settings) if in_time => audit(settings, &svix, began, &mut random).await?,
        _ => Audit::default(),
    };
    Ok(Report {
        messages: stored.len(),
        nodes,
        late: outages.as_ref().map_or(0, Outages::late),
        replayed,
        survivors: at_risk::survivors(messages, &stored, began, &kills),
        kills: kills.len(),
        terminations: storm.terminations(),
        peak: publisher.peak(),
        acknowledged_within: took,
        redeliveries: redeliveries.unwrap_or_else(|| progress.redeliveries()),
        unmet: unmet.unwrap_or_default(),
        timed_out: !in_time,
        audit,
        ..Report::judge(messages, Comparison::of(&events, &stored), been)
    })
}

fn svix(options: &Options, clock: Clock) -> FakeSvix {
    let svix = FakeSvix::new(TOKEN, clock);
    // Recording thousands of requests would only use memory.
    svix.keep_requests(false);
    if let Some(per_second) = options.limit {
        svix.set_limit(per_second);
    }
    svix
}

fn messages(options: &Options, random: &mut Rng) -> Vec<Message> {
    let time = rfc3339(SystemTime::now());
    let message = |number: usize| {
        let mut event = Event::random(number, &time, random);
        // A replay comes behind newer events.
        event.ordering_key = event.ordering_key.filter(|_| !options.letters);
        let kinds = [Duplicate::AtOnce, Duplicate::Later, Duplicate::AfterRestart];
        let twice = random.u8(..100) < options.duplicates;
        let duplicate = random.choice(kinds).filter(|_| twice);
        // Pub/Sub's message ids are long numbers.
        Message::new(13_696_934_600_000 + number as u64, event, &time, duplicate)
    };
    (0..options.events).map(message).collect()
}
