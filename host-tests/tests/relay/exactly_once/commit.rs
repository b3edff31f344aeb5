//! The cost of an event for the store, and group commit: one transaction for records of concurrent
//! requests, where the store holds up their instance.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, timeout};

use fake_svix::Fault as SvixFault;
use host::Op;

use super::matrix::store::{FAULTS, Fault};
use crate::support::{Reply, World, event, hold_up};

const EVENTS: u32 = 12;

/// When Svix answers, in milliseconds.
const ANSWER: u64 = 1_000;

/// A relay whose only instance knows that the store holds it up. It has delivered one event.
async fn held_up() -> World {
    let world = World::new();
    world.faults.before(Op::Get, hold_up);
    world.post(&event("first")).await;
    world
}

/// Posts events so that all are in one instance, and Svix answers all of them at one moment. Returns the
/// replies, and when they came.
async fn post_all(world: &World) -> Vec<(Reply, Duration)> {
    let start = Instant::now();
    let mut posts = Vec::new();
    // An instance takes one more request only once those that it has are waiting.
    for (number, wait) in (0..EVENTS).zip((0..).step_by(10)) {
        let millis = ANSWER - wait;
        world.svix.script([SvixFault::Delay { millis }]);
        posts.push(async move {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            let reply = world.post(&event(&format!("evt_{number}"))).await;
            (reply, start.elapsed())
        });
    }
    join_all(posts).await
}

async fn assert_all_delivered(world: &World, replies: Vec<(Reply, Duration)>) {
    for (reply, _) in replies {
        reply.assert_became("delivered");
    }
    assert_eq!(world.svix.messages().len(), EVENTS as usize + 1);
    assert_eq!(world.records().await.len(), EVENTS as usize + 1);
    for number in 0..EVENTS {
        let again = world.post(&event(&format!("evt_{number}"))).await;
        again.assert_became("duplicate");
    }
}

