//! The audit compares records with Svix's messages, finds what doesn't agree, and nothing else.

mod lists;
mod put_off;

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use fake_svix::{Fault, ReceivedRequest, RetryAfter, Target};
use host::Op;

use crate::support::{
    ADMIN, JSON, World, ask, assert_fields, event, has_metric, post, post_of, refuse, replay, show,
    world,
};

const HOUR: Duration = Duration::from_hours(1);
const WEEK: Duration = Duration::from_hours(7 * 24);

/// Has the audit begin again, before every event.
const SINCE: &str = "?since=2026-11-23T00:00:00Z";

async fn slice(world: &World) -> Value {
    ask(world, "POST", "/maintenance/audit").await.ok().json()
}

/// Audits until nothing more is due. Returns the sums of all slices.
pub async fn audit(world: &World) -> (u64, u64) {
    audit_from(world, "").await
}

async fn audit_from(world: &World, query: &str) -> (u64, u64) {
    let (mut events, mut found) = (0, 0);
    let mut path = format!("/maintenance/audit{query}");
    loop {
        let reply = ask(world, "POST", &path).await.ok();
        let report = reply.json();
        events += report["events"].as_u64().expect("a number");
        found += report["found"].as_u64().expect("a number");
        if report["done"] == true {
            return (events, found);
        }
        "/maintenance/audit".clone_into(&mut path);
    }
}

/// Each finding as its kind and its event, and whether it may still resolve itself.
async fn findings(world: &World) -> Vec<String> {
    let found = show(world, "/audit/findings").await;
    let found = found["findings"].as_array().expect("a list").iter();
    let mut found: Vec<_> = found
        .map(|it| {
            let text = |name: &str| it[name].as_str().unwrap_or_default();
            let is_pending = it["pendingUntil"].is_string();
            let end = if is_pending { ", pending" } else { "" };
            format!("{} {}{end}", text("kind"), text("eventId"))
        })
        .collect();
    found.sort();
    found
}

/// The path that resolves the only finding.
async fn resolution(world: &World) -> String {
    let found = show(world, "/audit/findings").await;
    let [finding] = &found["findings"].as_array().expect("a list")[..] else {
        panic!("one finding: {found}");
    };
    let id = finding["id"].as_str().expect("an id");
    format!("/audit/findings/{id}/resolve")
}

/// Has Svix store one more message of an event, and returns the id of the message.
fn double(world: &World, project: &str, id: &str) -> String {
    world.svix.store_message(project, id, "user.created", "{}")
}

/// Waits until the journal is written and old enough for the audit.
pub async fn grow_old(world: &World) {
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.clock.advance(HOUR);
}

/// A relay that asks Svix for nothing twice, and an event of each project.
async fn with_projects(projects: impl IntoIterator<Item = String>) -> World {
    let world = World::with(&[("admin_token", "hush"), ("retry_max_attempts", "1")]);
    for project in projects {
        post_of(&world, &project, "evt_1").await;
    }
    world
}

fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("p{number:03}"))
}

/// The lists and the look-ups that Svix was asked for.
fn calls(world: &World) -> (usize, usize) {
    let requests = world.svix.requests();
    let is_get = |it: &&ReceivedRequest| it.method == Method::GET && it.path.contains("/msg/");
    let gets = requests.iter().filter(is_get);
    let (lists, lookups): (Vec<_>, Vec<_>) = gets.partition(|it| it.path.contains("/msg/?"));
    (lists.len(), lookups.len())
}

