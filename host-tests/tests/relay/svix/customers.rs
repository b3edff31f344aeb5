//! Operators' requests for customers: links to a portal and their end, the application, and the sample event.

use std::time::Duration;

use serde_json::{Value, json};

use fake_svix::{Fault, ReceivedRequest, RetryAfter, Target};
use host::Op;

use crate::support::{ADMIN, JSON, Reply, TOKEN, World, ask, assert_fields, event, show, world};

const PORTAL: &str = "/projects/dev/portal";
const TEST_EVENT: &str = "/projects/dev/test-event";
const REVOKE: &str = "/projects/dev/portal/revoke";
const APPLICATION: &str = "/projects/dev";

/// Why a name is refused.
const CHARSET: &str = "may hold only letters, digits, '-', '_' and '.'";

/// The path of the request to Svix for a link to the portal of `dev`.
const SVIX_PORTAL: &str = "/api/v1/auth/app-portal-access/dev/";

/// A world in which Svix has the application `dev`.
fn world_with_customer() -> World {
    let world = world();
    world.svix.create_application("dev");
    world
}

async fn post(world: &World, path: &str, body: &str) -> Reply {
    world.request("POST", path, &[ADMIN, JSON], body).await
}

async fn put(world: &World, body: &Value) -> Reply {
    let headers = [ADMIN, JSON];
    let body = body.to_string();
    world.request("PUT", APPLICATION, &headers, body).await
}

/// The paths of the requests to Svix, in order, without their queries.
fn asked(world: &World) -> Vec<String> {
    let requests = world.svix.requests().into_iter();
    let path = |request: ReceivedRequest| request.path.split('?').next().map(str::to_owned);
    requests.filter_map(path).collect()
}

