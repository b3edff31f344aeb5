//! Endpoints: how they are created, shown, changed and deleted.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::customers::{get, post, send};
use super::{Client, assert_fields, fake, message};

const ENDPOINTS: &str = "/api/v1/app/dev/endpoint/";

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_found_until_it_is_deleted() {
    let (fake, clock) = fake();
    fake.create_application("dev");
    let body = json!({ "url": "https://a.example/hook" });
    let created = post(&fake, ENDPOINTS, &body).await;
    assert_eq!(created.status, StatusCode::CREATED);
    assert!(created.id().starts_with("ep_"));
    let now = clock::rfc3339(clock.now());
    // `EndpointOut` in `v1/endpoints/endpoint/mod.rs`: an absent value is null.
    let expected = json!({
        "id": created.id(), "uid": null, "url": "https://a.example/hook", "description": "",
        "disabled": false, "version": 1, "rateLimit": null, "throttleRate": null,
        "channels": null, "eventTypes": null, "filterTypes": null, "metadata": {},
        "createdAt": now, "updatedAt": now,
    });
    assert_eq!(created.json(), expected);
    let path = format!("{ENDPOINTS}{}/", created.id());
    assert_eq!(get(&fake, &path).await.json(), expected);
    let deleted = send(&fake, Method::DELETE, &path, "").await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    for method in [Method::GET, Method::DELETE, Method::PATCH] {
        let missing = send(&fake, method, &path, "{}").await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(get(&fake, ENDPOINTS).await.json()["data"], json!([]));
    post(&fake, ENDPOINTS, &body).await;

    fake.delete_application("dev");
    fake.create_application("dev");
    assert_eq!(get(&fake, ENDPOINTS).await.json()["data"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn an_invalid_endpoint_is_refused() {
    let (fake, _) = fake();
    let url = "https://a.example";
    let missing = post(&fake, ENDPOINTS, &json!({ "url": url })).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    fake.create_application("dev");
    for bad in [
        json!({}),
        json!({ "url": "a" }),
        json!({ "url": "ftp://a.example" }),
        json!({ "url": url, "filterTypes": [] }),
        json!({ "url": url, "filterTypes": ["unheard"] }),
        json!({ "url": url, "channels": [] }),
        json!({ "url": url, "channels": ["a b"] }),
    ] {
        post(&fake, ENDPOINTS, &bad).await.assert_invalid(&bad);
    }
    let event_type = json!({ "name": "a.b", "description": "one" });
    post(&fake, "/api/v1/event-type/", &event_type).await;
    let body = json!({ "url": url, "filterTypes": ["a.b"] });
    let created = post(&fake, ENDPOINTS, &body).await;
    assert_eq!(created.json()["eventTypes"], json!(["a.b"]));
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_listed_in_pages_the_newest_first_and_without_end() {
    let (fake, clock) = fake();
    let ids = [(); 3].map(|()| fake.create_endpoint("dev", "https://a.example"));
    fake.create_endpoint("other", "https://a.example");
    clock.advance(super::HOUR * 24 * 365);
    let shown = |page: &Value| -> Vec<String> {
        let data = page["data"].as_array().expect("a list").iter();
        data.map(|it| it["id"].as_str().expect("an id").to_owned()).collect()
    };
    let first = get(&fake, &format!("{ENDPOINTS}?limit=2")).await.json();
    assert_eq!(shown(&first), [ids[2].clone(), ids[1].clone()]);
    assert_fields(&first, &json!({ "iterator": ids[1], "done": false }));
    let rest = format!("{ENDPOINTS}?limit=2&iterator={}", ids[1]);
    let rest = get(&fake, &rest).await.json();
    assert_eq!(shown(&rest), [ids[0].clone()]);
    assert_eq!(rest["done"], true);
    let other = get(&fake, "/api/v1/app/none/endpoint/").await;
    assert_eq!(other.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_message_goes_to_the_enabled_endpoints_that_take_its_type() -> anyhow::Result<()> {
    let (fake, _) = fake();
    let url = "https://a.example";
    let all = fake.create_endpoint("dev", url);
    fake.create_endpoint("other", url);
    let mut ids = Vec::new();
    for name in ["user.created", "user.deleted"] {
        let event_type = json!({ "name": name, "description": "" });
        post(&fake, "/api/v1/event-type/", &event_type).await;
        let body = json!({ "url": url, "eventTypes": [name] });
        ids.push(post(&fake, ENDPOINTS, &body).await.id());
    }
    let disabled = json!({ "url": url, "disabled": true });
    let disabled = post(&fake, ENDPOINTS, &disabled).await.id();
    let mut client = Client::connect(&fake).await;
    client.post(&message("evt_1")).await?;
    let path = "/api/v1/app/dev/msg/evt_1/endpoint/";
    let reached = get(&fake, path).await.json();
    assert_eq!(reached["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(reached["data"][0]["id"], all);
    assert_eq!(reached["data"][1]["id"], ids[0]);
    // A resend goes to an endpoint whatever types it takes.
    let resend = format!("{path}{}/resend/", ids[1]);
    post(&fake, &resend, &json!({})).await;
    let reached = get(&fake, path).await.json();
    assert_eq!(reached["data"][2]["id"], ids[1]);

    let disabled = format!("{ENDPOINTS}{disabled}/");
    let body = json!({ "disabled": false }).to_string();
    for (body, expected) in [("{}", true), (&body, false)] {
        let patched = send(&fake, Method::PATCH, &disabled, body).await;
        assert_eq!(patched.json()["disabled"], expected);
    }
    client.post(&message("evt_2")).await?;
    let path = "/api/v1/app/dev/msg/evt_2/endpoint/";
    let reached = get(&fake, path).await.json();
    assert_eq!(reached["data"].as_array().map(Vec::len), Some(3));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_with_channels_takes_only_messages_of_one_of_them() -> anyhow::Result<()> {
    let (fake, _) = fake();
    fake.create_application("dev");
    let body = json!({ "url": "https://a.example", "channels": ["a", "b"] });
    let created = post(&fake, ENDPOINTS, &body).await;
    assert_eq!(created.json()["channels"], json!(["a", "b"]));
    let mut client = Client::connect(&fake).await;
    for (event_id, channels, reached) in
        [("evt_1", json!(null), 0), ("evt_2", json!(["c"]), 0), ("evt_3", json!(["c", "b"]), 1)]
    {
        let mut message = message(event_id);
        message["channels"] = channels;
        client.post(&message).await?;
        let path = format!("/api/v1/app/dev/msg/{event_id}/endpoint/");
        let endpoints = get(&fake, &path).await.json();
        let endpoints = endpoints["data"].as_array().map(Vec::len);
        assert_eq!(endpoints, Some(reached), "{event_id}");
    }
    let shown = get(&fake, "/api/v1/app/dev/msg/evt_3/").await.json();
    assert_eq!(shown["channels"], json!(["b", "c"]));
    // A resend goes to an endpoint whatever channels it takes.
    let path = "/api/v1/app/dev/msg/evt_1/endpoint/";
    let resend = format!("{path}{}/resend/", created.id());
    post(&fake, &resend, &json!({})).await;
    let reached = get(&fake, path).await.json();
    assert_eq!(reached["data"][0]["id"], created.id());
    Ok(())
}
