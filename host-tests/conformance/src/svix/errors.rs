//! The form of answers, above all of errors.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use serde_json::json;

use super::Svix;
use crate::check::Outcome;

/// How many requests try to meet a limit.
const BURST: usize = 40;

pub async fn have_a_code(svix: &mut Svix) -> Result<Outcome> {
    let wrong = [("authorization", "Bearer testsk_wrong.eu")];
    let path = svix.path("msg/evt_1/");
    let unknown = format!("/api/v1/app/{}-missing/msg/", svix.app);
    let message = json!({"eventType": "a", "payload": {}}).to_string();
    for (reply, status) in [
        (svix.client.send("GET", &path, &wrong, "").await?, 401),
        (svix.client.get(&path).await?, 404),
        (svix.client.send("POST", &unknown, &[], message).await?, 404),
    ] {
        let error = reply.expect(status)?.json();
        ensure!(error["code"].is_string() && error["detail"].is_string(), "{}", reply.shown());
    }
    let path = svix.path("msg/");
    let invalid = svix.client.send("POST", &path, &[], "{}").await?;
    ensure!(invalid.expect(422)?.json()["detail"].is_array(), "{}", invalid.shown());
    Ok(Outcome::Passed)
}

pub async fn of_an_unknown_path(svix: &mut Svix) -> Result<Outcome> {
    let path = format!("/elsewhere/api/v1/app/{}/msg/evt_1/", svix.app);
    let reply = svix.client.get(&path).await?;
    let is_missing = reply.status == 404 && reply.json()["code"] == "not_found";
    ensure!(!is_missing && reply.status != 200, "{}", reply.shown());
    Ok(Outcome::Noted(format!("{} with {} bytes", reply.status, reply.body.len())))
}

pub async fn are_told_without_encoding(svix: &mut Svix) -> Result<Outcome> {
    let (event_id, _) = svix.store().await?;
    let reply = svix.look_up(&event_id).await?;
    let encoding = reply.header("content-encoding").unwrap_or("identity");
    ensure!(encoding == "identity", "the encoding is {encoding}");
    ensure!(reply.json().is_object(), "{}", reply.shown());
    Ok(Outcome::Passed)
}

pub async fn of_the_clock(svix: &mut Svix) -> Result<Outcome> {
    let (_, message) = svix.new_message();
    let reply = svix.post(&message, None).await?;
    let stored = reply.expect(202)?.json();
    let time = stored["timestamp"].as_str().and_then(clock::parse_rfc3339);
    let time = time.with_context(|| format!("no time in UTC: {}", reply.shown()))?;
    let now = SystemTime::now();
    let apart = now.duration_since(time).unwrap_or_else(|error| error.duration());
    ensure!(apart < Duration::from_secs(30), "{} s apart", apart.as_secs());
    Ok(Outcome::Passed)
}

pub async fn of_a_limit(svix: &mut Svix) -> Result<Outcome> {
    let replies = try_join_all((0..BURST).map(|_| svix.look_up("evt_1"))).await?;
    let Some(limited) = replies.iter().find(|reply| reply.status == 429) else {
        return Ok(Outcome::Skipped("no limit within 40 requests at once"));
    };
    let Some(wait) = limited.header("retry-after") else {
        return Ok(Outcome::Noted("without `Retry-After`".to_owned()));
    };
    let is_seconds = !wait.is_empty() && wait.bytes().all(|byte| byte.is_ascii_digit());
    // A date in GMT.
    ensure!(is_seconds || wait.ends_with(" GMT"), "Retry-After: {wait}");
    Ok(Outcome::Noted(format!("Retry-After: {wait}")))
}
