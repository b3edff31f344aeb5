//! Which requests the fake accepts, which it refuses, and with which reply.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Client, ReceivedReply, assert_fields, connected, fake, message, post, request};

async fn post_once(body: &str) -> ReceivedReply {
    let mut client = Client::connect(&fake().0).await;
    client.send(post("dev", body, None)).await.expect("answer")
}

fn kinds(answer: &ReceivedReply) -> Vec<String> {
    let detail = answer.json()["detail"].take();
    let items = detail.as_array().expect("a list").iter();
    items
        .map(|item| {
            assert!(item["msg"].is_string() && item["loc"].is_array());
            item["type"].as_str().expect("a type").to_owned()
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn stores_a_message_and_keeps_the_payload_out_of_the_reply() -> anyhow::Result<()> {
    let (fake, clock) = fake();
    let mut client = Client::connect(&fake).await;
    let payload = "{ \"price\":10.0,\n \"n\": 12345678901234567890 }";
    let body = format!(
        r#"{{"eventType":"a.b","eventId":"evt_1","payload":{payload},
            "application":{{"uid":"dev","name":"Dev"}}}}"#
    );
    let answer = client.send(post("dev", &body, Some("key_1"))).await?;

    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let [stored] = &fake.messages()[..] else {
        panic!("one message");
    };
    assert_eq!(stored.payload, payload);
    assert_eq!(stored.event_id.as_deref(), Some("evt_1"));
    assert_eq!(stored.event_type, "a.b");
    assert_eq!(stored.idempotency_key.as_deref(), Some("key_1"));
    assert_eq!(stored.timestamp, clock.now());
    assert_eq!(fake.applications(), ["dev"]);
    assert!(stored.id.starts_with("msg_") && stored.id.len() == 31);
    let expected = json!({
        "id": stored.id,
        "eventId": "evt_1",
        "eventType": "a.b",
        "timestamp": clock::rfc3339(clock.now()),
        "channels": null,
        "payload": {},
    });
    assert_eq!(answer.json(), expected);

    let [received] = &fake.requests()[..] else {
        panic!("one request");
    };
    assert_eq!(received.path, "/api/v1/app/dev/msg/?with_content=false");
    assert_eq!(received.body, body);
    assert_eq!(received.header("idempotency-key"), Some("key_1"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn echoes_the_payload_unless_told_not_to() -> anyhow::Result<()> {
    let (_, mut client) = connected().await;
    let body = message("evt_1").to_string();
    let path = "/api/v1/app/dev/msg";
    let answer = client.send(request(Method::POST, path, &body)).await?;
    assert_eq!(answer.json()["payload"], json!({ "id": "evt_1" }));

    let path = "/api/v1/app/dev/msg/?with_content=no";
    let answer = client.send(request(Method::POST, path, &body)).await?;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn refuses_a_wrong_token_before_anything_else() -> anyhow::Result<()> {
    let (_, mut client) = connected().await;
    for header in [Some("Bearer other.eu"), Some("testsk_abc.eu"), None] {
        let mut request = post("app_1", "not JSON", None);
        request.headers_mut().remove("authorization");
        if let Some(header) = header {
            let value = header.parse()?;
            request.headers_mut().insert("authorization", value);
        }
        let answer = client.send(request).await?;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.json()["code"], "authentication_failed");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn answers_422_with_a_list_of_reasons() {
    let application = json!({ "uid": "dev", "name": "dev" });
    let decode = "value_error.jsondecode";
    let value = "value_error";
    let cases: [(Value, &[&str]); 10] = [
        (json!("text"), &[decode]),
        (json!({ "payload": {} }), &[decode]),
        (json!({ "eventType": "a" }), &[decode]),
        (json!({ "eventType": "a", "payload": {}, "application": { "uid": "dev" } }), &[decode]),
        (json!({ "eventType": "a b", "payload": {}, "application": application }), &[value]),
        (json!({ "eventType": "a", "payload": [], "application": application }), &[value]),
        (json!({ "eventType": "a", "payload": "x", "eventId": "msg_1" }), &[value, value]),
        (json!({ "eventType": "a", "payload": {}, "eventId": "x".repeat(257) }), &[value]),
        (
            json!({ "eventType": "a", "payload": {}, "application": { "name": "dev" } }),
            &["application_uid_missing"],
        ),
        (
            json!({ "eventType": "a", "payload": {}, "application": { "uid": "b", "name": "b" } }),
            &["application_uid_mismatch"],
        ),
    ];
    for (body, expected) in cases {
        let answer = post_once(&body.to_string()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(kinds(&answer), expected, "{body}");
    }
    assert_eq!(kinds(&post_once("{").await), [decode]);
    let array = json!({ "eventType": "a", "payload": [] }).to_string();
    let answer = post_once(&array).await.json();
    assert_eq!(answer["detail"][0]["msg"], "Payload must be an object.");
}

#[tokio::test(start_paused = true)]
async fn checks_the_application_uid_in_the_path() -> anyhow::Result<()> {
    let mut client = Client::connect(&fake().0).await;
    let body = json!({ "eventType": "a", "payload": {} }).to_string();
    for uid in ["app_1", "a%20b", &"x".repeat(257)] {
        let answer = client.send(post(uid, &body, None)).await?;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{uid}");
        assert_eq!(answer.json()["detail"][0]["loc"][0], "path");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn without_an_inline_application_the_application_must_exist() -> anyhow::Result<()> {
    let (fake, mut client) = connected().await;
    let body = json!({ "eventType": "a", "payload": {} });
    let answer = client.post(&body).await?;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let expected = json!({ "code": "not_found", "detail": "Application not found" });
    assert_eq!(answer.json(), expected);

    fake.create_application("dev");
    assert_eq!(client.post(&body).await?.status, StatusCode::ACCEPTED);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_inline_application_is_ignored_if_the_application_exists() -> anyhow::Result<()> {
    let (fake, _) = fake();
    fake.create_application("dev");
    let mut client = Client::connect(&fake).await;
    let mut body = message("evt_1");
    body["application"] = json!({ "uid": "other", "name": "other" });
    assert_eq!(client.post(&body).await?.status, StatusCode::ACCEPTED);
    assert_eq!(fake.applications(), ["dev"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn refuses_a_body_above_the_limit_and_keeps_the_connection() -> anyhow::Result<()> {
    let (fake, mut client) = connected().await;
    let mut body = message("evt_1");
    body["payload"]["filler"] = "".into();
    let filler = 2_097_152 - body.to_string().len();
    for (filler, expected) in
        [(filler, StatusCode::ACCEPTED), (filler + 1, StatusCode::PAYLOAD_TOO_LARGE)]
    {
        body["payload"]["filler"] = "x".repeat(filler).into();
        assert_eq!(client.post(&body).await?.status, expected);
    }
    let answer = client.post(&body).await?;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.json()["code"], "payload_too_large");

    let exact = message("evt_2");
    fake.set_body_limit(exact.to_string().len());
    assert_eq!(client.post(&exact).await?.status, StatusCode::ACCEPTED);
    fake.set_body_limit(exact.to_string().len() - 1);
    let answer = client.post(&exact).await?;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn finds_a_message_by_both_ids_in_its_application_only() -> anyhow::Result<()> {
    let (fake, _) = fake();
    fake.create_application("other");
    let mut client = Client::connect(&fake).await;
    let id = client.post(&message("evt_1")).await?.id();

    for either in ["evt_1", &id] {
        let answer = client.get(either).await?;
        assert_eq!(answer.status, StatusCode::OK);
        let expected = json!({ "id": id, "payload": {} });
        assert_fields(&answer.json(), &expected);
        for app in ["other", "none"] {
            let path = format!("/api/v1/app/{app}/msg/{either}/");
            let answer = client.send(request(Method::GET, &path, "")).await?;
            assert_eq!(answer.status, StatusCode::NOT_FOUND);
            assert_eq!(answer.json()["code"], "not_found");
        }
    }
    assert_eq!(client.get("evt_2").await?.status, StatusCode::NOT_FOUND);
    assert_eq!(client.get("msg_2").await?.status, StatusCode::NOT_FOUND);

    fake.delete_application("dev");
    assert_eq!(client.get("evt_1").await?.status, StatusCode::NOT_FOUND);
    assert_eq!(fake.messages(), []);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn lists_an_applications_messages_and_has_no_other_paths() -> anyhow::Result<()> {
    let (fake, mut client) = connected().await;
    client.post(&message("evt_1")).await?;
    client.post(&message("evt_2")).await?;
    fake.store_message("other", "evt_3", "a", "{}");

    let list = request(Method::GET, "/api/v1/app/dev/msg/", "");
    let list = client.send(list).await?.json();
    let ids: Vec<_> = list["data"].as_array().into_iter().flatten().collect();
    assert_eq!([&ids[0]["eventId"], &ids[1]["eventId"]], ["evt_2", "evt_1"]);
    assert_eq!(ids.len(), 2);
    let expected = json!({ "iterator": ids[1]["id"], "done": true });
    assert_fields(&list, &expected);

    for path in ["/", "/api/v1/", "/api/v1/apps/", "/api/v2/app/dev/msg/"] {
        let answer = client.send(request(Method::GET, path, "")).await?;
        answer.assert_not_offered();
    }
    Ok(())
}
