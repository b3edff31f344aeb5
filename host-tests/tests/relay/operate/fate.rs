//! The fate of an event: what became of it at each endpoint, and sending it there again; and the recovery of an
//! endpoint, which sends it everything again that it has failed to take.

use std::time::Duration;

use serde_json::{Value, json};

use fake_svix::{Fault, RetryAfter, Target};

use crate::support::{
    ADMIN, JSON, Reply, TOKEN, World, ask, assert_fields, event, post, refuse, show, world,
};

const URL: &str = "https://grace:hush@hooks.test/in?key=hush";

/// A world in which `dev` has an endpoint that gives this answer, and the endpoint's id.
fn world_with_endpoint(answer: u16) -> (World, String) {
    let world = world();
    world.svix.create_application("dev");
    let endpoint = world.svix.create_endpoint("dev", URL);
    world.svix.answer_of_endpoint("dev", &endpoint, [answer]);
    (world, endpoint)
}

async fn fate(world: &World, id: &str) -> Value {
    let path = format!("/notifications/dev/{id}/deliveries");
    show(world, &path).await
}

async fn resend(world: &World, id: &str, endpoint: &str) -> Reply {
    let path = format!("/notifications/dev/{id}/deliveries/{endpoint}/resend");
    ask(world, "POST", &path).await
}

