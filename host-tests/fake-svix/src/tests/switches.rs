//! Switches for the whole of the fake: latency, being down, recording.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use tokio::time::Instant;

use clock::Clock;

use super::{Client, HOUR, TOKEN, connected, fake, message};
use crate::{FakeSvix, Fault};

#[tokio::test(start_paused = true)]
async fn latency_applies_to_every_reply() -> anyhow::Result<()> {
    let (fake, mut client) = connected().await;
    fake.set_latency(Duration::from_millis(250));
    let started = Instant::now();
    client.post(&message("evt_1")).await?;
    client.get("evt_1").await?;
    assert_eq!(started.elapsed().as_millis() / 10, 50);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_limit_holds_for_each_second() -> anyhow::Result<()> {
    let clock = Clock::starting_at(SystemTime::UNIX_EPOCH + HOUR);
    let fake = FakeSvix::new(TOKEN, clock.clone());
    let mut client = Client::connect(&fake).await;
    fake.set_limit(2);
    let mut statuses = Vec::new();
    for event in ["evt_1", "evt_2", "evt_3"] {
        statuses.push(client.post(&message(event)).await?.status.as_u16());
    }
    clock.advance(Duration::from_secs(1));
    statuses.push(client.post(&message("evt_3")).await?.status.as_u16());
    assert_eq!(statuses, [202, 202, 429, 202]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_fake_that_is_down_closes_every_connection() -> anyhow::Result<()> {
    let (fake, _) = fake();
    let mut idle = Client::connect(&fake).await;
    let mut busy = Client::connect(&fake).await;
    idle.post(&message("evt_1")).await?;
    fake.script([Fault::HangAfterStoring]);
    let switch = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        fake.set_down(true);
    };
    let hanging = message("evt_2");
    let (answer, ()) = tokio::join!(busy.post(&hanging), switch);
    assert!(answer.is_err());
    assert!(idle.get("evt_1").await.is_err());
    assert!(Client::connect(&fake).await.get("evt_1").await.is_err());

    fake.set_down(false);
    let answer = Client::connect(&fake).await.get("evt_1").await?;
    assert_eq!(answer.status, StatusCode::OK);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn requests_are_recorded_until_told_not_to() -> anyhow::Result<()> {
    let (fake, mut client) = connected().await;
    client.get("evt_1").await?;
    fake.keep_requests(false);
    client.get("evt_2").await?;
    let paths: Vec<_> = fake.requests().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/api/v1/app/dev/msg/evt_1/?with_content=false"]);
    Ok(())
}
