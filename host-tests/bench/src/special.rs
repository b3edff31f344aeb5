//! The measurements beside the load: starting, instantiating, holding many notifications at once,
//! and a store full of records.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rusqlite::Connection;
use tokio::time::sleep;

use crate::audit;
use crate::contender::serve;
use crate::figures::Special;
use crate::load::Connections;
use crate::median::median;
use crate::purge;
use crate::server::Server;
use crate::setting::{Setting, WASM, insert_records, root};

const IN_FLIGHT: usize = 5_000;

/// The latency of Svix meanwhile.
const SLOW: Duration = Duration::from_secs(5);

/// The sizes of the stores.
const RECORDS: [usize; 3] = [100, 10_000, 1_000_000];

/// The load on each store: how many connections, how often, and for how long.
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(1);

pub async fn measure(setting: &Setting<'_>) -> Result<Special> {
    Ok(Special {
        cold_start_seconds: cold_start(setting).await?,
        warm_start_seconds: warm_start(setting).await?,
        instantiation_milliseconds: instantiation(setting)?,
        wasm_bytes: fs::metadata(root().join(WASM))?.len(),
        bytes_per_notification: in_flight(setting).await?,
        cpu_by_records: by_records(setting).await?,
        purging: purge::measure(setting).await?,
        auditing: audit::measure(setting).await?,
    })
}

/// Starts a copy of the component, which no cache holds in compiled form.
async fn cold_start(setting: &Setting<'_>) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let component = directory.path().join("relay.wasm");
    fs::copy(root().join(WASM), &component)?;
    let text = fs::read_to_string(root().join("spin.toml"))?;
    let text = text.replace(WASM, &component.display().to_string());
    let copy = directory.path().join("spin.toml");
    fs::write(&copy, text)?;
    let from = copy.to_str().context("a path that is not text")?;
    let mut command = serve(from, setting.svix_address)?;
    command.args(["--key-value", "memory"]).env("XDG_CACHE_HOME", directory.path());
    let server = Server::start(command, setting.directory).await?;
    Ok(server.started_in.as_secs_f64())
}

async fn warm_start(setting: &Setting<'_>) -> Result<f64> {
    let mut times = Vec::new();
    for number in 0..5 {
        let store = format!("sqlite:{}/start{number}.db", setting.directory.display());
        let server = Server::start(setting.relay(&store)?, setting.directory).await?;
        times.push(server.started_in.as_secs_f64());
    }
    Ok(median(&mut times))
}

fn instantiation(setting: &Setting<'_>) -> Result<f64> {
    let mut command = setting.relay("memory")?;
    let output = command.args(["--time-instances", "500"]).output()?;
    ensure!(output.status.success(), "serve can't time its instances");
    let milliseconds = String::from_utf8(output.stdout)?;
    Ok(milliseconds.trim().parse()?)
}

async fn in_flight(setting: &Setting<'_>) -> Result<u64> {
    let store = format!("sqlite:{}/in_flight.db", setting.directory.display());
    let mut command = setting.relay(&store)?;
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
        // Let the relay create the file, so that its schema is the usual one.
        drop(Server::start(setting.relay(&store)?, setting.directory).await?);
        fill(&path, records)?;
        let server = Server::start(setting.relay(&store)?, setting.directory).await?;
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

fn fill(path: &Path, records: usize) -> Result<()> {
    let mut connection = Connection::open(path)?;
    let transaction = connection.transaction()?;
    let at = |_| "2026-11-23T14:12:42.123Z".to_owned();
    insert_records(&transaction, 0..records as u64, at)?;
    transaction.commit()?;
    Ok(())
}
