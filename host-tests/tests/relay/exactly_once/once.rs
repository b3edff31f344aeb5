//! One event, one message: duplicates at once, crashes between any two steps, records that are
//! lost or broken, and Svix's own memory running out.

use std::time::Duration;

use futures::future::join_all;
use http::Method;
use serde_json::json;

use fake_svix::Fault;
use host::Op;

use super::methods;
use crate::support::{Setup, World, assert_fields, event, start, wrapped};

/// The name of the record of the event `evt_1`: `printf 'dev\0evt_1' | sha256sum`.
const RECORD: &str = "record/193e465eef8b7ffec290ebb03ed5391f528a1474ee89d4089e611e77e4ee7e50";

#[tokio::test(start_paused = true)]
async fn sixteen_deliveries_at_once_are_one_message_in_one_instance_and_in_many() {
    let mut one_each = Setup::new();
    one_each.reuse.max_concurrent = 1;
    for setup in [Setup::new(), one_each] {
        let world = World::build(&setup);
        world.svix.set_latency(Duration::from_millis(50));
        let event = event("evt_1");
        let replies = join_all((0..16).map(|_| world.post(&event))).await;
        let id = world.only_message().id;
        for reply in replies {
            assert_eq!(reply.ok().json()["svixMessageId"], id.as_str());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_the_answer_of_svix_and_the_record_is_one_message() {
    let world = World::new();
    // The process dies while the record's write is on its way.
    world.faults.hang_next(Op::Set);
    let event = event("evt_1");
    let written = |world: &World| world.faults.count(Op::Set) == 1;
    let cut = world.post_and_crash_when(&event, written).await;
    assert_ne!(cut, Some(200));
    let id = world.only_message().id;
    assert_eq!(world.records().await.len(), 0);

    let reply = world.post(&event).await.json();
    assert_fields(&reply, &json!({"status": "delivered", "svixMessageId": id}));
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_svix_has_lost_is_stored_anew_though_svix_knows_the_key() {
    for without_record in [true, false] {
        let world = World::new();
        let event = event("evt_1");
        if without_record {
            world.faults.lose_next_set();
            world.post(&event).await.assert_became("delivered");
        } else {
            world.svix.always(Fault::HangAfterStoring);
            assert_eq!(world.post(&event).await.status, 503);
            world.svix.clear_faults();
        }
        let lost = world.only_message().id;
        world.svix.forget_message(&lost);
        world.clock.advance(Duration::from_mins(719));

        let reply = world.post(&event).await.json();
        let id = world.only_message().id;
        assert_fields(&reply, &json!({"status": "delivered", "svixMessageId": id}));
        assert_ne!(id, lost);
        world.post(&event).await.assert_became("duplicate");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_message_is_noticed_by_the_clock_of_svix() {
    let off = Duration::from_hours(13);
    for its_start in [start() - off, start() + off] {
        let world = World::with_svix_clock(&Setup::new(), its_start);
        world.faults.lose_next_set();
        world.post(&event("evt_1")).await.assert_became("delivered");
        assert_eq!(methods(&world), ["POST"], "a new message needs no lookup");
        world.svix.forget_message(&world.only_message().id);
        world.clock.advance(Duration::from_mins(10));
        world.post(&event("evt_1")).await.assert_became("delivered");
        world.only_message();
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_the_new_post_of_a_lost_message_is_one_message() {
    let world = World::new();
    let event = event("evt_1");
    world.faults.lose_next_set();
    world.post(&event).await.assert_became("delivered");
    world.svix.forget_message(&world.only_message().id);
    for _ in 0..2 {
        world.clock.advance(Duration::from_mins(10));
        world.faults.lose_next_set();
        world.post(&event).await.assert_became("delivered");
        world.only_message();
    }
}

#[tokio::test(start_paused = true)]
async fn the_message_of_an_earlier_request_is_looked_up_and_not_posted_again() {
    let world = World::new();
    let event = event("evt_1");
    world.faults.lose_next_set();
    let first = world.post(&event).await.json();
    world.clock.advance(Duration::from_secs(4));
    let again = world.post(&event).await.json();
    assert_eq!(again["svixMessageId"], first["svixMessageId"]);
    assert_eq!(methods(&world), ["POST", "POST", "GET"]);
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn the_message_of_an_earlier_attempt_of_the_same_request_needs_no_lookup() {
    let world = World::new();
    world.svix.script([Fault::HangAfterStoring]);
    world.post(&event("evt_1")).await.assert_became("delivered");
    assert_eq!(methods(&world), ["POST", "POST"]);
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_lookups_do_not_show_yet_is_neither_doubled_nor_a_dead_letter() {
    let world = World::new();
    let push = wrapped(event("evt_1"));
    world.faults.lose_next_set();
    world.post(&push).await.assert_became("delivered");
    world.clock.advance(Duration::from_secs(10));
    world.svix.always_for(&Method::GET, Fault::status(404));
    for faults in [vec![], vec![Fault::None, Fault::status(422)]] {
        world.svix.script_for(&Method::POST, faults);
        let reply = world.post(&push).await;
        reply.assert_retryable_problem(503, "svix-unavailable");
    }
    world.svix.clear_faults();
    world.post(&push).await.assert_became("delivered");
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn a_svix_that_loses_each_message_is_asked_a_few_times_only() {
    let world = World::new();
    let push = wrapped(event("evt_1"));
    let old = r#"{"id":"msg_1","eventId":"evt_1","timestamp":"2026-11-23T13:00:00Z"}"#;
    let answer = |body: &str| Fault::Page {
        status: 202,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_owned(),
    };
    world.svix.always_for(&Method::POST, answer(old));
    let reply = world.post(&push).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    assert_eq!(world.svix.requests().len(), 8);

    // Svix keeps no answer for so long, so this time doesn't say when the message was stored.
    let ancient = old.replace("2026", "2019");
    world.svix.always_for(&Method::POST, answer(&ancient));
    let ancient = wrapped(event("evt_1").replace(r#""dev""#, r#""acme""#));
    world.post(&ancient).await.assert_became("delivered");
    assert_eq!(world.svix.requests().len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_without_a_message_is_posted_again() {
    let world = World::new();
    world.svix.script([Fault::RaceToCreateApplication]);
    let reply = world.post(&event("evt_1")).await.json();
    assert_fields(&reply, &json!({"status": "delivered", "attempts": 2}));
    assert_eq!(methods(&world), ["POST", "GET", "POST"]);
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn a_conflict_leaves_the_outcome_unknown_while_the_lookup_fails() {
    let world = World::new();
    let event = event("evt_1");
    world.svix.create_application("dev");
    world.svix.store_message("dev", "evt_1", "t", "{}");
    world.svix.always_for(&Method::GET, Fault::status(500));
    let reply = world.post(&event).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    let record = world.get("/notifications/dev/evt_1").await.json();
    assert_eq!(record["state"], "unknown");

    world.svix.clear_faults();
    world.post(&event).await.assert_became("delivered");
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_fails_does_not_undo_one_that_succeeded() {
    let world = World::new();
    let event = event("evt_1");
    // The answer to the first is late enough for the second to begin, and to end after it.
    world.svix.script([Fault::Delay { millis: 100 }]);
    world.svix.always(Fault::ResetBeforeStoring);
    let (through, failed) = tokio::join!(world.post(&event), world.post(&event));
    through.assert_became("delivered");
    failed.assert_became("duplicate");
    world.post(&event).await.assert_became("duplicate");
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_svix_has_is_found_although_svix_now_refuses_its_event() {
    let world = World::new();
    let event = event("evt_1");
    // The relay died before it could write down that it had posted this.
    let kind = "user.created";
    let message = world.svix.store_message("dev", "evt_1", kind, &event);
    for status in [400, 413, 422] {
        let refused = Fault::status(status);
        world.svix.script_for(&Method::POST, [refused]);
        world.remove(RECORD).await;
        let reply = world.push(&event).await.json();
        assert_fields(&reply, &json!({"status": "delivered", "svixMessageId": message}));
    }
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn a_refused_event_is_no_dead_letter_while_svix_may_still_store_it() {
    let world = World::new();
    let push = wrapped(event("evt_1"));
    let faults = [500, 422].map(Fault::status);
    world.svix.script_for(&Method::POST, faults);
    let reply = world.post(&push).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    world.clock.advance(Duration::from_mins(1));
    world.svix.script_for(&Method::POST, [Fault::status(422)]);
    world.post(&push).await.assert_became("dead-lettered");
    assert_eq!(world.svix.messages().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn svix_gets_the_same_time_for_an_attempt_at_the_end_of_a_long_budget() {
    let budget =
        [("retry_budget_ms", "120000"), ("svix_timeout_ms", "60000"), ("retry_max_attempts", "2")];
    let world = World::with(&budget);
    let push = wrapped(event("evt_1"));
    world.svix.always(Fault::HangBeforeStoring);
    assert_eq!(world.post(&push).await.status, 503);
    world.svix.clear_faults();
    world.svix.script_for(&Method::POST, [Fault::status(422)]);
    let early = world.post(&push).await;
    early.assert_retryable_problem(503, "svix-unavailable");
    world.clock.advance(Duration::from_mins(1));
    world.svix.script_for(&Method::POST, [Fault::status(422)]);
    world.post(&push).await.assert_became("dead-lettered");
}

#[tokio::test(start_paused = true)]
async fn a_refused_event_whose_lookup_fails_stays_with_its_sender() {
    let world = World::new();
    let push = wrapped(event("evt_1"));
    world.svix.script_for(&Method::POST, [Fault::status(422)]);
    world.svix.always_for(&Method::GET, Fault::status(500));
    let reply = world.post(&push).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    assert_eq!(world.records().await.len(), 0, "Svix has answered the post");
    world.svix.clear_faults();
    world.clock.advance(Duration::from_mins(1));
    world.post(&push).await.assert_became("delivered");
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_svix_stores_late_is_found_however_the_next_posts_end() {
    for status in [422, 409, 500] {
        let world = World::new();
        let push = wrapped(event("evt_1"));
        // Svix takes the first post, and stores its message half a minute later.
        let hang = Fault::HangBeforeStoring;
        world.svix.script_for(&Method::POST, [hang]);
        world.svix.always_for(&Method::POST, Fault::status(status));
        let reply = world.post(&push).await;
        assert_eq!(reply.status, 503, "{}", reply.text());
        world.clock.advance(Duration::from_secs(30));
        world.svix.store_message("dev", "evt_1", "user.created", &event("evt_1"));
        world.post(&push).await.assert_became("delivered");
        world.only_message();
        world.post(&push).await.assert_became("duplicate");
    }
}
