//! A purge of a million records, half of which are due. Measures what the purge costs the events
//! that come meanwhile, and checks that it leaves the other half, although the relay is killed half
//! way.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use clock::rfc3339;
use rusqlite::{Connection, params};
use serde::Serialize;
use serde_json::Value;

use crate::load::Connections;
use crate::median::median;
use crate::server::Server;
use crate::setting::{Setting, insert_records};

/// How many records are due, and how many are not.
const DUE: usize = 500_000;
const YOUNG: usize = 500_000;

/// How many due records a page names, as many as an instance takes requests, and how many records were
/// rewritten later.
const PAGE: usize = 128;
const ANEW: usize = 12;

/// When the due records were written, and the day of that since 1970.
const OLD: &str = "2026-01-02T14:12:42.123Z";
const OLD_DAY: u64 = 20_455;

pub const CONNECTIONS: usize = 16;
pub const TIME: Duration = Duration::from_secs(1);
pub const TOKEN: &str = "hush";

#[derive(Debug, Default, Serialize)]
pub struct Purging {
    /// Without a purge, and beside one.
    pub p99_milliseconds: (f64, f64),
    /// Without a purge, and beside one.
    pub events_per_second: (f64, f64),
    /// Beside events at full load.
    pub records_per_second: f64,
}

/// Measures events in turn without and beside a purge, until no record is due.
pub async fn measure(setting: &Setting<'_>) -> Result<Purging> {
    setting.svix.set_latency(Duration::ZERO);
    let path = setting.directory.join("purge.db");
    drop(start(setting, &path).await?);
    let young = rfc3339(SystemTime::now());
    fill(&path, &young)?;

    let (mut without, mut beside) = (Figures::default(), Figures::default());
    let (mut events, mut purged, mut purging) = (0, 0, Duration::ZERO);
    let mut server = start(setting, &path).await?;
    let mut killed = false;
    loop {
        let mut connections = Connections::open(server.address, CONNECTIONS).await?;
        events += connections.run(TIME / 5).await?.events;
        let load = connections.run(TIME).await?;
        events += load.events;
        without.add(&load);

        let begin = Instant::now();
        let (load, slices) = tokio::join!(connections.run(TIME), purge_for(&server, TIME));
        let (load, (forgotten, done)) = (load?, slices?);
        events += load.events;
        purged += forgotten;
        if done {
            // The purge ended early, so that this measurement doesn't count.
            break;
        }
        purging += begin.elapsed();
        beside.add(&load);
        if !killed && purged > DUE / 2 {
            // Kill the relay, most likely in the middle of a slice.
            let slice = tokio::spawn(ask(server.address, "purge"));
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop(server);
            // The slice may have failed or not: `check` looks at the store.
            let _ = slice.await;
            server = start(setting, &path).await?;
            killed = true;
        }
    }
    drop(server);
    ensure!(killed, "the purge was over before the relay was killed");
    check(&path, events, &young)?;
    Ok(Purging {
        p99_milliseconds: (median(&mut without.p99), median(&mut beside.p99)),
        events_per_second: (median(&mut without.rate), median(&mut beside.rate)),
        records_per_second: purged as f64 / purging.as_secs_f64(),
    })
}

#[derive(Default)]
pub struct Figures {
    pub p99: Vec<f64>,
    pub rate: Vec<f64>,
}

impl Figures {
    pub fn add(&mut self, load: &crate::load::Load) {
        self.p99.push(load.percentile(99).as_secs_f64() * 1_000.0);
        self.rate.push(load.rate());
    }
}

pub async fn start(setting: &Setting<'_>, path: &Path) -> Result<Server> {
    let mut command = setting.relay(&format!("sqlite:{}", path.display()))?;
    command.args(["--variable", &format!("admin_token={TOKEN}")]);
    Server::start(command, setting.directory).await
}

/// Purges for `time`. Returns how many records were deleted, and whether none is due any more.
async fn purge_for(server: &Server, time: Duration) -> Result<(usize, bool)> {
    let (begin, mut purged) = (Instant::now(), 0);
    while begin.elapsed() < time {
        let report = ask(server.address, "purge").await?;
        let slice = report["purged"].as_u64().context("no number")?;
        purged += usize::try_from(slice)?;
        if report["done"] == true {
            return Ok((purged, true));
        }
    }
    Ok((purged, false))
}

/// Asks for a slice of the work with this name.
pub async fn ask(address: SocketAddr, work: &str) -> Result<Value> {
    let reply = reqwest::Client::new()
        .post(format!("http://{address}/maintenance/{work}"))
        .bearer_auth(TOKEN)
        .send()
        .await?
        .error_for_status()?;
    Ok(serde_json::from_slice(&reply.bytes().await?)?)
}

/// Writes the records, and the journal of the due ones.
fn fill(path: &Path, young: &str) -> Result<()> {
    let mut connection = Connection::open(path)?;
    let transaction = connection.transaction()?;
    let due = insert_records(&transaction, 0..DUE as u64, |_| OLD.to_owned())?;
    let numbers = DUE as u64..(DUE + YOUNG) as u64;
    let young = insert_records(&transaction, numbers, |_| young.to_owned())?;
    let sql = "INSERT INTO spin_key_value (store, key, value) VALUES ('default', ?1, ?2)";
    let mut pages = 0_i64;
    for (due, anew) in due.chunks(PAGE).zip(young.chunks(ANEW)) {
        pages += 1;
        let page = format!("2 {OLD}\n{}\n{}", due.join("\n"), anew.join("\n"));
        let key = format!("journal/day/{OLD_DAY}/{pages}");
        transaction.execute(sql, params![key, page.into_bytes()])?;
    }
    let counter = format!("journal/day/{OLD_DAY}");
    transaction.execute(sql, params![counter, pages.to_le_bytes()])?;
    transaction.commit()?;
    Ok(())
}

/// Fails unless all due records are deleted, and no others.
fn check(path: &Path, events: usize, young: &str) -> Result<()> {
    let connection = Connection::open(path)?;
    let count = |like: &str| -> Result<usize> {
        let sql = "SELECT count(*) FROM spin_key_value WHERE key LIKE 'record/%' AND CAST(value AS TEXT) LIKE ?1";
        let count: i64 = connection.query_row(sql, [format!("%{like}%")], |row| row.get(0))?;
        Ok(usize::try_from(count)?)
    };
    let (old, young, all) = (count(OLD)?, count(young)?, count("")?);
    ensure!(old == 0, "{old} records that were due are still there");
    ensure!(young == YOUNG, "{young} of {YOUNG} records are left");
    let written = all - young;
    ensure!(written == events, "{written} records of {events} events");
    Ok(())
}
