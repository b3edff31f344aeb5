//! Deliveries: when an endpoint is reached, and how Svix shows it. The expectations were read in the source of
//! Svix's open-source server: `worker.rs`, `v1/endpoints/attempt.rs`, `…/endpoint/recovery.rs`.

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::customers::{get, post, send};
use super::{Client, HOUR, ReceivedReply, assert_fields, fake, message};
use crate::FakeSvix;
use clock::{Clock, rfc3339};

const DAY: Duration = Duration::from_hours(24);
const FAILING: &str = "https://a.example/status/500";

/// A fake with an endpoint at `url` that was sent `evt_1`; the id of the endpoint.
async fn sent(url: &str) -> (FakeSvix, Clock, String) {
    let (fake, clock) = fake();
    let endpoint = fake.create_endpoint("dev", url);
    send_message(&fake, "evt_1").await;
    (fake, clock, endpoint)
}

async fn send_message(fake: &FakeSvix, event_id: &str) {
    let mut client = Client::connect(fake).await;
    let sent = client.post(&message(event_id)).await.expect("an answer");
    assert_eq!(sent.status, StatusCode::ACCEPTED);
}

async fn attempts(fake: &FakeSvix, query: &str) -> Value {
    let path = format!("/api/v1/app/dev/attempt/msg/evt_1/?{query}");
    get(fake, &path).await.json()
}

/// The answers to all attempts for `evt_1`, the newest first.
async fn statuses(fake: &FakeSvix) -> Vec<u64> {
    let page = attempts(fake, "").await;
    let data = page["data"].as_array().expect("a list").iter();
    data.map(|it| it["responseStatusCode"].as_u64().expect("a status")).collect()
}

async fn destinations(fake: &FakeSvix, query: &str) -> Value {
    let path = format!("/api/v1/app/dev/msg/evt_1/endpoint/?{query}");
    get(fake, &path).await.json()
}

/// When the first endpoint gets `evt_1` again.
async fn next_attempt(fake: &FakeSvix) -> Value {
    destinations(fake, "").await["data"][0]["nextAttempt"].take()
}

async fn resend(fake: &FakeSvix, event_id: &str, endpoint: &str) -> ReceivedReply {
    let path = format!("/api/v1/app/dev/msg/{event_id}/endpoint/{endpoint}/resend/");
    post(fake, &path, &json!({})).await
}

async fn recover(fake: &FakeSvix, endpoint: &str, since: SystemTime) -> ReceivedReply {
    let path = format!("/api/v1/app/dev/endpoint/{endpoint}/recover/");
    post(fake, &path, &json!({ "since": rfc3339(since) })).await
}

