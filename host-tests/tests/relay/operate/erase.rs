//! Erasing an event's payload, and everything of a project.

use std::time::Duration;

use serde_json::{Value, json};

use fake_svix::{Fault, Target};
use host::Op;

use crate::support::{
    World, ask, assert_contains, assert_fields, event, post_of, refuse_of, replay, settle, show,
    world, wrapped,
};
use crate::svix::reports;

async fn erase(world: &World, id: &str) -> Value {
    let path = format!("/notifications/dev/{id}/erase");
    ask(world, "POST", &path).await.ok().json()
}

/// The answer to the erasure of `evt_1`.
fn erased(payload: &str, dead_letter: bool) -> Value {
    json!({"project": "dev", "eventId": "evt_1", "payload": payload, "deadLetter": dead_letter})
}

/// Erases the project `dev` to the end. Returns the sums of all slices, and the last answer.
async fn erase_project(world: &World) -> (u64, u64, Value) {
    let (mut records, mut letters, mut after) = (0, 0, String::new());
    loop {
        let path = format!("/projects/dev/erase?after={after}");
        let reply = ask(world, "POST", &path).await.ok();
        let report = reply.json();
        records += report["records"].as_u64().expect("a number");
        letters += report["letters"].as_u64().expect("a number");
        if report["done"] == true {
            assert_eq!(report["next"], Value::Null);
            return (records, letters, report);
        }
        report["next"].as_str().expect("a place").clone_into(&mut after);
    }
}

/// Everything in the store, as text.
async fn stored(world: &World) -> String {
    let mut all = String::new();
    for name in world.names().await {
        let bytes = world.stored(&name).await.unwrap_or_default();
        all.push_str(&name);
        all.push_str(&String::from_utf8_lossy(&bytes));
    }
    all
}

/// Whether the store holds the payload of the event, or the attributes of its push.
async fn holds_push(world: &World, id: &str) -> bool {
    let push: Value = serde_json::from_str(&wrapped(event(id))).expect("JSON");
    let data = push["message"]["data"].as_str().expect("text").to_owned();
    let stored = stored(world).await;
    [data, push["message"]["attributes"].to_string()].iter().any(|part| stored.contains(part))
}

