//! Operators with names, of whom some only read.

use serde_json::json;

use super::contract;
use crate::support::{World, ask_as, event};

const OPERATORS: &str = "hush,alice:old-hush,alice:new-hush,support:ro:look-hush";

const SECRET: &str = "0123456789abcdef0123456789abcdef-hush";

fn world() -> World {
    World::with(&[
        ("admin_token", OPERATORS),
        ("canary_project", "canary"),
        ("project_token_secret", SECRET),
    ])
}

fn assert_no_secret_is_logged(world: &World) {
    let log = [world.stdout(), world.stderr()].concat().concat();
    assert!(!log.contains("hush"), "{log}");
}

#[tokio::test(start_paused = true)]
async fn each_line_of_an_operator_names_it() {
    let world = world();
    for (token, name) in [
        ("hush", "operator"),
        ("old-hush", "alice"),
        ("new-hush", "alice"),
        ("look-hush", "support"),
    ] {
        ask_as(&world, token, "GET", "/dead-letters").await.ok();
        assert_eq!(world.last_line()["operator"], name);
        // A failure is as much of an operator as a success.
        let reply = ask_as(&world, token, "GET", "/notifications/dev/evt_1").await;
        reply.assert_final_problem(404, "no-record");
        assert_eq!(world.last_line()["operator"], name);
        let reply = ask_as(&world, token, "PUT", "/status").await;
        reply.assert_final_problem(405, "method-not-allowed");
        assert_eq!(world.last_line()["operator"], name);
    }
    world.post(&event("evt_1")).await;
    assert_eq!(world.last_line().get("operator"), None);
    assert_no_secret_is_logged(&world);
}

#[tokio::test(start_paused = true)]
async fn the_status_says_who_asks_and_what_the_operator_may() {
    let world = world();
    for (token, expected) in [
        ("hush", json!({"name": "operator", "readOnly": false})),
        ("new-hush", json!({"name": "alice", "readOnly": false})),
        ("look-hush", json!({"name": "support", "readOnly": true})),
    ] {
        let status = ask_as(&world, token, "GET", "/status").await;
        assert_eq!(status.json()["operator"], expected);
        assert!(!status.text().contains("hush"), "{}", status.text());
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_token_itself_lets_an_operator_in() {
    let world = world();
    let long = "x".repeat(9_000);
    for token in [
        "",
        OPERATORS,
        "alice:old-hush",
        "support:ro:look-hush",
        "ro:look-hush",
        "alice",
        "operator",
        "old-hus",
        "old-hushs",
        "OLD-HUSH",
        " hush",
        "hush,old-hush",
        &long,
    ] {
        let reply = ask_as(&world, token, "GET", "/status").await;
        reply.assert_final_problem(401, "unauthorized");
        assert_eq!(world.last_line().get("operator"), None, "{token}");
    }
    assert_no_secret_is_logged(&world);
}

#[tokio::test(start_paused = true)]
async fn a_reader_is_refused_every_operation_that_acts_and_no_other() {
    let world = world();
    let operations = contract::opened_by("operator").into_iter();
    let (reading, acting): (Vec<_>, Vec<_>) = operations.partition(|(method, _)| method == "GET");
    assert!(reading.len() >= 8 && acting.len() >= 11, "{acting:?}");
    for (method, path) in &acting {
        let reply = ask_as(&world, "look-hush", method, path).await;
        reply.assert_final_problem(403, "read-only");
        let line = world.last_line();
        assert_eq!(line["operator"], "support", "{method} {path}");
        assert_eq!(line["severity"], "WARNING");
    }
    assert_eq!(world.svix.requests().len(), 0);
    assert_eq!(world.names().await, [""; 0]);
    for (_, path) in &reading {
        for method in ["GET", "HEAD"] {
            let reply = ask_as(&world, "look-hush", method, path).await;
            assert!(![401, 403].contains(&reply.status), "{method} {path}");
        }
    }
    for (method, path) in reading.iter().chain(&acting) {
        let reply = ask_as(&world, "old-hush", method, path).await;
        assert!(![401, 403].contains(&reply.status), "{method} {path}");
    }
    assert_no_secret_is_logged(&world);
}

#[tokio::test(start_paused = true)]
async fn a_reader_is_refused_before_its_body_is_read() {
    let world = world();
    let headers = [("authorization", "Bearer look-hush"), ("content-type", "text/plain")];
    let body = "x".repeat(10_000);
    let path = "/projects/dev/portal";
    let reply = world.request("POST", path, &headers, &body).await;
    reply.assert_final_problem(403, "read-only");
}
