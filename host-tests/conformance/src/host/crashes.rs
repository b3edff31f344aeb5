//! SIGKILL at various moments, and the store afterwards.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fake_svix::Fault;
use futures::StreamExt as _;
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;

use super::forms::push;
use super::{Host, expect};
use crate::check::{Outcome, same};

const RUNNING: Outcome = Outcome::Skipped("the suite kills only a host that it has started");

/// How many of a crowd's events are answered before a kill.
const KILLS: [usize; 6] = [1, 2, 4, 8, 16, 28];

/// The latency of Svix during these.
const LATENCY: Duration = Duration::from_millis(15);

/// How many events are on their way then.
const CROWD: usize = 32;

pub async fn keep_records(host: &mut Host) -> Result<Outcome> {
    if host.process.is_none() {
        return Ok(RUNNING);
    }
    let events = host.new_events(20);
    for reply in try_join_all(events.iter().map(|event| host.deliver(event))).await? {
        expect::status(&reply, "delivered")?;
    }
    host.crash().await?;
    for event in &events {
        expect::status(&host.deliver(event).await?, "duplicate")?;
    }
    Ok(Outcome::Passed)
}

pub async fn before_the_record(host: &mut Host) -> Result<Outcome> {
    if host.process.is_none() {
        return Ok(RUNNING);
    }
    let event = host.new_event();
    host.svix.script([Fault::HangAfterStoring]);
    tokio::select! {
        reply = host.deliver(&event) => bail!("{} before Svix has answered", reply?.shown()),
        () = host.is_stored(&event) => {}
    }
    host.crash().await?;
    expect::status(&host.deliver(&event).await?, "delivered")?;
    host.expect_one(&event)?;
    Ok(Outcome::Passed)
}

pub async fn under_load(host: &mut Host) -> Result<Outcome> {
    let mut acknowledged = 0;
    for after in KILLS {
        let events = host.new_events(CROWD);
        let Some(process) = &mut host.process else {
            return Ok(RUNNING);
        };
        host.svix.set_latency(LATENCY);
        let client = &host.client;
        let deliveries = events.iter().map(|event| async move {
            let body = event.text.clone();
            let sent = client.send("POST", "/notifications", &[], body);
            (event, sent.await)
        });
        let mut deliveries: FuturesUnordered<_> = deliveries.collect();
        let mut replies: Vec<_> = deliveries.by_ref().take(after).collect().await;
        process.kill().await?;
        replies.extend(deliveries.collect::<Vec<_>>().await);
        host.svix.set_latency(Duration::ZERO);
        process.restart()?;
        process.is_up().await?;
        for (event, reply) in replies {
            let again = host.deliver(event).await?;
            if reply.is_ok_and(|reply| reply.status == 200) {
                acknowledged += 1;
                expect::status(&again, "duplicate").context(event.id.clone())?;
            }
            again.expect(200)?;
            host.expect_one(event)?;
        }
    }
    let (kills, all) = (KILLS.len(), KILLS.len() * CROWD);
    let note = format!("{kills} kills, {acknowledged} of {all} events acknowledged before");
    Ok(Outcome::Noted(note))
}

pub async fn keep_letters(host: &mut Host) -> Result<Outcome> {
    if host.process.is_none() {
        return Ok(RUNNING);
    }
    let id = host.new_event().id;
    let body = push(&id, &BASE64_STANDARD.encode("not JSON"));
    let kept = host.post(body.clone()).await?;
    expect::status(&kept, "dead-lettered")?;
    host.crash().await?;
    let number = &kept.json()["deadLetter"];
    same("the body", &host.letter(number).await?["body"], &body)?;
    same("the letter", &host.post(body).await?.json()["deadLetter"], number)?;
    Ok(Outcome::Passed)
}
