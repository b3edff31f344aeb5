//! How large a body may be, in every form, and what happens to one that is too large.

use std::time::Duration;

use futures::future::join_all;

use fake_svix::Fault;

use crate::support::{Setup, World, ask, event, wrapped};

/// An event of exactly so many bytes.
fn event_of(bytes: usize) -> String {
    let empty = r#"{"id":"evt_1","type":"t","project":"dev","x":""}"#;
    let rest = "x".repeat(bytes - empty.len());
    empty.replace(r#""x":"""#, &format!(r#""x":"{rest}""#))
}

/// Another node with a lower limit.
fn lowered(world: &World) -> World {
    let mut setup = Setup::new();
    setup.variables.insert("max_body_bytes", "10000");
    world.node(&setup)
}

/// A push with the most that Pub/Sub allows beside the data, escaped in the worst way.
fn with_attributes(data: &[u8]) -> String {
    let plain = wrapped(data);
    let control = r"\u0001";
    let (name, value) = (control.repeat(254), control.repeat(1_024));
    let attributes = (10..110).map(|number| format!(r#""{name}{number}":"{value}""#));
    let attributes: Vec<_> = attributes.collect();
    let attributes = attributes.join(",");
    let push = plain.replace(r#""k":"v""#, &attributes);
    assert!(push.len() > plain.len() + 700_000);
    push
}

#[tokio::test(start_paused = true)]
async fn attributes_do_not_count_against_the_largest_event() {
    for letters in ["store", "reject"] {
        let world = World::with(&[("dead_letters", letters), ("max_body_bytes", "100000")]);
        let largest = with_attributes(event_of(100_000).as_bytes());
        let reply = world.post(&largest).await.json();
        assert_eq!(reply["status"], "delivered", "{letters}: {reply}");
    }
    let world = World::with(&[("max_body_bytes", "100000")]);
    let larger = with_attributes(event_of(100_001).as_bytes());
    world.post(&larger).await.assert_became("dead-lettered");
}

#[tokio::test(start_paused = true)]
async fn the_largest_message_of_pubsub_is_kept_and_acknowledged() {
    let world = World::new();
    // Attributes and data together have 10 MB.
    let push = with_attributes(&vec![0xff; 9_870_000]);
    assert!(push.len() > 13_900_000, "{}", push.len());
    world.post(&push).await.assert_became("dead-lettered");
}

#[tokio::test(start_paused = true)]
async fn a_direct_post_is_refused_as_soon_as_it_passes_its_own_limit() {
    let world = World::with(&[("max_body_bytes", "100000")]);
    assert_eq!(world.post(&event_of(100_000)).await.status, 200);
    for body in [event_of(100_001), "x".repeat(5_000_000), "[".repeat(5_000_000)] {
        let reply = world.post(&body).await;
        reply.assert_final_problem(413, "body-too-large");
        let reply = world.post_chunked(&body).await;
        reply.assert_final_problem(413, "body-too-large");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_large_by_now_is_looked_up_before_it_is_judged() {
    let large = event_of(50_000);
    let world = World::with(&[("max_body_bytes", "100000"), ("admin_token", "hush")]);
    world.faults.lose_next_set();
    world.post(&large).await.assert_became("delivered");

    let lowered = lowered(&world);
    lowered.push(&large).await.assert_became("delivered");
    lowered.push(&large).await.assert_became("duplicate");
    world.only_message();
    let new = large.replace("evt_1", "evt_2");
    lowered.push(&new).await.assert_kept_as(1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_large_by_now_comes_back_while_svix_may_still_store_it() {
    let push = wrapped(event_of(50_000));
    let world = World::with(&[("max_body_bytes", "100000")]);
    world.svix.always(Fault::HangBeforeStoring);
    assert_eq!(world.post(&push).await.status, 503);
    world.svix.clear_faults();

    let lowered = lowered(&world);
    let early = lowered.post(&push).await;
    early.assert_retryable_problem(503, "svix-unavailable");
    world.clock.advance(Duration::from_mins(1));
    lowered.post(&push).await.assert_became("dead-lettered");
}

#[tokio::test(start_paused = true)]
async fn a_large_body_of_control_characters_is_kept_and_shown() {
    let world = World::with(&[("admin_token", "hush")]);
    let data = "\\u0001".repeat(1_800_000);
    let push = format!(r#"{{"message":{{"data":"{data}"}}}}"#);
    world.post(&push).await.assert_became("dead-lettered");
    let raw = "\u{1}".repeat(10_000_000);
    let headers = [("x-goog-pubsub-message-id", "7")];
    let kept = world.post_with(&headers, &raw).await;
    kept.assert_became("dead-lettered");
    let letter = ask(&world, "GET", "/dead-letters/2").await;
    assert!(letter.ok().json()["bodyBase64"].is_string());
    // The instance lives.
    assert_eq!(world.post(&event("evt_1")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_instance_takes_no_more_large_bodies_than_it_has_room_for() {
    let world = World::new();
    let bodies: Vec<_> = (0..6)
        .map(|number| {
            let mut data = vec![0xff; 8_000_000];
            data.push(number);
            wrapped(&data)
        })
        .collect();
    let posts = bodies.iter().map(|body| world.post(body));
    let replies = join_all(posts).await;
    let (kept, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert!(!kept.is_empty());
    for reply in refused {
        reply.assert_retryable_problem(503, "overloaded");
    }
    for body in &bodies {
        assert_eq!(world.post(body).await.status, 200, "there is room again");
    }
}
