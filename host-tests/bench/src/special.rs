//! What is measured beside the load: starting, instantiating, holding many notifications at once,
//! and a store full of records.

use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use host_tests::component::Program;
use host_tests::manifest::Manifest;
use host_tests::server::Host;
use rusqlite::{Connection, Transaction, params};
use serde::Serialize;
use tokio::time::sleep;

use crate::contender::serve;
use crate::load::Connections;
use crate::purge::{self, Purging};
use crate::report::median;
use crate::server::Server;
use crate::svix::Svix;

/// How many notifications are in flight at once.
const IN_FLIGHT: usize = 5_000;

/// How long Svix takes to answer them.
const SLOW: Duration = Duration::from_secs(5);

/// How many records the stores hold.
const RECORDS: [usize; 3] = [100, 10_000, 1_000_000];

/// How many connections ask them, and how often and for how long in turn.
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(1);

/// What all of it needs.
#[derive(Debug)]
pub struct Setting<'a> {
    /// Svix.
    pub svix: &'a Svix,
    /// Where it listens.
    pub svix_address: SocketAddr,
    /// For files.
    pub directory: &'a Path,
}

/// The figures.
#[derive(Debug, Default, Serialize)]
pub struct Special {
    /// From nothing to listening, with the component to be compiled.
    pub cold_start_seconds: f64,
    /// The same with the component compiled before.
    pub warm_start_seconds: f64,
    /// A new instance.
    pub instantiation_milliseconds: f64,
    /// The component as it is deployed.
    pub wasm_bytes: u64,
    /// What a notification in flight needs, of 5,000.
    pub bytes_per_notification: u64,
    /// How many records the store holds, and the processor time of an event, in milliseconds.
    pub cpu_by_records: Vec<(usize, f64)>,
    /// What a purge costs events.
    pub purging: Purging,
}

/// Measures all of it.
pub async fn measure(setting: &Setting<'_>) -> Result<Special> {
    Ok(Special {
        cold_start_seconds: cold_start(setting).await?,
        warm_start_seconds: warm_start(setting).await?,
        instantiation_milliseconds: instantiation().await?,
        wasm_bytes: fs::metadata(&manifest()?.component.source)?.len(),
        bytes_per_notification: in_flight(setting).await?,
        cpu_by_records: by_records(setting).await?,
        purging: purge::measure(setting).await?,
    })
}

fn root() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", ".."].iter().collect()
}

fn manifest() -> Result<Manifest> {
    Manifest::read(&root().join("spin.toml"))
}

pub fn relay(setting: &Setting<'_>, store: &str) -> Result<Command> {
    let mut command = serve("spin.toml", setting.svix_address)?;
    command.args(["--key-value", store]);
    Ok(command)
}

/// With a copy of the component, where no cache knows it.
async fn cold_start(setting: &Setting<'_>) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let component = directory.path().join("relay.wasm");
    fs::copy(&manifest()?.component.source, &component)?;
    let text = fs::read_to_string(root().join("spin.toml"))?;
    let text = text.replace(
        "target/wasm32-wasip2/release/svix_relay.wasm",
        &component.display().to_string(),
    );
    let copy = directory.path().join("spin.toml");
    fs::write(&copy, text)?;
    let from = copy.to_str().context("a path that is not text")?;
    let mut command = serve(from, setting.svix_address)?;
    command
        .args(["--key-value", "memory"])
        .env("XDG_CACHE_HOME", directory.path());
    let server = Server::start(command, setting.directory).await?;
    Ok(server.started_in.as_secs_f64())
}

async fn warm_start(setting: &Setting<'_>) -> Result<f64> {
    let mut times = Vec::new();
    for number in 0..5 {
        let store = format!("sqlite:{}/start{number}.db", setting.directory.display());
        let server = Server::start(relay(setting, &store)?, setting.directory).await?;
        times.push(server.started_in.as_secs_f64());
    }
    Ok(median(&mut times))
}

