//! The operators' routes: metrics, status, purge, console.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use futures::future::try_join_all;
use tokio::time;

use super::{Host, expect};
use crate::check::{Outcome, same};

/// The number of delivered events of a project, by the metrics.
async fn delivered(host: &Host, project: &str) -> Result<u64> {
    let metrics = host.client.get("/metrics").await?;
    let text = metrics.expect(200)?.text();
    ensure!(text.ends_with("# EOF\n"), "the metrics break off");
    let series = "svix_relay_notifications_total{outcome=\"delivered\"";
    let series = format!("{series},project=\"{project}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&series));
    Ok(line.unwrap_or("0").parse()?)
}

/// Counters come to the store one to two seconds after their events.
pub async fn read_metrics(host: &mut Host) -> Result<Outcome> {
    let project = format!("{}-counted", host.project);
    let mut events = host.new_events(16);
    for event in &mut events {
        event.text = event.text.replacen(&host.project, &project, 2);
    }
    for reply in try_join_all(events.iter().map(|event| host.deliver(event))).await? {
        expect::status(&reply, "delivered")?;
    }
    let mut counted = 0;
    for _ in 0..60 {
        time::sleep(Duration::from_millis(100)).await;
        counted = delivered(host, &project).await?;
        if counted == 16 {
            return Ok(Outcome::Passed);
        }
    }
    bail!("the metrics count {counted} of 16 events")
}

pub async fn read_the_status(host: &mut Host) -> Result<Outcome> {
    for path in ["/healthz", "/readyz"] {
        host.client.get(path).await?.expect(200)?;
        let bare = host.client.ask("HEAD", path).await?;
        bare.expect(200)?;
        let length = bare.header("content-length");
        ensure!(
            length.is_some_and(|length| length != "0"),
            "HEAD {path} has no length: {length:?}"
        );
    }
    let status = host.client.get("/status").await?;
    let status = status.expect(200)?.json();
    same("the token", &status["configuration"]["svix_token"], "[redacted]")?;
    same("the gate", &status["gate"]["state"], "open")?;
    Ok(Outcome::Passed)
}

pub async fn purge(host: &mut Host) -> Result<Outcome> {
    let event = host.new_event();
    expect::status(&host.deliver(&event).await?, "delivered")?;
    for _ in 0..60 {
        let reply = host.client.ask("POST", "/maintenance/purge").await?;
        if reply.expect(200)?.json()["done"] == true {
            expect::status(&host.deliver(&event).await?, "duplicate")?;
            return Ok(Outcome::Passed);
        }
    }
    bail!("not done after 60 slices")
}

pub async fn open_the_console(host: &mut Host) -> Result<Outcome> {
    for (path, content_type) in [
        ("/console", "text/html"),
        ("/console/page.css", "text/css"),
        ("/console/page.js", "text/javascript"),
    ] {
        let reply = host.client.get(path).await?;
        let served = reply.expect(200)?.header("content-type").unwrap_or_default();
        ensure!(served.starts_with(content_type), "{path} is {served}");
        let policy = reply.header("content-security-policy").unwrap_or_default();
        ensure!(policy.starts_with("default-src 'none'"), "{path} has the policy {policy}");
    }
    let page = host.client.get("/console").await?.text();
    ensure!(page.contains("console/page.js"), "the page names no script");
    Ok(Outcome::Passed)
}
