//! Idempotency-Keys and eventIds keep a message from being stored twice. These tests say for how long.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;

use super::{Client, HOUR, connected, fake, message, post, request};
use crate::EventIdScope;

#[tokio::test(start_paused = true)]
async fn replays_the_reply_under_a_key_for_12_hours() -> anyhow::Result<()> {
    let (fake, clock) = fake();
    let mut client = Client::connect(&fake).await;
    let first = client.post_with_key(&message("evt_1"), "key").await?;

    clock.advance(11 * HOUR + Duration::from_secs(3599));
    // The body doesn't count.
    let second = client.post_with_key(&json!("other"), "key").await?;
    assert_eq!((second.status, second.body), (first.status, first.body));

    clock.advance(Duration::from_secs(1));
    let third = client.post_with_key(&message("evt_1"), "key").await?;
    assert_eq!(third.status, StatusCode::CONFLICT);
    assert_eq!(fake.messages().len(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_key_is_bound_to_the_full_uri() -> anyhow::Result<()> {
    let (_, mut client) = connected().await;
    let mut body = message("evt_1");
    body["eventId"] = json!(null);
    let mut ids = Vec::new();
    for query in ["?with_content=false", "?with_content=true", ""] {
        let mut request = post("dev", &body.to_string(), Some("key"));
        *request.uri_mut() = format!("/api/v1/app/dev/msg/{query}").parse()?;
        ids.push(client.send(request).await?.id());
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_post_is_replayed_under_its_key_and_no_other_request() -> anyhow::Result<()> {
    let (fake, clock) = fake();
    let mut client = Client::connect(&fake).await;
    let id = fake.create_endpoint("dev", "https://a.example/status/500");
    client.post(&message("evt_1")).await?;
    clock.advance(Duration::from_secs(1));
    let mut send = async |method: Method, path: &str, body: String| {
        let mut request = request(method, path, &body);
        let value = "key".parse()?;
        request.headers_mut().insert("idempotency-key", value);
        client.send(request).await
    };
    let path = format!("/api/v1/app/dev/endpoint/{id}/recover/");
    let body = json!({ "since": clock::rfc3339(clock.now() - HOUR) }).to_string();
    let first = send(Method::POST, &path, body.clone()).await?;
    let second = send(Method::POST, &path, body).await?;
    assert_eq!(first.id(), second.id());
    let path = "/api/v1/app/dev/attempt/msg/evt_1/";
    let attempts = send(Method::GET, path, String::new()).await?.json();
    assert_eq!(attempts["data"].as_array().map(Vec::len), Some(2));

    let path = "/api/v1/app/dev/";
    for name in ["one", "two"] {
        let body = json!({ "name": name }).to_string();
        let changed = send(Method::PATCH, path, body).await?;
        assert_eq!(changed.json()["name"], name);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn concurrent_posts_without_a_key_get_one_202_and_else_409() -> anyhow::Result<()> {
    let (fake, _) = fake();
    let posts: Vec<_> = (0..16)
        .map(|_| {
            let fake = fake.clone();
            tokio::spawn(async move { Client::connect(&fake).await.post(&message("evt_1")).await })
        })
        .collect();

    let mut accepted = 0;
    for post in posts {
        let answer = post.await??;
        if answer.status == StatusCode::ACCEPTED {
            accepted += 1;
        } else {
            let conflict = json!({ "code": "conflict", "detail": "A conflict has occurred" });
            assert_eq!(answer.status, StatusCode::CONFLICT);
            assert_eq!(answer.json(), conflict);
        }
    }
    assert_eq!((accepted, fake.messages().len()), (1, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn after_a_day_an_event_id_can_be_used_again() -> anyhow::Result<()> {
    let (fake, clock) = fake();
    let mut client = Client::connect(&fake).await;
    let first = client.post(&message("evt_1")).await?.id();

    clock.advance(23 * HOUR + Duration::from_secs(3599));
    let answer = client.post(&message("evt_1")).await?;
    assert_eq!(answer.status, StatusCode::CONFLICT);

    clock.advance(Duration::from_secs(1));
    let second = client.post(&message("evt_1")).await?.id();
    assert_ne!(first, second);
    assert_eq!(fake.messages_for("dev").len(), 2);
    assert_eq!(client.get("evt_1").await?.id(), second);
    assert_eq!(client.get(&first).await?.id(), first);

    let answer = client.post(&message("evt_1")).await?;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn event_ids_are_unique_per_application_or_per_environment() -> anyhow::Result<()> {
    let (fake, _) = fake();
    fake.store_message("other", "evt_1", "a", "{}");
    fake.store_message("other", "evt_2", "a", "{}");
    let mut client = Client::connect(&fake).await;
    let answer = client.post(&message("evt_1")).await?;
    assert_eq!(answer.status, StatusCode::ACCEPTED);

    fake.set_event_id_scope(EventIdScope::Environment);
    let answer = client.post(&message("evt_2")).await?;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(client.get("evt_2").await?.status, StatusCode::NOT_FOUND);
    Ok(())
}
