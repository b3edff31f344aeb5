//! Tokens of projects: they open the events of one project, and every attack on them fails.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::json;

use super::contract;
use crate::support::{
    ADMIN, JSON, Reply, Setup, World, ask_as, assert_fields, event, refuse, replay, show,
};

const SECRET: &str = "a-secret-of-at-least-32-characters";
const OTHER: &str = "another-secret-of-32-characters-or-more";

fn with(secrets: &'static str) -> Setup {
    let mut setup = Setup::new();
    let variables = [("admin_token", "hush"), ("project_token_secret", secrets)];
    setup.variables.extend(variables);
    setup
}

fn world() -> World {
    World::build(&with(SECRET))
}

async fn issue(world: &World, project: &str, body: &str) -> Reply {
    let path = format!("/projects/{project}/token");
    let headers = [ADMIN, JSON];
    world.request("POST", &path, &headers, body).await
}

async fn token(world: &World, project: &str) -> String {
    let reply = issue(world, project, "").await.json();
    reply["token"].as_str().expect("a token").to_owned()
}

fn assert_not_logged(world: &World, token: &str) {
    let log = [world.stdout(), world.stderr()].concat().concat();
    for secret in [token, SECRET, OTHER] {
        assert!(!log.contains(secret), "{log}");
    }
}

const READABLE: [&str; 3] = [
    "/notifications/dev/evt_1",
    "/notifications/dev/evt_1/deliveries",
    "/records?project=dev&eventId=evt_1",
];

#[tokio::test(start_paused = true)]
async fn a_dashboard_sees_the_fate_of_its_projects_events() {
    let world = world();
    world.svix.create_application("dev");
    world.svix.create_endpoint("dev", "https://hooks.test/in");
    world.post(&event("evt_1")).await;
    let issued = issue(&world, "dev", "").await.json();
    assert_eq!(issued["expiresAt"], "2026-11-23T15:12:42Z");
    let line = world.last_line();
    assert_fields(
        &line,
        &json!({"outcome": "token-issued", "project": "dev", "operator": "operator"}),
    );
    let token = issued["token"].as_str().expect("a token");
    for path in READABLE {
        ask_as(&world, token, "GET", path).await.ok();
        let line = world.last_line();
        let expected = json!({"projectToken": true, "project": "dev", "operator": null});
        assert_fields(&line, &expected);
        assert_eq!(ask_as(&world, token, "HEAD", path).await.status, 200);
    }
    assert_not_logged(&world, token);
}

