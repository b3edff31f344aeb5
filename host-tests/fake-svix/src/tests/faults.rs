//! Each fault as the client sees it, what it leaves behind, and what the next attempt meets.

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout};

use super::{Client, connected, fake, message, post};
use crate::{FakeSvix, Fault, RetryAfter};

const LONG: Duration = Duration::from_hours(1);

/// One post that meets `fault`; the client waits for an hour.
async fn attempt(fake: &FakeSvix, fault: Fault) -> anyhow::Result<super::ReceivedReply> {
    fake.script([fault]);
    retry(fake).await
}

/// The same post again, on a new connection.
async fn retry(fake: &FakeSvix) -> anyhow::Result<super::ReceivedReply> {
    let mut client = Client::connect(fake).await;
    timeout(LONG, client.post_with_key(&message("evt_1"), "key")).await?
}

#[tokio::test(start_paused = true)]
async fn a_status_comes_with_retry_after_in_every_form() -> anyhow::Result<()> {
    let (fake, clock) = fake();
    let in_a_minute = clock.now() + Duration::from_mins(1);
    let cases = [
        (RetryAfter::Seconds(60), "60".to_owned()),
        (RetryAfter::Date(60), httpdate::fmt_http_date(in_a_minute)),
        (RetryAfter::Raw("soon".into()), "soon".to_owned()),
    ];
    for (retry_after, expected) in cases {
        let answer = attempt(&fake, Fault::retry_after(429, retry_after)).await?;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.headers["retry-after"], expected);
        assert_eq!(answer.json()["code"], "too_many_requests");
    }
    let answer = attempt(&fake, Fault::status(503)).await?;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.headers.contains_key("retry-after"));
    assert_eq!(attempt(&fake, Fault::status(99)).await?.status, 500);
    assert_eq!(attempt(&fake, Fault::status(100)).await?.status, 500);
    assert_eq!(fake.messages(), []);
    assert_eq!(fake.requests().len(), 6);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_date_comes_from_the_fakes_clock() -> anyhow::Result<()> {
    let (fake, clock) = fake();
    clock.advance(LONG);
    let answer = attempt(&fake, Fault::None).await?;
    let date = httpdate::parse_http_date(answer.headers["date"].to_str()?)?;
    assert!(date > SystemTime::now() + LONG / 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_error_after_storing_forgets_the_key_but_not_the_event_id() -> anyhow::Result<()> {
    let (fake, _) = fake();
    let fault = Fault::status_after_storing(500);
    let answer = attempt(&fake, fault).await?;
    assert_eq!(answer.json()["code"], "server_error");
    assert_eq!(fake.messages().len(), 1);
    assert_eq!(retry(&fake).await?.status, StatusCode::CONFLICT);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_delayed_request_takes_effect_at_once() -> anyhow::Result<()> {
    let (fake, _) = fake();
    fake.script([Fault::Delay { millis: 3000 }]);
    let mut client = Client::connect(&fake).await;
    let body = message("evt_1");
    let early = timeout(Duration::from_secs(2), client.post_with_key(&body, "key")).await;
    assert!(early.is_err());
    assert_eq!(fake.messages().len(), 1);

    let started = Instant::now();
    fake.script([Fault::Delay { millis: 3000 }]);
    assert_eq!(retry(&fake).await?.status, StatusCode::ACCEPTED);
    assert_eq!(started.elapsed().as_secs(), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn faults_before_storing_leave_nothing() -> anyhow::Result<()> {
    for fault in [Fault::HangBeforeStoring, Fault::ResetBeforeStoring] {
        let (fake, _) = fake();
        assert!(attempt(&fake, fault.clone()).await.is_err(), "{fault:?}");
        assert_eq!(fake.messages(), [], "{fault:?}");
        assert_eq!(fake.requests().len(), 1);
        assert_eq!(retry(&fake).await?.status, StatusCode::ACCEPTED);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn faults_after_storing_leave_a_message_that_is_replayed() -> anyhow::Result<()> {
    for fault in [
        Fault::HangAfterStoring,
        Fault::ResetAfterStoring,
        Fault::TruncatedReply,
        Fault::GarbageBytes,
    ] {
        let (fake, _) = fake();
        assert!(attempt(&fake, fault.clone()).await.is_err(), "{fault:?}");
        assert_eq!(fake.messages().len(), 1, "{fault:?}");
        assert_eq!(retry(&fake).await?.id(), fake.messages()[0].id);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_reset_and_garbage_do_not_look_like_a_timeout() {
    let started = Instant::now();
    for fault in [
        Fault::ResetBeforeStoring,
        Fault::ResetAfterStoring,
        Fault::TruncatedReply,
        Fault::GarbageBytes,
    ] {
        assert!(attempt(&fake().0, fault).await.is_err());
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_hang_ends_when_the_client_gives_up() -> anyhow::Result<()> {
    let (fake, _) = fake();
    fake.script([Fault::HangBeforeStoring]);
    let (near, far) = tokio::io::duplex(1024);
    let served = tokio::spawn({
        let fake = fake.clone();
        async move { fake.serve_connection(far).await }
    });
    {
        let mut client = Client::over(near).await;
        let body = message("evt_1");
        assert!(timeout(LONG, client.post(&body)).await.is_err());
    }
    timeout(LONG, served).await??;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_truncated_reply_has_a_head_and_half_a_body() -> anyhow::Result<()> {
    let (fake, _) = fake();
    fake.script([Fault::TruncatedReply]);
    let mut client = Client::connect(&fake).await;
    let post = post("dev", &message("evt_1").to_string(), None);
    let mut reply = client.0.send_request(post).await?;
    assert_eq!(reply.status(), StatusCode::ACCEPTED);

    let length: usize = reply.headers()["content-length"].to_str()?.parse()?;
    let data = reply.frame().await.expect("a frame")?.into_data();
    assert_eq!(data.expect("data").len(), length / 2);
    assert!(reply.frame().await.expect("an error").is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_malformed_reply_is_http_but_not_json() -> anyhow::Result<()> {
    let (fake, _) = fake();
    let answer = attempt(&fake, Fault::MalformedReply).await?;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
    assert_eq!(retry(&fake).await?.id(), fake.messages()[0].id);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_loser_of_a_race_gets_a_409_and_is_not_stored() -> anyhow::Result<()> {
    let (fake, _) = fake();
    let answer = attempt(&fake, Fault::RaceToCreateApplication).await?;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(fake.applications(), ["dev"]);
    assert_eq!(fake.messages(), []);
    let mut client = Client::connect(&fake).await;
    assert_eq!(client.get("evt_1").await?.status, StatusCode::NOT_FOUND);
    assert_eq!(retry(&fake).await?.status, StatusCode::ACCEPTED);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_oversized_reply_is_still_json() -> anyhow::Result<()> {
    let (fake, _) = fake();
    let answer = attempt(&fake, Fault::OversizedReply { bytes: 3_000_000 }).await?;
    assert_eq!(answer.body.len(), 3_000_000);
    assert_eq!(answer.id(), fake.messages()[0].id);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_complete_when_the_client_wants_the_connection_closed() -> anyhow::Result<()> {
    let (fake, _) = fake();
    fake.script([Fault::OversizedReply { bytes: 3_000_000 }]);
    let mut client = Client::connect(&fake).await;
    let mut post = post("dev", &message("evt_1").to_string(), None);
    post.headers_mut().insert("connection", "close".parse()?);
    assert_eq!(client.send(post).await?.body.len(), 3_000_000);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_follows_its_head_in_pieces() -> anyhow::Result<()> {
    let (fake, _) = fake();
    fake.script([Fault::SlowBody { millis: 8000 }]);
    let mut client = Client::connect(&fake).await;
    let started = Instant::now();
    let post = post("dev", &message("evt_1").to_string(), None);
    let mut reply = client.0.send_request(post).await?;
    assert_eq!(started.elapsed(), Duration::ZERO);

    let mut pieces = 0;
    while let Some(frame) = reply.frame().await {
        pieces += usize::from(frame?.is_data());
    }
    assert_eq!((pieces, started.elapsed().as_secs()), (8, 8));
    assert_eq!(client.get("evt_1").await?.status, StatusCode::OK);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn credentials_are_echoed_in_the_detail() -> anyhow::Result<()> {
    let (fake, _) = fake();
    let answer = attempt(&fake, Fault::EchoCredentials).await?;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let detail = answer.json()["detail"].to_string();
    assert!(detail.contains(super::TOKEN), "{detail}");
    assert_eq!(fake.messages(), []);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn faults_meet_only_requests_to_create_or_get_a_message() -> anyhow::Result<()> {
    let (fake, mut client) = connected().await;
    fake.always(Fault::status(500));
    let helper = super::request(Method::GET, "/_fake/messages", "");
    assert!(client.send(helper).await?.status.is_success());
    assert_eq!(client.post(&message("evt_1")).await?.status, 500);
    assert_eq!(client.get("evt_1").await?.status, 500);

    fake.always_for(&Method::GET, Fault::status(502));
    fake.script_for(&Method::POST, [Fault::status(503)]);
    assert_eq!(client.get("evt_1").await?.status, 502);
    assert_eq!(client.post(&message("evt_1")).await?.status, 503);
    assert_eq!(client.post(&message("evt_1")).await?.status, 202);
    fake.clear_faults();
    assert_eq!(client.get("evt_1").await?.status, 200);
    Ok(())
}
