//! Applications, portals and event types: Svix's means for customers beside messages.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Client, ReceivedReply, assert_fields, fake, request};
use crate::{FakeSvix, Fault, Target};

pub(super) async fn send(fake: &FakeSvix, method: Method, path: &str, body: &str) -> ReceivedReply {
    let mut client = Client::connect(fake).await;
    let request = request(method, path, body);
    client.send(request).await.expect("an answer")
}

pub(super) async fn post(fake: &FakeSvix, path: &str, body: &Value) -> ReceivedReply {
    send(fake, Method::POST, path, &body.to_string()).await
}

pub(super) async fn get(fake: &FakeSvix, path: &str) -> ReceivedReply {
    send(fake, Method::GET, path, "").await
}

const PORTAL: &str = "/api/v1/auth/app-portal-access/dev/";
const TYPES: &str = "/api/v1/event-type/";
const ENDPOINTS: &str = "/api/v1/app/dev/endpoint/";
const RESEND: &str = "/api/v1/app/dev/msg/evt_1/endpoint/ep/resend/";

#[tokio::test(start_paused = true)]
async fn an_application_is_created_once() {
    let (fake, _) = fake();
    let body = json!({ "uid": "dev", "name": "Dev" });
    let created = post(&fake, "/api/v1/app/?get_if_exists=true", &body).await;
    assert_eq!(created.status, StatusCode::CREATED);
    assert_eq!(created.json()["uid"], "dev");
    let there = post(&fake, "/api/v1/app/?get_if_exists=true", &body).await;
    assert_eq!(there.status, StatusCode::OK);
    let refused = post(&fake, "/api/v1/app/", &body).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(refused.json()["code"], "conflict");
    assert_eq!(fake.applications(), ["dev"]);
    for bad in [
        json!({ "uid": "dev" }),
        json!({ "uid": "dev", "name": "" }),
        json!({ "uid": "app_1", "name": "a" }),
        json!({ "uid": "a b", "name": "a" }),
        json!([]),
    ] {
        post(&fake, "/api/v1/app/", &bad).await.assert_invalid(&bad);
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_is_changed_only_in_what_is_named() {
    let (fake, _) = fake();
    let path = "/api/v1/app/dev/";
    let missing = send(&fake, Method::PATCH, path, "{}").await;
    assert_eq!(missing.json()["code"], "not_found");
    let body = json!({
        "uid": "dev", "name": "Dev", "metadata": { "a": "1", "b": "2" }, "throttleRate": 7,
    });
    post(&fake, "/api/v1/app/", &body).await;
    // An application that is there stays as it is.
    let other = json!({ "uid": "dev", "name": "Other" });
    let there = post(&fake, "/api/v1/app/?get_if_exists=true", &other).await;
    assert_eq!(there.json()["name"], "Dev");
    let told = |shown: &Value| {
        let fields = ["name", "metadata", "throttleRate"].map(|name| shown[name].clone());
        json!(fields)
    };
    #[rustfmt::skip] // One line for each patch.
    let rows = [
        (json!({}), json!(["Dev", { "a": "1", "b": "2" }, 7])),
        (json!({ "name": "New" }), json!(["New", { "a": "1", "b": "2" }, 7])),
        // Metadata is replaced as a whole.
        (json!({ "metadata": { "b": "3" } }), json!(["New", { "b": "3" }, 7])),
        (json!({ "throttleRate": null }), json!(["New", { "b": "3" }, null])),
    ];
    for (patch, expected) in rows {
        let changed = send(&fake, Method::PATCH, path, &patch.to_string()).await;
        assert_eq!(changed.status, StatusCode::OK);
        assert_eq!(told(&changed.json()), expected, "{patch}");
        assert_eq!(told(&get(&fake, path).await.json()), expected);
    }
    for bad in [
        json!({ "name": "" }),
        json!({ "name": "a\u{1}" }),
        json!({ "metadata": { "a": 1 } }),
        json!({ "metadata": { "a": "x".repeat(4_089) } }),
        json!({ "throttleRate": 0 }),
        json!({ "throttleRate": 65_536 }),
    ] {
        let refused = send(&fake, Method::PATCH, path, &bad.to_string()).await;
        refused.assert_invalid(&bad);
    }
    for metadata in [json!({ "a": "\0" }), json!({ "\0": "a" })] {
        let body = json!({ "uid": "new", "name": "New", "metadata": metadata });
        let change = json!({ "metadata": metadata }).to_string();
        for failed in [
            post(&fake, "/api/v1/app/", &body).await,
            send(&fake, Method::PATCH, path, &change).await,
        ] {
            assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(failed.json(), json!({}));
        }
    }
    let shown = get(&fake, path).await.json();
    assert_eq!(shown["metadata"], json!({ "b": "3" }));
}

#[tokio::test(start_paused = true)]
async fn a_portal_takes_what_the_specification_of_the_hosted_svix_names() {
    let (fake, _) = fake();
    fake.create_application("dev");
    for good in [
        json!({ "capabilities": ["ViewBase", "CreateAttempts"], "readOnly": true }),
        json!({ "sessionId": "user_1@a-b" }),
        json!({ "featureFlags": ["ignored"] }),
    ] {
        assert_eq!(post(&fake, PORTAL, &good).await.status, StatusCode::OK);
    }
    for bad in [
        json!({ "capabilities": ["Everything"] }),
        json!({ "capabilities": ["CreateAttempts"] }),
        json!({ "capabilities": ["ViewBase", "ViewBase"] }),
        json!({ "readOnly": 1 }),
        json!({ "sessionId": "" }),
        json!({ "sessionId": "a.b" }),
        json!({ "sessionId": "x".repeat(65) }),
    ] {
        post(&fake, PORTAL, &bad).await.assert_invalid(&bad);
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_hosted_svix_revokes_links() {
    let (fake, clock) = fake();
    let path = "/api/v1/auth/app/dev/expire-all/";
    fake.create_application("dev");
    fake.create_application("other");
    let absent = post(&fake, path, &json!({})).await;
    absent.assert_not_offered();

    fake.set_hosted(true);
    let other = post(&fake, "/api/v1/auth/app-portal-access/other/", &json!({})).await;
    let mut tokens = Vec::new();
    for session in [json!("a"), json!("b"), Value::Null] {
        let link = post(&fake, PORTAL, &json!({ "sessionId": session })).await;
        tokens.push(link.json()["token"].clone());
    }
    let revoke = async |body: Value| {
        let revoked = post(&fake, path, &body).await;
        assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    };
    revoke(json!({ "sessionIds": ["a"] })).await;
    assert_eq!(json!(fake.portal_tokens("dev")), json!(tokens[1..]));
    revoke(json!({ "expiry": 60 })).await;
    assert_eq!(json!(fake.portal_tokens("dev")), json!(tokens[1..]));
    clock.advance(std::time::Duration::from_mins(1));
    assert_eq!(json!(fake.portal_tokens("dev")), json!([]));
    let left = json!([other.json()["token"]]);
    assert_eq!(json!(fake.portal_tokens("other")), left);

    for bad in [json!({ "expiry": 259_201 }), json!({ "sessionIds": [""] })] {
        post(&fake, path, &bad).await.assert_invalid(&bad);
    }
    let missing = post(&fake, "/api/v1/auth/app/none/expire-all/", &json!({})).await;
    assert_eq!(missing.json()["code"], "not_found");
}

#[tokio::test(start_paused = true)]
async fn a_portal_needs_an_application_and_a_valid_expiry() {
    let (fake, _) = fake();
    let missing = post(&fake, PORTAL, &json!({ "expiry": 3600 })).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(missing.json()["code"], "not_found");

    fake.create_application("dev");
    let mut links = BTreeSet::new();
    for body in [json!({}), json!({ "expiry": 3600 }), json!({ "expiry": 604_800 })] {
        let answer = post(&fake, PORTAL, &body).await;
        assert_eq!(answer.status, StatusCode::OK);
        let link = answer.json();
        assert!(link["token"].as_str().expect("text").starts_with("appsk_"));
        let url = link["url"].as_str().expect("text").to_owned();
        assert!(url.starts_with("https://app.svix.com/login#key="), "{url}");
        assert!(links.insert(url), "every link is a new one");
    }
    for expiry in [json!(3_599), json!(604_801), json!("3600"), json!(-1)] {
        let answer = post(&fake, PORTAL, &json!({ "expiry": expiry })).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{expiry}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_type_is_created_once_and_brought_back_from_the_archive() {
    let (fake, _) = fake();
    let path = format!("{TYPES}a.b/");
    assert_eq!(get(&fake, &path).await.status, StatusCode::NOT_FOUND);
    let body = json!({ "name": "a.b", "description": "one" });
    assert_eq!(post(&fake, TYPES, &body).await.status, StatusCode::CREATED);
    let again = post(&fake, TYPES, &body).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(again.json()["code"], "event_type_exists");
    assert_eq!(get(&fake, &path).await.json()["description"], "one");

    let mut archived = fake.event_types().remove(0);
    archived.archived = true;
    fake.put_event_type(archived);
    assert_eq!(get(&fake, &path).await.json()["archived"], true);
    let body = json!({ "name": "a.b", "description": "two" });
    assert_eq!(post(&fake, TYPES, &body).await.status, StatusCode::CREATED);
    let shown = get(&fake, &path).await.json();
    assert_fields(&shown, &json!({ "archived": false, "description": "two" }));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_event_type_is_archived_or_forgotten() {
    let (fake, _) = fake();
    let body = json!({ "name": "a.b", "description": "one" });
    post(&fake, TYPES, &body).await;
    for (query, known) in [("", StatusCode::OK), ("?expunge=true", StatusCode::NOT_FOUND)] {
        let path = format!("{TYPES}a.b/{query}");
        let deleted = send(&fake, Method::DELETE, &path, "").await;
        assert_eq!(deleted.status, StatusCode::NO_CONTENT);
        assert_eq!(get(&fake, &format!("{TYPES}a.b/")).await.status, known);
    }
    let missing = send(&fake, Method::DELETE, &format!("{TYPES}a.b/"), "").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn an_event_type_has_a_name_and_a_description() {
    let (fake, _) = fake();
    let long = "x".repeat(257);
    for bad in [
        json!({ "name": "a" }),
        json!({ "description": "a" }),
        json!({ "name": "", "description": "a" }),
        json!({ "name": "a b", "description": "a" }),
        json!({ "name": long, "description": "a" }),
        json!({ "name": "a", "description": "a\nb" }),
    ] {
        post(&fake, TYPES, &bad).await.assert_invalid(&bad);
    }
    assert_eq!(fake.event_types(), []);
}

#[tokio::test(start_paused = true)]
async fn every_route_for_customers_needs_the_token() {
    let (fake, _) = fake();
    fake.set_hosted(true);
    for (method, path) in [
        (Method::POST, "/api/v1/app/"),
        (Method::PATCH, "/api/v1/app/dev/"),
        (Method::POST, PORTAL),
        (Method::POST, "/api/v1/auth/app/dev/expire-all/"),
        (Method::POST, TYPES),
        (Method::GET, "/api/v1/event-type/a.b/"),
        (Method::GET, ENDPOINTS),
        (Method::DELETE, "/api/v1/app/dev/msg/evt_1/content/"),
        (Method::GET, "/api/v1/app/dev/msg/evt_1/endpoint/"),
        (Method::POST, RESEND),
        (Method::POST, "/api/v1/app/dev/endpoint/ep/recover/"),
        (Method::POST, "/api/v1/app/dev/endpoint/ep/replay-missing/"),
        (Method::GET, "/api/v1/app/dev/attempt/msg/evt_1/"),
    ] {
        let mut request = request(method, path, "{}");
        request.headers_mut().remove("authorization");
        let answer = Client::connect(&fake).await.send(request).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn faults_meet_only_requests_to_their_target() {
    let (fake, _) = fake();
    fake.create_application("dev");
    for (target, path) in [
        (Target::Applications, "/api/v1/app/"),
        (Target::Portals, PORTAL),
        (Target::EventTypes, TYPES),
        (Target::Deliveries, ENDPOINTS),
    ] {
        fake.clear_faults();
        fake.always_at(target, Fault::status(500));
        fake.script_at(target, [Fault::status(502)]);
        assert_eq!(fake.queued_faults(), 1);
        let mut client = Client::connect(&fake).await;
        let message = super::message("evt_1");
        assert!(client.post(&message).await.expect("an answer").status != 500);
        assert_eq!(post(&fake, path, &json!({})).await.status, 502);
        for other in ["/api/v1/app/", PORTAL, TYPES, ENDPOINTS] {
            let met = post(&fake, other, &json!({})).await.status == 500;
            assert_eq!(met, other == path, "{other}");
        }
    }
}
