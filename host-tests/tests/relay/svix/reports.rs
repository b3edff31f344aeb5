//! Svix's operational webhooks: what the relay makes of them, and whose it takes.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use fake_svix::{Fault, Report, Target};
use host::Op;

use crate::support::{Reply, World, ask, assert_fields, event, event_of, has_metric, settle, show};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const PATH: &str = "/svix/operational";
const DAY: Duration = Duration::from_hours(24);

fn world() -> World {
    World::with(&[("admin_token", "hush"), ("svix_webhook_secret", SECRET)])
}

async fn send(world: &World, report: &Report, secret: &str, at: SystemTime) -> Reply {
    let headers = report.headers(secret, at);
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    world.request("POST", PATH, &headers, &report.body).await
}

/// Brings a report to the relay as Svix does.
async fn bring(world: &World, report: &Report) -> Reply {
    send(world, report, SECRET, world.clock.now()).await
}

/// Brings all reports to come.
async fn bring_all(world: &World) {
    for report in world.svix.take_reports() {
        bring(world, &report).await.ok();
    }
}

fn report(kind: &str, data: &Value) -> Report {
    Report {
        id: format!("msg_{kind}"),
        body: json!({ "type": kind, "data": data }).to_string(),
    }
}

fn of_endpoint(kind: &str) -> Report {
    report(
        kind,
        &json!({ "appId": "app_1", "appUid": "dev", "endpointId": "ep_1" }),
    )
}

/// The lists that an operator sees.
async fn endpoints(world: &World) -> Value {
    let reply = ask(world, "GET", "/status").await;
    reply.json()["endpoints"].clone()
}

async fn record(world: &World, id: &str) -> Value {
    let path = format!("/notifications/dev/{id}");
    show(world, &path).await
}