#[tokio::test(start_paused = true)]
async fn records_and_messages_that_agree_leave_no_finding() {
    let world = world();
    for number in 0..20 {
        post(&world, &format!("evt_{number}")).await;
    }
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (20, 0));
    assert_eq!(findings(&world).await, [""; 0]);
    assert_eq!(calls(&world), (1, 0), "one page lists all");
    assert!(has_metric(&world, r#"svix_relay_audit_findings{kind="missing"} 0"#).await);

    assert_eq!(audit(&world).await, (0, 0), "nothing is compared twice");
    assert_eq!(calls(&world), (1, 0));
    let status = show(&world, "/status").await;
    assert_eq!(status["audit"]["events"], 20);
    // The clock shows 15:12:52.
    let until = status["audit"]["verifiedUntil"].to_string();
    assert!(until.starts_with("\"2026-11-23T14:57:"), "{until}");
}

#[tokio::test(start_paused = true)]
async fn a_record_waits_a_quarter_of_an_hour_for_the_audit() {
    let world = world();
    post(&world, "evt_1").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(audit(&world).await, (0, 0));
    world.clock.advance(Duration::from_mins(15));
    assert_eq!(audit(&world).await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_svix_has_lost_is_missing() {
    let world = world();
    for id in ["evt_1", "evt_2", "evt_3"] {
        post(&world, id).await;
    }
    world.svix.forget_message(&world.message("evt_2").id);
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (2, 1));
    assert_eq!(findings(&world).await, ["missing evt_2"]);
    assert!(has_metric(&world, r#"svix_relay_audit_findings{kind="missing"} 1"#).await);
    let line: Value = serde_json::from_str(&world.lines_with("audit-finding")[0]).expect("JSON");
    let expected =
        json!({"severity": "ERROR", "reason": "missing", "project": "dev", "eventId": "evt_2"});
    assert_fields(&line, &expected);
    let lost = line["svixMessageIds"][0].to_string();
    assert!(lost.starts_with("\"msg_"), "{lost}");
}

/// Delivers an event to a customer with an endpoint that Svix calls or not. Svix answers the second post only.
async fn deliver_at_the_second_post(svix_sends: bool, prepare: impl FnOnce(&World, &str)) -> World {
    let world = world();
    let endpoint = world.svix.create_endpoint("dev", "https://hooks.test/in");
    world.svix.answer_of_endpoint("dev", &endpoint, [200]);
    world.clock.advance(Duration::from_mins(1));
    prepare(&world, &endpoint);
    world.svix.stop_sending(!svix_sends);
    let hang = Fault::HangAfterStoring;
    world.svix.script_for(&Method::POST, [hang]);
    let event = r#"{"id":"evt_1","type":"user.created","project":"dev"}"#;
    world.post(event).await.assert_became("delivered");
    grow_old(&world).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_message_that_svix_has_and_never_sent_is_unsent_until_an_operator_has_it_sent() {
    let world = deliver_at_the_second_post(false, |_, _| {}).await;
    assert_eq!(audit(&world).await, (0, 1));
    assert_eq!(findings(&world).await, ["unsent evt_1"]);
    assert!(has_metric(&world, r#"svix_relay_audit_findings{kind="unsent"} 1"#).await);
    let fate = ask(&world, "GET", "/notifications/dev/evt_1/deliveries").await;
    let fate = fate.json();
    assert_eq!(fate["attempts"], json!([]), "{fate}");

    let endpoint = fate["endpoints"][0]["id"].as_str().expect("an id");
    let path = format!("/notifications/dev/evt_1/deliveries/{endpoint}/resend");
    assert_eq!(ask(&world, "POST", &path).await.status, 200);
    let path = resolution(&world).await;
    let resolved = ask(&world, "POST", &path).await.json();
    assert_eq!(resolved["sendAgain"], false, "{resolved}");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(audit_from(&world, SINCE).await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_message_is_not_unsent_if_it_was_sent_or_has_no_endpoint_to_go_to() {
    let sent = deliver_at_the_second_post(true, |_, _| {}).await;
    let disabled = deliver_at_the_second_post(false, |world, endpoint| {
        world.svix.disable_endpoint("dev", endpoint, true);
    });
    let in_channels = deliver_at_the_second_post(false, |world, endpoint| {
        world.svix.channels_of_endpoint("dev", endpoint, ["billing"]);
    });
    let deleted = deliver_at_the_second_post(false, |world, endpoint| {
        world.svix.delete_endpoint("dev", endpoint);
    });
    for world in [sent, disabled.await, in_channels.await, deleted.await] {
        assert_eq!(audit(&world).await, (1, 0));
    }
}

fn page(status: u16, body: &str) -> Fault {
    Fault::Page { status, headers: Vec::new(), body: body.to_owned() }
}

/// Has Svix lose the message of a delivered event, and the audit miss it. Returns the path that resolves the finding.
async fn lose(world: &World, id: &str) -> String {
    world.svix.forget_message(&world.message(id).id);
    grow_old(world).await;
    assert_eq!(audit(world).await, (0, 1));
    resolution(world).await
}

#[tokio::test(start_paused = true)]
async fn a_missing_event_is_sent_again_once_its_finding_is_resolved() {
    let world = world();
    post(&world, "evt_1").await;
    let path = lose(&world, "evt_1").await;
    let reply = world.post(&event("evt_1")).await;
    // The record still answers.
    reply.assert_became("duplicate");

    let reply = ask(&world, "POST", &path).await;
    assert_eq!(reply.json()["sendAgain"], true, "{}", reply.text());
    assert_eq!(findings(&world).await, [""; 0]);
    assert!(has_metric(&world, r#"svix_relay_audit_findings{kind="missing"} 0"#).await);
    world.post(&event("evt_1")).await.assert_became("delivered");
    world.message("evt_1");
    grow_old(&world).await;
    assert_eq!(audit(&world).await.1, 0);
    let reply = ask(&world, "POST", &path).await;
    reply.assert_final_problem(404, "no-finding");
}

#[tokio::test(start_paused = true)]
async fn a_letter_of_an_event_that_svix_has_lost_is_replayed_under_a_new_key() {
    for is_discarded in [false, true] {
        let world = world();
        post(&world, "evt_1").await;
        let path = lose(&world, "evt_1").await;
        assert_eq!(ask(&world, "POST", &path).await.json()["sendAgain"], true);

        refuse(&world, "evt_1").await;
        let reply = if is_discarded {
            ask(&world, "DELETE", "/dead-letters/1").await.ok();
            world.post(&event("evt_1")).await
        } else {
            replay(&world, 1).await
        };
        reply.assert_became("delivered");
        // Under the old key, Svix would have answered with the message that it has lost, and have none.
        world.message("evt_1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_finding_whose_resolving_failed_is_resolved_by_the_next_request() {
    let world = world();
    refuse(&world, "evt_1").await;
    replay(&world, 1).await.assert_became("delivered");
    let path = lose(&world, "evt_1").await;
    for op in [Op::Set, Op::Exists] {
        world.faults.fail_next(op, 1);
        let reply = ask(&world, "POST", &path).await;
        reply.assert_retryable_problem(503, "store-failing");
    }
    let resolved = ask(&world, "POST", &path).await.json();
    assert_eq!(resolved["sendAgain"], true, "{resolved}");
    // The letter's body went when its event was delivered.
    assert_eq!(resolved.get("deadLetter"), None, "{resolved}");
    let letters = show(&world, "/dead-letters").await;
    assert_eq!(letters["deadLetters"], json!([]));
    // Nor does it hide that Svix has lost the message.
    world.push(event("evt_1")).await.assert_became("delivered");
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_a_resolving_that_broke_off_gives_the_same_answer() {
    for cut_off in
        [(|world: &World| world.faults.write_then_fail_next_set()) as fn(&World), |world| {
            world.faults.fail_next(Op::Delete, 1);
        }]
    {
        let world = world();
        refuse(&world, "evt_1").await;
        // The body of the letter stays.
        world.faults.fail_next(Op::Delete, 1);
        replay(&world, 1).await.assert_became("delivered");
        let path = lose(&world, "evt_1").await;
        cut_off(&world);
        assert_eq!(ask(&world, "POST", &path).await.status, 503);
        let resolved = ask(&world, "POST", &path).await.json();
        assert_fields(&resolved, &json!({"sendAgain": true, "deadLetter": 1}));
        replay(&world, 1).await.assert_became("delivered");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_hides_no_missing_application() {
    let world = world();
    post(&world, "evt_1").await;
    world.svix.delete_application("dev");
    grow_old(&world).await;
    world.faults.fail_next(Op::Set, 1);
    let reply = ask(&world, "POST", "/maintenance/audit").await;
    reply.assert_retryable_problem(503, "store-failing");
    assert_eq!(audit(&world).await, (0, 1));
    assert_eq!(findings(&world).await, ["application-missing "]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_a_failing_store_left_unknown_is_settled_by_the_next_slice() {
    let world = world();
    post(&world, "evt_0").await;
    grow_old(&world).await;
    audit(&world).await;
    let hang = Fault::HangAfterStoring;
    world.svix.always_for(&Method::POST, hang);
    assert_eq!(world.post(&event("evt_1")).await.status, 503);
    world.svix.clear_faults();
    grow_old(&world).await;
    world.faults.fail_next(Op::Set, 1);
    assert_eq!(ask(&world, "POST", "/maintenance/audit").await.status, 503);
    audit(&world).await;
    let record = ask(&world, "GET", "/notifications/dev/evt_1").await;
    assert_eq!(record.json()["state"], "delivered", "{}", record.text());
}

#[tokio::test(start_paused = true)]
async fn a_resolved_event_that_no_sender_sends_again_becomes_unsettled() {
    let world = world();
    post(&world, "evt_1").await;
    let path = lose(&world, "evt_1").await;
    ask(&world, "POST", &path).await;
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (0, 1));
    assert_eq!(findings(&world).await, ["unsettled evt_1, pending"]);
    world.clock.advance(WEEK);
    audit(&world).await;
    assert_eq!(findings(&world).await, ["unsettled evt_1"]);
}

#[tokio::test(start_paused = true)]
async fn two_messages_of_one_event_are_doubled() {
    let world = world();
    post(&world, "evt_1").await;
    post(&world, "evt_2").await;
    double(&world, "dev", "evt_1");
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (2, 1));
    assert_eq!(findings(&world).await, ["doubled evt_1"]);

    assert_eq!(audit_from(&world, SINCE).await, (2, 0), "known");
    let path = resolution(&world).await;
    let reply = ask(&world, "POST", &path).await;
    assert_eq!(reply.json()["sendAgain"], false, "{}", reply.text());
    assert_eq!(findings(&world).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_message_without_a_record_is_a_finding_once_no_sender_can_come_again() {
    let world = world();
    for id in ["evt_1", "evt_2", "evt_3"] {
        post(&world, id).await;
    }
    let reply = ask(&world, "GET", "/notifications/dev/evt_2").await;
    assert_eq!(reply.status, 200);
    let lost = record_of(&world, "evt_2").await;
    world.remove(&lost).await;
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (2, 1));
    assert_eq!(findings(&world).await, ["unrecorded evt_2, pending"]);
    assert!(has_metric(&world, r#"svix_relay_audit_findings{kind="unrecorded"} 0"#).await);
    assert!(has_metric(&world, r#"svix_relay_audit_findings{kind="pending"} 1"#).await);
    let told = || world.lines_with("audit-finding").len();
    assert_eq!(told(), 0, "a sender may come again");

    world.clock.advance(WEEK);
    assert_eq!(audit(&world).await, (0, 0));
    assert_eq!(findings(&world).await, ["unrecorded evt_2"]);
    assert!(has_metric(&world, r#"svix_relay_audit_findings{kind="unrecorded"} 1"#).await);
    assert_eq!(told(), 1);
}

/// The name of an event's record.
async fn record_of(world: &World, event_id: &str) -> String {
    for name in world.records().await {
        let record = world.stored(&name).await.expect("a record");
        if String::from_utf8_lossy(&record).contains(&format!(r#""eventId":"{event_id}""#)) {
            return name;
        }
    }
    panic!("no record of {event_id}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_record_that_a_sender_brings_back_is_no_finding() {
    let world = world();
    post(&world, "evt_1").await;
    post(&world, "evt_2").await;
    world.remove(&record_of(&world, "evt_2").await).await;
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (1, 1));
    post(&world, "evt_2").await;
    world.message("evt_2");
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (1, 0));
    assert_eq!(findings(&world).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_record_that_no_sender_comes_back_for_is_settled() {
    let world = world();
    let hang = Fault::HangAfterStoring;
    world.svix.always_for(&Method::POST, hang);
    let reply = world.post(&event("evt_1")).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    world.svix.clear_faults();
    grow_old(&world).await;
    let report = slice(&world).await;
    assert_fields(&report, &json!({"settled": 1, "found": 0}));
    let record = show(&world, "/notifications/dev/evt_1").await;
    assert_eq!(record["state"], "delivered");
    assert_eq!(record["svixMessageId"], json!(world.message("evt_1").id));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_record_with_two_messages_is_settled_and_doubled() {
    let world = World::with(&[
        ("admin_token", "hush"),
        ("retry_max_attempts", "1"),
        ("svix_timeout_ms", "1000"),
    ]);
    let hang = Fault::HangAfterStoring;
    world.svix.always_for(&Method::POST, hang);
    assert_eq!(world.post(&event("evt_1")).await.status, 503);
    world.svix.clear_faults();
    double(&world, "dev", "evt_1");
    grow_old(&world).await;
    let report = slice(&world).await;
    assert_fields(&report, &json!({"settled": 1, "found": 1}));
    assert_eq!(findings(&world).await, ["doubled evt_1"]);
}

#[tokio::test(start_paused = true)]
async fn a_test_event_is_never_unsettled_whatever_its_type() {
    let world = world();
    world.svix.always(Fault::status(500));
    let body = r#"{"type":"user.created"}"#;
    let headers = [ADMIN, JSON];
    let path = "/projects/dev/test-event";
    let reply = world.request("POST", path, &headers, body).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    assert_eq!(world.records().await.len(), 1);
    world.svix.clear_faults();
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_record_without_a_message_is_unsettled_until_its_sender_comes() {
    let world = world();
    world.svix.always(Fault::status(500));
    let reply = world.post(&event("evt_1")).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    world.svix.clear_faults();
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (0, 1));
    assert_eq!(findings(&world).await, ["unsettled evt_1, pending"]);
    post(&world, "evt_1").await;
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (1, 0));
    assert_eq!(findings(&world).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_application_that_is_gone_is_one_finding() {
    let world = world();
    post(&world, "evt_1").await;
    post(&world, "evt_2").await;
    post_of(&world, "other", "evt_1").await;
    world.svix.delete_application("dev");
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (1, 1));
    assert_eq!(findings(&world).await, ["application-missing "]);
    assert_eq!(calls(&world), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn an_event_with_a_mapped_id_is_found_in_the_list() {
    let world = world();
    post(&world, "evt_1").await;
    post(&world, "an id with spaces").await;
    post(&world, "msg_7").await;
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (3, 0));
    assert_eq!(calls(&world), (1, 0), "a mapped id is found in the list");
    assert_eq!(findings(&world).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_long_list_is_followed_to_its_end() {
    let world = world();
    for number in 0..3 {
        post(&world, &format!("evt_{number}")).await;
    }
    for number in 0..600 {
        let id = format!("evt_other_{number}");
        world.svix.store_message("dev", &id, "user.created", "{}");
    }
    grow_old(&world).await;
    let (events, found) = audit(&world).await;
    assert_eq!((events, found), (3, 600));
    assert_eq!(findings(&world).await.len(), 600);
    assert_eq!(calls(&world), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_message_far_from_its_record_is_looked_up() {
    let world = world();
    let id = double(&world, "dev", "evt_1");
    world.clock.advance(24 * HOUR);
    post(&world, "evt_1").await;
    assert_eq!(world.message("evt_1").id, id, "found there");
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (1, 0));
    assert_eq!(calls(&world).0, 1);
}

#[tokio::test(start_paused = true)]
async fn many_projects_take_many_slices() {
    let world = world();
    for number in 0..60 {
        post_of(&world, &format!("p{number}"), "evt_1").await;
    }
    grow_old(&world).await;
    world.svix.set_latency(Duration::from_millis(100));
    let mut slices = 0;
    let mut events = 0;
    loop {
        let (report, took) = world.timed(slice(&world)).await;
        slices += 1;
        events += report["events"].as_u64().expect("a number");
        assert!(took < Duration::from_secs(2), "{took:?}");
        if report["done"] == true {
            break;
        }
    }
    assert_eq!(events, 60);
    assert!((5..=9).contains(&slices), "{slices}");
    assert_eq!(calls(&world), (60, 0), "no project is compared twice");
}

#[tokio::test(start_paused = true)]
async fn a_sample_of_projects_costs_a_part_of_the_calls() {
    let world = world();
    for number in 0..60 {
        post_of(&world, &format!("p{number}"), "evt_1").await;
    }
    grow_old(&world).await;
    let (events, found) = audit_from(&world, "?oneIn=4").await;
    assert_eq!(found, 0);
    assert!((5..=25).contains(&events), "{events}");
}

#[tokio::test(start_paused = true)]
async fn an_audit_goes_on_where_svix_failed() {
    let world = world();
    for number in 0..8 {
        post_of(&world, &format!("p{number}"), "evt_1").await;
    }
    grow_old(&world).await;
    world.svix.script_at(Target::MessageLists, vec![Fault::None; 3]);
    world.svix.always_at(Target::MessageLists, Fault::status(500));
    world.svix.always(Fault::status(500));
    let reply = ask(&world, "POST", "/maintenance/audit").await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    world.svix.clear_faults();
    let reply = world.post(&event("evt_2")).await;
    assert_eq!(reply.status, 200, "the gate is open: {}", reply.text());
    assert_eq!(audit(&world).await, (4, 0), "one was put off");
    world.remove(&record_of(&world, "evt_2").await).await;
    grow_old(&world).await;
    assert_eq!(audit(&world).await.0, 1);
    let status = show(&world, "/status").await;
    assert_eq!(status["audit"]["events"], 8);
}

#[tokio::test(start_paused = true)]
async fn a_slow_svix_is_asked_for_a_record_in_each_slice() {
    let world = world();
    for id in ["evt_1", "evt_2"] {
        post(&world, id).await;
        world.svix.forget_message(&world.message(id).id);
    }
    grow_old(&world).await;
    world.svix.set_latency(Duration::from_millis(1_200));
    for done in [false, false, false, true] {
        assert_eq!(slice(&world).await["done"], done);
    }
    assert_eq!(findings(&world).await, ["missing evt_1", "missing evt_2"]);
}

#[tokio::test(start_paused = true)]
async fn an_audit_that_svix_limits_closes_no_gate_for_events() {
    let world = world();
    post(&world, "evt_1").await;
    grow_old(&world).await;
    let limited = Fault::retry_after(429, RetryAfter::Seconds(30));
    world.svix.always_at(Target::MessageLists, limited);
    let reply = ask(&world, "POST", "/maintenance/audit").await;
    reply.assert_retryable_problem(429, "rate-limited");
    post(&world, "evt_2").await;
}

#[tokio::test(start_paused = true)]
async fn an_audit_asks_nothing_while_the_gate_is_closed() {
    let world = world();
    post(&world, "evt_1").await;
    grow_old(&world).await;
    let limited = Fault::retry_after(429, RetryAfter::Seconds(30));
    world.svix.script([limited]);
    let reply = world.post(&event("evt_2")).await;
    reply.assert_retryable_problem(429, "rate-limited");
    let reply = ask(&world, "POST", "/maintenance/audit").await;
    reply.assert_retryable_problem(429, "rate-limited");
    assert_eq!(calls(&world), (0, 0));
    world.clock.advance(Duration::from_mins(1));
    // Svix has asked for no longer wait.
    assert_eq!(audit(&world).await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_only_looks_may_have_a_body() {
    let world = world();
    let reply = world.request("GET", "/audit/findings", &[ADMIN], b"x").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_clock_that_is_ahead_is_compared_when_its_page_is_old() {
    let world = world();
    post(&world, "evt_1").await;
    let record = record_of(&world, "evt_1").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    for name in [&record, "journal/day/20780/1"] {
        let text = world.stored(name).await.expect("a value");
        let text = String::from_utf8(text).expect("text");
        let ahead = text.replace("T14:12:4", "T14:22:4").replace("T14:12:5", "T14:22:4");
        assert_ne!(ahead, text, "{name}");
        world.put(name, ahead.as_bytes()).await;
    }
    world.svix.forget_message(&world.message("evt_1").id);
    assert_eq!(audit(&world).await, (0, 0), "its page is young");
    world.clock.advance(Duration::from_mins(26));
    assert_eq!(audit(&world).await, (0, 1));
    // The audit of a node whose clock is late may meet a record that is still to come.
    let text = world.stored(&record).await.expect("a record");
    let text = String::from_utf8(text).expect("text").replace("T14:22", "T15:22");
    world.put(&record, text.as_bytes()).await;
    let path = resolution(&world).await;
    world.put(&format!("audit/finding/{}", slot_of(&path)), b"{}").await;
    assert_eq!(audit_from(&world, SINCE).await, (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_page_of_a_clock_that_is_ahead_hides_no_message_of_a_later_page() {
    for is_audited_before in [true, false] {
        let world = world();
        post(&world, "evt_1").await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let page = "journal/day/20780/1";
        let text = world.stored(page).await.expect("a page");
        let text = String::from_utf8(text).expect("text");
        let ahead = text.replace("T14:12:", "T14:22:");
        assert_ne!(ahead, text);
        world.put(page, ahead.as_bytes()).await;
        post(&world, "evt_2").await;
        double(&world, "dev", "evt_2");
        tokio::time::sleep(Duration::from_secs(10)).await;
        world.clock.advance(Duration::from_mins(20));
        if is_audited_before {
            let report = slice(&world).await;
            assert_fields(&report, &json!({"events": 0, "found": 0, "done": true}));
            assert!(report["verifiedUntil"].as_str() < Some("2026-11-23T14:12:42Z"), "{report}");
        }
        world.clock.advance(Duration::from_mins(20));
        assert_eq!(audit(&world).await, (2, 1));
        assert_eq!(findings(&world).await, ["doubled evt_2"]);
    }
}

/// The place of a finding that this path resolves.
fn slot_of(path: &str) -> usize {
    let id = path.split('/').nth(3).expect("an id");
    usize::from_str_radix(&id[..4], 16).expect("a number") % 1_024
}

#[tokio::test(start_paused = true)]
async fn an_attempt_of_a_clock_that_is_ahead_is_pending_for_as_long_as_its_event_may_come_again() {
    // The last attempt; at an hour and ten seconds after the event.
    for (last, expected) in [
        ("2026-11-23T14:57:00Z", vec!["unsettled evt_1, pending"]),
        ("2026-11-23T15:22:00Z", vec![]),
        ("2026-11-23T15:30:00Z", vec!["unsettled evt_1"]),
        ("2027-11-23T14:12:42Z", vec!["unsettled evt_1"]),
    ] {
        let world = World::with(&[("admin_token", "hush"), ("retry_max_attempts", "1")]);
        world.svix.script([Fault::status(500)]);
        assert_eq!(world.post(&event("evt_1")).await.status, 503);
        let record = record_of(&world, "evt_1").await;
        let text = world.stored(&record).await.expect("a record");
        let mut unknown: Value = serde_json::from_slice(&text).expect("JSON");
        unknown["lastAttemptAt"] = json!(last);
        world.put(&record, unknown.to_string().as_bytes()).await;
        grow_old(&world).await;
        audit(&world).await;
        assert_eq!(findings(&world).await, expected, "{last}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_is_sent_again_if_its_record_is_purged_before_its_finding_is_resolved() {
    let world = world();
    post(&world, "evt_1").await;
    world.svix.forget_message(&world.message("evt_1").id);
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (0, 1));
    let path = resolution(&world).await;
    world.remove(&record_of(&world, "evt_1").await).await;
    let resolved = ask(&world, "POST", &path).await.ok().json();
    assert_fields(&resolved, &json!({"kind": "missing", "sendAgain": true}));
}

#[tokio::test(start_paused = true)]
async fn a_pending_finding_that_gives_way_to_another_leaves_its_line() {
    let world = world();
    post(&world, "evt_1").await;
    world.svix.forget_message(&world.message("evt_1").id);
    for slot in 0..1_024 {
        let id = format!("{slot:04x}000000000000");
        let pending = json!({
            "version": 1, "id": id, "kind": "unsettled", "project": "dev", "eventId": format!("evt_{id}"),
            "svixMessageIds": [], "record": format!("record/{id}"), "foundAt": "2026-11-23T14:12:42Z",
            "pendingUntil": "2026-12-23T14:12:42Z",
        });
        let name = format!("audit/finding/{slot}");
        world.put(&name, pending.to_string().as_bytes()).await;
    }
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (0, 1));
    let told = world.lines_with("audit-finding");
    assert_eq!(told.len(), 2, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_hides_nothing_from_the_audit() {
    let world = world();
    post(&world, "evt_1").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let day = "journal/day/20780";
    let page = world.stored(&format!("{day}/1")).await.expect("a page");
    world.put(&format!("{day}/2"), &page).await;
    let ahead = b"2 2027-01-01T00:00:00Z\nrecord/none";
    world.put(&format!("{day}/1"), ahead).await;
    world.put(day, &2_i64.to_le_bytes()).await;
    let state = br#"{"version":1,"day":30000,"page":9,"oneIn":1,"until":0,"events":0,"settled":0,"unfinished":null}"#;
    world.put("audit/state", state).await;
    world.svix.forget_message(&world.message("evt_1").id);
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (0, 1));
    assert_eq!(findings(&world).await, ["missing evt_1"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_later_version_is_not_taken_for_a_lost_one() {
    let world = world();
    post(&world, "evt_1").await;
    post(&world, "evt_2").await;
    let name = record_of(&world, "evt_2").await;
    world.put(&name, br#"{"version":2}"#).await;
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_audit_finds_the_same_through_crashes_and_failures() {
    let world = world();
    for number in 0..24 {
        let project = format!("p{}", number % 6);
        post_of(&world, &project, &format!("evt_{number}")).await;
    }
    world.svix.forget_message(&world.message("evt_3").id);
    double(&world, "p4", "evt_10");
    world.remove(&record_of(&world, "evt_17").await).await;
    grow_old(&world).await;
    world.svix.set_latency(Duration::from_millis(300));
    for attempt in 0_u64..40 {
        match attempt % 4 {
            0 => world.svix.script_at(Target::MessageLists, vec![Fault::status(500); 4]),
            1 => world.faults.fail_next(Op::Get, 1),
            2 => world.faults.fail_next(Op::Set, 1),
            _ => {}
        }
        let audit = world.request_or_die("POST", "/maintenance/audit", &[ADMIN], b"");
        let crash = async {
            tokio::time::sleep(Duration::from_millis(70 * attempt)).await;
            world.crash().await;
        };
        tokio::select! { _ = audit => {}, () = crash => {} }
        world.svix.clear_faults();
        world.faults.clear();
    }
    audit(&world).await;
    let expected = ["doubled evt_10", "missing evt_3", "unrecorded evt_17, pending"];
    assert_eq!(findings(&world).await, expected);
}

#[tokio::test(start_paused = true)]
async fn of_two_audits_at_once_the_one_that_is_further_back_goes_on() {
    // The one with `since` begins and ends first, or last.
    for (since_at, hourly_at) in [(0, 500), (500, 0)] {
        let world = world();
        for project in ["dev", "sim", "web"] {
            post_of(&world, project, "evt_1").await;
        }
        grow_old(&world).await;
        assert_eq!(audit(&world).await, (3, 0));
        for message in world.svix.messages() {
            world.svix.forget_message(&message.id);
        }
        post(&world, "evt_2").await;
        grow_old(&world).await;

        // A slice ends once a second is over, so the one with `since` gets no further than the first project.
        world.svix.set_latency(Duration::from_secs(2));
        let slice = async |at, query| {
            tokio::time::sleep(Duration::from_millis(at)).await;
            let path = format!("/maintenance/audit{query}");
            ask(&world, "POST", &path).await.ok().json()
        };
        let (since, hourly) = tokio::join!(slice(since_at, SINCE), slice(hourly_at, ""));
        let done = (&since["done"], &hourly["done"]);
        assert_eq!(done, (&json!(false), &json!(false)));
        world.svix.set_latency(Duration::ZERO);
        audit(&world).await;
        let expected = ["missing evt_1", "missing evt_1", "missing evt_1"];
        assert_eq!(findings(&world).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn findings_that_are_resolved_at_the_same_moment_leave_the_right_number() {
    let world = world();
    for id in ["evt_1", "evt_2", "evt_3"] {
        post(&world, id).await;
        world.svix.forget_message(&world.message(id).id);
    }
    grow_old(&world).await;
    audit(&world).await;
    let found = show(&world, "/audit/findings").await;
    let path = |at: usize| {
        let id = found["findings"][at]["id"].as_str().expect("an id");
        format!("/audit/findings/{id}/resolve")
    };
    world.faults.delay(Op::Get, Duration::from_millis(5));
    let (one, other) = (path(0), path(1));
    let (one, other) = tokio::join!(ask(&world, "POST", &one), ask(&world, "POST", &other));
    assert_eq!((one.status, other.status), (200, 200));
    assert!(has_metric(&world, r#"svix_relay_audit_findings{kind="missing"} 1"#).await);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_holds_up_the_list_of_findings_only_once() {
    let world = world();
    world.faults.delay(Op::Get, HOUR);
    let (reply, took) = world.timed(ask(&world, "GET", "/audit/findings")).await;
    reply.assert_retryable_problem(503, "store-failing");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_request_for_an_audit_a_finding_or_a_canary_is_refused() {
    let world = world();
    for query in
        ["since=yesterday", "since=2027-01-01T00:00:00Z", "oneIn=0", "until=x", "oneIn=1&oneIn=2"]
    {
        let reply = ask(&world, "POST", &format!("/maintenance/audit?{query}")).await;
        reply.assert_final_problem(400, "invalid-query");
    }
    for (path, name) in
        [("/audit/findings/x/resolve", "no-finding"), ("/maintenance/canary", "no-canary")]
    {
        let reply = ask(&world, "POST", path).await;
        reply.assert_final_problem(404, name);
    }
}
