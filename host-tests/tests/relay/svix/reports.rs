//! Svix's operational webhooks: what the relay makes of them, and whose it takes.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use fake_svix::{Fault, Report, Target};
use host::Op;

use crate::support::{Reply, World, ask, assert_fields, event, event_of, has_metric, settle, show};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const PATH: &str = "/svix/operational";
const DAY: Duration = Duration::from_hours(24);

pub fn world() -> World {
    World::with(&[("admin_token", "hush"), ("svix_webhook_secret", SECRET)])
}

/// Brings a report to the relay as Svix does.
pub async fn bring(world: &World, report: &Report) -> Reply {
    let headers = report.headers(SECRET, world.clock.now());
    send(world, &headers, &report.body).await
}

async fn send(world: &World, headers: &[(&str, String)], body: &str) -> Reply {
    let headers = headers.iter().map(|(name, value)| (*name, &value[..]));
    let headers: Vec<_> = headers.collect();
    world.request("POST", PATH, &headers, body).await
}

/// Brings all reports to come.
async fn bring_all(world: &World) {
    for report in world.svix.take_reports() {
        bring(world, &report).await.ok();
    }
}

async fn bring_at_once(world: &World, reports: &[Report]) {
    for reply in join_all(reports.iter().map(|report| bring(world, report))).await {
        reply.ok();
    }
}

fn report(kind: &str, data: &Value) -> Report {
    Report { id: format!("msg_{kind}"), body: json!({ "type": kind, "data": data }).to_string() }
}

fn of_endpoint(kind: &str) -> Report {
    report(kind, &json!({ "appId": "app_1", "appUid": "dev", "endpointId": "ep_1" }))
}

/// The lists that an operator sees.
async fn endpoints(world: &World) -> Value {
    show(world, "/status").await["endpoints"].clone()
}

/// How many endpoints an operator sees as disabled.
async fn disabled(world: &World) -> usize {
    let endpoints = endpoints(world).await;
    endpoints["disabled"].as_array().expect("a list").len()
}

/// Disables a new endpoint of `dev`. Returns its id and the report on that, which is yet to be brought.
fn disable_one(world: &World) -> (String, Report) {
    let endpoint = world.svix.create_endpoint("dev", "https://hooks.test/");
    world.svix.disable_endpoint("dev", &endpoint, true);
    let report = world.svix.take_reports().pop();
    (endpoint, report.expect("endpoint.updated"))
}

/// The report that an endpoint has given an event up.
fn exhausted(app: &str, endpoint: &str, message: &str, event_id: Option<&str>) -> Report {
    let attempt = json!({ "id": "atmpt_1", "timestamp": "2026-11-24T14:12:42Z" });
    let data = json!({
        "appId": "app_1", "appUid": app, "endpointId": endpoint, "msgId": message,
        "msgEventId": event_id, "lastAttempt": attempt,
    });
    Report {
        id: format!("msg_{app}_{endpoint}_{message}_{event_id:?}"),
        ..report("message.attempt.exhausted", &data)
    }
}

async fn record(world: &World, id: &str) -> Value {
    let path = format!("/notifications/dev/{id}");
    show(world, &path).await
}