#[tokio::test(start_paused = true)]
async fn a_failing_endpoint_is_shown_and_gets_the_event_again() {
    let (world, endpoint) = world_with_endpoint(500);
    post(&world, "evt_1").await;
    let failed = fate(&world, "evt_1").await;
    assert_eq!(failed["record"]["state"], "delivered");
    assert_eq!(failed["svix"], Value::Null);
    let shown = &failed["endpoints"][0];
    assert_fields(shown, &json!({"url": "https://hooks.test/…", "status": "fail"}));
    assert!(shown["nextAttempt"].is_string(), "{failed}");
    let attempt = json!({"responseStatusCode": 500, "triggerType": "scheduled"});
    assert_fields(&failed["attempts"][0], &attempt);
    assert!(!failed.to_string().contains("hush"), "{failed}");

    world.svix.answer_of_endpoint("dev", &endpoint, [200]);
    let reply = resend(&world, "evt_1", &endpoint).await;
    assert_eq!(reply.json()["endpointId"], endpoint, "{}", reply.text());
    world.clock.advance(Duration::from_secs(1));
    let arrived = fate(&world, "evt_1").await;
    let shown = json!({"status": "success", "nextAttempt": null});
    assert_fields(&arrived["endpoints"][0], &shown);
    let attempt = json!({"responseStatusCode": 200, "triggerType": "manual"});
    assert_fields(&arrived["attempts"][0], &attempt);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_was_never_tried_is_shown_with_the_reason() {
    let (world, endpoint) = world_with_endpoint(200);
    world.svix.disable_endpoint("dev", &endpoint, true);
    post(&world, "evt_1").await;
    let fate = fate(&world, "evt_1").await;
    let shown = json!({"disabled": true, "status": null, "channels": null});
    assert_fields(&fate["endpoints"][0], &shown);
    assert_eq!(fate["attempts"], json!([]));
    let reply = resend(&world, "evt_1", &endpoint).await;
    reply.assert_final_problem(422, "endpoint-disabled");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_svix_has_and_never_sent_is_shown_untried_and_a_resend_sends_it() {
    let (world, endpoint) = world_with_endpoint(200);
    world.svix.stop_sending(true);
    post(&world, "evt_1").await;
    world.clock.advance(Duration::from_mins(10));
    let unsent = fate(&world, "evt_1").await;
    assert_eq!(unsent["attempts"], json!([]));
    assert_eq!(unsent["endpoints"][0]["status"], Value::Null);
    assert_eq!(resend(&world, "evt_1", &endpoint).await.status, 200);
    world.clock.advance(Duration::from_secs(1));
    let sent = fate(&world, "evt_1").await;
    assert_eq!(sent["endpoints"][0]["status"], "success", "{sent}");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_endpoint_is_shown_as_deleted() {
    let world = world();
    world.svix.create_application("dev");
    let [gone, kept] = [(); 2].map(|()| world.svix.create_endpoint("dev", URL));
    world.svix.answer_of_endpoint("dev", &gone, [500]);
    post(&world, "evt_1").await;
    world.svix.delete_endpoint("dev", &gone);
    let fate = fate(&world, "evt_1").await;
    let shown = fate["endpoints"].as_array().expect("a list");
    assert_eq!(shown.len(), 2, "{fate}");
    for (id, deleted) in [(&gone, true), (&kept, false)] {
        let shown = shown.iter().find(|it| it["id"] == *id).expect(id);
        assert_fields(shown, &json!({"deleted": deleted, "nextAttempt": null}));
    }
    let reply = resend(&world, "evt_1", &gone).await;
    reply.assert_final_problem(404, "no-endpoint");
}

#[tokio::test(start_paused = true)]
async fn a_resend_is_sent_once_for_each_key_and_each_time_without_one() {
    let (world, endpoint) = world_with_endpoint(200);
    post(&world, "evt_1").await;
    let path = format!("/notifications/dev/evt_1/deliveries/{endpoint}/resend");
    // The second request comes as if the answer to the first had been lost. An empty key is treated as absent.
    for (key, attempts) in [("7d1f", 2), ("7d1f", 2), ("7d20", 3), ("", 4), ("", 5)] {
        let headers = [ADMIN, ("idempotency-key", key)];
        world.request("POST", &path, &headers, "").await.ok();
        world.clock.advance(Duration::from_secs(1));
        assert_eq!(self::attempts(&world, "evt_1").await, attempts, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_shows_the_channels_without_which_it_takes_no_event() {
    let world = World::with(&[("admin_token", "hush"), ("message_channels", "data.id")]);
    world.svix.create_application("dev");
    let endpoint = world.svix.create_endpoint("dev", URL);
    let channels = ["res_1", "res_2"];
    world.svix.channels_of_endpoint("dev", &endpoint, channels);
    for (id, status) in [("res_1", json!("success")), ("res_3", Value::Null)] {
        let event = json!({
            "id": id, "type": "user.created", "project": "dev", "data": { "id": id },
        });
        let reply = world.post(&event.to_string()).await;
        reply.assert_became("delivered");
        let shown = &fate(&world, id).await["endpoints"][0];
        assert_fields(shown, &json!({"channels": channels, "status": status}));
    }
    resend(&world, "res_3", &endpoint).await.ok();
    world.clock.advance(Duration::from_secs(1));
    let shown = &fate(&world, "res_3").await["endpoints"][0];
    assert_eq!(shown["status"], "success");
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
        let reply = ask(&world, method, &path).await;
        reply.assert_final_problem(404, name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_svix_has_lost_is_told_beside_the_record() {
    let world = world();
    post(&world, "evt_1").await;
    world.svix.forget_message(&world.message("evt_1").id);
    let fate = fate(&world, "evt_1").await;
    assert_eq!(fate["record"]["state"], "delivered");
    assert_eq!(fate["svix"]["type"], "urn:svix-relay:problem:no-message");
    resend(&world, "evt_1", &world.svix.create_endpoint("dev", URL))
        .await
        .assert_final_problem(404, "no-message");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_has_no_deliveries() {
    let world = world();
    refuse(&world, "evt_1").await;
    let fate = fate(&world, "evt_1").await;
    assert_eq!(fate["record"]["state"], "dead-lettered");
    assert_eq!(fate["endpoints"], json!([]));
    let reply = resend(&world, "evt_1", "ep_1").await;
    reply.assert_final_problem(404, "no-message");
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
    let reply = resend(&world, "evt_1", "ep_1").await;
    reply.assert_final_problem(404, "no-message");
}

#[tokio::test(start_paused = true)]
async fn the_record_is_shown_whatever_svix_answers_and_the_gate_learns_nothing() {
    for (fault, name) in [
        (Fault::status(500), "svix-unavailable"),
        (Fault::HangBeforeStoring, "svix-unavailable"),
        (Fault::MalformedReply, "unexpected-status"),
        (Fault::page(200), "unexpected-status"),
        (Fault::page(404), "unexpected-status"),
        (Fault::status(429), "rate-limited"),
        (Fault::status(401), "token-refused"),
        (Fault::status(422), "refused-by-svix"),
        (Fault::EchoCredentials, "refused-by-svix"),
    ] {
        let world = world();
        post(&world, "evt_1").await;
        world.svix.always_at(Target::Deliveries, fault.clone());
        let (fate, took) = world.timed(fate(&world, "evt_1")).await;
        assert_eq!(fate["record"]["state"], "delivered");
        let problem = format!("urn:svix-relay:problem:{name}");
        assert_eq!(fate["svix"]["type"], problem, "{fault:?}");
        assert!(took <= Duration::from_secs(8), "{fault:?} took {took:?}");
        let log = world.stdout().concat();
        assert!(!fate.to_string().contains(TOKEN) && !log.contains(TOKEN));
        world.svix.clear_faults();
        post(&world, "evt_2").await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_attempts_are_shown_if_only_the_list_of_endpoints_fails() {
    let world = world_with_failed_event().await.0;
    let refused = Fault::status(422);
    for faults in [[Fault::None, refused.clone(), Fault::None], [Fault::None, Fault::None, refused]]
    {
        world.svix.script_at(Target::Deliveries, faults);
        let fate = fate(&world, "evt_1").await;
        assert_eq!(fate["attempts"][0]["responseStatusCode"], 500);
        // Half of what is known would call an endpoint untried.
        assert_eq!(fate["endpoints"], json!([]));
        assert_eq!(fate["svix"]["svix"]["status"], 422);
        world.svix.clear_faults();
    }
}

#[tokio::test(start_paused = true)]
async fn a_resend_that_svix_refuses_is_answered_with_the_reason() {
    let (world, endpoint) = world_with_failed_event().await;
    for status in [409, 410] {
        let faults = [Fault::None, Fault::status(status)];
        world.svix.script_at(Target::Deliveries, faults);
        let reply = resend(&world, "evt_1", &endpoint).await;
        reply.assert_final_problem(422, "refused-by-svix");
        let svix = reply.json()["svix"].take();
        assert_eq!(svix["status"], status);
        let told = |field: &str| svix[field].as_str().is_some_and(|text| !text.is_empty());
        assert!(told("code") && told("detail"), "{svix}");
    }
}

/// A world in which an endpoint has failed to take `evt_1`, and its id.
async fn world_with_failed_event() -> (World, String) {
    let (world, endpoint) = world_with_endpoint(500);
    post(&world, "evt_1").await;
    world.clock.advance(Duration::from_secs(1));
    (world, endpoint)
}

const RECOVER: &str = "/projects/dev/recover";

/// The beginning of every recovery here, before every event.
const SINCE: &str = "2026-11-23T14:00:00Z";

async fn recover(world: &World, body: &Value) -> Reply {
    let body = body.to_string();
    world.request("POST", RECOVER, &[ADMIN, JSON], &body).await
}

/// How often Svix has tried to bring an event to an endpoint.
async fn attempts(world: &World, id: &str) -> usize {
    fate(world, id).await["attempts"].as_array().map_or(0, Vec::len)
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_gets_everything_again_that_it_has_failed_to_take() {
    let (world, endpoint) = world_with_failed_event().await;
    world.svix.answer_of_endpoint("dev", &endpoint, [200]);
    post(&world, "evt_2").await;
    let body = json!({ "endpointId": endpoint, "since": "2026-11-23T15:00:00+01:00" });
    let reply = recover(&world, &body).await.ok();
    let task = reply.json()["taskId"].take();
    assert!(task.as_str().is_some_and(|id| id.starts_with("qtask_")));
    let expected = json!({ "endpointId": endpoint, "taskId": task, "status": "running" });
    assert_eq!(reply.json(), expected);
    let requests = world.svix.requests();
    let asked = requests.last().expect("a request");
    assert_eq!(asked.body, format!(r#"{{"since":"{SINCE}"}}"#));
    assert!(asked.header("idempotency-key").is_some());

    world.clock.advance(Duration::from_secs(1));
    let fate = fate(&world, "evt_1").await;
    assert_eq!(fate["endpoints"][0]["status"], "success");
    assert_eq!(fate["attempts"][0]["triggerType"], "manual");
    assert_eq!(attempts(&world, "evt_2").await, 1, "it had arrived");
    assert_eq!(world.lines_with(r#""outcome":"recovering""#).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_recovery_whose_answer_is_lost_is_made_once() {
    for fault in [Fault::HangAfterStoring, Fault::ResetAfterStoring, Fault::GarbageBytes] {
        let (world, endpoint) = world_with_failed_event().await;
        let faults = [Fault::None, fault.clone()];
        world.svix.script_at(Target::Deliveries, faults);
        let body = json!({ "endpointId": endpoint, "since": SINCE });
        let reply = recover(&world, &body).await;
        assert_eq!(reply.status, 200, "{fault:?}: {}", reply.text());
        world.svix.clear_faults();
        assert_eq!(attempts(&world, "evt_1").await, 2, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_never_sent_is_replayed_by_the_hosted_svix_only() {
    let world = world();
    post(&world, "evt_1").await;
    world.clock.advance(Duration::from_secs(1));
    let endpoint = world.svix.create_endpoint("dev", URL);
    let body = json!({ "endpointId": endpoint, "since": SINCE, "missing": true });
    let reply = recover(&world, &body).await;
    reply.assert_final_problem(422, "not-offered");
    let asked = world.svix.requests().len();
    assert_eq!(asked, 3, "a missing path is asked for once");

    world.svix.set_hosted(true);
    let reply = recover(&world, &body).await;
    assert_eq!(reply.json()["status"], "running", "{}", reply.text());
    assert_eq!(attempts(&world, "evt_1").await, 1);

    // Another server's page is not the answer of a Svix that doesn't offer it.
    world.svix.script_at(Target::Deliveries, [Fault::None]);
    world.svix.always_at(Target::Deliveries, Fault::page(404));
    let reply = recover(&world, &body).await;
    reply.assert_retryable_problem(503, "unexpected-status");
}

#[tokio::test(start_paused = true)]
async fn only_an_endpoint_that_svix_sends_to_is_recovered() {
    let (world, endpoint) = world_with_failed_event().await;
    let body = json!({ "endpointId": "ep_0", "since": SINCE });
    let reply = recover(&world, &body).await;
    reply.assert_final_problem(404, "no-endpoint");
    world.svix.disable_endpoint("dev", &endpoint, true);
    for missing in [false, true] {
        let body = json!({ "endpointId": endpoint, "since": SINCE, "missing": missing });
        let reply = recover(&world, &body).await;
        reply.assert_final_problem(422, "endpoint-disabled");
    }
    let other = "/projects/other/recover";
    let body = json!({ "endpointId": endpoint, "since": SINCE }).to_string();
    let reply = world.request("POST", other, &[ADMIN, JSON], &body).await;
    reply.assert_final_problem(404, "no-endpoint");
}

#[tokio::test(start_paused = true)]
async fn an_invalid_recovery_asks_neither_svix_nor_store() {
    let world = world();
    let plain = ("endpointId", "may hold only letters, digits, '-', '_' and '.'");
    let early = ("since", "must be at most 14 days before until, or before now");
    #[rustfmt::skip] // One line for each body, except the last one.
    let rows = [
        (json!({}), &[("endpointId", "is required"), ("since", "is required")][..]),
        (json!({ "endpointId": "../../app/other", "since": SINCE }), &[plain]),
        (json!({ "endpointId": "ep_1%2f..", "since": SINCE }), &[plain]),
        (json!({ "endpointId": "..", "since": SINCE }), &[("endpointId", "must not be '.' or '..'")]),
        (json!({ "endpointId": "ep_1", "since": "2026-11-23T14:12:48Z" }), &[("since", "must not be in the future")]),
        (json!({ "endpointId": "ep_1", "since": "2026-11-09T14:07:41Z" }), &[early]),
        (json!({ "endpointId": "ep_1", "since": SINCE, "until": "2026-11-23T13:59:59Z" }), &[("since", "must not be later than until")]),
        (json!({ "endpointId": "ep_1", "since": SINCE, "all": true }), &[("body", "may hold only endpointId, since, until, missing")]),
        (json!({ "endpointId": 1, "since": 2, "until": 3, "missing": 4 }), &[
            ("endpointId", "must be a string"),
            ("until", "must be a time in RFC 3339"),
            ("since", "must be a time in RFC 3339"),
            ("missing", "must be true or false"),
        ]),
    ];
    for (body, errors) in rows {
        recover(&world, &body).await.assert_invalid(body, errors);
    }
    world.assert_untouched();
}

#[tokio::test(start_paused = true)]
async fn every_failure_of_a_recovery_has_its_answer_in_time() {
    let limit = Fault::retry_after(429, RetryAfter::Seconds(60));
    for (fault, status, name) in [
        (Fault::status(500), 503, "svix-unavailable"),
        (Fault::HangBeforeStoring, 503, "svix-unavailable"),
        (Fault::MalformedReply, 503, "unexpected-status"),
        (Fault::page(200), 503, "unexpected-status"),
        (Fault::page(403), 503, "unexpected-status"),
        (Fault::status(401), 503, "token-refused"),
        (limit, 429, "rate-limited"),
        (Fault::status(409), 422, "refused-by-svix"),
        (Fault::status(422), 422, "refused-by-svix"),
        (Fault::EchoCredentials, 422, "refused-by-svix"),
    ] {
        let (world, endpoint) = world_with_failed_event().await;
        world.svix.script_at(Target::Deliveries, [Fault::None]);
        world.svix.always_at(Target::Deliveries, fault.clone());
        let body = json!({ "endpointId": endpoint, "since": SINCE });
        let (reply, took) = world.timed(recover(&world, &body)).await;
        if status == 422 {
            reply.assert_final_problem(status, name);
            assert!(reply.json()["svix"]["status"].is_u64(), "{fault:?}");
        } else {
            reply.assert_retryable_problem(status, name);
        }
        assert!(took <= Duration::from_secs(8), "{fault:?} took {took:?}");
        let log = world.stdout().concat();
        assert!(!reply.text().contains(TOKEN) && !log.contains(TOKEN));
    }
}