async fn instantiation() -> Result<f64> {
    let manifest = manifest()?;
    let program = Program::load(&manifest)?;
    let host = Host::builder(&program, &manifest)
        .variable("svix_token", "testsk_fake.eu")
        .build()?;
    let mut times = Vec::new();
    for _ in 0..500 {
        let begin = Instant::now();
        host.try_instance().await?;
        times.push(begin.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(median(&mut times))
}

async fn in_flight(setting: &Setting<'_>) -> Result<u64> {
    let store = format!("sqlite:{}/in_flight.db", setting.directory.display());
    let mut command = relay(setting, &store)?;
    for variable in ["svix_timeout_ms=20000", "retry_budget_ms=30000"] {
        command.args(["--variable", variable]);
    }
    let server = Server::start(command, setting.directory).await?;
    setting.svix.set_latency(Duration::ZERO);
    Connections::open(server.address, 1).await?.once().await?;
    let before = server.memory_now()?;

    server.reset_peak();
    setting.svix.set_latency(SLOW);
    let heard = setting.svix.messages();
    let mut connections = Connections::open(server.address, IN_FLIGHT).await?;
    let load = connections.once().await?;
    setting.svix.set_latency(Duration::ZERO);
    ensure!(load.events == IN_FLIGHT, "not all were answered");
    ensure!(
        setting.svix.messages() - heard == IN_FLIGHT as u64,
        "Svix was not asked once for each"
    );
    Ok(server.peak_memory()?.saturating_sub(before) / IN_FLIGHT as u64)
}

async fn by_records(setting: &Setting<'_>) -> Result<Vec<(usize, f64)>> {
    setting.svix.set_latency(Duration::ZERO);
    let mut servers = Vec::new();
    for records in RECORDS {
        let path = setting.directory.join(format!("{records}.db"));
        let store = format!("sqlite:{}", path.display());
        // The relay makes the file, so that it is as it always is.
        drop(Server::start(relay(setting, &store)?, setting.directory).await?);
        fill(&path, records)?;
        let server = Server::start(relay(setting, &store)?, setting.directory).await?;
        servers.push((records, server, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (_, server, costs) in &mut servers {
            let mut connections = Connections::open(server.address, CONNECTIONS).await?;
            connections.run(TIME / 5).await?;
            let before = server.usage()?;
            let load = connections.run(TIME).await?;
            let cpu = server.usage()?.cpu.saturating_sub(before.cpu);
            costs.push(cpu.as_secs_f64() * 1_000.0 / load.events as f64);
            sleep(Duration::from_millis(20)).await;
        }
    }
    let cost = |(records, _, mut costs): (usize, Server, Vec<f64>)| (records, median(&mut costs));
    Ok(servers.into_iter().map(cost).collect())
}

/// Puts so many records into a store.
fn fill(path: &Path, records: usize) -> Result<()> {
    let mut connection = Connection::open(path)?;
    let transaction = connection.transaction()?;
    insert_records(&transaction, 0..records as u64, "2026-11-23T14:12:42.123Z")?;
    transaction.commit()?;
    Ok(())
}

/// Puts records of the form and size of the relay's into a store, written at `at`; their names.
pub fn insert_records(
    transaction: &Transaction<'_>,
    numbers: Range<u64>,
    at: &str,
) -> Result<Vec<String>> {
    let sql = "INSERT INTO spin_key_value (store, key, value) VALUES ('default', ?1, ?2)";
    let mut insert = transaction.prepare(sql)?;
    let mut names = Vec::new();
    for number in numbers {
        // Spread evenly, as digests are.
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let name = format!("record/{spread:016x}{number:048x}");
        let value = format!(
            r#"{{"version":1,"state":"delivered","project":"dev","eventId":"evt_{number:026}","eventType":"user.created","svixMessageId":"msg_{number:027}","attempts":1,"deliveredAt":"{at}"}}"#
        );
        insert.execute(params![name, value.into_bytes()])?;
        names.push(name);
    }
    Ok(names)
}
