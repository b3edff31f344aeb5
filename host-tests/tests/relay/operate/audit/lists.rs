//! Lists that Svix fails to show wait, hold up no others, and come again.

use std::time::Duration;

use serde_json::{Value, json};

use fake_svix::{Fault, Target};
use host::Op;

use super::{
    HOUR, SINCE, audit, audit_from, calls, double, findings, grow_old, numbered, page, record_of,
    slice, with_projects,
};
use crate::support::{Reply, World, ask, assert_fields, post, post_of, world};

/// Svix fails to list any messages.
fn lists_fail(world: &World) {
    let lists = Target::MessageLists;
    world.svix.always_at(lists, Fault::status(500));
}

/// Svix fails to list messages so many times.
fn lists_fail_next(world: &World, times: usize) {
    let lists = Target::MessageLists;
    world.svix.script_at(lists, vec![Fault::status(500); times]);
}

/// Audits until a slice is refused.
async fn audit_until_refused(world: &World) -> Reply {
    loop {
        let reply = ask(world, "POST", "/maintenance/audit").await;
        if reply.status != 200 {
            return reply;
        }
        assert_eq!(reply.json()["done"], false, "{}", reply.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_project_whose_list_fails_holds_up_no_other_and_is_listed_later() {
    for (faults, lists) in
        [(vec![Fault::OversizedReply { bytes: 3_000_000 }], 2), (vec![Fault::status(500); 4], 5)]
    {
        let world = world();
        for project in ["a", "b"] {
            post_of(&world, project, "evt_1").await;
            double(&world, project, "evt_1");
        }
        grow_old(&world).await;
        world.svix.script_at(Target::MessageLists, faults);
        let first = slice(&world).await;
        assert_fields(&first, &json!({"events": 2, "found": 1, "listsWaiting": 1, "done": true}));
        assert_eq!(calls(&world), (lists, 1));
        assert_eq!(world.lines_with("lists that wait: a").len(), 1);
        // Not yet again, and not verified until then.
        let second = slice(&world).await;
        assert_eq!(second["verifiedUntil"], first["verifiedUntil"]);
        assert_eq!(calls(&world), (lists, 1));

        grow_old(&world).await;
        let third = slice(&world).await;
        assert_fields(&third, &json!({"events": 0, "found": 1, "listsWaiting": 0, "done": true}));
        assert_eq!(calls(&world), (lists + 1, 1));
        assert!(third["verifiedUntil"].as_str() > first["verifiedUntil"].as_str());
        assert_eq!(findings(&world).await, ["doubled evt_1", "doubled evt_1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_leads_to_itself_is_not_complete() {
    let world = world();
    post(&world, "evt_1").await;
    grow_old(&world).await;
    let id = world.message("evt_1").id;
    let at = "2026-11-23T14:12:42Z";
    let first = format!(
        r#"{{"data":[{{"id":"{id}","eventId":"evt_1","timestamp":"{at}"}}],"iterator":"{id}","done":false}}"#
    );
    let again = [page(200, &first), page(200, &first)];
    world.svix.script_at(Target::MessageLists, again);
    assert_fields(&slice(&world).await, &json!({"events": 1, "listsWaiting": 1, "done": true}));
    grow_old(&world).await;
    assert_fields(&slice(&world).await, &json!({"listsWaiting": 0, "done": true}));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_twice_is_one_list_over_both_times() {
    let world = world();
    lists_fail(&world);
    for id in ["evt_1", "evt_2"] {
        post(&world, id).await;
        double(&world, "dev", id);
        grow_old(&world).await;
        assert_eq!(audit(&world).await, (1, 0));
    }
    world.svix.clear_faults();
    grow_old(&world).await;
    let lists = calls(&world).0;
    assert_eq!(audit(&world).await, (0, 2));
    assert_eq!(calls(&world).0, lists + 1);
    assert_eq!(audit_from(&world, SINCE).await, (2, 0));
}

#[tokio::test(start_paused = true)]
async fn projects_that_wait_make_room_once_svix_lists_them() {
    let world = with_projects(numbered(101)).await;
    grow_old(&world).await;
    lists_fail(&world);
    audit_until_refused(&world).await;
    world.svix.clear_faults();
    // One project's list still fails.
    grow_old(&world).await;
    for _ in 0..100 {
        world.svix.script_at(Target::MessageLists, [Fault::None]);
    }
    lists_fail_next(&world, 1);
    assert_eq!(audit(&world).await, (1, 0));
    assert_eq!(slice(&world).await["listsWaiting"], 1);
}

#[tokio::test(start_paused = true)]
async fn an_audit_waits_while_svix_lists_no_messages_at_all() {
    let world = with_projects(numbered(101)).await;
    double(&world, "p000", "evt_1");
    double(&world, "p100", "evt_1");
    grow_old(&world).await;
    lists_fail(&world);
    let reply = audit_until_refused(&world).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    world.svix.clear_faults();
    assert_eq!(audit(&world).await, (1, 1));
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_failed_comes_again_after_a_quarter_of_an_hour() {
    let world = world();
    post(&world, "evt_1").await;
    grow_old(&world).await;
    lists_fail_next(&world, 4);
    assert_eq!(slice(&world).await["listsWaiting"], 1);
    // A message of a time that is not due.
    double(&world, "dev", "evt_1");
    for (minutes, waiting) in [(14, 1), (2, 0)] {
        world.clock.advance(Duration::from_mins(minutes));
        let report = slice(&world).await;
        assert_fields(&report, &json!({"listsWaiting": waiting, "found": 0}));
    }
}

/// A project whose list of three pages has failed. The first page that Svix shows is the newest.
async fn with_long_list_that_failed() -> World {
    let world = World::with(&[("admin_token", "hush"), ("retry_max_attempts", "1")]);
    post(&world, "evt_1").await;
    double(&world, "dev", "evt_1");
    for number in 0..600 {
        double(&world, "dev", &format!("sha256.{number}"));
    }
    grow_old(&world).await;
    lists_fail_next(&world, 1);
    assert_eq!(audit(&world).await, (1, 0));
    grow_old(&world).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_long_list_that_comes_again_goes_on_in_the_next_slice() {
    let world = with_long_list_that_failed().await;
    let lists = calls(&world).0;
    // The slice ends before the third page.
    world.svix.set_latency(Duration::from_secs(2));
    let first = slice(&world).await;
    assert_fields(&first, &json!({"found": 0, "listsWaiting": 1, "done": false}));
    assert_eq!(audit(&world).await, (0, 1));
    assert_eq!(calls(&world).0, lists + 3);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_again_is_kept_and_lets_others_go_first() {
    let world = with_projects(["a", "b"].map(str::to_owned)).await;
    for project in ["a", "b"] {
        double(&world, project, "evt_1");
    }
    grow_old(&world).await;
    lists_fail_next(&world, 2);
    let lists = Target::MessageLists;
    assert_eq!(audit(&world).await, (2, 0));
    grow_old(&world).await;
    world.svix.script_at(lists, [Fault::status(429)]);
    let reply = ask(&world, "POST", "/maintenance/audit").await;
    reply.assert_retryable_problem(429, "rate-limited");
    world.svix.script_at(lists, [Fault::HangBeforeStoring]);
    assert_eq!(audit(&world).await, (0, 1));
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slice_that_is_over_leaves_the_other_lists_to_the_next() {
    let world = with_projects(["a", "b"].map(str::to_owned)).await;
    grow_old(&world).await;
    lists_fail_next(&world, 2);
    assert_eq!(audit(&world).await, (2, 0));
    grow_old(&world).await;
    world.svix.set_latency(Duration::from_secs(2));
    for (waiting, done) in [(1, false), (0, true)] {
        let report = slice(&world).await;
        assert_fields(&report, &json!({"listsWaiting": waiting, "done": done}));
    }
}

#[tokio::test(start_paused = true)]
async fn a_project_that_waits_already_waits_on_when_no_other_may() {
    let world = with_projects(numbered(100)).await;
    grow_old(&world).await;
    lists_fail(&world);
    assert_eq!(audit(&world).await, (100, 0));
    post_of(&world, "p000", "evt_2").await;
    grow_old(&world).await;
    let lists = calls(&world).0;
    assert_eq!(audit(&world).await, (1, 0));
    // Each list fails once more, and so does that of the new event.
    assert_eq!(calls(&world).0, lists + 101);
    assert_eq!(slice(&world).await["listsWaiting"], 100);
}

/// A state in which dev's list waits, and stopped at a page.
fn with_waiting_list(tried: u64) -> String {
    let list = json!({
        "project": "dev", "after": 1_795_443_100_000_u64, "before": 1_795_443_200_000_u64, "tried": tried,
        "iterator": "msg_1",
    });
    let state = json!({
        "version": 1, "day": 20780, "page": 0, "oneIn": 1, "until": 0, "events": 0, "settled": 0, "unfinished": null,
        "lists": [list],
    });
    state.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_list_that_a_clock_ahead_has_tried_is_tried_again_at_once() {
    let world = world();
    post(&world, "evt_1").await;
    grow_old(&world).await;
    let ahead = with_waiting_list(1_895_443_162_000).replace("\"msg_1\"", "null");
    world.put("audit/state", ahead.as_bytes()).await;
    assert_eq!(slice(&world).await["listsWaiting"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_grows_begins_with_its_first_page_and_waits_anew() {
    let world = World::with(&[("admin_token", "hush"), ("retry_max_attempts", "1")]);
    post(&world, "evt_1").await;
    grow_old(&world).await;
    let tried = 1_795_446_500_000;
    let state = with_waiting_list(tried);
    world.put("audit/state", state.as_bytes()).await;
    lists_fail_next(&world, 1);
    assert_eq!(audit(&world).await, (1, 0));
    let state = world.stored("audit/state").await.expect("a state");
    let state: Value = serde_json::from_slice(&state).expect("JSON");
    let list = &state["lists"][0];
    assert_eq!(list["iterator"], Value::Null);
    assert!(list["tried"].as_u64() > Some(tried), "{list}");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_never_ends_holds_up_no_other_project() {
    for fault in [Fault::HangBeforeStoring, Fault::ResetBeforeStoring] {
        let world = with_projects(["a", "b"].map(str::to_owned)).await;
        double(&world, "b", "evt_1");
        grow_old(&world).await;
        let lists = Target::MessageLists;
        world.svix.script_at(lists, [fault.clone()]);
        assert_eq!(audit(&world).await, (2, 1), "{fault:?}");
        assert_eq!(slice(&world).await["listsWaiting"], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_svix_that_fails_is_not_asked_for_every_list_that_waits() {
    let world = with_projects(numbered(50)).await;
    grow_old(&world).await;
    lists_fail(&world);
    assert_eq!(audit(&world).await, (50, 0));
    grow_old(&world).await;
    for target in [Target::Messages, Target::Applications] {
        world.svix.always_at(target, Fault::status(500));
    }
    let asked = calls(&world).0;
    let reply = ask(&world, "POST", "/maintenance/audit").await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    assert_eq!(calls(&world).0, asked + 1);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_svix_refuses_holds_up_no_other() {
    let world = with_projects(["a", "b"].map(str::to_owned)).await;
    grow_old(&world).await;
    lists_fail_next(&world, 1);
    assert_eq!(audit(&world).await, (2, 0));
    post_of(&world, "b", "evt_2").await;
    grow_old(&world).await;
    world.svix.script_at(Target::MessageLists, [Fault::status(403)]);
    let reply = ask(&world, "POST", "/maintenance/audit").await;
    reply.assert_retryable_problem(503, "token-refused");
    let report = slice(&world).await;
    assert_fields(&report, &json!({"events": 1, "listsWaiting": 1, "done": true}));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_a_slow_svix_fails_to_show_waits() {
    let world = with_projects(["a".to_owned()]).await;
    grow_old(&world).await;
    world.svix.set_latency(Duration::from_millis(2_500));
    lists_fail_next(&world, 1);
    assert_fields(&slice(&world).await, &json!({"listsWaiting": 1}));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_read_slowly_gets_on_with_its_list() {
    let world = world();
    for number in 0..20 {
        post(&world, &format!("evt_{number}")).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    for number in 0..300 {
        double(&world, "dev", &format!("sha256.{number}"));
    }
    grow_old(&world).await;
    world.svix.set_latency(Duration::from_secs(2));
    assert_eq!(slice(&world).await["done"], false);
    world.svix.set_latency(Duration::ZERO);
    world.faults.delay(Op::Get, Duration::from_millis(150));
    let (reply, took) = world.timed(ask(&world, "POST", "/maintenance/audit")).await;
    let report = reply.ok().json();
    assert!(took > Duration::from_secs(3), "{took:?}");
    assert_fields(&report, &json!({"events": 20}));
}

#[tokio::test(start_paused = true)]
async fn an_application_that_never_comes_stops_no_audit() {
    let world = world();
    for project in ["a", "b"] {
        post_of(&world, project, "evt_1").await;
    }
    grow_old(&world).await;
    world.svix.always_at(Target::Applications, Fault::HangBeforeStoring);
    assert_eq!(audit(&world).await, (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_day_without_records_shows_nothing_of_svix() {
    let world = world();
    post(&world, "evt_1").await;
    world.remove(&record_of(&world, "evt_1").await).await;
    grow_old(&world).await;
    world.clock.advance(24 * HOUR);
    post(&world, "evt_2").await;
    grow_old(&world).await;
    for target in [Target::MessageLists, Target::Messages, Target::Applications] {
        world.svix.always_at(target, Fault::status(500));
    }
    let reply = ask(&world, "POST", "/maintenance/audit").await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    world.svix.clear_faults();
    assert_eq!(audit(&world).await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_line_names_three_of_the_projects_that_svix_fails_to_list() {
    let world = with_projects(["a", "b", "c", "d"].map(str::to_owned)).await;
    grow_old(&world).await;
    lists_fail(&world);
    assert_eq!(slice(&world).await["listsWaiting"], 4);
    let line = world.last_line()["message"].to_string();
    assert!(line.ends_with(r#"lists that wait: a, b, c""#), "{line}");
}
