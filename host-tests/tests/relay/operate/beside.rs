//! The relay's answers to requests other than notifications, and its log.

use http::Method;
use serde_json::json;

use fake_svix::Fault;
use host::{Faults, Op};

use crate::support::{World, assert_fields, event};

#[tokio::test(start_paused = true)]
async fn the_record_of_an_event_can_be_looked_up() {
    let world = World::new();
    let missing = world.get("/notifications/dev/evt%201").await;
    missing.assert_final_problem(404, "no-record");

    world.post(&event("evt 1")).await;
    let reply = world.get("/notifications/dev/evt%201").await;
    assert_eq!(reply.status, 200);
    let expected = json!({
        "state": "delivered", "project": "dev", "eventId": "evt 1", "eventType": "user.created",
        "svixMessageId": world.only_message().id, "attempts": 1, "deliveredAt": "2026-11-23T14:12:42Z",
    });
    assert_fields(&reply.json(), &expected);
    assert_eq!(world.get("/notifications/gigs/evt%201").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_lookup_on_a_failing_store_is_a_503() {
    let world = World::new();
    world.faults.fail_next(Op::Get, 1);
    let reply = world.get("/notifications/dev/evt_1").await;
    reply.assert_retryable_problem(503, "store-failing");
}

#[tokio::test(start_paused = true)]
async fn healthz_answers_200_even_if_svix_and_store_fail() {
    let world = World::with(&[("svix_token", "")]);
    world.faults.fail_always(Op::Open);
    world.faults.fail_always(Op::Get);
    let reply = world.get("/healthz").await;
    assert_eq!(reply.ok().json(), json!({"status": "alive"}));
    assert_eq!([Op::Get, Op::Open].map(|op| world.faults.count(op)), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn readyz_says_whether_events_could_be_delivered() {
    let world = World::new();
    let reply = world.get("/readyz").await;
    let expected = json!({"status": "ready", "ingestAuth": "none", "gate": {"state": "open"}});
    assert_eq!(reply.ok().json(), expected);

    for fault in [
        (|faults| faults.fail_next(Op::Get, 1)) as fn(&Faults),
        |faults| faults.fail_next(Op::Set, 1),
        |faults| faults.hang_next(Op::Get),
    ] {
        fault(&world.faults);
        let reply = world.get("/readyz").await;
        reply.assert_retryable_problem(503, "store-failing");
    }
    assert_eq!(world.get("/readyz").await.status, 200);
    assert_eq!(world.svix.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_line_of_a_request_without_a_route_names_every_method() {
    let world = World::new();
    for method in ["GET", "PATCH", "OPTIONS", "PURGE"] {
        world.request(method, "/nowhere?token=hush", &[], "").await;
        let message = world.lines().last().expect("a line")["message"].to_string();
        let asked = format!(": {method} /nowhere\"");
        assert!(message.ends_with(&asked), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_request_leaves_one_line() {
    let world = World::new();
    let wrapped = r#"{"message":{"data":"eyJpZCI6ImV2dF8xIiwidHlwZSI6InQiLCJwcm9qZWN0IjoiZGV2In0=","messageId":"7"},"deliveryAttempt":3}"#;
    world.post(wrapped).await;
    world.post(wrapped).await;
    world.post("nonsense").await;
    world.get("/notifications/dev/evt_1").await;
    world.get("/healthz").await;
    world.get("/readyz").await;
    world.request("GET", "/nowhere", &[], "").await;
    world.svix.always(Fault::status(500));
    world.post(&event("evt_2")).await;

    let lines = world.lines();
    let outcomes: Vec<_> = lines.iter().map(|line| line["outcome"].clone()).collect();
    let expected = "delivered duplicate not-json found not-found svix-unavailable";
    assert_eq!(outcomes, expected.split(' ').collect::<Vec<_>>());
    let delivered = &lines[0];
    let expected = json!({
        "severity": "INFO", "time": "2026-11-23T14:12:42Z", "message": "delivered",
        "outcome": "delivered", "status": 200, "durationMs": 0, "attempts": 1,
        "project": "dev", "eventId": "evt_1", "eventType": "t",
        "svixMessageId": world.message("evt_1").id,
        "source": "wrapped", "pubsubMessageId": "7", "deliveryAttempt": 3,
        "traceId": delivered["traceId"], "spanId": delivered["spanId"],
    });
    assert_eq!(*delivered, expected);
    let failed = json!({"severity": "WARNING", "attempts": 4, "eventId": "evt_2"});
    assert_fields(&lines[5], &failed);
}

#[tokio::test(start_paused = true)]
async fn neither_token_nor_payload_appears_in_log_or_replies() {
    let world = World::new();
    let mut told = String::new();
    for (number, fault) in [
        Fault::None,
        Fault::EchoCredentials,
        Fault::status(401),
        Fault::status(422),
        Fault::ResetBeforeStoring,
        Fault::GarbageBytes,
    ]
    .into_iter()
    .enumerate()
    {
        world.svix.always_for(&Method::POST, fault);
        let sent = event(&format!("evt_{number}"));
        assert!(sent.contains("grace@example.com"), "the payload went in");
        told += &world.post(&sent).await.text();
        told += &world.post(&sent[..sent.len() - 1]).await.text();
        told += &world.get(&format!("/notifications/dev/evt_{number}")).await.text();
    }
    told += &world.stdout().join("\n");
    told += &world.stderr().join("\n");
    for secret in ["testsk_fake", "grace@example.com"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    assert!(told.contains("refused-by-svix"), "the fault was met");
}
