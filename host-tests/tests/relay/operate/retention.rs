//! How long the payloads of dead letters stay.

use std::time::Duration;

use serde_json::{Value, json};

use host::Op;

use crate::support::{
    World, ask, assert_contains, assert_fields, event, has_metric, letter_bodies, refuse, replay,
    show, wrapped,
};

const DAY: Duration = Duration::from_hours(24);

fn world() -> World {
    World::with(&[("admin_token", "hush"), ("dead_letter_retention_days", "10")])
}

async fn purge(world: &World) -> Value {
    ask(world, "POST", "/maintenance/purge").await.json()
}

#[tokio::test(start_paused = true)]
async fn a_letter_without_a_decision_is_deleted_after_the_retention_and_announced_before() {
    let world = world();
    refuse(&world, "evt_1").await;
    world.clock.advance(5 * DAY);
    refuse(&world, "evt_2").await;
    let almost = Duration::from_mins(23 * 60 + 59);
    world.clock.advance(3 * DAY + almost);
    assert!(has_metric(&world, "svix_relay_dead_letters_expiring 0").await);
    world.clock.advance(Duration::from_mins(1));
    assert!(has_metric(&world, "svix_relay_dead_letters_expiring 1").await);
    assert_eq!(purge(&world).await["letters"], 0);

    world.clock.advance(DAY);
    assert_eq!(purge(&world).await["letters"], 1);
    assert_eq!(letter_bodies(&world).await, 1);
    let reply = ask(&world, "GET", "/dead-letters/1").await;
    reply.assert_final_problem(404, "no-dead-letter");
    assert_eq!(ask(&world, "GET", "/dead-letters/2").await.status, 200);
    let line = world.lines_with("dead-letter-expired").remove(0);
    for told in ["WARNING", "evt_1", "refused-by-svix"] {
        assert_contains(&line, told);
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(has_metric(&world, "svix_relay_dead_letters_expiring 0").await);
    assert!(has_metric(&world, "svix_relay_dead_letters_unresolved 1").await);
    assert!(has_metric(&world, "svix_relay_dead_letters_expired_total 1").await);
    // The event stays acknowledged.
    let reply = world.push(event("evt_1")).await;
    reply.assert_became("dead-lettered");
    assert_eq!(letter_bodies(&world).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_purge_is_not_done_while_letters_are_left_to_delete() {
    // With many decided letters before them, the first slices pass only those.
    for decided in [0, 150] {
        let world = world();
        for number in 0..decided {
            refuse(&world, &format!("old_{number}")).await;
            let path = format!("/dead-letters/{}", number + 1);
            ask(&world, "DELETE", &path).await.ok();
        }
        for number in 0..40 {
            refuse(&world, &format!("evt_{number}")).await;
        }
        world.clock.advance(10 * DAY);
        // No day of the journal is due, which would come later, too.
        world.put("journal/cursor", b"20790 0").await;
        world.faults.delay(Op::Get, Duration::from_millis(200));
        let mut slices = Vec::new();
        loop {
            let slice = purge(&world).await;
            slices.push(slice["letters"].as_u64().expect("a number"));
            if slice["done"] == true {
                break;
            }
        }
        assert!(slices.len() > 1, "{slices:?}");
        assert_eq!(slices.iter().sum::<u64>(), 40, "{slices:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_retention_a_letter_stays() {
    let world = World::with(&[("admin_token", "hush")]);
    refuse(&world, "evt_1").await;
    world.clock.advance(1_000 * DAY);
    assert_eq!(purge(&world).await["letters"], 0);
    assert!(has_metric(&world, "svix_relay_dead_letters_expiring 0").await);
    assert_eq!(ask(&world, "GET", "/dead-letters/1").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_resolved_letter_is_neither_announced_nor_deleted_as_undecided() {
    let world = world();
    refuse(&world, "evt_1").await;
    replay(&world, 1).await.assert_became("delivered");
    world.clock.advance(10 * DAY);
    assert!(has_metric(&world, "svix_relay_dead_letters_expiring 0").await);
    assert_eq!(purge(&world).await["letters"], 0);
    assert!(show(&world, "/dead-letters/1").await["resolved"].is_object());
}

#[tokio::test(start_paused = true)]
async fn a_letter_loses_its_body_once_its_event_is_delivered() {
    let world = world();
    // By a replay and by a direct post. The third event is not valid, so its letter stays.
    refuse(&world, "evt_1").await;
    refuse(&world, "evt_2").await;
    let broken = wrapped(event("evt_3").replace("user.created", "user created"));
    world.post(&broken).await;
    assert_eq!(letter_bodies(&world).await, 3);
    replay(&world, 1).await.assert_became("delivered");
    assert_eq!(letter_bodies(&world).await, 2);
    world.post(&event("evt_2")).await.assert_became("delivered");
    assert_eq!(letter_bodies(&world).await, 1);
    for number in [1, 2] {
        let letter = show(&world, &format!("/dead-letters/{number}")).await;
        assert_eq!(letter["reason"], "refused-by-svix");
        assert!(letter["resolved"]["svixMessageId"].is_string(), "{letter}");
        assert_fields(&letter, &json!({"body": null, "bodyBase64": null}));
        replay(&world, number).await.assert_became("duplicate");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_deleted_does_not_hold_up_its_event() {
    let world = world();
    refuse(&world, "evt_1").await;
    world.faults.fail_next(Op::Delete, 1);
    world.post(&event("evt_1")).await.assert_became("delivered");
    assert_eq!(letter_bodies(&world).await, 1);
}

#[tokio::test(start_paused = true)]
async fn decided_letters_hold_up_no_purge_of_a_slow_store() {
    let world = world();
    for number in 1..=40 {
        refuse(&world, &format!("evt_{number}")).await;
        ask(&world, "DELETE", &format!("/dead-letters/{number}")).await;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.clock.advance(Duration::from_hours(100 * 24));
    world.faults.delay(Op::Get, Duration::from_millis(50));
    let mut purged = 0;
    for _ in 0..20 {
        purged += purge(&world).await["purged"].as_u64().expect("a number");
    }
    assert_eq!(purged, 40);
}

#[tokio::test(start_paused = true)]
async fn young_letters_hold_up_no_purge_of_a_slow_store() {
    let world = world();
    world.post(&event("evt_0")).await.assert_became("delivered");
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.clock.advance(Duration::from_hours(100 * 24));
    for number in 1..=8 {
        refuse(&world, &format!("evt_{number}")).await;
    }
    // Even one letter takes as long as a slice, so each slice does one day.
    world.faults.delay(Op::Get, Duration::from_millis(200));
    let mut purged = 0;
    for _ in 0..400 {
        purged += purge(&world).await["purged"].as_u64().expect("a number");
    }
    assert_eq!(purged, 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_keeps_a_letter_until_the_next_purge() {
    let world = world();
    refuse(&world, "evt_1").await;
    world.clock.advance(10 * DAY);
    world.faults.fail_next(Op::Set, 1);
    let reply = ask(&world, "POST", "/maintenance/purge").await;
    reply.assert_retryable_problem(503, "store-failing");
    assert_eq!(letter_bodies(&world).await, 1);
    assert_eq!(purge(&world).await["letters"], 1);
    assert_eq!(letter_bodies(&world).await, 0);
}
