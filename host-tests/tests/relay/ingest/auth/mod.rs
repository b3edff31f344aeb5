//! Authentication of senders: every refusal, as the sender and the log see it, and nothing else comes of a
//! refused request. Also Google's keys, as they change and as they fail to come.

pub mod google;
mod keys;
mod tokens;

use http::HeaderName;
use serde_json::json;

use host::Op;

use crate::support::{ADMIN, JSON, Reply, World, assert_fields, event, show, wrapped};

/// The same body for every refusal, independent of the flaw.
const REFUSAL: &str = r#"{"type":"urn:svix-relay:problem:unauthenticated","title":"The sender is not known","status":401,"detail":"send authorization: Bearer and a token that ingest_auth accepts","retryable":false}"#;

/// Posts an event with this `Authorization`.
async fn post(world: &World, authorization: &str, event: &str) -> Reply {
    let headers = [JSON, ("authorization", authorization)];
    world.post_with(&headers, event).await
}

async fn bearer(world: &World, token: &str) -> Reply {
    post(world, &format!("Bearer {token}"), &event("evt_1")).await
}

/// Checks that the request was refused, that only the log says why, and that nothing else came of it.
#[track_caller]
fn assert_refused(world: &World, reply: &Reply, reason: &str) {
    assert_eq!((reply.status, &reply.text()[..]), (401, REFUSAL), "{reason}");
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("retry-after"), None);
    let told = format!("The sender is not known: {reason}");
    let line = json!({"message": told, "severity": "WARNING", "outcome": "unauthenticated"});
    assert_fields(&world.last_line(), &line);
    assert_eq!(world.svix.requests().len(), 0, "{reason}");
}

/// Checks that the store holds only Google's keys.
async fn assert_nothing_stored(world: &World) {
    let mut names = world.names().await;
    names.retain(|name| name != "keys");
    assert_eq!(names, [""; 0]);
}

fn with_tokens() -> World {
    World::with(&[("ingest_auth", "token"), ("ingest_token", "old-token,new-token")])
}

#[tokio::test(start_paused = true)]
async fn every_sender_may_post_if_authentication_is_off() {
    let world = World::new();
    assert_eq!(world.get("/readyz").await.json()["ingestAuth"], "none");
    assert_eq!(world.post(&event("evt_1")).await.status, 200);
    let reply = post(&world, "Basic eDp5", &event("evt_2")).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test(start_paused = true)]
async fn each_ingest_token_lets_its_sender_in() {
    let world = with_tokens();
    assert_eq!(world.get("/readyz").await.json()["ingestAuth"], "token");
    for (number, token) in ["Bearer old-token", "bearer new-token"].iter().enumerate() {
        let event = event(&format!("evt_{number}"));
        assert_eq!(post(&world, token, &event).await.status, 200, "{token}");
    }
    let log = world.stdout().concat();
    assert!(!log.contains("-token"), "{log}");
}

#[tokio::test(start_paused = true)]
async fn only_an_exact_ingest_token_lets_a_sender_in() {
    let world = with_tokens();
    let missing = world.post(&event("evt_1")).await;
    assert_refused(&world, &missing, "no authorization");
    let long = format!("Bearer {}", "x".repeat(9_000));
    for (authorization, reason) in [
        ("Bearer old-token,new-token", "not an ingest_token"),
        ("Bearer old-toke", "not an ingest_token"),
        ("Bearer old-tokens", "not an ingest_token"),
        ("Bearer OLD-TOKEN", "not an ingest_token"),
        ("Bearer  old-token", "not an ingest_token"),
        ("Bearer testsk_fake", "not an ingest_token"),
        ("Bearer", "authorization is not Bearer"),
        ("Basic old-token", "authorization is not Bearer"),
        ("old-token", "authorization is not Bearer"),
        ("", "authorization is not Bearer"),
        (&long, "authorization too long"),
    ] {
        let reply = post(&world, authorization, &event("evt_1")).await;
        assert_refused(&world, &reply, reason);
    }
    assert_eq!(world.faults.count(Op::Set), 0);
    assert_nothing_stored(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_is_refused_before_its_body_is_read() {
    let world = with_tokens();
    let (reply, took) = world.timed(world.post_slowly(&event("evt_1"), 6)).await;
    assert_refused(&world, &reply.expect("a reply"), "no authorization");
    assert!(took.as_secs() < 1, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_notification_becomes_no_dead_letter() {
    let world = with_tokens();
    for body in [wrapped(b"nonsense"), "nonsense".to_owned()] {
        let reply = world.post(&body).await;
        assert_refused(&world, &reply, "no authorization");
    }
    assert_nothing_stored(&world).await;
}

#[tokio::test(start_paused = true)]
async fn records_are_shown_to_the_operator_or_where_no_token_is_needed() {
    let path = "/notifications/dev/evt_1";
    let token = [("ingest_auth", "token"), ("ingest_token", "t")];
    let admin = [("admin_token", "hush")];
    let ingest = ("authorization", "Bearer t");
    for (variables, without) in
        [(&[][..], 404), (&admin, 401), (&token, 404), (&[token[0], token[1], admin[0]], 401)]
    {
        let world = World::with(variables);
        for (headers, status) in [(&[][..], without), (&[ADMIN], 404), (&[ingest], without)] {
            let reply = world.request("GET", path, headers, "").await;
            assert_eq!(reply.status, status, "{headers:?} {variables:?}");
        }
    }

    let closed = World::with(&token);
    assert_eq!(bearer(&closed, "t").await.status, 200);
    let reply = closed.get(path).await;
    reply.assert_final_problem(404, "not-found");
    let open = World::with(&admin);
    assert_eq!(open.post(&event("evt_1")).await.status, 200);
    let reply = open.get(path).await;
    reply.assert_final_problem(401, "unauthorized");
    assert_eq!(show(&open, path).await["state"], "delivered");
}

#[tokio::test(start_paused = true)]
async fn no_other_site_may_read_a_reply() {
    let world = World::new();
    let headers =
        [("origin", "https://evil.example"), ("access-control-request-method", "POST"), JSON];
    let preflight = world.request("OPTIONS", "/notifications", &headers, "").await;
    preflight.assert_final_problem(405, "method-not-allowed");
    let post = world.post_with(&headers, &event("evt_1")).await;
    for reply in [preflight, post] {
        let mut names = reply.headers.keys().map(HeaderName::as_str);
        let found = names.find(|name| name.starts_with("access-control-"));
        assert_eq!(found, None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_may_be_nested_as_deeply_as_svix_allows() {
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        format!(r#"{{"id":"evt_1","type":"t","project":"dev","data":{open}{close},"s":"[[{{\"["}}"#)
    };
    let world = World::new();
    for levels in [101, 100_000] {
        let reply = world.post(&nested(levels)).await;
        reply.assert_final_problem(422, "too-deep");
        let reply = world.push(nested(levels).as_bytes()).await;
        reply.assert_became("dead-lettered");
    }
    assert_eq!(world.svix.requests().len(), 0);
    let deepest = nested(100);
    world.post(&deepest).await.assert_became("delivered");
    assert_eq!(world.only_message().payload, deepest);
    assert_eq!(world.records().await.len(), 3);
}
