//! Records about which Svix fails are put off, hold up no others, and are compared later.

use http::Method;
use serde_json::json;

use fake_svix::{Fault, RetryAfter, Target};
use host::Op;

use super::{HOUR, audit, deliver_at_the_second_post, findings, grow_old, page, slice};
use crate::support::{World, ask, assert_fields, post, world};

#[tokio::test(start_paused = true)]
async fn a_message_whose_endpoints_svix_fails_to_show_is_put_off_for_a_day() {
    let answers = [Fault::status(500), Fault::page(404), page(200, "{}"), Fault::HangBeforeStoring];
    for answer in answers {
        let world = deliver_at_the_second_post(false, |_, _| {}).await;
        world.svix.always_at(Target::Deliveries, answer.clone());
        let first = slice(&world).await;
        assert_fields(&first, &json!({"events": 0, "putOff": 1}));
        for _ in 0..22 {
            assert_eq!(audit(&world).await, (0, 0), "{answer:?}");
            grow_old(&world).await;
        }
        world.clock.advance(HOUR);
        assert_eq!(audit(&world).await, (1, 0), "{answer:?}");
        grow_old(&world).await;
        assert_eq!(audit(&world).await, (0, 0), "counted once");

        let world = deliver_at_the_second_post(false, |_, _| {}).await;
        world.svix.always_at(Target::Deliveries, answer);
        assert_eq!(audit(&world).await, (0, 0));
        grow_old(&world).await;
        world.svix.clear_faults();
        assert_eq!(audit(&world).await, (0, 1));
        assert_eq!(findings(&world).await, ["unsent evt_1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_audit_goes_on_if_svix_never_shows_endpoints() {
    let unknown_path = page(404, "");
    for answer in [Fault::status(403), Fault::status(404), unknown_path] {
        let world = deliver_at_the_second_post(false, |_, _| {}).await;
        world.svix.always_at(Target::Deliveries, answer);
        assert_eq!(audit(&world).await, (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn each_record_that_is_put_off_counts() {
    let world = World::with(&[("admin_token", "hush"), ("retry_base_delay_ms", "1")]);
    for id in ["evt_1", "evt_2"] {
        world.svix.script_for(&Method::POST, [Fault::status(500)]);
        post(&world, id).await;
    }
    grow_old(&world).await;
    world.svix.always_at(Target::Deliveries, page(200, "{}"));
    assert_eq!(slice(&world).await["putOff"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_the_store_fails_to_name_again_is_compared_by_the_next_slice() {
    let world = deliver_at_the_second_post(false, |_, _| {}).await;
    world.svix.always_at(Target::Deliveries, page(200, "{}"));
    world.faults.journal().fail_next(Op::Set, 1);
    let reply = ask(&world, "POST", "/maintenance/audit").await;
    reply.assert_retryable_problem(503, "store-failing");
    world.svix.clear_faults();
    assert_eq!(audit(&world).await, (0, 1));
    assert_eq!(findings(&world).await, ["unsent evt_1"]);
}

#[tokio::test(start_paused = true)]
async fn all_records_are_named_again_if_they_are_more_than_a_page() {
    let world = World::with(&[("admin_token", "hush"), ("retry_base_delay_ms", "1")]);
    for number in 0..257 {
        world.svix.script_for(&Method::POST, [Fault::status(500)]);
        post(&world, &format!("evt_{number}")).await;
    }
    grow_old(&world).await;
    world.svix.always_at(Target::Deliveries, page(200, "{}"));
    assert_eq!(audit(&world).await, (0, 0));
    world.svix.clear_faults();
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (257, 0));
}

#[tokio::test(start_paused = true)]
async fn an_audit_stops_if_svix_limits_it_while_it_asks_for_endpoints() {
    let world = deliver_at_the_second_post(false, |_, _| {}).await;
    let limited = Fault::retry_after(429, RetryAfter::Seconds(30));
    world.svix.script_at(Target::Deliveries, [limited]);
    let reply = ask(&world, "POST", "/maintenance/audit").await;
    reply.assert_retryable_problem(429, "rate-limited");
    assert_eq!(audit(&world).await, (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_fails_holds_up_no_other_and_comes_again() {
    let world = World::with(&[("admin_token", "hush"), ("retry_max_attempts", "1")]);
    for id in ["evt_1", "evt_2"] {
        post(&world, id).await;
        world.svix.forget_message(&world.message(id).id);
    }
    grow_old(&world).await;
    world.svix.script_for(&Method::GET, [Fault::status(500)]);
    assert_fields(&slice(&world).await, &json!({"found": 1, "putOff": 1, "done": true}));
    assert_eq!(world.lines_with("put off: 1").len(), 1);
    grow_old(&world).await;
    assert_eq!(audit(&world).await, (0, 1));
    assert_eq!(audit(&world).await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn lookups_that_always_fail_stop_no_audit() {
    for lists_fail in [false, true] {
        let world = world();
        for id in ["evt_1", "evt_2"] {
            post(&world, id).await;
            world.svix.forget_message(&world.message(id).id);
        }
        grow_old(&world).await;
        world.svix.always_for(&Method::GET, Fault::status(500));
        if lists_fail {
            let fault = Fault::status(500);
            world.svix.always_at(Target::MessageLists, fault);
        }
        // One record is put off in each slice.
        let reply = ask(&world, "POST", "/maintenance/audit").await;
        reply.assert_retryable_problem(503, "svix-unavailable");
        let mut slices = 1;
        while ask(&world, "POST", "/maintenance/audit").await.status != 200 {
            slices += 1;
            assert!(slices < 4, "the audit stands still");
        }
        assert_eq!(audit(&world).await, (0, 0));
        world.svix.clear_faults();
        grow_old(&world).await;
        assert_eq!(audit(&world).await, (0, 2));
    }
}