#[tokio::test(start_paused = true)]
async fn a_portal_is_opened_by_the_link_that_svix_gives() {
    let world = world_with_customer();
    let reply = post(&world, PORTAL, r#"{"expiry":7200}"#).await.ok();
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let body = reply.json();
    let url = body["url"].as_str().expect("a link");
    assert!(url.starts_with("https://app.svix.com/login#key="), "{url}");
    assert_eq!(body, json!({ "url": url }), "and nothing else");

    let [request] = &world.svix.requests()[..] else {
        panic!("one request");
    };
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, SVIX_PORTAL);
    assert_eq!(request.body, r#"{"expiry":7200}"#);
    assert_eq!(request.header("authorization"), Some("Bearer testsk_fake"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert!(request.header("svix-req-id").is_some());

    let another = post(&world, PORTAL, "").await.json();
    assert_ne!(another["url"], url, "each link is for one use");
}

#[tokio::test(start_paused = true)]
async fn a_portal_is_limited_as_the_operator_asks() {
    let world = world_with_customer();
    let limits =
        r#"{"expiry":7200,"capabilities":["ViewBase"],"readOnly":true,"sessionId":"user_1"}"#;
    assert_eq!(post(&world, PORTAL, limits).await.status, 200);
    assert_eq!(world.svix.requests()[0].body, limits);
    // Svix itself decides which capabilities belong together.
    let without_view = r#"{"capabilities":["CreateAttempts"]}"#;
    let refused = post(&world, PORTAL, without_view).await;
    refused.assert_final_problem(422, "refused-by-svix");
    let detail = refused.json()["detail"].take();
    let detail = detail.as_str().expect("text");
    assert!(detail.contains("ViewBase"), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn links_to_a_portal_are_revoked_by_the_hosted_svix_only() {
    let world = world_with_customer();
    let reply = post(&world, REVOKE, "").await;
    reply.assert_final_problem(422, "not-offered");
    assert_eq!(world.svix.requests().len(), 1, "asked once");

    world.svix.set_hosted(true);
    for session in ["a", "b"] {
        let body = format!(r#"{{"sessionId":"{session}"}}"#);
        assert_eq!(post(&world, PORTAL, &body).await.status, 200);
    }
    let reply = post(&world, REVOKE, r#"{"sessionIds":["a"]}"#).await;
    assert_eq!(reply.json(), json!({ "revoked": "dev" }));
    assert_eq!(world.svix.portal_tokens("dev").len(), 1);
    let asked = world.svix.requests();
    let asked = asked.last().expect("a request");
    assert_eq!(asked.body, r#"{"expiry":0,"sessionIds":["a"]}"#);
    assert!(asked.header("idempotency-key").is_some());
    assert_eq!(world.last_line()["outcome"], "portal-revoked");
    post(&world, REVOKE, "").await;
    assert_eq!(world.svix.portal_tokens("dev"), [""; 0]);

    let missing = post(&world, "/projects/other/portal/revoke", "").await;
    missing.assert_final_problem(404, "no-application");
    assert_eq!(world.svix.applications(), ["dev"], "none is created");
}

#[tokio::test(start_paused = true)]
async fn links_count_as_revoked_only_if_svix_says_so() {
    for (fault, status, name) in [
        (Fault::page(200), 503, "unexpected-status"),
        (Fault::page(404), 503, "unexpected-status"),
        (Fault::status(500), 503, "svix-unavailable"),
        (Fault::HangBeforeStoring, 503, "svix-unavailable"),
        (Fault::status(429), 429, "rate-limited"),
        (Fault::status(401), 503, "token-refused"),
        (Fault::status(422), 422, "refused-by-svix"),
    ] {
        let world = world_with_customer();
        world.svix.set_hosted(true);
        world.svix.always_at(Target::Portals, fault.clone());
        let (reply, took) = world.timed(post(&world, REVOKE, "")).await;
        if status == 422 {
            reply.assert_final_problem(status, name);
        } else {
            reply.assert_retryable_problem(status, name);
        }
        assert!(took <= Duration::from_secs(8), "{fault:?} took {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_is_created_or_changed_in_what_is_named() {
    let world = World::with(&[("admin_token", "hush"), ("create_applications", "false")]);
    let body = json!({ "metadata": { "svix.email": "grace@example.com" }, "throttleRate": 50 });
    let created = put(&world, &body).await;
    let mut expected = body;
    expected["name"] = json!("dev");
    assert_eq!(created.json(), expected);
    let create = "/api/v1/app/";
    assert_eq!(asked(&world), [create]);
    assert_eq!(world.last_line()["outcome"], "application");
    assert!(!world.stdout().concat().contains("grace@example.com"));

    expected["name"] = json!("Dev");
    let plan_b = json!({ "name": "Dev", "metadata": { "plan": "b" }, "throttleRate": null });
    let replace = json!({ "metadata": { "plan": "b" }, "throttleRate": null });
    for (body, expected) in
        [(json!({ "name": "Dev" }), &expected), (replace, &plan_b), (json!({}), &plan_b)]
    {
        assert_eq!(put(&world, &body).await.json(), *expected);
    }
    let patch = "/api/v1/app/dev/";
    assert_eq!(asked(&world)[1..3], [create, patch]);
    assert_eq!(world.svix.requests()[2].method, "PATCH");
    assert_eq!(world.svix.requests()[2].body, r#"{"name":"Dev"}"#);

    // Events go to the same application.
    assert_eq!(world.post(&event("evt_1")).await.status, 200);
    assert_eq!(world.svix.applications(), ["dev"]);
}

#[tokio::test(start_paused = true)]
async fn an_application_of_a_first_event_is_named_after_its_project() {
    let world = world();
    assert_eq!(world.post(&event("evt_1")).await.status, 200);
    let shown = put(&world, &json!({})).await;
    let expected = json!({ "name": "dev", "metadata": {}, "throttleRate": null });
    assert_eq!(shown.json(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_application_that_another_request_creates_meanwhile_is_changed() {
    let world = world();
    let conflict = Fault::status_after_storing(409);
    world.svix.script_at(Target::Applications, [conflict]);
    let reply = put(&world, &json!({ "name": "Dev" })).await;
    assert_eq!(reply.json()["name"], "Dev", "{}", reply.text());
    assert_eq!(asked(&world), ["/api/v1/app/", "/api/v1/app/dev/"]);
}

#[tokio::test(start_paused = true)]
async fn every_failure_to_change_an_application_has_its_answer_in_time() {
    for (fault, status, name, wait) in failures() {
        // The application is created, or changed: the second request fails as well.
        for first in [fault.clone(), Fault::None] {
            let world = world_with_customer();
            world.svix.script_at(Target::Applications, [first]);
            world.svix.always_at(Target::Applications, fault.clone());
            let (reply, took) = world.timed(put(&world, &json!({ "name": "Dev" }))).await;
            assert_failed(&reply, &fault, status, name, wait);
            assert!(took <= Duration::from_secs(8), "{fault:?} took {took:?}");
            assert!(!reply.text().contains(TOKEN), "{fault:?}");
        }
    }
    for (fault, problem) in
        [(Fault::page(200), "unexpected-status"), (Fault::TruncatedReply, "svix-unavailable")]
    {
        let world = world_with_customer();
        world.svix.always_at(Target::Applications, fault);
        let reply = put(&world, &json!({ "name": "Dev" })).await;
        reply.assert_retryable_problem(503, problem);
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_an_application_survives_a_hiccup_of_svix() {
    for fault in [
        Fault::status(500),
        Fault::HangAfterStoring,
        Fault::ResetAfterStoring,
        Fault::ResetBeforeStoring,
    ] {
        let world = world();
        for name in ["One", "Two"] {
            world.svix.script_at(Target::Applications, [fault.clone()]);
            let reply = put(&world, &json!({ "name": name })).await;
            assert_eq!(reply.json()["name"], name, "{fault:?}: {}", reply.text());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_change_names_every_violation_and_asks_neither_svix_nor_store() {
    let world = world();
    let rate = ("throttleRate", "must be a whole number from 1 to 65535, or null");
    let metadata = ("metadata", "must be an object of strings");
    let large = ("metadata", "must be at most 4096 bytes of JSON");
    let other = ("body", "may hold only name, metadata, throttleRate");
    #[rustfmt::skip] // One line for each body.
    let rows = [
        (json!({ "name": "", "metadata": { "a": 1 }, "throttleRate": 0 }), &[("name", "must not be empty"), metadata, rate][..]),
        (json!({ "name": 7, "metadata": [], "throttleRate": "5" }), &[("name", "must be a string"), metadata, rate]),
        (json!({ "metadata": { "a": "x".repeat(4_089) } }), &[large]),
        (json!({ "metadata": { "a\0": "b" } }), &[("metadata", "must not hold U+0000")]),
        (json!({ "uid": "other" }), &[other]),
    ];
    for (body, errors) in rows {
        put(&world, &body).await.assert_invalid(body, errors);
    }
    for (project, reason) in [
        ("..%2Fother", CHARSET),
        ("%2e%2e", "must not be '.' or '..'"),
        ("app_1", "must not start with 'app_'"),
    ] {
        let path = format!("/projects/{project}");
        let reply = world.request("PUT", &path, &[ADMIN, JSON], "{}").await;
        reply.assert_invalid(project, &[("project", reason)]);
    }
    let large = json!({ "metadata": { "a": "x".repeat(16_384) } });
    let reply = put(&world, &large).await;
    reply.assert_final_problem(413, "body-too-large");
    world.assert_untouched();
}

#[tokio::test(start_paused = true)]
async fn a_link_is_nowhere_but_in_its_reply() {
    let world = world_with_customer();
    let reply = post(&world, PORTAL, "").await.json();
    let url = reply["url"].as_str().expect("a link");
    let key = url.split_once("#key=").expect("a key").1;

    let log = world.stdout().concat() + &world.stderr().concat();
    assert!(log.contains(r#""outcome":"portal""#), "{log}");
    assert!(log.contains(r#""project":"dev""#), "{log}");
    for secret in ["app.svix.com", key, "appsk_", TOKEN, "hush"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
    assert_eq!(world.faults.count(Op::Set), 0, "the link is not stored");
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_body_has_defaults() {
    let world = world_with_customer();
    for headers in [
        &[ADMIN][..],
        &[ADMIN, JSON],
        // `curl -d ''` sends this header.
        &[ADMIN, ("content-type", "application/x-www-form-urlencoded")],
    ] {
        world.request("POST", PORTAL, headers, "").await.ok();
        let reply = world.request("POST", TEST_EVENT, headers, "").await;
        assert_eq!(reply.json()["eventType"], "svix-relay.test");
    }
    assert_eq!(world.svix.requests()[0].body, r#"{"expiry":3600}"#);
}

#[tokio::test(start_paused = true)]
async fn an_application_is_created_for_a_portal_if_that_is_allowed() {
    let world = world();
    post(&world, PORTAL, "").await.ok();
    assert_eq!(asked(&world), [SVIX_PORTAL, "/api/v1/app/", SVIX_PORTAL]);
    let create = &world.svix.requests()[1];
    assert_eq!(create.path, "/api/v1/app/?get_if_exists=true");
    assert_eq!(create.body, r#"{"uid":"dev","name":"dev"}"#);
    assert_eq!(world.svix.applications(), ["dev"]);

    // Events go to the same application.
    assert_eq!(world.post(&event("evt_1")).await.status, 200);
    assert_eq!(world.svix.applications(), ["dev"]);
}

#[tokio::test(start_paused = true)]
async fn without_an_application_there_is_no_portal() {
    let world = World::with(&[("admin_token", "hush"), ("create_applications", "false")]);
    let reply = post(&world, PORTAL, "").await;
    reply.assert_final_problem(404, "no-application");
    assert_eq!(asked(&world), [SVIX_PORTAL]);
    assert!(world.svix.applications().is_empty());

    world.svix.create_application("dev");
    assert_eq!(post(&world, PORTAL, "").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_portal_that_stays_missing_creates_the_application_once() {
    let world = world();
    let missing = Fault::status(404);
    world.svix.always_at(Target::Portals, missing);
    let reply = post(&world, PORTAL, "").await;
    reply.assert_final_problem(404, "no-application");
    assert_eq!(asked(&world).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_application_created_by_another_instance_is_used() {
    let world = world();
    let conflict = Fault::status_after_storing(409);
    world.svix.script_at(Target::Applications, [conflict]);
    assert_eq!(post(&world, PORTAL, "").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_request_lists_every_violation_and_asks_neither_svix_nor_store() {
    let world = world();
    let expiry = ("expiry", "must be a whole number from 3600 to 604800");
    let known = ("body", "may hold only expiry, capabilities, readOnly, sessionId");
    #[rustfmt::skip] // One line for each request.
    let rows = [
        (PORTAL, r#"{"expiry":3599}"#, &[expiry][..]),
        (PORTAL, r#"{"expiry":604801}"#, &[expiry]),
        (PORTAL, r#"{"expiry":"7200"}"#, &[expiry]),
        (PORTAL, r#"{"exp":7200}"#, &[known]),
        (PORTAL, "[7200]", &[("body", "must be a JSON object")]),
        ("/projects/app_1/portal", r#"{"expiry":1}"#, &[("project", "must not start with 'app_'"), expiry]),
        ("/projects/..%2Fdev/portal", "", &[("project", CHARSET)]),
        (TEST_EVENT, r#"{"type":"a b"}"#, &[("type", CHARSET)]),
        (TEST_EVENT, r#"{"type":"a","id":"evt_1"}"#, &[("body", "may hold only type")]),
        ("/projects/%2E%2E/test-event", r#"{"type":7}"#, &[("project", "must not be '.' or '..'"), ("type", "must be a string")]),
    ];
    for (path, body, errors) in rows {
        let reply = post(&world, path, body).await;
        reply.assert_invalid(format!("{path} {body}"), errors);
    }
    world.assert_untouched();
}

#[tokio::test(start_paused = true)]
async fn only_small_json_in_time_is_taken_as_a_body() {
    let world = world();
    for path in [PORTAL, TEST_EVENT] {
        for body in ["{", "expiry=7200", " "] {
            let reply = post(&world, path, body).await;
            reply.assert_final_problem(400, "not-json");
        }
        let latin = b"{\"type\":\"\xff\"}";
        let reply = world.request("POST", path, &[ADMIN, JSON], latin).await;
        reply.assert_final_problem(400, "not-json");
        let form = ("content-type", "application/x-www-form-urlencoded");
        let reply = world.request("POST", path, &[ADMIN, form], "{}").await;
        reply.assert_final_problem(415, "unsupported-media-type");
        let long = " ".repeat(16_383) + "{}";
        let reply = post(&world, path, &long).await;
        reply.assert_final_problem(413, "body-too-large");
    }
    world.assert_untouched();
}

/// Checks a problem and its `Retry-After`; no retry mends a problem without one.
#[track_caller]
fn assert_failed(reply: &Reply, fault: &Fault, status: u16, name: &str, wait: Option<u64>) {
    match wait {
        Some(wait) => {
            let told = reply.assert_retryable_problem(status, name);
            assert_eq!(told, wait, "{fault:?}");
        }
        None => reply.assert_final_problem(status, name),
    }
}

fn limit() -> Fault {
    Fault::retry_after(429, RetryAfter::Seconds(60))
}

/// Svix's failures in a request for a portal, and the operator's reply.
fn failures() -> Vec<(Fault, u16, &'static str, Option<u64>)> {
    let unavailable = |fault| (fault, 503, "svix-unavailable", Some(5));
    let overload = Fault::retry_after(503, RetryAfter::Seconds(30));
    vec![
        (Fault::status(401), 503, "token-refused", Some(60)),
        (Fault::status(403), 503, "token-refused", Some(60)),
        (Fault::status(302), 503, "unexpected-status", Some(5)),
        (Fault::page(405), 503, "unexpected-status", Some(5)),
        (Fault::status(405), 422, "refused-by-svix", None),
        (limit(), 429, "rate-limited", Some(60)),
        (Fault::status(429), 429, "rate-limited", Some(5)),
        (overload, 503, "svix-unavailable", Some(30)),
        unavailable(Fault::status(500)),
        unavailable(Fault::HangBeforeStoring),
        unavailable(Fault::ResetAfterStoring),
        unavailable(Fault::GarbageBytes),
        (Fault::status(422), 422, "refused-by-svix", None),
        (Fault::EchoCredentials, 422, "refused-by-svix", None),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_failure_of_svix_has_its_answer_in_time() {
    for target in [Target::Portals, Target::Applications] {
        for (fault, status, name, wait) in failures() {
            let world = world();
            world.svix.always_at(target, fault.clone());
            let (reply, took) = world.timed(post(&world, PORTAL, "")).await;
            assert_failed(&reply, &fault, status, name, wait);
            assert!(took <= Duration::from_secs(8), "{fault:?} took {took:?}");
            assert!(asked(&world).len() <= 5, "{fault:?} is tried too often");
            assert!(!reply.text().contains(TOKEN), "{fault:?}");
            assert!(!world.stdout().concat().contains(TOKEN), "{fault:?}");
            assert_eq!(world.last_line()["outcome"], name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_answer_about_a_portal_gives_no_link() {
    for (fault, problem) in [
        (Fault::TruncatedReply, "svix-unavailable"),
        (Fault::OversizedReply { bytes: 3_000_000 }, "svix-unavailable"),
        (Fault::MalformedReply, "unexpected-status"),
    ] {
        let world = world_with_customer();
        world.svix.always_at(Target::Portals, fault);
        let reply = post(&world, PORTAL, "").await;
        reply.assert_retryable_problem(503, problem);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hiccup_of_svix_is_bridged() {
    for fault in [
        Fault::status(500),
        Fault::status(429),
        Fault::HangAfterStoring,
        Fault::ResetBeforeStoring,
        Fault::MalformedReply,
    ] {
        let world = world();
        for target in [Target::Portals, Target::Applications] {
            world.svix.script_at(target, [fault.clone()]);
        }
        let reply = post(&world, PORTAL, "").await;
        assert_eq!(reply.status, 200, "{fault:?}: {}", reply.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_portal_neither_waits_at_the_gate_nor_closes_it() {
    let world = world_with_customer();

    world.svix.script([limit()]);
    let reply = world.post(&event("evt_1")).await;
    reply.assert_retryable_problem(429, "rate-limited");
    assert_eq!(post(&world, PORTAL, "").await.status, 200, "gate ignored");
    let waiting = world.post(&event("evt_1")).await;
    waiting.assert_retryable_problem(429, "rate-limited");

    let world = world_with_customer();
    for _ in 0..5 {
        world.svix.script_at(Target::Portals, [limit()]);
        assert_eq!(post(&world, PORTAL, "").await.status, 429);
    }
    let reply = world.post(&event("evt_1")).await;
    assert_eq!(reply.json()["status"], "delivered", "the gate stays open");
}

#[tokio::test(start_paused = true)]
async fn a_sample_event_arrives_once_and_calls_itself_a_test() {
    let world = world();
    let reply = post(&world, TEST_EVENT, "").await;
    let message = world.only_message();
    let id = message.event_id.as_deref().expect("an id");
    let expected = json!({
        "status": "delivered", "project": "dev", "eventId": id,
        "eventType": "svix-relay.test", "svixMessageId": message.id, "attempts": 1,
    });
    assert_eq!(reply.ok().json(), expected);
    assert!(id.starts_with("svix-relay.test_"), "{id}");
    assert_eq!(message.app, "dev");
    assert_eq!(message.event_type, "svix-relay.test");
    let payload: Value = serde_json::from_str(&message.payload).expect("JSON");
    let expected = json!({
        "object": "event", "id": id, "type": "svix-relay.test", "project": "dev",
        "source": "urn:svix-relay:test", "time": "2026-11-23T14:12:42Z",
    });
    assert_fields(&payload, &expected);
    assert_eq!(payload["data"]["object"], "test");
    let told = payload["data"]["message"].as_str().expect("a sentence");
    assert!(told.contains("test"), "{told}");
    // The sample has every field of the platform's events.
    let real: Value = serde_json::from_str(&event("evt_1")).expect("JSON");
    for field in real.as_object().expect("an object").keys() {
        assert!(payload.get(field).is_some(), "{field}");
    }

    let line = json!({"outcome": "delivered", "eventId": id, "eventType": "svix-relay.test"});
    assert_fields(&world.last_line(), &line);
    let record = show(&world, &format!("/notifications/dev/{id}")).await;
    assert_eq!(record["state"], "delivered");
}

#[tokio::test(start_paused = true)]
async fn a_sample_may_have_any_type_and_is_a_new_one_each_time() {
    let world = world();
    for _ in 0..3 {
        // The next instance has other random numbers.
        world.crash().await;
        for _ in 0..3 {
            let reply = post(&world, TEST_EVENT, r#"{"type":"user.created"}"#).await;
            reply.assert_became("delivered");
            assert_eq!(reply.json()["eventType"], "user.created");
        }
    }
    assert_eq!(world.svix.messages().len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_sample_goes_the_way_of_every_event() {
    let world = world();
    world.svix.script([Fault::HangAfterStoring]);
    let reply = post(&world, TEST_EVENT, "").await;
    assert_eq!(reply.json()["attempts"], 2, "{}", reply.text());
    world.only_message();

    world.svix.script([limit()]);
    let limited = post(&world, TEST_EVENT, "").await;
    assert_eq!(limited.assert_retryable_problem(429, "rate-limited"), 60);
    let seen = world.svix.requests().len();
    let refused = post(&world, TEST_EVENT, "").await;
    refused.assert_retryable_problem(429, "rate-limited");
    assert_eq!(world.svix.requests().len(), seen, "the gate is closed");

    world.clock.advance(Duration::from_mins(2));
    world.svix.script([Fault::status(422)]);
    let refused = post(&world, TEST_EVENT, "").await;
    refused.assert_final_problem(422, "refused-by-svix");
    let letters = ask(&world, "GET", "/dead-letters").await;
    assert_eq!(letters.json()["deadLetters"], json!([]), "it is not kept");

    let world = World::with(&[("admin_token", "hush"), ("create_applications", "false")]);
    let reply = post(&world, TEST_EVENT, "").await;
    reply.assert_final_problem(422, "application-missing");
}
