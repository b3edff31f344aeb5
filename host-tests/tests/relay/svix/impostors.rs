//! Only Svix's own words count: a proxy, a firewall or another server may answer in its place.

use std::time::Duration;

use serde_json::json;

use fake_svix::Fault;

use crate::support::{World, ask, event, wrapped};

/// An answer of something between.
fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Fault {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Fault::Page { status, headers: headers.iter().map(owned).collect(), body: body.to_owned() }
}

/// Error bodies that look more or less like Svix's.
fn bodies() -> [&'static str; 7] {
    [
        "",
        "<html>no</html>",
        r#"{"message":"no"}"#,
        r#"{"detail":"Not Found"}"#,
        r#"{"code":404,"detail":"Not Found"}"#,
        r#"{"code":"not_found"}"#,
        r#"["code","detail"]"#,
    ]
}

#[tokio::test(start_paused = true)]
async fn a_proxys_404_to_a_lookup_is_no_proof_that_svix_lacks_the_event() {
    for body in bodies() {
        let world = World::new();
        world.faults.lose_next_set();
        world.post(&event("evt_1")).await.assert_became("delivered");
        // Svix has forgotten the key and the eventId, so a second post would be a second message.
        world.clock.advance(Duration::from_hours(49));
        world.svix.always(answer(404, &[], body));
        let reply = world.post(&event("evt_1")).await;
        reply.assert_retryable_problem(503, "unexpected-status");
        world.svix.clear_faults();
        world.post(&event("evt_1")).await.assert_became("delivered");
        world.only_message();
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_that_is_not_of_svix_is_no_delivery_and_none_of_svixs_troubles() {
    let others = [r#"{"ok":true}"#, r#"{"id":"msg_1","eventId":"evt_2"}"#];
    for (status, body) in
        bodies().into_iter().chain(others).map(|body| (200, body)).chain([(204, "")])
    {
        let world = World::with(&[("admin_token", "hush")]);
        world.svix.always(answer(status, &[("retry-after", "30")], body));
        for _ in 0..6 {
            let reply = world.post(&event("evt_1")).await;
            let wait = reply.assert_retryable_problem(503, "unexpected-status");
            assert_eq!(wait, 30, "{body}");
        }
        let line = world.last_line();
        assert_eq!(line["severity"], "ERROR", "{line}");
        let message = line["message"].as_str().expect("a text");
        assert!(message.contains(&status.to_string()), "{message}");
        world.svix.clear_faults();
        world.post(&event("evt_1")).await.assert_became("delivered");
        world.only_message();
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_something_between_refuses_is_neither_lost_nor_kept_for_good() {
    for status in [400, 401, 403, 404, 409, 413, 422] {
        for body in bodies() {
            let world = World::with(&[("admin_token", "hush")]);
            let push = wrapped(event("evt_1"));
            world.svix.always(answer(status, &[], body));
            let reply = world.post(&push).await;
            reply.assert_retryable_problem(503, "unexpected-status");
            world.svix.clear_faults();
            world.clock.advance(Duration::from_mins(1));
            world.post(&push).await.assert_became("delivered");
            world.only_message();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_firewall_that_refuses_some_payloads_stops_no_other_event() {
    let world = World::new();
    for number in 0..20 {
        world.svix.always(Fault::page(403));
        let poison = event(&format!("poison_{number}"));
        let reply = world.post(&poison).await;
        reply.assert_retryable_problem(503, "unexpected-status");
        world.svix.clear_faults();
        let good = event(&format!("evt_{number}"));
        world.post(&good).await.assert_became("delivered");
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_has_the_code_of_an_error_that_is_svix_s_own() {
    for (status, name) in [(402, "unexpected-status"), (403, "token-refused")] {
        let world = World::new();
        let error = r#"{"code":"trial_ended","detail":"Your trial has ended."}"#;
        world.svix.always(answer(status, &[], error));
        let reply = world.post(&event("evt_1")).await;
        reply.assert_retryable_problem(503, name);
        let log = world.stdout().concat();
        let told = format!("Svix answered {status}, trial_ended");
        assert!(log.contains(&told), "{log}");
        assert!(!log.contains("has ended"), "it may hold a payload: {log}");
    }
}

#[tokio::test(start_paused = true)]
async fn svix_is_asked_for_plain_answers_and_encoded_ones_are_not_believed() {
    let world = World::new();
    world.post(&event("evt_1")).await;
    let request = world.svix.requests().pop().expect("a request");
    assert_eq!(request.header("accept-encoding"), Some("identity"));

    let world = World::new();
    world.faults.lose_next_set();
    world.post(&event("evt_1")).await;
    world.clock.advance(Duration::from_hours(49));
    let error = json!({"code": "not_found", "detail": "Entity not found"}).to_string();
    let encoded = answer(404, &[("content-encoding", "gzip")], &error);
    world.svix.always(encoded);
    let reply = world.post(&event("evt_1")).await;
    reply.assert_retryable_problem(503, "unexpected-status");
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_date_is_meant_by_the_clock_of_its_sender() {
    for minute in ["14:32", "13:12"] {
        let world = World::new();
        let [date, until] =
            [42, 44].map(|second| format!("Mon, 23 Nov 2026 {minute}:{second} GMT"));
        let headers = [("date", &date[..]), ("retry-after", &until)];
        world.svix.script([answer(429, &headers, "")]);
        let (reply, took) = world.timed(world.post(&event("evt_1"))).await;
        reply.assert_became("delivered");
        assert_eq!(took.as_secs(), 2, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_without_an_application_is_kept_and_replayed_once_there_is_one() {
    let world = World::with(&[("create_applications", "false"), ("admin_token", "hush")]);
    world.push(event("evt_1")).await.assert_kept_as(1);
    let letter = ask(&world, "GET", "/dead-letters/1").await;
    assert_eq!(letter.json()["reason"], "application-missing");
    let path = "/dead-letters/replay?reason=application-missing";
    let replayed = ask(&world, "POST", path).await;
    assert_eq!(replayed.json()["failed"], 1);
    world.svix.create_application("dev");
    let replayed = ask(&world, "POST", path).await;
    assert_eq!(replayed.json()["resolved"], 1);
    world.only_message();
}
