//! The gate shares the state of Svix among notifications: within an instance, over instances, and through
//! the store.

use std::time::Duration;

use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};

use fake_svix::{Fault, RetryAfter};
use host::Op;

use crate::support::{
    NOWHERE, Setup, World, ask, assert_contains, assert_fields, event, event_of, post, post_of,
};

/// Closes the gate for so many seconds.
async fn rate_limit(world: &World, seconds: u64) {
    let fault = Fault::retry_after(429, RetryAfter::Seconds(seconds));
    world.svix.script([fault]);
    let reply = world.post(&event("evt_limited")).await;
    reply.assert_retryable_problem(429, "rate-limited");
}

fn events(number: usize) -> Vec<String> {
    let event = |number| event(&format!("evt_{number}"));
    (0..number).map(event).collect()
}

async fn gate_state(world: &World) -> Value {
    world.get("/readyz").await.json()["gate"]["state"].clone()
}

/// A world in which every request has an instance of its own, as on many nodes.
fn nodes() -> World {
    let mut setup = Setup::new();
    setup.reuse.max_requests = 1;
    World::build(&setup)
}

/// Has 40 events of four projects delivered within ten seconds, and returns how many posts Svix got.
async fn round(world: &World) -> usize {
    let before = world.svix.requests().len();
    let deliveries = (0..40).map(async |number| {
        tokio::time::sleep(Duration::from_millis(250 * number)).await;
        let project = format!("\"p{}\"", number % 4);
        let event = event(&format!("evt_{number}")).replace("\"dev\"", &project);
        world.push(&event).await
    });
    join_all(deliveries).await;
    let requests = world.svix.requests().into_iter().skip(before);
    requests.filter(|it| it.method == Method::POST).count()
}

/// Lookups show that Svix can be read, and not that it takes messages.
#[tokio::test(start_paused = true)]
async fn lookups_that_succeed_open_no_gate() {
    let world = World::new();
    world.svix.always_for(&Method::POST, Fault::status(500));
    round(&world).await;
    for _ in 0..10 {
        world.clock.advance(Duration::from_secs(10));
        tokio::time::sleep(Duration::from_secs(10)).await;
        let posts = round(&world).await;
        // The waits are random. If the lookups opened the gate, there would be more than ten posts.
        assert!(posts <= 8, "{posts}");
    }
    assert_eq!(world.lines_with("gate-opened"), [""; 0]);
    world.svix.clear_faults();
    tokio::time::sleep(Duration::from_mins(1)).await;
    round(&world).await;
    assert_eq!(gate_state(&world).await, "open");
}

#[tokio::test(start_paused = true)]
async fn a_found_message_ends_a_run_of_failures() {
    let world = World::with(&[("retry_max_attempts", "1")]);
    world.svix.create_application("dev");
    for number in 0..40 {
        let id = format!("evt_{number}");
        world.svix.store_message("dev", &id, "user.created", "{}");
    }
    world.clock.advance(Duration::from_hours(13));
    let faults = [Fault::status(500), Fault::None, Fault::None, Fault::None];
    let faults = faults.iter().cycle().take(40).cloned();
    world.svix.script_for(&Method::GET, faults);
    for number in 0..40 {
        let reply = world.post(&event(&format!("evt_{number}"))).await;
        let status = if number % 4 == 0 { 503 } else { 200 };
        assert_eq!(reply.status, status, "{number}: {}", reply.text());
    }
    assert_eq!(gate_state(&world).await, "open");
}

/// Fails five events. Then Svix is well, and the next event is the probe.
async fn close_gate_until_a_probe_is_due(world: &World, fault: Fault) {
    world.svix.always_for(&Method::POST, fault);
    for number in 0..5 {
        world.post(&event(&format!("evt_{number}"))).await;
    }
    world.svix.clear_faults();
    assert_eq!(gate_state(world).await, "closed");
    tokio::time::sleep(Duration::from_secs(40)).await;
}

