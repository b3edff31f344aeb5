//! The soak: a publisher that behaves like Pub/Sub push, the real `serve` process with its
//! database, which is killed and started again, and the fake Svix, which goes through every fault
//! it has. In the end each event must be in Svix exactly once. Everything happens in real time.
//! With `--nodes` there are several relays, which share a real Redis that fails as well.
//!
//! - `plan` draws the `phase`s; `storm` carries them out, on the fake Svix and on each `process`;
//!   `relays` starts them, `outage` is what befalls the Redis that they share.
//! - `publisher` delivers `message`s, each with an `event` and a `history`, to the `endpoint`: what
//!   is due by its `agenda`, as far as `window` and `backoff` let it, and according to each `outcome`.
//! - `comparison` and `report` judge, and `at_risk` knows where to look first; `progress` shows how
//!   far it is.

mod agenda;
mod at_risk;
mod backoff;
mod comparison;
mod endpoint;
mod event;
mod history;
mod message;
mod outage;
mod outcome;
mod phase;
mod plan;
mod process;
mod progress;
mod publisher;
mod relays;
mod report;
mod storm;
mod window;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use clap::Parser;
use fastrand::Rng;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

use self::comparison::Comparison;
use self::endpoint::Endpoint;
use self::event::Event;
use self::message::{Duplicate, Message};
use self::outage::Outages;
use self::process::Process;
use self::progress::Progress;
use self::publisher::Publisher;
use self::relays::Redis;
pub use self::report::Report;
use self::storm::Storm;
use crate::clock::{Clock, rfc3339};
use crate::fake_svix::FakeSvix;

/// The token that the fake Svix accepts.
const TOKEN: &str = "testsk_soak.eu";

/// Sends events to a relay that is killed again and again, and to a Svix that fails in every way
/// it can, and checks that each event becomes exactly one message.
#[derive(Clone, Debug, Parser)]
#[command(name = "soak")]
pub struct Options {
    /// How many events
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub events: usize,

    /// How many of them, of a hundred, are delivered again although acknowledged
    #[arg(long, value_name = "PERCENT", default_value_t = 20)]
    pub duplicates: u8,

    /// How often a relay is killed, at least
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub kills: usize,

    /// So many relays that share a Redis [default: one, with a database of its own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub nodes: Option<u8>,

    /// How often that Redis is away, for all or for one of them
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub outages: usize,

    /// Nothing goes wrong, and everything is published at once: shows how fast it is
    #[arg(long)]
    pub calm: bool,

    /// How many deliveries are under way at once, at most
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub concurrency: usize,

    /// What all that is random is drawn from, but for the timing [default: another one each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// After how many seconds it has failed
    #[arg(long, value_name = "SECONDS", default_value_t = 290)]
    pub deadline: u64,

    /// The application's manifest
    #[arg(long, value_name = "FILE", default_value = "spin.toml")]
    pub from: PathBuf,

    /// The binary `serve` [default: the one beside this binary]
    #[arg(long, value_name = "PATH")]
    pub serve: Option<PathBuf>,

    /// Shows no progress
    #[arg(long)]
    pub quiet: bool,
}

/// Runs a soak. An error is why it could not go on; whether it went well is in the report.
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
    let svix = FakeSvix::new(TOKEN, clock.clone());
    // Tens of thousands of requests are nothing to look at.
    svix.keep_requests(false);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let svix_address = listener.local_addr()?;
    let mut listening = JoinSet::new();
    listening.spawn(svix.clone().listen(listener));
    let redis = match options.nodes {
        Some(nodes) => Some(Redis::start(nodes).await?),
        None => None,
    };
    let relays = relays::start(&options, directory, svix_address, redis.as_ref()).await?;

    let endpoint = Endpoint::new(relays.iter().map(Process::address));
    let nodes = relays.len();
    let mut storm = Storm::new(svix.clone(), relays, random.fork(), progress.clone());
    let (width, fork) = (options.concurrency, random.fork());
    let mut publisher = Publisher::new(messages, endpoint.clone(), width, fork, progress.clone());
    let started = publisher.start();
    let mut outages = redis.map(|Redis { server, ways }| {
        Outages::new(server, ways, endpoint, started, progress.clone())
    });
    let count = if options.calm { 0 } else { options.outages };
    let outages_to_come = outage::plan(count, plan::is_long(options.events), &mut random.fork());
    let began = clock.now();
    let mut redeliveries = None;
    let mut took = None;
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
        let losses = outages.iter().flat_map(Outages::been);
        let losses = losses.map(|away| away.from);
        let sample = at_risk::sample(publisher.messages(), kills.chain(losses), &mut random);
        publisher.deliver_again(sample).await;
        // What it still had begun must not come after the comparison.
        storm.calm_down().await
    };
    let in_time = tokio::select! {
        ended = time::timeout_at(deadline, work) => ended.ok().transpose(),
        never = progress.show() => match never {},
    };
    progress.clear();
    let in_time = in_time?.is_some();

    let stored = svix.messages();
    let messages = publisher.messages();
    let events: Vec<_> = messages
        .iter()
        .map(|message| message.event.clone())
        .collect();
    let kills: Vec<_> = storm.kills().iter().map(|at| *at - started).collect();
    let been = outages.as_ref().map_or(&[][..], Outages::been);
    let unmet = (!options.calm).then(|| storm.unmet());
    Ok(Report {
        messages: stored.len(),
        nodes,
        late: outages.as_ref().map_or(0, Outages::late),
        survivors: at_risk::survivors(messages, &stored, began, &kills),
        kills: kills.len(),
        terminations: storm.terminations(),
        peak: publisher.peak(),
        acknowledged_within: took,
        redeliveries: redeliveries.unwrap_or_else(|| progress.redeliveries()),
        unmet: unmet.unwrap_or_default(),
        timed_out: !in_time,
        ..Report::judge(messages, Comparison::of(&events, &stored), been)
    })
}

fn messages(options: &Options, random: &mut Rng) -> Vec<Message> {
    let time = rfc3339(SystemTime::now());
    let message = |number: usize| {
        let event = Event::random(number, &time, random);
        let kinds = [Duplicate::AtOnce, Duplicate::Later, Duplicate::AfterRestart];
        let twice = random.u8(..100) < options.duplicates;
        let duplicate = random.choice(kinds).filter(|_| twice);
        // Ids of Pub/Sub are long numbers.
        Message::new(13_696_934_600_000 + number as u64, event, &time, duplicate)
    };
    (0..options.events).map(message).collect()
}
