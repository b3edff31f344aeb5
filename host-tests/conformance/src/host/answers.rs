//! Answers, and the state behind them that all instances share: records and the gate.

use anyhow::{Result, ensure};
use fake_svix::{Fault, RetryAfter};
use futures::future::try_join_all;
use tokio::time;

use super::{Event, FRESH, Host, expect};
use crate::check::{Outcome, same};

/// More than one instance takes at once.
const CROWD: usize = 48;

pub async fn name_the_problem(host: &mut Host) -> Result<Outcome> {
    let text = [("content-type", "text/plain")];
    let stranger = [("authorization", "Bearer wrong")];
    let number = r#"{"id":1,"type":"t","project":"p"}"#;
    for (method, path, headers, body, status, problem) in [
        ("POST", "/notifications", &[][..], "not JSON", 400, "not-json"),
        ("POST", "/notifications", &text, "{}", 415, "unsupported-media-type"),
        ("POST", "/notifications", &[], number, 422, "invalid-event"),
        ("GET", "/elsewhere", &[], "", 404, "not-found"),
        ("PUT", "/notifications", &[], "", 405, "method-not-allowed"),
        ("GET", "/status", &stranger, "", 401, "unauthorized"),
    ] {
        let reply = host.client.send(method, path, headers, body).await?;
        expect::problem(&reply, status, problem)?;
        ensure!(status != 405 || reply.header("allow") == Some("POST"), "no Allow: POST");
        let length = reply.header("content-length");
        ensure!(length == Some(&reply.body.len().to_string()), "content-length: {length:?}");
    }
    Ok(Outcome::Passed)
}

pub async fn repeat_nothing(host: &mut Host) -> Result<Outcome> {
    let event = host.new_event();
    expect::status(&host.deliver(&event).await?, "delivered")?;
    let asked = host.svix.requests().len();
    expect::status(&host.deliver(&event).await?, "duplicate")?;
    // The type's registration comes after the first event of all.
    let messages = host.svix.requests().split_off(asked);
    let again = messages.iter().any(|request| request.path.contains("/msg/"));
    ensure!(!again, "Svix was asked for a duplicate");
    let record = format!("/notifications/{}/{}", host.project, event.id);
    let record = host.client.get(&record).await?;
    same("the record", &record.expect(200)?.json()["state"], "delivered")?;
    Ok(Outcome::Passed)
}

pub async fn at_once(host: &mut Host) -> Result<Outcome> {
    let event = host.new_event();
    let replies = try_join_all((0..16).map(|_| host.deliver(&event))).await?;
    for reply in replies {
        reply.expect(200)?;
    }
    host.expect_one(&event)?;
    Ok(Outcome::Passed)
}

pub async fn pass_a_limit_on(host: &mut Host) -> Result<Outcome> {
    let crowd = host.new_events(CROWD);
    let closed = close_the_gate(host, &crowd).await;
    host.open_gate().await?;
    closed?;
    for reply in try_join_all(crowd.iter().map(|event| host.deliver(event))).await? {
        expect::status(&reply, "delivered")?;
    }
    Ok(Outcome::Passed)
}

/// Closes the gate by an event of its own, and lets a crowd come to it.
async fn close_the_gate(host: &mut Host, crowd: &[Event]) -> Result<()> {
    let limit = Fault::retry_after(429, RetryAfter::Seconds(30));
    host.svix.script([limit]);
    let first = host.new_event();
    let wait = expect::problem(&host.deliver(&first).await?, 429, "rate-limited")?;
    ensure!(wait >= Some(29), "Retry-After is {wait:?}");
    time::sleep(FRESH).await;
    for reply in try_join_all(crowd.iter().map(|event| host.deliver(event))).await? {
        expect::problem(&reply, 429, "rate-limited")?;
    }
    let sent: usize = crowd.iter().map(|event| host.messages(event)).sum();
    same("messages through the closed gate", &sent, &0)?;
    Ok(())
}

pub async fn pass_a_failure_on(host: &mut Host) -> Result<Outcome> {
    host.svix.always(Fault::status(500));
    let event = host.new_event();
    let reply = host.deliver(&event).await;
    host.svix.clear_faults();
    expect::problem(&reply?, 503, "svix-unavailable")?;
    host.open_gate().await?;
    expect::status(&host.deliver(&event).await?, "delivered")?;
    host.expect_one(&event)?;
    Ok(Outcome::Passed)
}