#[tokio::test(start_paused = true)]
async fn an_operator_hears_of_a_disabled_endpoint_and_of_events_that_were_given_up() {
    let world = world();
    world.svix.create_application("dev");
    let endpoint = world
        .svix
        .create_endpoint("dev", "https://hooks.test/status/500");
    // Each event is given up after 28 hours, and the endpoint after five days of that.
    for id in ["evt_1", "evt_2", "evt_3", "evt_4", "evt_5"] {
        world.post(&event(id)).await.assert_became("delivered");
        world.clock.advance(2 * DAY);
        bring_all(&world).await;
    }
    let shown = endpoints(&world).await;
    let disabled = &shown["disabled"][0];
    assert_fields(disabled, &json!({"project": "dev", "endpointId": endpoint}));
    assert_eq!(shown["disabled"].as_array().map(Vec::len), Some(1));
    assert_eq!(shown["exhausted"][0]["eventId"], "evt_1");
    let record = record(&world, "evt_1").await;
    assert_eq!(record["exhausted"][0]["endpointId"], endpoint);
    assert_eq!(record["exhausted"][0]["at"], shown["exhausted"][0]["at"]);
    let warnings: Vec<_> = world
        .stdout()
        .into_iter()
        .filter(|line| line.contains("WARNING"))
        .collect();
    assert!(
        warnings
            .iter()
            .any(|line| line.contains("is disabled") && line.contains(&endpoint)),
        "{warnings:?}"
    );
    assert!(
        warnings
            .iter()
            .any(|line| line.contains("never took the event") && line.contains("evt_1")),
        "{warnings:?}"
    );
    settle().await;
    assert!(has_metric(&world, "svix_relay_endpoints_disabled 1").await);
    assert!(
        has_metric(
            &world,
            "svix_relay_reports_total{type=\"endpoint.disabled\"} 1"
        )
        .await
    );

    // The customer enables it again.
    world.svix.disable_endpoint("dev", &endpoint, false);
    bring_all(&world).await;
    assert_eq!(endpoints(&world).await["disabled"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_report_that_comes_twice_counts_once() {
    let world = world();
    let endpoint = world.svix.create_endpoint("dev", "https://hooks.test/");
    world.svix.disable_endpoint("dev", &endpoint, true);
    let reports = world.svix.take_reports();
    let report = reports.last().expect("endpoint.updated");
    bring(&world, report).await.assert_became("reported");
    world.clock.advance(DAY);
    assert_eq!(
        bring(&world, report).await.json()["status"],
        "reported-before"
    );
    assert_eq!(
        endpoints(&world).await["disabled"].as_array().map(Vec::len),
        Some(1)
    );
    settle().await;
    assert!(
        has_metric(
            &world,
            "svix_relay_reports_total{type=\"endpoint.updated\"} 1"
        )
        .await
    );
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
    assert_eq!(endpoints(&world).await["disabled"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn the_audit_sees_that_an_endpoint_is_enabled_again() {
    let world = world();
    for enabled in [false, true] {
        let endpoint = world.svix.create_endpoint("dev", "https://hooks.test/");
        world.svix.disable_endpoint("dev", &endpoint, true);
        bring_all(&world).await;
        world.svix.disable_endpoint("dev", &endpoint, !enabled);
    }
    // The reports of the last changes are lost.
    world.svix.take_reports();
    let reply = ask(&world, "POST", "/maintenance/audit").await;
    assert_eq!(reply.json()["done"], true, "{}", reply.text());
    assert_eq!(
        endpoints(&world).await["disabled"].as_array().map(Vec::len),
        Some(1)
    );
}

#[tokio::test(start_paused = true)]
async fn while_svix_or_the_store_fails_a_report_is_to_come_again() {
    let world = world();
    let endpoint = world.svix.create_endpoint("dev", "https://hooks.test/");
    world.svix.disable_endpoint("dev", &endpoint, true);
    let reports = world.svix.take_reports();
    let report = reports.last().expect("endpoint.updated");
    world.svix.always_at(Target::Deliveries, Fault::status(500));
    let reply = bring(&world, report).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    world.svix.clear_faults();
    world.faults.fail_next(Op::Set, 1);
    let reply = bring(&world, report).await;
    reply.assert_retryable_problem(503, "store-failing");
    bring(&world, report).await.assert_became("reported");
    assert_eq!(
        endpoints(&world).await["disabled"].as_array().map(Vec::len),
        Some(1)
    );
}

#[tokio::test(start_paused = true)]
async fn reports_that_come_at_once_are_all_kept() {
    let world = world();
    let ids: Vec<_> = (0..20)
        .map(|_| world.svix.create_endpoint("dev", "https://hooks.test/"))
        .collect();
    for id in &ids {
        world.svix.disable_endpoint("dev", id, true);
    }
    let reports = world.svix.take_reports();
    let replies =
        futures::future::join_all(reports.iter().map(|report| bring(&world, report))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(
        endpoints(&world).await["disabled"].as_array().map(Vec::len),
        Some(ids.len())
    );
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_give_up_an_event_together_are_all_in_its_record() {
    let world = world();
    world.post(&event("evt_1")).await.assert_became("delivered");
    let message = world.only_message().id;
    let of = |number: usize| {
        let attempt = json!({ "id": "atmpt_1", "timestamp": "2026-11-24T14:12:42Z" });
        let data = json!({
            "appId": "app_1", "appUid": "dev", "endpointId": format!("ep_{number}"), "msgId": message,
            "msgEventId": "evt_1", "lastAttempt": attempt,
        });
        Report {
            id: format!("msg_{number}"),
            ..report("message.attempt.exhausted", &data)
        }
    };
    let reports: Vec<_> = (0..6).map(of).collect();
    world.faults.delay(Op::Get, Duration::from_millis(20));
    let replies =
        futures::future::join_all(reports.iter().map(|report| bring(&world, report))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    let exhausted = record(&world, "evt_1").await["exhausted"].clone();
    assert_eq!(exhausted.as_array().map(Vec::len), Some(6), "{exhausted}");
}

#[tokio::test(start_paused = true)]
async fn a_message_without_an_event_id_is_listed_when_it_is_given_up() {
    let world = world();
    let attempt = json!({ "id": "atmpt_1", "timestamp": "2026-11-24T14:12:42Z" });
    let data = json!({
        "appUid": "dev", "endpointId": "ep_1", "msgId": "msg_1", "msgEventId": null, "lastAttempt": attempt,
    });
    assert_eq!(
        bring(&world, &report("message.attempt.exhausted", &data))
            .await
            .status,
        200
    );
    let exhausted = &endpoints(&world).await["exhausted"][0];
    assert_fields(exhausted, &json!({"endpointId": "ep_1", "eventId": null}));
}

#[tokio::test(start_paused = true)]
async fn many_disabled_endpoints_hold_up_no_audit() {
    let world = world();
    for _ in 0..100 {
        let endpoint = world.svix.create_endpoint("dev", "https://hooks.test/");
        world.svix.disable_endpoint("dev", &endpoint, true);
        let report = world.svix.take_reports().pop().expect("endpoint.updated");
        assert_eq!(bring(&world, &report).await.status, 200);
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
    assert!(
        world
            .stdout()
            .iter()
            .any(|line| line.contains("endpoints not reviewed"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_forged_report_changes_nothing() {
    let world = world();
    let true_report = of_endpoint("endpoint.disabled");
    let now = world.clock.now();
    let headers = true_report.headers(SECRET, now);
    let forged = true_report.headers(OTHER_SECRET, now);
    let old = true_report.headers(SECRET, now - Duration::from_secs(301));
    for headers in [forged, old] {
        let headers = headers
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let reply = world
            .request("POST", PATH, &headers, &true_report.body)
            .await;
        reply.assert_final_problem(403, "not-signed");
    }
    let altered = Report {
        body: true_report.body.replace("dev", "evil"),
        ..true_report.clone()
    };
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let reply = world.request("POST", PATH, &headers, &altered.body).await;
    reply.assert_final_problem(403, "not-signed");
    let reply = world.request("POST", PATH, &[], &altered.body).await;
    reply.assert_final_problem(403, "not-signed");
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
    let of = |app: &str, message: &str, event_id: &str| {
        let attempt = json!({ "id": "atmpt_1", "timestamp": "2026-11-24T14:12:42Z" });
        let data = json!({
            "appId": "app_1", "appUid": app, "endpointId": "ep_1", "msgId": message,
            "msgEventId": event_id, "lastAttempt": attempt,
        });
        Report {
            id: format!("msg_{app}_{event_id}"),
            ..report("message.attempt.exhausted", &data)
        }
    };
    for stranger in [
        of("other", &message, "evt_1"),
        of("dev", "msg_2", "evt_1"),
        of("dev", &message, "evt_2"),
    ] {
        assert_eq!(bring(&world, &stranger).await.status, 200);
    }
    let records = world.records().await;
    assert_eq!(records.len(), 2);
    assert!(
        records.iter().all(|record| !record.contains("exhausted")),
        "{records:?}"
    );
    let own = Report {
        id: "msg_own".to_owned(),
        ..of("dev", &message, "evt_1")
    };
    assert_eq!(bring(&world, &own).await.status, 200);
    assert!(record(&world, "evt_1").await["exhausted"].is_array());
}

#[tokio::test(start_paused = true)]
async fn reports_that_the_relay_cannot_use_are_taken_and_logged() {
    let world = world();
    for report in [
        of_endpoint("endpoint.renamed"),
        report(
            "endpoint.disabled",
            &json!({ "appUid": "a/b", "endpointId": "../../x" }),
        ),
    ] {
        bring(&world, &report).await.assert_became("reported");
    }
    assert_eq!(world.svix.requests().len(), 0);
    assert_eq!(endpoints(&world).await["disabled"], json!([]));
    settle().await;
    assert!(has_metric(&world, "svix_relay_reports_total{type=\"other\"} 1").await);
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