#[tokio::test(start_paused = true)]
async fn a_customer_sees_of_a_record_only_its_own_event() {
    let world = world();
    for id in ["evt_1", "evt_2"] {
        refuse(&world, id).await;
    }
    let token = token(&world, "dev").await;
    for path in READABLE {
        let seen = ask_as(&world, &token, "GET", path).await.json();
        let record = seen.get("record").unwrap_or(&seen);
        assert_eq!(*record, json!({"state": "dead-lettered"}), "{path}");
    }
    let replayed = replay(&world, 1);
    assert_eq!(replayed.await.status, 200);
    for path in READABLE {
        let seen = ask_as(&world, &token, "GET", path).await.json();
        let record = seen.get("record").unwrap_or(&seen);
        let expected = json!({
            "state": "delivered", "project": "dev", "eventId": "evt_1", "eventType": "user.created",
            "svixMessageId": world.only_message().id, "publishedAt": record["publishedAt"],
            "deliveredAt": record["deliveredAt"],
        });
        assert_eq!(*record, expected, "{path}");
        let reply = show(&world, path).await;
        let record = reply.get("record").unwrap_or(&reply);
        assert_eq!(record["deadLetter"], 1, "an operator sees all of {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_opens_no_other_project() {
    let world = world();
    world.post(&event("evt_1")).await;
    let dev = token(&world, "dev").await;
    for path in ["/notifications/d%65v/%65vt_1", "/records?project=%64ev&eventId=evt_1"] {
        let reply = ask_as(&world, &dev, "GET", path).await;
        assert_eq!(reply.status, 200, "the same name, encoded: {path}");
    }
    let names = "Dev DEV devs de dev. dev%2e %2e . .. %2e%2e dev%2fevt_1 dev%00 %00dev dev%20 %20dev d%C3%A9v \
                 dev%252e %FF de%76%2F.. dev;x other";
    for project in names.split_whitespace() {
        for path in [
            format!("/notifications/{project}/evt_1"),
            format!("/notifications/{project}/evt_1/deliveries"),
            format!("/records?project={project}&eventId=evt_1"),
        ] {
            // A path that isn't UTF-8 leads nowhere, with any token.
            let (status, name) = match project {
                "%FF" if !path.starts_with("/records") => (404, "not-found"),
                _ => (401, "unauthorized"),
            };
            let reply = ask_as(&world, &dev, "GET", &path).await;
            reply.assert_final_problem(status, name);
        }
    }
    for query in [
        "",
        "?project=dev",
        "?eventId=evt_1",
        "?project=other&project=dev&eventId=evt_1&x=y",
        "?project=dev&project=other&eventId=evt_1",
    ] {
        let reply = ask_as(&world, &dev, "GET", &format!("/records{query}")).await;
        reply.assert_final_problem(401, "unauthorized");
    }
    let other = token(&world, "other").await;
    for path in READABLE {
        let reply = ask_as(&world, &other, "GET", path).await;
        reply.assert_final_problem(401, "unauthorized");
    }
    assert_not_logged(&world, &dev);
}

#[tokio::test(start_paused = true)]
async fn a_token_opens_nothing_else_than_its_projects_events() {
    let world = world();
    world.post(&event("evt_1")).await;
    let token = token(&world, "dev").await;
    let asked = world.svix.requests().len();
    let readable = contract::opened_by("project");
    let paths: Vec<_> = readable.iter().map(|(_, path)| &path[..]).collect();
    assert_eq!(paths, READABLE);
    let mut refused = 0;
    for (method, path) in contract::opened_by("operator") {
        if readable.contains(&(method.clone(), path.clone())) {
            continue;
        }
        let reply = ask_as(&world, &token, &method, &path).await;
        reply.assert_final_problem(401, "unauthorized");
        refused += 1;
    }
    assert!(refused >= 15, "{refused}");
    for method in ["POST", "DELETE", "PUT"] {
        let reply = ask_as(&world, &token, method, READABLE[1]).await;
        reply.assert_final_problem(401, "unauthorized");
    }
    assert_eq!(world.svix.requests().len(), asked);
    let mut setup = with(SECRET);
    let ingest = [("ingest_auth", "token"), ("ingest_token", "psst")];
    setup.variables.extend(ingest);
    let closed = World::build(&setup);
    let reply = ask_as(&closed, &token, "POST", "/notifications").await;
    reply.assert_final_problem(401, "unauthenticated");
}

#[tokio::test(start_paused = true)]
async fn a_token_expires() {
    let world = world();
    world.post(&event("evt_1")).await;
    let issued = issue(&world, "dev", r#"{"expiry":60}"#).await.json();
    let token = issued["token"].as_str().expect("a token");
    world.clock.advance(Duration::from_secs(58));
    assert_eq!(ask_as(&world, token, "GET", READABLE[0]).await.status, 200);
    world.clock.advance(Duration::from_secs(2));
    for path in READABLE {
        let reply = ask_as(&world, token, "GET", path).await;
        reply.assert_final_problem(401, "unauthorized");
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_token_opens_nothing() {
    let world = world();
    world.post(&event("evt_1")).await;
    let token = token(&world, "dev").await;
    let bytes = BASE64.decode(&token[4..]).expect("base64");
    let (expiry, signature) = bytes.split_at(8);
    let later = (u64::from_be_bytes(expiry.try_into().expect("8 bytes")) + 3_600).to_be_bytes();
    let forged = |parts: [&[u8]; 2]| format!("srp_{}", BASE64.encode(parts.concat()));
    for token in
        [forged([&later, signature]), forged([expiry, &signature[..31]]), SECRET.to_owned()]
    {
        let reply = ask_as(&world, &token, "GET", READABLE[0]).await;
        reply.assert_final_problem(401, "unauthorized");
    }
    assert_not_logged(&world, &token);
}

#[tokio::test(start_paused = true)]
async fn a_token_lives_as_long_as_the_secret_that_has_signed_it() {
    const BOTH: &str = "another-secret-of-32-characters-or-more,a-secret-of-at-least-32-characters";
    let old = world();
    old.post(&event("evt_1")).await;
    let token = token(&old, "dev").await;
    let rotating = old.node(&with(BOTH));
    ask_as(&rotating, &token, "GET", READABLE[0]).await.ok();
    let newer = self::token(&rotating, "dev").await;
    let new = old.node(&with(OTHER));
    ask_as(&new, &newer, "GET", READABLE[0]).await.ok();
    for (world, token) in [(&new, &token), (&old, &newer), (&old.node(&with("")), &token)] {
        let reply = ask_as(world, token, "GET", READABLE[0]).await;
        reply.assert_final_problem(401, "unauthorized");
    }
}

#[tokio::test(start_paused = true)]
async fn the_expiry_of_a_token_has_bounds() {
    let world = world();
    for (expiry, expires) in [(60, "2026-11-23T14:13:42Z"), (604_800, "2026-11-30T14:12:42Z")] {
        let issued = issue(&world, "dev", &format!(r#"{{"expiry":{expiry}}}"#)).await;
        assert_eq!(issued.json()["expiresAt"], expires);
    }
    for body in [
        r#"{"expiry":59}"#,
        r#"{"expiry":604801}"#,
        r#"{"expiry":-1}"#,
        r#"{"expiry":18446744073709551615}"#,
        r#"{"expiry":"60"}"#,
        r#"{"expiry":60,"project":"other"}"#,
    ] {
        let reply = issue(&world, "dev", body).await;
        reply.assert_final_problem(422, "invalid-request");
    }
    for project in ["app_1", "%2e%2e", "d%C3%A9v", "dev%00"] {
        let reply = issue(&world, project, "").await;
        reply.assert_final_problem(422, "invalid-request");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_secret_there_are_no_tokens() {
    let world = World::build(&with(""));
    let reply = issue(&world, "dev", "").await;
    reply.assert_final_problem(404, "no-project-tokens");
    let world = World::build(&with("too-short"));
    let reply = world.get("/readyz").await;
    reply.assert_retryable_problem(503, "invalid-configuration");
    assert!(!reply.text().contains("too-short"), "{}", reply.text());
    let mut setup = with(SECRET);
    setup.variables.remove("admin_token");
    let closed = World::build(&setup);
    let reply = issue(&closed, "dev", "").await;
    reply.assert_final_problem(404, "not-found");
}