#[tokio::test(start_paused = true)]
async fn records_of_concurrent_requests_share_one_transaction() {
    let world = held_up().await;
    let replies = post_all(&world).await;
    let writes = world.faults.count(Op::Set) + world.faults.count(Op::SetMany) - 1;
    assert!(writes <= 4, "{writes} writes for {EVENTS} records");
    assert_all_delivered(&world, replies).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_own_write_fails_after_the_transaction_is_not_acknowledged() {
    // The first write is the leader's, the others are of those that follow.
    for nth in [1, 2, 5] {
        let world = held_up().await;
        world.faults.fail_always(Op::SetMany);
        world.faults.fail_nth(Op::Set, nth);
        let replies = post_all(&world).await;
        let failed = replies.iter().filter(|(reply, _)| reply.status != 200);
        let failed: Vec<_> = failed.collect();
        assert_eq!(failed.len(), 1, "write {nth}");
        failed[0].0.assert_retryable_problem(503, "store-failing");
        assert_eq!(world.records().await.len(), EVENTS as usize);
        assert_eq!(world.svix.messages().len(), EVENTS as usize + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn no_fault_of_a_transaction_acknowledges_an_event_without_its_record() {
    use Fault::{Fails, Hangs, IsSlow, Loses, WritesAndFails, WritesAndHangs};
    // `None`: the transaction writes two records, and fails.
    for fault in FAULTS.map(Some).into_iter().chain([None]) {
        // Once the transaction has failed, the store is either well again or fails each single write.
        for is_store_well in [true, false] {
            let world = held_up().await;
            match fault {
                Some(fault) => fault.plan(&world.faults, Op::SetMany, 1),
                None => world.faults.write_first_of_next_set_many(2),
            }
            if !is_store_well {
                world.faults.fail_always(Op::Set);
            }
            let replies = timeout(Duration::from_secs(10), post_all(&world)).await;
            assert_eq!(world.faults.count(Op::SetMany), 1, "{fault:?}");
            // A transaction is synchronous: with it, the instance hangs.
            let hangs = matches!(fault, Some(Hangs | WritesAndHangs));
            assert_eq!(replies.is_err(), hangs, "{fault:?}");
            let recorded = world.records().await.len() - 1;
            let acknowledged = replies.map_or(0, |replies| {
                let replies = replies.iter().map(|(reply, _)| reply);
                let (good, bad): (Vec<_>, Vec<_>) = replies.partition(|reply| reply.status == 200);
                for reply in bad {
                    reply.assert_retryable_problem(503, "store-failing");
                }
                good.len()
            });
            let all = EVENTS as usize;
            let expected = match (fault, is_store_well) {
                (Some(IsSlow), _) | (Some(Fails | WritesAndFails) | None, true) => (all, all),
                (Some(Loses), _) => (all, 0),
                (Some(Fails), false) | (Some(Hangs), _) => (0, 0),
                (Some(WritesAndFails), false) | (Some(WritesAndHangs), _) => (0, all),
                (None, false) => (0, 2),
            };
            let cell = (fault, is_store_well);
            assert_eq!((acknowledged, recorded), expected, "{cell:?}");

            if hangs {
                world.crash().await;
            }
            world.faults.clear();
            for number in 0..EVENTS {
                let again = world.post(&event(&format!("evt_{number}"))).await;
                assert_eq!(again.status, 200, "{cell:?}: {}", again.text());
            }
            assert_eq!(world.svix.messages().len(), all + 1, "{cell:?}");
            assert_eq!(world.records().await.len(), all + 1, "{cell:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_request_is_answered_before_its_transaction_is_durable() {
    let world = held_up().await;
    let slow = Duration::from_secs(1);
    for op in [Op::Set, Op::SetMany] {
        world.faults.delay(op, slow);
    }
    let replies = post_all(&world).await;
    assert!(world.faults.count(Op::SetMany) > 0);
    for (_, at) in &replies {
        assert!(*at >= Duration::from_millis(ANSWER) + slow, "{at:?}");
    }
    assert_all_delivered(&world, replies).await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_one_after_the_other_share_transactions() {
    let world = held_up().await;
    let start = Instant::now();
    let posts = (0..EVENTS).map(|number| {
        let world = &world;
        async move {
            // An instance takes one more request only once those that it has are waiting.
            tokio::time::sleep(Duration::from_micros(200) * number).await;
            world.post(&event(&format!("evt_{number}"))).await
        }
    });
    for reply in join_all(posts).await {
        reply.assert_became("delivered");
    }
    let transactions = world.faults.count(Op::SetMany);
    let alone = world.faults.count(Op::Set) - 1;
    let writes = transactions + alone;
    assert!(writes <= EVENTS as usize / 2, "{writes} writes for {EVENTS} records");
    assert!(start.elapsed() < Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_others_only_while_the_store_holds_up_its_instance() {
    let world = World::new();
    let post = async |id: &str| {
        let start = Instant::now();
        world.post(&event(id)).await;
        start.elapsed()
    };
    let wait = Duration::from_millis(5);
    assert!(post("quick").await < wait);

    world.faults.before(Op::Get, hold_up);
    post("first").await;
    let held_up = post("held-up").await;
    // The request waits before it reads, and before it writes.
    assert!(held_up >= 2 * wait, "{held_up:?}");

    world.faults.clear();
    // The instance ends after an idle second, and with it what it remembers.
    for number in 0..21 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        post(&format!("later_{number}")).await;
    }
    assert!(post("latest").await < wait);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_of_a_store_that_leaves_instances_free_brings_no_group_commit() {
    let world = World::new();
    world.faults.delay(Op::Get, Duration::from_millis(1));
    world.post(&event("first")).await;
    world.faults.clear();
    world.faults.before(Op::Get, hold_up);
    post_all(&world).await;
    assert_eq!(world.faults.count(Op::SetMany), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_gets_work_in_the_background_seldom() {
    let world = World::new();
    for op in [Op::Get, Op::Set] {
        world.faults.delay(op, Duration::from_secs(1));
    }
    // The event's name waits for its page from the write on, which takes the last second.
    world.post(&event("evt_1")).await;
    let journal = || world.faults.journal().count(Op::Set);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(journal(), 0, "before four times a second have passed");
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(journal(), 1);
}

#[tokio::test(start_paused = true)]
async fn where_the_store_holds_up_no_instance_each_record_is_written_by_itself() {
    let world = World::new();
    post_all(&world).await;
    assert_eq!(world.faults.count(Op::Set), EVENTS as usize);
    assert_eq!(world.faults.count(Op::SetMany), 0);
}

fn calls(world: &World) -> [usize; 8] {
    [Op::Open, Op::Get, Op::Set, Op::Delete, Op::Exists, Op::Increment, Op::SetMany, Op::DeleteMany]
        .map(|op| world.faults.count(op))
}

async fn post_five(world: &World) {
    for number in 0..5 {
        world.post(&event(&format!("evt_{number}"))).await;
        // Wait for the background writes that follow an event, but not until the instance ends.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_event_costs_a_read_and_a_write_and_a_duplicate_a_read() {
    let world = World::new();
    post_five(&world).await;
    // An event reads its record. An instance reads the gate every 20 ms: three times in the 40 ms that
    // lie between the first event and the fifth. An instance opens the store once.
    assert_eq!(calls(&world), [1, 8, 5, 0, 0, 0, 0, 0]);
    post_five(&world).await;
    assert_eq!(calls(&world), [1, 13, 5, 0, 0, 0, 0, 0]);
    let metrics = || [Op::Get, Op::Set].map(|op| world.faults.metrics().count(op));
    let journal = || [Op::Increment, Op::Set].map(|op| world.faults.journal().count(op));
    // An event doesn't wait for the writes of counts and journal.
    assert_eq!((metrics(), journal()), ([0, 0], [0, 0]));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(metrics(), [2, 1], "one write for all events, and two reads");
    assert_eq!(journal(), [1, 1], "one write for all events");
    // The journal's counter opens the store by its other interface, after asking whether the store is there.
    assert_eq!(calls(&world), [2, 13, 5, 0, 1, 0, 0, 0]);
    assert_eq!(world.svix.requests().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_event_type_costs_one_read_per_instance_and_one_write_in_all() {
    let world = World::with(&[("register_event_types", "true")]);
    post_five(&world).await;
    assert_eq!(calls(&world), [1, 9, 6, 0, 0, 0, 0, 0]);
    assert_eq!(world.svix.requests().len(), 5 + 2);
    post_five(&world).await;
    assert_eq!(calls(&world), [1, 14, 6, 0, 0, 0, 0, 0]);

    world.crash().await;
    world.post(&event("evt_5")).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    world.post(&event("evt_6")).await;
    assert_eq!(calls(&world), [2, 18, 8, 0, 0, 0, 0, 0]);
    assert_eq!(world.svix.requests().len(), 7 + 2);
}

#[tokio::test(start_paused = true)]
async fn no_call_blocks_an_instance_while_the_store_hangs() {
    let world = World::new();
    let journal = world.faults.journal();
    world.post(&event("evt_1")).await;
    world.faults.hang_next(Op::Exists);
    // The write of the counts would show that the store is there.
    world.faults.metrics().hang_next(Op::Get);
    tokio::time::sleep(Duration::from_millis(2_400)).await;
    assert_eq!(journal.count(Op::Increment), 0);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(journal.count(Op::Increment), 1, "the store answers again");
}