async fn expunge(fake: &FakeSvix, id: &str) -> StatusCode {
    let path = format!("/api/v1/app/dev/msg/{id}/content/");
    send(fake, Method::DELETE, &path, "").await.status
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_repeated_until_one_succeeds() {
    let (fake, clock, id) = sent("https://a.example/status/500,429,200").await;
    fake.duration_of_endpoint("dev", &id, Duration::ZERO);
    let first = clock.now();
    assert_eq!(statuses(&fake).await, [500]);
    // A message that will be retried is failed already, not sending.
    let destination = &destinations(&fake, "").await["data"][0];
    let next = rfc3339(first + Duration::from_millis(5_035));
    let expected = json!({ "status": 2, "statusText": "fail", "nextAttempt": next });
    assert_fields(destination, &expected);

    clock.advance(Duration::from_millis(5_034));
    assert_eq!(statuses(&fake).await, [500]);
    clock.advance(Duration::from_millis(1));
    assert_eq!(statuses(&fake).await, [429, 500]);
    clock.advance(Duration::from_mins(5));
    assert_eq!(statuses(&fake).await, [200, 429, 500]);
    clock.advance(DAY);
    let page = attempts(&fake, "").await;
    let message = fake.messages()[0].id.clone();
    let expected = json!({
        "id": page["iterator"], "msgId": message, "endpointId": id,
        "url": "https://a.example/status/500,429,200", "responseStatusCode": 500,
        "responseDurationMs": 35, "response": "{\"status\":500}", "status": 2,
        "statusText": "fail", "triggerType": 0, "timestamp": rfc3339(first),
    });
    assert_eq!(page["data"][2], expected);
    let iterator = page["iterator"].as_str().expect("an id");
    assert!(iterator.starts_with("atmpt_"), "{iterator}");
    let bare = attempts(&fake, "with_content=false").await;
    assert_eq!(bare["data"][2]["response"], "{}");

    let path = format!("/api/v1/app/dev/endpoint/{id}/");
    let mut expected = get(&fake, &path).await.json();
    let fields = expected.as_object_mut().expect("an object");
    fields.remove("metadata");
    expected["status"] = json!(0);
    expected["statusText"] = json!("success");
    expected["nextAttempt"] = Value::Null;
    assert_eq!(destinations(&fake, "").await["data"][0], expected);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_given_up_after_eight_attempts() {
    let (fake, clock, id) = sent(FAILING).await;
    let first = clock.now();
    fake.answer_of_endpoint("dev", &id, [0]);
    fake.duration_of_endpoint("dev", &id, Duration::from_secs(10));
    clock.advance(HOUR * 48);
    assert_eq!(statuses(&fake).await, [0, 0, 0, 0, 0, 0, 0, 500]);
    let delays: u64 = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000].iter().sum();
    let last = first + Duration::from_secs(delays + 6 * 10) + Duration::from_millis(35);
    let attempts = attempts(&fake, "").await;
    assert_eq!(attempts["data"][0]["timestamp"], rfc3339(last));
    assert_eq!(next_attempt(&fake).await, Value::Null);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_gives_up_messages_for_five_days_is_disabled() {
    let (fake, clock, id) = sent(FAILING).await;
    let path = format!("/api/v1/app/dev/endpoint/{id}/");
    for day in 1..=6 {
        assert_eq!(get(&fake, &path).await.json()["disabled"], false, "{day}");
        clock.advance(DAY * 2);
        if day == 2 {
            fake.answer_of_endpoint("dev", &id, [200, 500]);
            send_message(&fake, "success").await;
        }
        send_message(&fake, &format!("evt_{day}0")).await;
    }
    assert_eq!(get(&fake, &path).await.json()["disabled"], true);
}

#[tokio::test(start_paused = true)]
async fn a_resend_is_made_at_once_and_ends_the_retries() {
    let (fake, clock, id) = sent(FAILING).await;
    let again = resend(&fake, "evt_1", &id).await;
    assert_eq!((again.status.as_u16(), again.json()), (202, json!({})));
    assert_eq!(statuses(&fake).await, [500, 500]);
    assert_eq!(attempts(&fake, "").await["data"][0]["triggerType"], 1);
    clock.advance(DAY);
    assert_eq!(statuses(&fake).await, [500, 500]);
    assert_eq!(next_attempt(&fake).await, Value::Null);

    fake.answer_of_endpoint("dev", &id, [200]);
    resend(&fake, &fake.messages()[0].id, &id).await;
    assert_eq!(statuses(&fake).await, [200, 500, 500]);
    for (event, endpoint) in [("evt_1", "ep_0"), ("evt_0", &*id)] {
        let missing = resend(&fake, event, endpoint).await;
        assert_eq!(missing.json()["code"], "not_found");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disabled_endpoint_gets_nothing_though_a_resend_is_accepted() {
    let (fake, clock, id) = sent(FAILING).await;
    statuses(&fake).await;
    fake.disable_endpoint("dev", &id, true);
    let due = next_attempt(&fake).await;
    let accepted = resend(&fake, "evt_1", &id).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    clock.advance(HOUR);
    assert_eq!(statuses(&fake).await, [500]);
    fake.disable_endpoint("dev", &id, false);
    clock.advance(DAY);
    assert_eq!(statuses(&fake).await, [500]);
    // The retry that was dropped is still announced.
    let destination = destinations(&fake, "").await["data"][0].take();
    assert_eq!((&destination["nextAttempt"], &destination["disabled"]), (&due, &json!(false)));
    assert!(due.is_string());
}

#[tokio::test(start_paused = true)]
async fn a_recovery_resends_what_failed_and_never_succeeded() {
    let (fake, clock, id) = sent(FAILING).await;
    clock.advance(DAY * 2);
    let since = clock.now();
    fake.answer_of_endpoint("dev", &id, [500, 200, 500]);
    send_message(&fake, "evt_2").await;
    clock.advance(HOUR);
    send_message(&fake, "evt_3").await;
    clock.advance(HOUR);
    statuses(&fake).await;
    fake.answer_of_endpoint("dev", &id, [201]);
    let started = recover(&fake, &id, since).await;
    assert_eq!(started.status, StatusCode::ACCEPTED);
    let expected = json!({
        "id": started.id(), "status": "running", "task": "endpoint.recover",
        "updatedAt": rfc3339(clock.now()),
    });
    assert_eq!(started.json(), expected);
    assert!(started.id().starts_with("qtask_"));
    let manual = async |event: &str| {
        let path = format!("/api/v1/app/dev/attempt/msg/{event}/");
        let page = get(&fake, &path).await.json();
        page["data"][0]["triggerType"] == 1
    };
    assert!(!manual("evt_1").await && !manual("evt_2").await && manual("evt_3").await);
}

#[tokio::test(start_paused = true)]
async fn a_recovery_reaches_back_for_two_weeks_and_five_minutes() {
    let (fake, clock, id) = sent(FAILING).await;
    let most = DAY * 14 + Duration::from_mins(5);
    let accepted = recover(&fake, &id, clock.now() - most + Duration::from_millis(1)).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    let early = clock.now() - most - Duration::from_secs(1);
    let missing = recover(&fake, "ep_0", clock.now()).await;
    assert_eq!(missing.json()["code"], "not_found");
    for endpoint in [&id, "ep_0"] {
        let refused = recover(&fake, endpoint, early).await;
        assert_eq!(refused.json()["detail"][0]["loc"], json!(["body", "since"]));
    }
    let path = format!("/api/v1/app/dev/endpoint/{id}/recover/");
    for bad in [json!({}), json!({ "since": "yesterday" })] {
        let refused = post(&fake, &path, &bad).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_hosted_svix_replays_what_was_never_sent() {
    let (fake, clock, _) = sent("https://a.example").await;
    clock.advance(HOUR);
    let since = clock.now();
    send_message(&fake, "evt_2").await;
    let late = fake.create_endpoint("dev", "https://b.example");
    send_message(&fake, "evt_3").await;
    let path = format!("/api/v1/app/dev/endpoint/{late}/replay-missing/");
    let body = json!({ "since": rfc3339(since) });
    let absent = post(&fake, &path, &body).await;
    absent.assert_not_offered();

    fake.set_hosted(true);
    clock.advance(HOUR);
    let started = post(&fake, &path, &body).await;
    assert_eq!(started.status, StatusCode::ACCEPTED);
    assert_eq!(started.json()["task"], "endpoint.replay");
    for (event, attempts) in [("evt_1", 0), ("evt_2", 1), ("evt_3", 1)] {
        let path = format!("/api/v1/app/dev/attempt/msg/{event}/");
        let page = get(&fake, &path).await.json();
        let made = page["data"].as_array().expect("a list").iter();
        let made = made.filter(|attempt| attempt["endpointId"] == late);
        assert_eq!(made.count(), attempts, "{event}");
    }
    let missing = "/api/v1/app/dev/endpoint/ep_0/replay-missing/";
    let missing = post(&fake, missing, &body).await;
    assert_eq!(missing.json()["code"], "not_found");
}

#[tokio::test(start_paused = true)]
async fn a_resend_may_be_made_a_while_after_its_answer() {
    let (fake, clock, id) = sent(FAILING).await;
    fake.delay_resends(Duration::from_secs(2));
    resend(&fake, "evt_1", &id).await;
    clock.advance(Duration::from_millis(1_999));
    assert_eq!(statuses(&fake).await, [500]);
    clock.advance(Duration::from_millis(1));
    assert_eq!(statuses(&fake).await, [500, 500]);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_listed_in_pages() {
    let (fake, clock, _) = sent(FAILING).await;
    clock.advance(Duration::from_mins(10));
    let other = fake.create_endpoint("dev", "https://b.example");
    resend(&fake, "evt_1", &other).await;
    let first = attempts(&fake, "limit=2").await;
    assert_eq!(first["data"][0]["endpointId"], other);
    assert_eq!(first["done"], false);
    let next = format!("iterator={}", first["iterator"].as_str().expect("an id"));
    let rest = attempts(&fake, &next).await;
    assert_eq!(rest["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(rest["done"], true);
    let before = format!("before={}", rfc3339(clock.now()));
    let before = attempts(&fake, &before).await;
    assert_eq!(before["data"].as_array().map(Vec::len), Some(3));
    assert!(attempts(&fake, "iterator=msg_1").await["detail"].is_array());
}

#[tokio::test(start_paused = true)]
async fn the_endpoints_of_a_message_come_oldest_first_and_every_page_is_the_last() {
    let (fake, _) = fake();
    let ids = [(); 3].map(|()| fake.create_endpoint("dev", FAILING));
    send_message(&fake, "evt_1").await;
    let page = async |query: String| {
        let page = destinations(&fake, &query).await;
        assert_eq!(page["done"], true);
        let data = page["data"].as_array().expect("a list").iter();
        let ids = data.map(|it| it["id"].as_str().expect("an id").to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(page(String::new()).await, ids);
    assert_eq!(page("limit=2".to_owned()).await, ids[..2]);
    assert_eq!(page(format!("limit=2&iterator={}", ids[1])).await, ids[2..]);
    // A deleted endpoint stays in this list.
    let path = format!("/api/v1/app/dev/endpoint/{}/", ids[0]);
    send(&fake, Method::DELETE, &path, "").await;
    assert_eq!(page(String::new()).await, ids);
    let missing = resend(&fake, "evt_1", &ids[0]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_message_without_content_stays_and_is_sent_no_more() {
    let (fake, clock, id) = sent(FAILING).await;
    statuses(&fake).await;
    assert_eq!(expunge(&fake, "evt_1").await, StatusCode::NO_CONTENT);
    let path = "/api/v1/app/dev/msg/evt_1/";
    let shown = get(&fake, path).await.json();
    assert_eq!(shown["payload"], json!({ "expired": true }));
    let refused = resend(&fake, "evt_1", &id).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.json()["code"], "missing_payload");
    clock.advance(DAY);
    assert_eq!(statuses(&fake).await, [500]);
    assert_eq!(expunge(&fake, "evt_1").await, StatusCode::NO_CONTENT);
    assert_eq!(expunge(&fake, "evt_0").await, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn half_of_a_surrogate_pair_is_sent_but_never_shown() -> anyhow::Result<()> {
    let (fake, clock) = fake();
    let endpoint = fake.create_endpoint("dev", "https://a.example/status/500,200");
    let mut client = Client::connect(&fake).await;
    for (event_id, value, is_readable) in [
        ("evt_1", r#""\ud800""#, false),
        ("evt_2", r#""\ud83d\ude00""#, true),
        ("evt_3", "1e400", true),
    ] {
        let payload = format!(r#"{{"a":{value}}}"#);
        let body = format!(r#"{{"eventType":"a","eventId":"{event_id}","payload":{payload}}}"#);
        client.send(super::post("dev", &body, None)).await?;
        let shown = get(&fake, &format!("/api/v1/app/dev/msg/{event_id}/")).await;
        let shown = String::from_utf8(shown.body.to_vec())?;
        assert_eq!(shown.contains(&payload), is_readable, "{shown}");
        assert_eq!(shown.contains(r#"{"expired":true}"#), !is_readable);
        let resent = resend(&fake, event_id, &endpoint).await;
        if is_readable {
            assert_eq!(resent.status, StatusCode::ACCEPTED);
        } else {
            assert_eq!(resent.json()["code"], "missing_payload");
        }
    }
    assert_eq!(statuses(&fake).await, [500]);
    clock.advance(Duration::from_secs(1));
    let recovered = recover(&fake, &endpoint, clock.now() - DAY).await;
    assert_eq!(recovered.status, StatusCode::ACCEPTED);
    assert_eq!(statuses(&fake).await, [200, 500]);
    Ok(())
}
