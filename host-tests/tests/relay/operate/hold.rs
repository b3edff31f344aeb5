//! Holding a project: its events become dead letters, and go in order when they are replayed.

use std::time::Duration;

use serde_json::{Value, json};

use fake_svix::Fault;
use host::Op;

use crate::support::{
    ADMIN, JSON, Setup, World, ask, event, event_of, has_metric, show, world, wrapped,
};

async fn hold(world: &World, project: &str) {
    let reply = ask(world, "PUT", &format!("/projects/{project}/hold")).await;
    assert_eq!(reply.json(), json!({ "project": project, "held": true }));
}

/// Checks that the project `dev` is held, and no other.
async fn assert_holds_dev(world: &World) {
    let status = show(world, "/status").await;
    assert_eq!(status["heldProjects"], json!(["dev"]));
}

async fn push(world: &World, id: &str) -> Value {
    world.push(event(id)).await.ok().json()
}

fn delivered(world: &World) -> Vec<String> {
    let messages = world.svix.messages().into_iter();
    messages.map(|message| message.event_id.expect("an eventId")).collect()
}

#[tokio::test(start_paused = true)]
async fn events_of_a_held_project_become_letters_and_go_in_order() {
    let world = world();
    hold(&world, "dev").await;
    for id in ["evt_1", "evt_2", "evt_3"] {
        assert_eq!(push(&world, id).await["status"], "dead-lettered");
    }
    let other = event_of("other", "evt_4");
    world.post(&other).await.assert_became("delivered");
    let letter = show(&world, "/dead-letters/1").await;
    assert_eq!(letter["reason"], "held");
    assert_holds_dev(&world).await;

    // A replay lets them go while the project is still held, so that no new event overtakes them.
    let path = "/dead-letters/replay?project=dev&reason=held";
    assert_eq!(ask(&world, "POST", path).await.json()["resolved"], 3);
    assert_eq!(push(&world, "evt_5").await["status"], "dead-lettered");
    assert_eq!(ask(&world, "POST", path).await.json()["resolved"], 1);
    let reply = ask(&world, "DELETE", "/projects/dev/hold").await;
    assert_eq!(reply.json(), json!({ "project": "dev", "held": false }));
    assert_eq!(push(&world, "evt_6").await["status"], "delivered");
    let order = ["evt_4", "evt_1", "evt_2", "evt_3", "evt_5", "evt_6"];
    assert_eq!(delivered(&world), order);
    assert_eq!(push(&world, "evt_1").await["status"], "duplicate");
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_body_would_be_passed_over_does_nothing() {
    let world = world();
    hold(&world, "dev").await;
    assert_eq!(push(&world, "evt_1").await["status"], "dead-lettered");
    for (method, path, body) in [
        ("POST", "/dead-letters/replay", r#"{"project":"other"}"#),
        ("POST", "/dead-letters/replay", "project=other"),
        ("POST", "/dead-letters/1/replay", "[]"),
        ("DELETE", "/dead-letters/1", r#"{"dryRun":true}"#),
        ("DELETE", "/projects/dev/hold", r#"{"after":"2027-01-01T00:00:00Z"}"#),
        ("POST", "/projects/dev/erase", r#"{"after":"evt_1"}"#),
        ("POST", "/maintenance/purge", "{"),
        ("POST", "/gate/open", &" ".repeat(20_000)),
    ] {
        let reply = world.request(method, path, &[ADMIN, JSON], body).await;
        reply.assert_invalid(path, &[("body", "must be empty")]);
    }
    assert_holds_dev(&world).await;
    assert_eq!(delivered(&world), [""; 0]);
    let reply = world.request("POST", "/dead-letters/replay", &[ADMIN, JSON], "{}").await;
    assert_eq!(reply.json()["resolved"], 1);
}

#[tokio::test(start_paused = true)]
async fn another_event_under_the_id_of_a_letter_is_marked_and_counted() {
    let world = world();
    hold(&world, "dev").await;
    let first = push(&world, "evt_1").await;
    assert_eq!(push(&world, "evt_1").await, first, "the same bytes");
    let other = event("evt_1").replace("user.created", "user.updated");
    let other = world.push(&other).await.ok().json();
    assert_eq!(other["deadLetter"], 1);
    assert_eq!(other["contentDiffers"], true);
    ask(&world, "DELETE", "/dead-letters/1").await.ok();
    let again = event("evt_1").replace("user.created", "user.updated");
    let again = world.push(&again).await.ok().json();
    assert_eq!(again, other, "also after it was discarded");
    assert_eq!(world.last_line()["contentDiffers"], true);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(has_metric(&world, "svix_relay_duplicates_differing_total 2").await);
}

#[tokio::test(start_paused = true)]
async fn a_held_event_that_no_letter_keeps_stays_with_its_sender() {
    let world = world();
    hold(&world, "dev").await;
    let reply = world.post(&event("evt_1")).await;
    assert_eq!(reply.assert_retryable_problem(503, "held"), 60);
    let world = World::with(&[("admin_token", "hush"), ("dead_letters", "reject")]);
    hold(&world, "dev").await;
    let reply = world.push(event("evt_1")).await;
    reply.assert_retryable_problem(503, "held");
    assert!(world.svix.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_delivered_before_the_hold_is_a_duplicate() {
    let world = world();
    assert_eq!(push(&world, "evt_1").await["status"], "delivered");
    hold(&world, "dev").await;
    assert_eq!(push(&world, "evt_1").await["status"], "duplicate");
}

#[tokio::test(start_paused = true)]
async fn a_hold_reaches_every_node_and_survives_their_changes_of_the_gate() {
    let setup = Setup::operated();
    let world = World::build(&setup);
    let other = world.node(&setup);
    assert_eq!(push(&other, "evt_0").await["status"], "delivered");
    hold(&world, "dev").await;
    // The other node shares its view of the gate after a failure.
    world.svix.script([Fault::status(500)]);
    let body = event_of("other", "evt_9");
    other.post(&body).await.assert_became("delivered");
    world.crash().await;
    other.crash().await;
    for world in [&world, &other] {
        assert_eq!(push(world, "evt_1").await["status"], "dead-lettered");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hold_survives_a_slow_write_of_the_gate() {
    let setup = Setup::operated();
    let world = World::build(&setup);
    let other = world.node(&setup);
    world.faults.delay(Op::Set, Duration::from_millis(1_400));
    world.svix.script([Fault::status(500)]);
    // The other node fails at Svix, and writes that while the hold settles.
    let body = event_of("other", "evt_9");
    let fail = async {
        tokio::time::sleep(Duration::from_millis(1_300)).await;
        other.post(&body).await
    };
    tokio::join!(hold(&world, "dev"), fail);
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.faults.clear();
    assert_holds_dev(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_hold_survives_the_answers_that_are_still_on_their_way() {
    let setup = Setup::operated();
    let world = World::build(&setup);
    let other = world.node(&setup);
    // The other node knows of no hold when it begins, and shares the end of its failures two seconds later.
    let faults = [Fault::status(500), Fault::Delay { millis: 2_000 }];
    world.svix.script(faults);
    let body = event_of("other", "evt_9");
    let held = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        hold(&world, "dev").await;
    };
    let (reply, ()) = futures::future::join(other.post(&body), held).await;
    reply.assert_became("delivered");
    assert_holds_dev(&world).await;
    assert_eq!(push(&other, "evt_1").await["status"], "dead-lettered");
}

#[tokio::test(start_paused = true)]
async fn a_held_event_that_svix_may_have_is_one_message_after_its_replay() {
    let world = world();
    world.svix.create_application("dev");
    world.svix.always(Fault::ResetAfterStoring);
    let body = wrapped(event("evt_1"));
    assert_eq!(world.post(&body).await.status, 503);
    world.svix.clear_faults();
    hold(&world, "dev").await;
    // A record that only a later version can read is not replaced.
    let record = world.records().await.remove(0);
    let unknown = world.stored(&record).await.expect("a record");
    world.put(&record, br#"{"version":9}"#).await;
    let reply = world.post(&body).await;
    reply.assert_retryable_problem(503, "held");
    world.put(&record, &unknown).await;
    // Svix may still be at work on it.
    let reply = world.post(&body).await;
    reply.assert_retryable_problem(503, "held");
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(push(&world, "evt_1").await["status"], "dead-lettered");
    ask(&world, "DELETE", "/projects/dev/hold").await;
    let replayed = ask(&world, "POST", "/dead-letters/replay").await.json();
    assert_eq!(replayed["resolved"], 1, "{replayed}");
    assert_eq!(delivered(&world), ["evt_1"]);
}

/// Has an event of another project fail once, which changes the gate.
async fn fail_another(world: &World) {
    world.svix.script([Fault::status(500)]);
    let other = event_of("other", "evt_x");
    world.post(&other).await;
}

/// Changes the stamp of the gate, as if another node's clock had made it.
async fn restamp(world: &World, by: i64) {
    let stored = world.stored("gate").await.expect("a gate");
    let mut gate: Value = serde_json::from_slice(&stored).expect("JSON");
    gate["changed"] = (gate["changed"].as_i64().expect("a number") + by).into();
    world.put("gate", gate.to_string().as_bytes()).await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_cannot_read_the_gate_leaves_the_holds_as_they_are() {
    let world = world();
    hold(&world, "dev").await;
    world.crash().await;
    // All reads but the first, which is that of the record.
    world.faults.fail_nth(Op::Get, 2);
    world.faults.fail_next(Op::Get, 9);
    fail_another(&world).await;
    world.faults.clear();
    world.crash().await;
    assert_eq!(push(&world, "evt_1").await["status"], "dead-lettered");
}

#[tokio::test(start_paused = true)]
async fn a_hold_counts_whatever_the_clock_of_the_node_that_wrote_it() {
    for by in [20_000, 3_600_000] {
        let world = world();
        hold(&world, "dev").await;
        restamp(&world, by).await;
        world.crash().await;
        assert_eq!(push(&world, "evt_1").await["status"], "dead-lettered");
        fail_another(&world).await;
        world.crash().await;
        assert_eq!(push(&world, "evt_2").await["status"], "dead-lettered");
        restamp(&world, by).await;
        world.crash().await;
        let reply = ask(&world, "DELETE", "/projects/dev/hold").await;
        assert_eq!(reply.json()["held"], false);
        world.crash().await;
        assert_eq!(push(&world, "evt_3").await["status"], "delivered");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_another_node_overwrites_is_written_again() {
    let world = world();
    let overwritten = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        // This instance reads the hold back, before an older state replaces it.
        fail_another(&world).await;
        let stored = world.stored("gate").await.expect("a gate");
        let mut gate: Value = serde_json::from_slice(&stored).expect("JSON");
        assert_eq!(gate["held"], json!(["dev"]));
        gate["held"] = json!([]);
        world.put("gate", gate.to_string().as_bytes()).await;
        restamp(&world, -10).await;
    };
    tokio::join!(hold(&world, "dev"), overwritten);
    let node = world.node(&Setup::new());
    assert_eq!(push(&node, "evt_1").await["status"], "dead-lettered");
}

#[tokio::test(start_paused = true)]
async fn only_valid_projects_are_held_and_not_too_many() {
    let world = world();
    for project in ["app_1", "a%20b", "%2e%2e"] {
        let reply = ask(&world, "PUT", &format!("/projects/{project}/hold")).await;
        reply.assert_final_problem(422, "invalid-request");
    }
    for number in 0..64 {
        hold(&world, &format!("p{number}")).await;
    }
    let reply = ask(&world, "PUT", "/projects/more/hold").await;
    reply.assert_final_problem(422, "invalid-request");
    let reply = ask(&world, "POST", "/projects/dev/hold").await;
    assert_eq!(reply.header("allow"), Some("PUT, DELETE"));
}
