//! Each fault as the client sees it, what it leaves behind, and what the next attempt meets.

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{Client, ReceivedReply, connected, fake, message, post};
use crate::{FakeSvix, Fault, RetryAfter};

const LONG: Duration = Duration::from_hours(1);

/// One post that meets `fault`; the client waits for an hour.
async fn attempt(fake: &FakeSvix, fault: Fault) -> anyhow::Result<ReceivedReply> {
    fake.script([fault]);
    retry(fake).await
}

/// The same post again, on a new connection.
async fn retry(fake: &FakeSvix) -> anyhow::Result<ReceivedReply> {
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

/// Checks the body of a reply.
type Body = fn(&ReceivedReply, &FakeSvix) -> bool;

const ANY: Body = |_, _| true;

#[tokio::test(start_paused = true)]
async fn each_fault_has_its_answer_its_effect_and_its_retry() -> anyhow::Result<()> {
    let not_json: Body = |it, _| serde_json::from_slice::<Value>(&it.body).is_err();
    let has_code: Body = |it, _| it.json()["code"] == "server_error";
    let is_long: Body = |it, fake| it.body.len() == 3_000_000 && it.id() == fake.messages()[0].id;
    let has_id: Body = |it, fake| it.id() == fake.messages()[0].id;
    let echoes: Body = |it, _| it.json()["detail"].to_string().contains(super::TOKEN);
    let oversized = Fault::OversizedReply { bytes: 3_000_000 };
    // The fault, the answer, the applications and messages that are there then, and the status of the retry.
    #[rustfmt::skip] // One line for each fault.
    let rows = [
        (Fault::HangBeforeStoring, None, (0, 0), 202),
        (Fault::ResetBeforeStoring, None, (0, 0), 202),
        (Fault::EchoCredentials, Some((400, echoes)), (0, 0), 202),
        (Fault::page(502), Some((502, not_json)), (0, 0), 202),
        (Fault::RaceToCreateApplication, Some((409, ANY)), (1, 0), 202),
        (Fault::HangAfterStoring, None, (1, 1), 202),
        (Fault::ResetAfterStoring, None, (1, 1), 202),
        (Fault::TruncatedReply, None, (1, 1), 202),
        (Fault::GarbageBytes, None, (1, 1), 202),
        (Fault::MalformedReply, Some((202, not_json)), (1, 1), 202),
        (Fault::TwoLengths, Some((202, has_id)), (1, 1), 202),
        (oversized, Some((202, is_long)), (1, 1), 202),
        // The key is forgotten, and the event's id is not.
        (Fault::status_after_storing(500), Some((500, has_code)), (1, 1), 409),
    ];
    for (fault, expected, leaves, retried) in rows {
        let (fake, _) = fake();
        let started = Instant::now();
        let answer = attempt(&fake, fault.clone()).await.ok();
        let hangs = matches!(fault, Fault::HangBeforeStoring | Fault::HangAfterStoring);
        let took = if hangs { LONG } else { Duration::ZERO };
        assert_eq!(started.elapsed(), took, "{fault:?}");
        let status = answer.as_ref().map(|it| it.status.as_u16());
        assert_eq!(status, expected.map(|(status, _)| status), "{fault:?}");
        if let (Some(answer), Some((_, is_right))) = (&answer, expected) {
            assert!(is_right(answer, &fake), "{fault:?}: {answer:?}");
        }
        let left = (fake.applications().len(), fake.messages().len());
        assert_eq!(left, leaves, "{fault:?}");
        assert_eq!(fake.requests().len(), 1);
        let retry = retry(&fake).await?;
        assert_eq!(retry.status, retried, "{fault:?}");
        if retried == 202 {
            assert_eq!(retry.id(), fake.messages()[0].id, "{fault:?}");
        }
        assert_eq!(fake.messages().len(), 1, "{fault:?}");
    }
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
async fn faults_meet_only_requests_to_create_or_get_a_message() -> anyhow::Result<()> {
    let (fake, mut client) = connected().await;
    fake.script_for(&Method::GET, [Fault::status(503)]);
    fake.script([Fault::status(500), Fault::None]);
    fake.always(Fault::status(501));
    let helper = super::request(Method::GET, "/_fake/messages", "");
    assert!(client.send(helper).await?.status.is_success());
    for status in [500, 202, 501, 501] {
        assert_eq!(client.post(&message("evt_1")).await?.status, status);
    }
    assert_eq!(client.get("evt_1").await?.status, 503);
    assert_eq!(client.get("evt_1").await?.status, 501);

    fake.always_for(&Method::GET, Fault::status(502));
    fake.script_for(&Method::POST, [Fault::status(503)]);
    assert_eq!(client.get("evt_1").await?.status, 502);
    assert_eq!(client.post(&message("evt_2")).await?.status, 503);
    assert_eq!(client.post(&message("evt_2")).await?.status, 202);
    fake.clear_faults();
    assert_eq!(client.get("evt_1").await?.status, 200);
    Ok(())
}
