//! An audit of a million records of one project. Measures what the audit costs, and what it costs the
//! events that come meanwhile.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clock::rfc3339;
use rusqlite::{Connection, params};
use serde::Serialize;

use crate::load::Connections;
use crate::median::median;
use crate::purge::{CONNECTIONS, Figures, TIME, ask, start};
use crate::server::Server;
use crate::setting::{Setting, insert_records};
use crate::svix::Past;

/// How many records a page names.
const PAGE: usize = 64;

/// How long Svix takes to answer the audit.
const LATENCY: Duration = Duration::from_millis(20);

#[derive(Debug, Default, Serialize)]
pub struct Auditing {
    /// Lists and look-ups.
    pub calls: u64,
    /// With a Svix that answers at once, and after 20 ms; of a whole audit without load.
    pub seconds: (f64, f64),
    /// The process's peak above its memory before, without load.
    pub bytes: u64,
    /// Without an audit, and beside one.
    pub p99_milliseconds: (f64, f64),
    /// Without an audit, and beside one.
    pub events_per_second: (f64, f64),
}

impl fmt::Display for Auditing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((at_once, later), megabytes) = (self.seconds, self.bytes as f64 / 1e6);
        let ((p99, p99_beside), (rate, rate_beside)) =
            (self.p99_milliseconds, self.events_per_second);
        write!(
            formatter,
            "audit of 1,000,000       {} calls; {at_once:.0} s, {later:.0} s at 20 ms; {megabytes:.1} MB; p99 {p99:.2} -> {p99_beside:.2} ms; events/s {rate:.0} -> {rate_beside:.0}",
            self.calls
        )
    }
}

/// Audits without load, then again beside events.
pub async fn measure(setting: &Setting<'_>) -> Result<Auditing> {
    setting.svix.set_latency(Duration::ZERO);
    let path = setting.directory.join("audit.db");
    drop(start(setting, &path).await?);
    fill(&path)?;
    let server = start(setting, &path).await?;
    // Instances exist before the audit begins.
    let mut connections = Connections::open(server.address, CONNECTIONS).await?;
    connections.run(TIME).await?;
    drop(connections);
    let memory = server.memory_now()?;
    server.reset_peak();
    let asked = setting.svix.asked();
    let begin = Instant::now();
    ensure!(audit_for(&server, "", Duration::MAX).await?, "the audit did not end");
    let at_once = begin.elapsed().as_secs_f64();
    let calls = setting.svix.asked() - asked;
    let bytes = server.peak_memory()?.saturating_sub(memory);
    check(&server).await?;

    setting.svix.set_latency(LATENCY);
    let begin = Instant::now();
    let again = format!("?since={}", rfc3339(Past::begin()));
    ensure!(audit_for(&server, &again, Duration::MAX).await?, "the audit did not end");
    let later = begin.elapsed().as_secs_f64();
    setting.svix.set_latency(Duration::ZERO);

    let (mut without, mut beside) = (Figures::default(), Figures::default());
    let mut query = &again[..];
    loop {
        let mut connections = Connections::open(server.address, CONNECTIONS).await?;
        connections.run(TIME / 5).await?;
        without.add(&connections.run(TIME).await?);
        let (load, done) = tokio::join!(connections.run(TIME), audit_for(&server, query, TIME));
        let (load, done) = (load?, done?);
        query = "";
        if done {
            break;
        }
        beside.add(&load);
    }
    check(&server).await?;
    Ok(Auditing {
        calls,
        seconds: (at_once, later),
        bytes,
        p99_milliseconds: (median(&mut without.p99), median(&mut beside.p99)),
        events_per_second: (median(&mut without.rate), median(&mut beside.rate)),
    })
}

/// Audits for `time`. Returns whether nothing more is due.
async fn audit_for(server: &Server, query: &str, time: Duration) -> Result<bool> {
    let begin = Instant::now();
    let mut work = format!("audit{query}");
    while begin.elapsed() < time {
        if ask(server.address, &work).await?["done"] == true {
            return Ok(true);
        }
        "audit".clone_into(&mut work);
    }
    Ok(false)
}

/// Fails unless all records were found in Svix, and nothing else was.
async fn check(server: &Server) -> Result<()> {
    let report = ask(server.address, "audit").await?;
    ensure!(report["found"] == 0, "{report}");
    let status = reqwest::Client::new()
        .get(format!("http://{}/status", server.address))
        .bearer_auth(crate::purge::TOKEN)
        .send()
        .await?
        .error_for_status()?;
    let status: serde_json::Value = serde_json::from_slice(&status.bytes().await?)?;
    let audit = &status["audit"];
    let events = audit["events"].as_u64().context("no number")?;
    ensure!(events == Past::MESSAGES, "{audit}");
    let findings = audit["findings"].as_object().context("no findings")?;
    ensure!(findings.values().all(|number| *number == 0), "{audit}");
    Ok(())
}

/// Writes the records and their journal.
fn fill(path: &Path) -> Result<()> {
    let mut connection = Connection::open(path)?;
    let transaction = connection.transaction()?;
    let at = |number| rfc3339(Past::time(number));
    let names = insert_records(&transaction, 0..Past::MESSAGES, at)?;
    let sql = "INSERT INTO spin_key_value (store, key, value) VALUES ('default', ?1, ?2)";
    let begin = Past::begin().duration_since(std::time::UNIX_EPOCH)?;
    let day = begin.as_secs() / 86_400;
    let mut pages = 0_i64;
    for (number, names) in names.chunks(PAGE).enumerate() {
        pages += 1;
        let last = (number * PAGE + names.len() - 1) as u64;
        let written_at = rfc3339(Past::time(last) + Duration::from_millis(500));
        let page = format!("2 {written_at}\n{}", names.join("\n"));
        let key = format!("journal/day/{day}/{pages}");
        transaction.execute(sql, params![key, page.into_bytes()])?;
    }
    let counter = format!("journal/day/{day}");
    transaction.execute(sql, params![counter, pages.to_le_bytes()])?;
    transaction.commit()?;
    Ok(())
}
