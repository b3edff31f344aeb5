//! Retries within one request: how many, how long, and with which headers.

use std::collections::BTreeSet;
use std::time::Duration;

use fake_svix::{Fault, ReceivedRequest, RetryAfter};

use crate::support::{Setup, World, event, start};

/// How far Svix's clock may be off.
const HOURS: Duration = Duration::from_hours(3);

#[tokio::test(start_paused = true)]
async fn all_attempts_are_equal_except_for_their_count() {
    let world = World::new();
    let faults = [Fault::status(500), Fault::ResetAfterStoring];
    world.svix.script(faults);
    let reply = world.post(&event("evt_1")).await;
    assert_eq!(reply.json()["attempts"], 3);

    let requests = world.svix.requests();
    for request in &requests {
        assert_eq!((&request.path, &request.body), (&requests[0].path, &requests[0].body));
        for name in ["idempotency-key", "svix-req-id", "authorization"] {
            let first = requests[0].header(name).expect(name);
            assert_eq!(request.header(name), Some(first), "{name}");
        }
    }
    let count = |request: &ReceivedRequest| request.header("svix-retry-count").map(str::to_owned);
    let counts: Vec<_> = requests.iter().map(count).collect();
    assert_eq!(counts, [None, Some("1".to_owned()), Some("2".to_owned())]);
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn waits_are_jittered_and_bounded() {
    let world = World::new();
    let mut waits = BTreeSet::new();
    for number in 0..20 {
        world.svix.script([Fault::status(500)]);
        let event = event(&format!("evt_{number}"));
        let (reply, took) = world.timed(world.post(&event)).await;
        assert_eq!(reply.status, 200);
        assert!(took <= Duration::from_millis(101), "{took:?}");
        waits.insert(took);
    }
    assert!(waits.len() > 5, "too few different waits: {waits:?}");
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded() {
    let world = World::with(&[("retry_max_attempts", "2")]);
    world.svix.always(Fault::status(500));
    let reply = world.post(&event("evt_1")).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    assert_eq!(world.svix.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_retry_budget_bounds_the_whole_request() {
    let world = World::new();
    world.svix.always(Fault::HangBeforeStoring);
    let (reply, took) = world.timed(world.post(&event("evt_1"))).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    // Two attempts of 3 s, then one with what is left of 8 s.
    assert_eq!(world.svix.requests().len(), 3);
    let expected = Duration::from_millis(7_900)..=Duration::from_millis(8_001);
    assert!(expected.contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_when_it_fits_into_the_budget() {
    let world = World::new();
    for (retry_after, at_least) in [(RetryAfter::Seconds(3), 3_000), (RetryAfter::Date(3), 2_000)] {
        for status in [429, 503] {
            let limit = Fault::retry_after(status, retry_after.clone());
            world.svix.script([limit]);
            let id = format!("evt_{at_least}_{status}");
            let (reply, took) = world.timed(world.post(&event(&id))).await;
            assert_eq!(reply.json()["attempts"], 2);
            let expected = Duration::from_millis(at_least)..=Duration::from_millis(3_001);
            assert!(expected.contains(&took), "{took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_date_in_retry_after_is_read_by_the_clock_of_svix() {
    for its_start in [start() - HOURS, start() + HOURS] {
        let world = World::with_svix_clock(&Setup::new(), its_start);
        let pause = RetryAfter::Date(3);
        world.svix.script([Fault::retry_after(429, pause)]);
        let (reply, took) = world.timed(world.post(&event("evt_1"))).await;
        assert_eq!(reply.json()["attempts"], 2, "{}", reply.text());
        assert!((2..=3).contains(&took.as_secs()), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_beyond_the_budget_is_passed_on_to_the_sender() {
    for status in [429, 503] {
        let world = World::new();
        let limit = Fault::retry_after(status, RetryAfter::Seconds(8));
        world.svix.script([limit]);
        let (reply, took) = world.timed(world.post(&event("evt_1"))).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("retry-after"), Some("8"));
        assert!(took < Duration::from_millis(10), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reply_of_svix_is_cut_off_after_its_time() {
    let world = World::new();
    world.svix.script([Fault::Delay { millis: 60_000 }]);
    let (reply, took) = world.timed(world.post(&event("evt_1"))).await;
    assert_eq!(reply.json()["attempts"], 2);
    let expected = Duration::from_secs(3)..=Duration::from_millis(3_101);
    assert!(expected.contains(&took), "{took:?}");
    world.only_message();
}
