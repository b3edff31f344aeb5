//! The routes for people, as curl uses them.

use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::json;

use super::{Client, connected, fake, message, request};

fn bare(method: Method, path: &str, body: &str) -> Request<Full<bytes::Bytes>> {
    let mut request = request(method, path, body);
    request.headers_mut().remove("authorization");
    request
}

#[tokio::test(start_paused = true)]
async fn messages_are_shown_without_a_token() -> anyhow::Result<()> {
    let (fake, clock) = fake();
    let mut client = Client::connect(&fake).await;
    let id = client.post_with_key(&message("evt_1"), "key").await?.id();
    let other = fake.store_message("other", "evt_2", "a", "{\"n\": 1.0}");

    let answer = client.send(bare(Method::GET, "/_fake/messages", "")).await?;
    let timestamp = clock::rfc3339(clock.now());
    let expected = json!([
        {
            "app": "dev", "id": id, "eventId": "evt_1", "eventType": "user.created",
            "channels": null, "payload": { "id": "evt_1" }, "timestamp": timestamp, "idempotencyKey": "key",
        },
        {
            "app": "other", "id": other, "eventId": "evt_2", "eventType": "a",
            "channels": null, "payload": { "n": 1.0 }, "timestamp": timestamp, "idempotencyKey": null,
        },
    ]);
    assert_eq!(answer.json(), expected);
    assert_eq!(fake.requests().len(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn show_applications_and_event_types() -> anyhow::Result<()> {
    let (_, mut client) = connected().await;
    client.post(&message("evt_1")).await?;
    let event_type = r#"{"name":"a.b","description":"one"}"#;
    let create = request(Method::POST, "/api/v1/event-type/", event_type);
    client.send(create).await?;

    let mut show = async |path| client.send(bare(Method::GET, path, "")).await;
    assert_eq!(show("/_fake/applications").await?.json(), json!(["dev"]));
    let event_types = show("/_fake/event-types").await?.json();
    assert_eq!(event_types[0]["name"], "a.b");
    assert_eq!(event_types[0]["archived"], false);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn faults_meet_the_target_that_they_are_aimed_at() -> anyhow::Result<()> {
    let (_, mut client) = connected().await;
    let fault = r#"{"fault":"status","status":503}"#;
    for (kind, path) in [
        ("applications", "/api/v1/app/"),
        ("portals", "/api/v1/auth/app-portal-access/dev/"),
        ("event-types", "/api/v1/event-type/"),
        ("deliveries", "/api/v1/app/dev/endpoint/"),
    ] {
        let aim = format!("/_fake/faults/{kind}");
        let answer = client.send(bare(Method::POST, &aim, fault)).await?;
        assert_eq!(answer.json(), json!({ "queued": 1 }));
        let answer = client.send(request(Method::POST, path, "{}")).await?;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{kind}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn queue_and_clear_faults() -> anyhow::Result<()> {
    let (_, mut client) = connected().await;
    let one = r#"{"fault":"status","status":429,"retryAfter":{"seconds":2}}"#;
    let two = r#"[{"fault":"none"},{"fault":"delay","millis":5}]"#;
    for (body, queued) in [(one, 1), (two, 3)] {
        let answer = client.send(bare(Method::POST, "/_fake/faults", body)).await?;
        assert_eq!(answer.json(), json!({ "queued": queued }));
    }
    assert_eq!(client.get("evt_1").await?.headers["retry-after"], "2");

    let delete = bare(Method::DELETE, "/_fake/faults", "");
    assert_eq!(client.send(delete).await?.json(), json!({ "queued": 0 }));
    for bad in ["", r#"{"fault":"unheard"}"#, r#"{"fault":"delay"}"#] {
        let answer = client.send(bare(Method::POST, "/_fake/faults", bad)).await?;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.json()["code"], "invalid_fault");
    }
    let answer = client.send(bare(Method::GET, "/_fake/", "")).await?;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    Ok(())
}