/// The probe's message is in Svix already: Svix finds it by a lookup, or answers from its memory.
#[tokio::test(start_paused = true)]
async fn a_probe_whose_message_svix_has_makes_way_for_the_next_event() {
    for (probe, fault) in [("evt_0", Fault::ResetAfterStoring), ("evt_old", Fault::status(500))] {
        let world = World::new();
        world.faults.lose_next_set();
        post(&world, "evt_old").await;
        close_gate_until_a_probe_is_due(&world, fault).await;
        post(&world, probe).await;
        assert_eq!(gate_state(&world).await, "closed", "{probe}");
        post(&world, "evt_new").await;
        assert_eq!(gate_state(&world).await, "open", "{probe}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_stops_other_events_at_once() {
    for world in [World::new(), nodes()] {
        rate_limit(&world, 30).await;
        let (reply, took) = world.timed(world.post(&event("evt_1"))).await;
        let wait = reply.assert_retryable_problem(429, "rate-limited");
        assert!((30..=38).contains(&wait), "{wait}");
        assert!(took < Duration::from_millis(10), "{took:?}");
        // Svix has heard of one event only.
        assert_eq!(world.svix.requests().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_goes_out_every_minute_whatever_svix_asks_for() {
    let world = World::new();
    rate_limit(&world, 3_600).await;
    let limit = Fault::retry_after(429, RetryAfter::Seconds(3_600));
    world.svix.script([limit]);
    world.clock.advance(Duration::from_mins(1));
    let reply = world.post(&event("evt_1")).await;
    let wait = reply.assert_retryable_problem(429, "rate-limited");
    assert!(wait >= 60, "{wait}");
    assert_eq!(world.svix.requests().len(), 2, "the probe met the limit");
    let reply = world.post(&event("evt_1")).await;
    reply.assert_retryable_problem(429, "rate-limited");
    assert_eq!(world.svix.requests().len(), 2);
    world.clock.advance(Duration::from_mins(1));
    world.post(&event("evt_1")).await.assert_became("delivered");
}

/// Proxies send a `Retry-After` of 0 by default, and a date that has passed on its way.
#[tokio::test(start_paused = true)]
async fn a_retry_after_of_zero_is_treated_as_absent() {
    for status in [429, 503] {
        for wait in [
            None,
            Some(RetryAfter::Seconds(0)),
            Some(RetryAfter::Raw("Mon, 23 Nov 2020 14:12:42 GMT".into())),
        ] {
            let world = World::new();
            world.svix.always(match wait.clone() {
                None => Fault::status(status),
                Some(wait) => Fault::retry_after(status, wait),
            });
            let posts = round(&world).await;
            assert!(posts <= 12, "{status}, {wait:?}: {posts}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_opens_the_gate_for_every_node() {
    let setup = Setup::operated();
    let world = World::build(&setup);
    let other = world.node(&setup);
    rate_limit(&world, 3_600).await;
    let reply = ask(&other, "POST", "/gate/open").await;
    assert_eq!(reply.json()["gate"]["state"], "open");
    tokio::time::sleep(Duration::from_millis(20)).await;
    for world in [&world, &other] {
        assert_eq!(world.post(&event("evt_1")).await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_on_our_own_side_neither_closes_nor_opens_the_gate() {
    let mut setup = Setup::new();
    let world = World::build(&setup);
    setup.variables.insert("svix_url", "http://nowhere.test");
    assert!(setup.variables["svix_url"].ends_with(NOWHERE));
    let cut_off = world.node(&setup);
    for number in 0..8 {
        let reply = cut_off.post(&event(&format!("evt_{number}"))).await;
        reply.assert_retryable_problem(503, "svix-unavailable");
    }
    assert_eq!(gate_state(&world).await, "open");

    rate_limit(&world, 10).await;
    world.clock.advance(Duration::from_secs(11));
    // The event is the probe. When that can't leave, its next attempt finds the gate still closed.
    let reply = cut_off.post(&event("evt_9")).await;
    reply.assert_retryable_problem(429, "rate-limited");
    assert_eq!(gate_state(&world).await, "closed", "the probe never left");
    // The probe's time is over.
    world.clock.advance(Duration::from_secs(11));
    assert_eq!(world.post(&event("evt_9")).await.status, 200);
    assert_eq!(gate_state(&world).await, "open");
}

#[tokio::test(start_paused = true)]
async fn senders_are_told_to_come_back_at_different_times() {
    let world = World::new();
    rate_limit(&world, 100).await;
    let mut waits = Vec::new();
    for number in 0..10 {
        let reply = world.post(&event(&format!("evt_{number}"))).await;
        waits.push(reply.assert_retryable_problem(429, "rate-limited"));
    }
    waits.sort_unstable();
    assert!(waits[9] - waits[0] > 5, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn duplicates_and_invalid_events_pass_a_closed_gate() {
    let world = World::new();
    world.post(&event("evt_1")).await;
    rate_limit(&world, 30).await;
    world.post(&event("evt_1")).await.assert_became("duplicate");
    let reply = world.post("{}").await;
    reply.assert_final_problem(422, "invalid-event");
    assert_eq!(world.get("/readyz").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_for_the_short_rest_of_a_closing() {
    let world = World::new();
    rate_limit(&world, 10).await;
    world.clock.advance(Duration::from_millis(9_500));
    let (reply, took) = world.timed(world.post(&event("evt_1"))).await;
    reply.assert_became("delivered");
    let expected = Duration::from_millis(500)..Duration::from_millis(800);
    assert!(expected.contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn when_the_gate_opens_a_few_probe_and_then_all_pass() {
    let world = World::new();
    rate_limit(&world, 10).await;
    world.clock.advance(Duration::from_secs(10));
    world.svix.set_latency(Duration::from_millis(100));
    let events = events(16);
    let posts = join_all(events.iter().map(|event| world.post(event)));
    let early = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.svix.requests().len() - 1
    };
    let (replies, probes) = tokio::join!(posts, early);
    assert!((1..=3).contains(&probes), "{probes} probes");
    let delivered = replies.iter().filter(|reply| reply.status == 200).count();
    assert!(delivered >= 1);
    for event in &events {
        assert_eq!(world.post(event).await.status, 200);
    }
    assert_eq!(world.svix.messages().len(), 16);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_closes_the_gate_for_longer() {
    // One attempt for each event: a second one could become the next probe.
    let world = World::with(&[("retry_max_attempts", "1")]);
    rate_limit(&world, 10).await;
    world.svix.always(Fault::status(503));
    let mut waits = Vec::new();
    for number in 0..7 {
        let (_, rest) = gate(&world).await.expect("closed");
        world.clock.advance(Duration::from_secs_f64(rest));
        world.post(&event(&format!("evt_{number}"))).await;
        waits.push(gate(&world).await.expect("closed still").1);
    }
    // Each closing is twice as long, up to half a minute, and up to half of it is taken off at random.
    for (wait, longest) in waits.iter().zip([2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]) {
        assert!((longest / 2.0 - 0.1..=longest).contains(wait), "{waits:?}");
    }
    let seen = world.svix.requests().len();
    assert!(seen <= 1 + 2 * 7, "{seen} requests for 7 probes");

    world.svix.clear_faults();
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(world.post(&event("evt_last")).await.status, 200);
    assert_eq!(gate(&world).await, None);
}

/// Why the gate is closed and for how many seconds, as `/readyz` tells it.
async fn gate(world: &World) -> Option<(String, f64)> {
    // A closed gate is no reason to be taken out of service.
    let reply = world.get("/readyz").await.ok();
    let gate = &reply.json()["gate"];
    (gate["state"] == "closed").then(|| {
        let reason = gate["reason"].as_str().expect("a reason").to_owned();
        (reason, gate["seconds"].as_f64().expect("a number"))
    })
}

#[tokio::test(start_paused = true)]
async fn a_run_of_failures_closes_the_gate() {
    let world = World::new();
    world.svix.always(Fault::status(500));
    let reply = world.post(&event("evt_1")).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    assert_eq!(gate(&world).await, None, "all failures are of one event");
    let reply = world.post(&event("evt_2")).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    let (reason, _) = gate(&world).await.expect("closed");
    assert_eq!(reason, "svix-unavailable");

    let before = world.svix.requests().len();
    for number in 3..20 {
        let reply = world.post(&event(&format!("evt_{number}"))).await;
        reply.assert_retryable_problem(503, "svix-unavailable");
    }
    let after = world.svix.requests().len();
    assert!(after - before <= 6, "{before}..{after} for 17 events");
}

/// An event of the project `sick`.
fn of_sick(id: &str) -> String {
    event_of("sick", id)
}

#[tokio::test(start_paused = true)]
async fn while_one_project_fails_only_its_events_wait() {
    for world in [World::new(), nodes()] {
        world.svix.always(Fault::status(500));
        for number in 0..3 {
            let id = format!("evt_{number}");
            let reply = world.post(&of_sick(&id)).await;
            reply.assert_retryable_problem(503, "svix-unavailable");
        }
        world.svix.clear_faults();
        let asked = world.svix.requests().len();
        let standing = world.get("/readyz").await.json()["gate"].clone();
        assert_fields(&standing, &json!({"state": "closed", "project": "sick"}));
        world.post(&event("evt_9")).await.assert_became("delivered");
        assert_eq!(world.svix.requests().len(), asked + 1);
        // Its next event is the probe, once the closing is over.
        world.clock.advance(Duration::from_secs(30));
        post_of(&world, "sick", "evt_0").await;
        assert_eq!(gate_state(&world).await, "open");
        let closed = world.lines_with("gate-closed").remove(0);
        assert_contains(&closed, r#""project":"sick""#);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bulk_replay_goes_on_behind_letters_of_a_project_that_waits() {
    let setup = Setup::operated();
    let world = World::build(&setup);
    for body in [of_sick("evt_8"), event("evt_9")] {
        world.svix.script([Fault::status(422)]);
        world.push(&body).await.assert_became("dead-lettered");
    }
    world.svix.always(Fault::status(500));
    for number in 0..3 {
        world.post(&of_sick(&format!("evt_{number}"))).await;
    }
    world.svix.clear_faults();
    let replayed = ask(&world, "POST", "/dead-letters/replay").await.json();
    assert_fields(&replayed, &json!({"resolved": 1, "failed": 1}));
}

#[tokio::test(start_paused = true)]
async fn a_run_of_failures_closes_the_gate_across_nodes_and_pauses() {
    for (world, pause) in [
        (nodes(), Duration::ZERO),
        // Spin drops an instance after an idle second.
        (World::new(), Duration::from_secs(2)),
    ] {
        world.svix.always(Fault::status(500));
        for number in 0..20 {
            let reply = world.post(&event(&format!("evt_{number}"))).await;
            reply.assert_retryable_problem(503, "svix-unavailable");
            tokio::time::sleep(pause).await;
        }
        let requests = world.svix.requests().len();
        // Five failures close the gate. After that, each closing ends with one probe.
        assert!(requests <= 20, "{requests} requests for 20 events");
        assert!(gate(&world).await.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn many_failures_at_once_on_many_nodes_close_the_gate() {
    let world = nodes();
    world.svix.always(Fault::status(500));
    let events = events(40);
    join_all(events.iter().map(|event| world.post(event))).await;
    let requests = world.svix.requests().len();
    assert!(requests <= 60, "{requests} requests for 40 events");
    assert!(gate(&world).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn while_a_probe_hangs_other_events_are_refused_soon() {
    let world = World::new();
    rate_limit(&world, 10).await;
    world.clock.advance(Duration::from_secs(10));
    world.svix.script([Fault::HangBeforeStoring]);
    let probe = event("evt_probe");
    let probe = world.post(&probe);
    let others = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        for number in 0..2 {
            let event = event(&format!("evt_{number}"));
            let (reply, took) = world.timed(world.post(&event)).await;
            reply.assert_retryable_problem(429, "rate-limited");
            assert!(took < Duration::from_millis(900), "{took:?}");
        }
    };
    let (_, ()) = tokio::join!(probe, others);
}

#[tokio::test(start_paused = true)]
async fn events_that_have_waited_pass_with_the_probe() {
    let world = World::new();
    rate_limit(&world, 10).await;
    world.clock.advance(Duration::from_millis(9_100));
    world.svix.set_latency(Duration::from_millis(100));
    let events = events(16);
    for reply in join_all(events.iter().map(|event| world.post(event))).await {
        reply.assert_became("delivered");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_closing_reaches_every_node() {
    let world = nodes();
    rate_limit(&world, 10).await;
    world.clock.advance(Duration::from_secs(10));
    for number in 0..3 {
        let reply = world.post(&event(&format!("evt_{number}"))).await;
        reply.assert_became("delivered");
    }
    assert_eq!(gate(&world).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_can_not_be_read_or_written_stops_no_event() {
    let world = World::new();
    for state in [&b"garbage"[..], b"", br#"{"version":1,"changed":18446744073709551615,"closed":{"reason":"rate-limited","millis":18446744073709551615,"times":9,"probing":false,"failedProbe":null},"run":{"failures":0,"event":"","ofEvent":0}}"#] {
        world.put("gate", state).await;
        let id = format!("evt_{}", state.len());
        world.post(&event(&id)).await.assert_became("delivered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The read of the record comes first.
    world.faults.fail_nth(Op::Get, 2);
    world.post(&event("evt_1")).await.assert_became("delivered");

    world.faults.fail_next(Op::Set, 1);
    rate_limit(&world, 30).await;
    let reply = world.post(&event("evt_2")).await;
    reply.assert_retryable_problem(429, "rate-limited");
}

#[tokio::test(start_paused = true)]
async fn events_that_come_during_a_probe_wait_for_it() {
    let world = World::new();
    rate_limit(&world, 10).await;
    world.clock.advance(Duration::from_secs(10));
    world.svix.set_latency(Duration::from_millis(200));
    let events = events(16);
    let posts = join_all(events.iter().map(|event| world.post(event)));
    let (replies, took) = world.timed(posts).await;
    for reply in replies {
        reply.assert_became("delivered");
    }
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn of_the_events_that_wait_on_many_nodes_only_a_few_probe() {
    let world = nodes();
    rate_limit(&world, 10).await;
    world.svix.set_latency(Duration::from_millis(400));
    world.faults.delay(Op::Set, Duration::from_millis(10));
    world.clock.advance(Duration::from_millis(9_950));
    let events = events(32);
    let posts = join_all(events.iter().map(|event| world.post(event)));
    let probes = async {
        tokio::time::sleep(Duration::from_millis(350)).await;
        world.svix.requests().len() - 1
    };
    let (_, probes) = tokio::join!(posts, probes);
    assert!((1..=5).contains(&probes), "{probes} probes");
}

#[tokio::test(start_paused = true)]
async fn a_probe_without_time_for_an_attempt_changes_no_gate() {
    let world = World::with(&[("retry_budget_ms", "1000")]);
    rate_limit(&world, 5).await;
    world.clock.advance(Duration::from_secs(5));
    world.faults.delay(Op::Set, Duration::from_secs(1));
    let reply = world.post(&event("evt_1")).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    assert_eq!(world.svix.requests().len(), 1, "only the request before");

    world.faults.clear();
    world.clock.advance(Duration::from_secs(3));
    world.post(&event("evt_2")).await.assert_became("delivered");
}

#[tokio::test(start_paused = true)]
async fn a_slow_write_of_the_gate_leaves_time_for_the_record() {
    let world = World::with(&[("retry_budget_ms", "3000")]);
    rate_limit(&world, 5).await;
    world.clock.advance(Duration::from_secs(5));
    world.svix.script([Fault::Delay { millis: 2_500 }]);
    world.faults.delay(Op::Set, Duration::from_millis(300));
    // The first write announces the probe, the second the open gate.
    world.faults.hang_nth(Op::Set, 2);
    world.post(&event("evt_1")).await.assert_became("delivered");
}