#[tokio::test(start_paused = true)]
async fn an_erased_event_has_no_payload_and_stays_a_duplicate() {
    let world = world();
    post_of(&world, "dev", "evt_1").await;
    assert_eq!(erase(&world, "evt_1").await, erased("erased", false));
    assert_eq!(world.only_message().payload, r#"{"expired":true}"#);
    world.post(&event("evt_1")).await.assert_became("duplicate");
    assert_eq!(erase(&world, "evt_1").await["payload"], "erased");
    let line = world.lines_with(r#""outcome":"erased""#).remove(0);
    assert_contains(&line, r#""operator":"operator""#);
    assert_contains(&line, "evt_1");
}

#[tokio::test(start_paused = true)]
async fn an_erased_dead_letter_is_gone_with_its_attributes_and_stays_acknowledged() {
    let world = world();
    refuse_of(&world, "dev", "evt_1").await;
    assert!(holds_push(&world, "evt_1").await);
    assert_eq!(erase(&world, "evt_1").await, erased("absent", true));
    assert!(!holds_push(&world, "evt_1").await);
    let reply = ask(&world, "GET", "/dead-letters/1").await;
    reply.assert_final_problem(404, "no-dead-letter");
    let again = world.push(event("evt_1")).await;
    again.assert_became("dead-lettered");
    assert!(!holds_push(&world, "evt_1").await);
}

#[tokio::test(start_paused = true)]
async fn a_resolved_letter_goes_with_the_payload_of_its_event() {
    let world = world();
    refuse_of(&world, "dev", "evt_1").await;
    replay(&world, 1).await.assert_became("delivered");
    assert_eq!(erase(&world, "evt_1").await, erased("erased", true));
    world.post(&event("evt_1")).await.assert_became("duplicate");
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_the_record_does_not_name_is_erased_with_its_event() {
    let world = world();
    refuse_of(&world, "dev", "evt_1").await;
    // As if another delivery had begun before there was a letter, and ended after.
    for name in world.records().await {
        world.remove(&name).await;
    }
    post_of(&world, "dev", "evt_1").await;
    assert!(holds_push(&world, "evt_1").await);
    assert_eq!(erase(&world, "evt_1").await, erased("erased", true));
    assert!(!holds_push(&world, "evt_1").await);
    let reply = ask(&world, "GET", "/dead-letters/1").await;
    reply.assert_final_problem(404, "no-dead-letter");
    assert_eq!(erase(&world, "evt_1").await["deadLetter"], false);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_event_is_erased_by_its_own_id() {
    let world = world();
    world.svix.create_application("dev");
    world.svix.always(Fault::ResetAfterStoring);
    assert_eq!(world.post(&event("evt_1")).await.status, 503);
    world.svix.clear_faults();
    assert_eq!(erase(&world, "evt_1").await["payload"], "erased");
    world.svix.always(Fault::status(500));
    assert_eq!(world.post(&event("evt_2")).await.status, 503);
    world.svix.clear_faults();
    assert_eq!(erase(&world, "evt_2").await["payload"], "absent");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_erased_now_is_a_problem() {
    let world = world();
    let path = "/notifications/dev/evt_1/erase";
    let reply = ask(&world, "POST", path).await;
    reply.assert_final_problem(404, "no-record");
    post_of(&world, "dev", "evt_1").await;
    world.svix.always(Fault::status(500));
    world.svix.always_at(Target::Deliveries, Fault::status(500));
    let reply = ask(&world, "POST", path).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    world.svix.clear_faults();
    assert_eq!(erase(&world, "evt_1").await["payload"], "erased");
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_record_has_expired_is_erased_in_svix() {
    let world = world();
    post_of(&world, "dev", "evt_1").await;
    settle().await;
    world.clock.advance(Duration::from_hours(32 * 24));
    while ask(&world, "POST", "/maintenance/purge").await.json()["done"] != true {}
    assert_eq!(world.records().await, Vec::<String>::new());
    assert_eq!(erase(&world, "evt_1").await, erased("erased", false));
    assert_eq!(world.only_message().payload, r#"{"expired":true}"#);
    for path in ["dev/evt_2", "-dev-%20/evt_1"] {
        ask(&world, "POST", &format!("/notifications/{path}/erase"))
            .await
            .assert_final_problem(404, "no-record");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_only_the_events_id_leads_to_is_erased() {
    let world = world();
    post_of(&world, "dev", "evt_1").await;
    world.svix.forget_message(&world.message("evt_1").id);
    let other = world.svix.store_message("dev", "evt_1", "user.created", r#"{"name":"Ada"}"#);
    assert_eq!(erase(&world, "evt_1").await, erased("erased", false));
    let messages = world.svix.messages();
    let other = messages.iter().find(|it| it.id == other).expect("kept");
    assert!(!format!("{other:?}").contains("Ada"), "{other:?}");
}

#[tokio::test(start_paused = true)]
async fn a_page_of_another_server_erases_nothing() {
    let world = world();
    post_of(&world, "dev", "evt_1").await;
    for (target, path) in [
        (Target::Deliveries, "/notifications/dev/evt_1/erase"),
        (Target::Applications, "/projects/dev/erase?after=store"),
    ] {
        world.svix.always_at(target, Fault::page(200));
        let reply = ask(&world, "POST", path).await;
        reply.assert_retryable_problem(503, "unexpected-status");
        world.svix.clear_faults();
        assert_eq!(ask(&world, "POST", path).await.status, 200, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_messages_of_an_event_are_erased() {
    let world = world();
    post_of(&world, "dev", "evt_1").await;
    world.svix.store_message("dev", "evt_1", "user.created", "{}");
    settle().await;
    world.clock.advance(Duration::from_mins(20));
    let audited = ask(&world, "POST", "/maintenance/audit").await.json();
    assert_eq!(audited["found"], 1, "{audited}");
    assert_eq!(erase(&world, "evt_1").await["payload"], "erased");
    let messages = world.svix.messages();
    assert_eq!(messages.len(), 2);
    for message in messages {
        assert_eq!(message.payload, r#"{"expired":true}"#);
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_whose_discarding_broke_off_goes_with_its_project() {
    let world = world();
    refuse_of(&world, "dev", "evt_1").await;
    settle().await;
    world.faults.fail_always(Op::Delete);
    world.faults.fail_always(Op::DeleteMany);
    let reply = ask(&world, "DELETE", "/dead-letters/1").await;
    reply.assert_retryable_problem(503, "store-failing");
    world.faults.clear();
    assert!(holds_push(&world, "evt_1").await);
    erase_project(&world).await;
    assert!(!holds_push(&world, "evt_1").await);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_an_erased_project_and_everything_of_others() {
    let world = world();
    for number in 0..300 {
        let project = if number % 3 == 0 { "other" } else { "dev" };
        post_of(&world, project, &format!("evt_{number}")).await;
    }
    refuse_of(&world, "dev", "evt_a").await;
    refuse_of(&world, "other", "evt_b").await;
    refuse_of(&world, "dev", "evt_c").await;
    replay(&world, 3).await.assert_became("delivered");
    // A discarded letter leaves a record that goes on acknowledging its event.
    refuse_of(&world, "dev", "evt_d").await;
    assert_eq!(ask(&world, "DELETE", "/dead-letters/4").await.status, 200);
    settle().await;
    let (records, letters, last) = erase_project(&world).await;
    assert_eq!((records, letters), (202, 2));
    assert_eq!(last["application"], "erased");
    assert_eq!(world.svix.applications(), ["other"]);
    assert_eq!(world.records().await.len(), 101);
    let left = stored(&world).await;
    assert!(!left.contains(r#""project":"dev""#), "{left}");
    assert_eq!(ask(&world, "GET", "/dead-letters/2").await.status, 200);
    // Once more, nothing is there to erase.
    let (records, letters, last) = erase_project(&world).await;
    assert_eq!((records, letters, &last["application"]), (0, 0, &json!("absent")));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_after_its_project_was_erased_is_stored_anew() {
    let world = world();
    post_of(&world, "dev", "evt_1").await;
    settle().await;
    erase_project(&world).await;
    assert_eq!(world.svix.messages().len(), 0);
    world.clock.advance(Duration::from_hours(1));
    post_of(&world, "dev", "evt_1").await;
    assert_eq!(world.svix.messages_for("dev").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn reports_and_findings_of_an_erased_project_are_erased() {
    let world = reports::world();
    post_of(&world, "dev", "evt_1").await;
    let endpoint = world.svix.create_endpoint("dev", "https://hooks.test/");
    world.svix.disable_endpoint("dev", &endpoint, true);
    let report = world.svix.take_reports().pop().expect("a report");
    reports::bring(&world, &report).await.ok();
    let lost = world.message("evt_1").id;
    world.svix.forget_message(&lost);
    settle().await;
    world.clock.advance(Duration::from_mins(20));
    let audited = ask(&world, "POST", "/maintenance/audit").await.json();
    assert_eq!(audited["found"], 1, "{audited}");
    erase_project(&world).await;
    let status = show(&world, "/status").await;
    assert_eq!(status["endpoints"]["disabled"], json!([]));
    assert_eq!(status["audit"]["findings"]["missing"], 0);
    assert_eq!(show(&world, "/audit/findings").await["findings"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn an_erasure_goes_on_after_a_failure() {
    let world = world();
    for number in 0..10 {
        post_of(&world, "dev", &format!("evt_{number}")).await;
    }
    settle().await;
    world.faults.fail_next(Op::Get, 1);
    let path = "/projects/dev/erase";
    let reply = ask(&world, "POST", path).await;
    reply.assert_retryable_problem(503, "store-failing");
    world.svix.always_at(Target::Applications, Fault::status(500));
    let report = ask(&world, "POST", path).await.json();
    assert_fields(&report, &json!({"records": 10, "next": "store"}));
    let last = "/projects/dev/erase?after=store";
    let reply = ask(&world, "POST", last).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    assert_eq!(world.svix.applications(), ["dev"]);
    world.svix.clear_faults();
    let (_, _, last) = erase_project(&world).await;
    assert_eq!(last["application"], "erased");
    assert!(world.records().await.is_empty());
    for query in ["after=x", "limit=7", "after=0&after=0"] {
        let reply = ask(&world, "POST", &format!("/projects/dev/erase?{query}")).await;
        reply.assert_final_problem(400, "invalid-query");
    }
    let reply = ask(&world, "POST", "/projects/app_1/erase").await;
    reply.assert_final_problem(422, "invalid-request");
}