#[tokio::test(start_paused = true)]
async fn an_operator_hears_of_a_disabled_endpoint_and_of_events_that_were_given_up() {
    let world = world();
    world.svix.create_application("dev");
    let url = "https://hooks.test/status/500";
    let endpoint = world.svix.create_endpoint("dev", url);
    // Each event is given up after 28 hours, and the endpoint after five days of that.
    for id in ["evt_1", "evt_2", "evt_3", "evt_4", "evt_5"] {
        world.post(&event(id)).await.assert_became("delivered");
        world.clock.advance(2 * DAY);
        bring_all(&world).await;
    }
    let shown = endpoints(&world).await;
    let expected = json!({"project": "dev", "endpointId": endpoint});
    assert_fields(&shown["disabled"][0], &expected);
    assert_eq!(disabled(&world).await, 1);
    assert_eq!(shown["exhausted"][0]["eventId"], "evt_1");
    let record = record(&world, "evt_1").await;
    assert_eq!(record["exhausted"][0]["endpointId"], endpoint);
    assert_eq!(record["exhausted"][0]["at"], shown["exhausted"][0]["at"]);
    for (warning, about) in [("is disabled", &endpoint[..]), ("never took the event", "evt_1")] {
        let line = world.lines_with(warning).remove(0);
        assert!(line.contains("WARNING") && line.contains(about), "{line}");
    }
    settle().await;
    assert!(has_metric(&world, "svix_relay_endpoints_disabled 1").await);
    assert!(has_metric(&world, r#"svix_relay_reports_total{type="endpoint.disabled"} 1"#).await);

    // The customer enables it again.
    world.svix.disable_endpoint("dev", &endpoint, false);
    bring_all(&world).await;
    assert_eq!(disabled(&world).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_report_that_comes_twice_counts_once() {
    let world = world();
    let (_, report) = disable_one(&world);
    bring(&world, &report).await.assert_became("reported");
    world.clock.advance(DAY);
    let again = bring(&world, &report).await;
    again.assert_became("reported-before");
    assert_eq!(disabled(&world).await, 1);
    settle().await;
    assert!(has_metric(&world, r#"svix_relay_reports_total{type="endpoint.updated"} 1"#).await);
}

#[tokio::test(start_paused = true)]
async fn a_late_report_does_not_hide_what_is_true_now() {
    let world = world();
    let endpoint = world.svix.create_endpoint("dev", "https://hooks.test/");
    world.svix.disable_endpoint("dev", &endpoint, true);
    world.svix.disable_endpoint("dev", &endpoint, false);
    let mut reports = world.svix.take_reports();
    reports.reverse();
    for report in reports {
        assert_eq!(bring(&world, &report).await.status, 200);
    }
    assert_eq!(disabled(&world).await, 0);
}

#[tokio::test(start_paused = true)]
async fn the_audit_sees_that_an_endpoint_is_enabled_again() {
    let world = world();
    for enabled in [false, true] {
        let (endpoint, report) = disable_one(&world);
        bring(&world, &report).await.ok();
        world.svix.disable_endpoint("dev", &endpoint, !enabled);
    }
    // The reports of the last changes are lost.
    world.svix.take_reports();
    let reply = ask(&world, "POST", "/maintenance/audit").await;
    assert_eq!(reply.json()["done"], true, "{}", reply.text());
    assert_eq!(disabled(&world).await, 1);
}

#[tokio::test(start_paused = true)]
async fn while_svix_or_the_store_fails_a_report_is_to_come_again() {
    let world = world();
    let report = &disable_one(&world).1;
    world.svix.always_at(Target::Deliveries, Fault::status(500));
    let reply = bring(&world, report).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    world.svix.clear_faults();
    world.faults.fail_next(Op::Set, 1);
    let reply = bring(&world, report).await;
    reply.assert_retryable_problem(503, "store-failing");
    bring(&world, report).await.assert_became("reported");
    assert_eq!(disabled(&world).await, 1);
}

#[tokio::test(start_paused = true)]
async fn reports_that_come_at_once_are_all_kept() {
    let world = world();
    let reports: Vec<_> = (0..20).map(|_| disable_one(&world).1).collect();
    bring_at_once(&world, &reports).await;
    assert_eq!(disabled(&world).await, reports.len());
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_give_up_an_event_together_are_all_in_its_record() {
    let world = world();
    world.post(&event("evt_1")).await.assert_became("delivered");
    let message = world.only_message().id;
    let of = |number| exhausted("dev", &format!("ep_{number}"), &message, Some("evt_1"));
    let reports: Vec<_> = (0..6).map(of).collect();
    world.faults.delay(Op::Get, Duration::from_millis(20));
    bring_at_once(&world, &reports).await;
    let exhausted = record(&world, "evt_1").await["exhausted"].clone();
    assert_eq!(exhausted.as_array().map(Vec::len), Some(6), "{exhausted}");
}

#[tokio::test(start_paused = true)]
async fn a_message_without_an_event_id_is_listed_when_it_is_given_up() {
    let world = world();
    let report = exhausted("dev", "ep_1", "msg_1", None);
    bring(&world, &report).await.ok();
    let exhausted = &endpoints(&world).await["exhausted"][0];
    assert_fields(exhausted, &json!({"endpointId": "ep_1", "eventId": null}));
}

#[tokio::test(start_paused = true)]
async fn many_disabled_endpoints_hold_up_no_audit() {
    let world = world();
    for _ in 0..100 {
        let (_, report) = disable_one(&world);
        bring(&world, &report).await.ok();
    }
    let asked = world.svix.requests().len();
    world.svix.set_latency(Duration::from_millis(150));
    let audit = || async { ask(&world, "POST", "/maintenance/audit").await };
    let (reply, took) = world.timed(audit()).await;
    assert_eq!(reply.json()["done"], true, "{}", reply.text());
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(world.svix.requests().len(), asked + 5);
    // An audit that can't review them is done all the same.
    world.svix.always_at(Target::Deliveries, Fault::status(500));
    assert_eq!(audit().await.json()["done"], true);
    assert_ne!(world.lines_with("endpoints not reviewed"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_forged_report_changes_nothing() {
    let world = world();
    let true_report = of_endpoint("endpoint.disabled");
    let now = world.clock.now();
    let headers = true_report.headers(SECRET, now);
    let forged = true_report.headers(OTHER_SECRET, now);
    let old = true_report.headers(SECRET, now - Duration::from_secs(301));
    let altered = true_report.body.replace("dev", "evil");
    for (headers, body) in [
        (&forged[..], &true_report.body),
        (&old, &true_report.body),
        (&headers, &altered),
        (&[], &true_report.body),
    ] {
        let reply = send(&world, headers, body).await;
        reply.assert_final_problem(403, "not-signed");
    }

    world.assert_untouched();
    let log = world.stdout().join("");
    assert!(!log.contains("whsec_") && !log.contains("v1,"), "{log}");
}

#[tokio::test(start_paused = true)]
async fn a_report_reaches_only_the_record_of_its_own_message() {
    let world = world();
    for body in [event("evt_1"), event_of("other", "evt_1")] {
        world.post(&body).await.assert_became("delivered");
    }
    let message = world.svix.messages_for("dev")[0].id.clone();
    for stranger in [
        exhausted("other", "ep_1", &message, Some("evt_1")),
        exhausted("dev", "ep_1", "msg_2", Some("evt_1")),
        exhausted("dev", "ep_1", &message, Some("evt_2")),
    ] {
        bring(&world, &stranger).await.ok();
    }
    for name in world.records().await {
        let record = world.stored(&name).await.expect("a record");
        let record = String::from_utf8_lossy(&record);
        assert!(!record.contains("exhausted"), "{record}");
    }
    let own = exhausted("dev", "ep_1", &message, Some("evt_1"));
    bring(&world, &own).await.ok();
    assert!(record(&world, "evt_1").await["exhausted"].is_array());
}

#[tokio::test(start_paused = true)]
async fn reports_that_the_relay_cannot_use_are_taken_and_logged() {
    let world = world();
    for report in [
        of_endpoint("endpoint.renamed"),
        report("endpoint.disabled", &json!({ "appUid": "a/b", "endpointId": "../../x" })),
    ] {
        bring(&world, &report).await.assert_became("reported");
    }
    assert_eq!(world.svix.requests().len(), 0);
    assert_eq!(disabled(&world).await, 0);
    settle().await;
    assert!(has_metric(&world, r#"svix_relay_reports_total{type="other"} 1"#).await);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_no_report_is_refused() {
    let world = world();
    for (body, status, problem) in [
        ("{}".to_owned(), 422, "invalid-request"),
        ("x".repeat(16 * 1024 + 1), 413, "body-too-large"),
    ] {
        let id = "msg_1".to_owned();
        let reply = bring(&world, &Report { id, body }).await;
        reply.assert_final_problem(status, problem);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_secret_there_is_no_such_path() {
    let world = World::with(&[("admin_token", "hush")]);
    let reply = bring(&world, &of_endpoint("endpoint.disabled")).await;
    reply.assert_final_problem(404, "not-found");
    world.assert_untouched();
}
