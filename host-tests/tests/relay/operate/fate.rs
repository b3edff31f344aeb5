//! The fate of an event: what became of it at each endpoint, and sending it there again.

use std::time::Duration;

use serde_json::{Value, json};

use fake_svix::{Fault, Target};

use crate::support::{Reply, World, event, wrapped};

const TOKEN: (&str, &str) = ("authorization", "Bearer hush");
const URL: &str = "https://grace:hush@hooks.test/in?key=hush";

fn world() -> World {
    World::with(&[("admin_token", "hush")])
}

async fn ask(world: &World, method: &str, path: &str) -> Reply {
    world.request(method, path, &[TOKEN], "").await
}

async fn fate(world: &World, id: &str) -> Value {
    let path = format!("/notifications/dev/{id}/deliveries");
    let reply = ask(world, "GET", &path).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn resend(world: &World, id: &str, endpoint: &str) -> Reply {
    let path = format!("/notifications/dev/{id}/deliveries/{endpoint}/resend");
    ask(world, "POST", &path).await
}

async fn post(world: &World, id: &str) {
    let reply = world.post(&event(id)).await;
    assert_eq!(reply.json()["status"], "delivered", "{}", reply.text());
}

#[tokio::test(start_paused = true)]
async fn a_failing_endpoint_is_shown_and_gets_the_event_again() {
    let world = world();
    world.svix.create_application("dev");
    let endpoint = world.svix.create_endpoint("dev", URL);
    world.svix.answer_of_endpoint("dev", &endpoint, [500]);
    post(&world, "evt_1").await;
    let failed = fate(&world, "evt_1").await;
    assert_eq!(failed["record"]["state"], "delivered");
    assert_eq!(failed["endpoints"][0]["url"], "https://hooks.test/in");
    assert_eq!(failed["endpoints"][0]["status"], "fail");
    assert!(
        failed["endpoints"][0]["nextAttempt"].is_string(),
        "{failed}"
    );
    assert_eq!(
        (
            &failed["attempts"][0]["responseStatusCode"],
            &failed["attempts"][0]["triggerType"]
        ),
        (&json!(500), &json!("scheduled"))
    );
    assert!(!failed.to_string().contains("hush"), "{failed}");

    world.svix.answer_of_endpoint("dev", &endpoint, [200]);
    let reply = resend(&world, "evt_1", &endpoint).await;
    assert_eq!(reply.json()["endpointId"], endpoint, "{}", reply.text());
    world.clock.advance(Duration::from_secs(1));
    let arrived = fate(&world, "evt_1").await;
    assert_eq!(arrived["endpoints"][0]["status"], "success");
    assert_eq!(arrived["endpoints"][0]["nextAttempt"], Value::Null);
    assert_eq!(
        (
            &arrived["attempts"][0]["responseStatusCode"],
            &arrived["attempts"][0]["triggerType"]
        ),
        (&json!(200), &json!("manual"))
    );
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_was_never_tried_is_shown_with_the_reason() {
    let world = world();
    world.svix.create_application("dev");
    let endpoint = world.svix.create_endpoint("dev", URL);
    world.svix.disable_endpoint("dev", &endpoint, true);
    post(&world, "evt_1").await;
    let fate = fate(&world, "evt_1").await;
    assert_eq!(fate["endpoints"][0]["disabled"], true);
    assert_eq!(fate["endpoints"][0]["status"], Value::Null);
    assert_eq!(fate["attempts"], json!([]));
    let reply = resend(&world, "evt_1", &endpoint).await;
    reply.assert_final_problem(422, "endpoint-disabled");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_a_404() {
    let world = world();
    post(&world, "evt_1").await;
    for (method, path, name) in [
        ("GET", "evt_2/deliveries", "no-record"),
        ("POST", "evt_2/deliveries/ep_1/resend", "no-record"),
        ("POST", "evt_1/deliveries/ep_1/resend", "no-endpoint"),
        ("POST", "evt_1/deliveries/a%2Fb/resend", "no-endpoint"),
        ("POST", "evt_1/deliveries/%2e%2e/resend", "no-endpoint"),
        ("GET", "evt_1/deliveries/ep_1", "not-found"),
    ] {
        let path = format!("/notifications/dev/{path}");
        ask(&world, method, &path)
            .await
            .assert_final_problem(404, name);
    }
    world.svix.forget_message(&world.message("evt_1").id);
    let path = "/notifications/dev/evt_1/deliveries";
    ask(&world, "GET", path)
        .await
        .assert_final_problem(404, "no-message");
    world
        .post(&wrapped(&event("evt_3").into_bytes()[1..]))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_has_no_deliveries() {
    let world = world();
    world.svix.script([Fault::status(422)]);
    let reply = world.post(&wrapped(event("evt_1").as_bytes())).await;
    assert_eq!(reply.json()["status"], "dead-lettered");
    let fate = fate(&world, "evt_1").await;
    assert_eq!(fate["record"]["state"], "dead-lettered");
    assert_eq!(fate["endpoints"], json!([]));
    resend(&world, "evt_1", "ep_1")
        .await
        .assert_final_problem(404, "no-message");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_event_without_a_message_is_shown_by_its_record() {
    let world = world();
    world.svix.create_application("dev");
    world.svix.always(Fault::status(500));
    assert_eq!(world.post(&event("evt_1")).await.status, 503);
    let fate = fate(&world, "evt_1").await;
    assert_eq!(fate["record"]["state"], "unknown");
    assert_eq!(fate["attempts"], json!([]));
    resend(&world, "evt_1", "ep_1")
        .await
        .assert_final_problem(404, "no-message");
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_svix_is_told_and_the_gate_learns_nothing_from_it() {
    let world = world();
    post(&world, "evt_1").await;
    world.svix.always_at(Target::Deliveries, Fault::status(500));
    let reply = ask(&world, "GET", "/notifications/dev/evt_1/deliveries").await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    post(&world, "evt_2").await;
}

#[tokio::test(start_paused = true)]
async fn only_an_operator_sees_the_fate_of_an_event() {
    let world = world();
    let path = "/notifications/dev/evt_1/deliveries";
    let reply = world.request("GET", path, &[], "").await;
    reply.assert_final_problem(401, "unauthorized");
}
