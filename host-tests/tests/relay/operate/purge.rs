//! The purge deletes old records a slice at a time, and keeps everything that may still be needed.

use std::time::Duration;

use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};

use fake_svix::Fault;
use host::Op;
use host::Reuse;

use crate::support::{
    ADMIN, Reply, Setup, World, ask, assert_fields, event, has_metric, letter_bodies, post, refuse,
    replay, settle, show, unresolved, world, wrapped,
};

const DAY: Duration = Duration::from_hours(24);
const DUE: Duration = Duration::from_hours(31 * 24);

async fn slice(world: &World) -> Value {
    ask(world, "POST", "/maintenance/purge").await.ok().json()
}

/// Purges until nothing more is due. Returns how many records were deleted.
async fn purge(world: &World) -> u64 {
    let mut purged = 0;
    loop {
        let report = slice(world).await;
        purged += report["purged"].as_u64().expect("a number");
        if report["done"] == true {
            return purged;
        }
    }
}

/// The contents of the store without values that don't grow with time.
async fn left(world: &World) -> Vec<String> {
    let mut names = world.names().await;
    let stays = ["gate", "journal/cursor", "readyz/probe", "dead-letters", "dead-letters/settled"];
    names.retain(|name| !stays.contains(&&name[..]) && !name.starts_with("metrics/"));
    names
}

async fn assert_nothing_left(world: &World) {
    assert_eq!(left(world).await, [""; 0]);
}

/// Checks that only names with this beginning are left.
async fn assert_left_only(world: &World, beginning: &str) {
    let mut left = left(world).await;
    left.retain(|name| !name.starts_with(beginning));
    assert_eq!(left, [""; 0]);
}

/// Lets what was written become due, after it has reached the journal.
async fn fall_due(world: &World) {
    settle().await;
    world.clock.advance(DUE);
}

#[tokio::test(start_paused = true)]
async fn a_record_is_deleted_once_its_whole_day_is_due_and_not_before() {
    let world = world();
    post(&world, "evt_1").await;
    settle().await;
    world.clock.advance(DAY);
    post(&world, "evt_2").await;
    settle().await;

    // The clock shows 24 November, 14:13.
    world.clock.advance(DAY * 29 + Duration::from_hours(9));
    assert_eq!(purge(&world).await, 0);
    assert_eq!(world.records().await.len(), 2);
    world.clock.advance(Duration::from_hours(1));
    let expected = json!({"purged": 1, "kept": 0, "letters": 0, "day": "2026-11-24", "done": true});
    assert_eq!(slice(&world).await, expected);
    assert_eq!(world.records().await.len(), 1);
    world.clock.advance(DAY);
    assert_eq!(purge(&world).await, 1);
    assert_nothing_left(&world).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_after_its_record_is_deleted_stays_one_message() {
    let world = world();
    post(&world, "evt_1").await;
    fall_due(&world).await;
    assert_eq!(purge(&world).await, 1);

    let reply = world.post(&event("evt_1")).await;
    reply.assert_became("delivered");
    assert_eq!(reply.json()["attempts"], 0, "found in Svix");
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn a_variable_sets_how_long_records_are_kept() {
    let world = World::with(&[
        ("admin_token", "hush"),
        ("record_retention_days", "60"),
        ("pubsub_retention_days", "31"),
    ]);
    post(&world, "evt_1").await;
    fall_due(&world).await;
    assert_eq!(purge(&world).await, 0);
    world.clock.advance(DUE);
    assert_eq!(purge(&world).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_record_counts_from_when_it_was_written_last() {
    let world = world();
    world.svix.script(vec![Fault::HangAfterStoring; 4]);
    assert_eq!(world.post(&event("evt_1")).await.status, 503);
    settle().await;
    world.clock.advance(DAY * 6);
    post(&world, "evt_1").await;
    settle().await;

    world.clock.advance(DAY * 25);
    let report = slice(&world).await;
    assert_fields(&report, &json!({"purged": 0, "kept": 1}));
    world.post(&event("evt_1")).await.assert_became("duplicate");
    world.clock.advance(DAY * 6);
    assert_eq!(purge(&world).await, 1);
    assert_nothing_left(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_kept_until_the_retention_after_it_was_resolved_or_discarded() {
    let world = world();
    for id in ["evt_1", "evt_2", "evt_3"] {
        refuse(&world, id).await;
    }
    let nonsense = wrapped(b"nonsense");
    world.post(&nonsense).await;
    post(&world, "evt_4").await;
    fall_due(&world).await;
    assert_eq!(purge(&world).await, 1, "the record of the delivered event");

    replay(&world, 1).await.assert_became("delivered");
    assert_eq!(ask(&world, "DELETE", "/dead-letters/2").await.status, 200);
    assert_eq!(ask(&world, "DELETE", "/dead-letters/4").await.status, 200);
    settle().await;
    assert_eq!(purge(&world).await, 0, "the letters were resolved only now");
    assert_eq!(ask(&world, "GET", "/dead-letters/1").await.status, 200);

    world.clock.advance(DUE);
    assert_eq!(purge(&world).await, 3);
    assert_eq!(ask(&world, "GET", "/dead-letters/1").await.status, 404);
    let letter = show(&world, "/dead-letters/3").await;
    assert_eq!(letter["eventId"], "evt_3");
    let mut left = left(&world).await;
    left.retain(|name| !name.starts_with("dead-letter/") && !name.starts_with("journal/"));
    assert_eq!(left.len(), 3, "head, body, record: {left:?}");
    assert!(has_metric(&world, "svix_relay_dead_letters_unresolved 1").await);
}

#[tokio::test(start_paused = true)]
async fn a_body_whose_letter_a_crash_cut_off_is_deleted() {
    let world = world();
    world.faults.fail_next(Op::Increment, 1);
    world.svix.script([Fault::status(422)]);
    let reply = world.push(event("evt_1")).await;
    reply.assert_retryable_problem(503, "store-failing");
    world.crash().await;
    world.faults.clear();
    assert_eq!(letter_bodies(&world).await, 1);
    world.clock.advance(32 * DAY);
    purge(&world).await;
    assert_nothing_left(&world).await;
}

/// The event comes again, leaves a record that says unknown, and never comes any more.
#[tokio::test(start_paused = true)]
async fn a_body_that_a_crash_cut_off_goes_with_an_unknown_record() {
    let world = world();
    world.faults.fail_next(Op::Increment, 1);
    world.svix.script_for(&Method::POST, [Fault::status(422)]);
    let body = wrapped(event("evt_1"));
    let reply = world.post(&body).await;
    reply.assert_retryable_problem(503, "store-failing");
    world.crash().await;
    world.clock.advance(2 * DAY);
    world.svix.always_for(&Method::POST, Fault::status(500));
    let reply = world.post(&body).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    settle().await;
    // The page of the first day is due, and the record is not.
    world.clock.advance(29 * DAY);
    assert_eq!(purge(&world).await, 0);
    world.clock.advance(DUE);
    assert_eq!(purge(&world).await, 1);
    assert_nothing_left(&world).await;
}

/// The journal's page of the last write dies with the instance.
#[tokio::test(start_paused = true)]
async fn a_letter_is_deleted_though_a_crash_cut_its_end_off() {
    for (method, path) in [("DELETE", "/dead-letters/1"), ("POST", "/dead-letters/1/replay")] {
        let world = world();
        world.svix.script_for(&Method::POST, [Fault::status(422)]);
        let body = wrapped(event("evt_1"));
        world.post(&body).await.assert_became("dead-lettered");
        settle().await;
        world.clock.advance(10 * DAY);
        for op in [Op::Delete, Op::DeleteMany] {
            world.faults.fail_always(op);
        }
        ask(&world, method, path).await;
        world.crash().await;
        world.faults.clear();
        // The page of the first day is due, and the record is not.
        world.clock.advance(21 * DAY);
        assert_eq!(purge(&world).await, 0, "{path}");
        world.clock.advance(DUE);
        purge(&world).await;
        assert_left_only(&world, "dead-letter/").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_the_journal_does_not_name_is_not_begun() {
    let world = world();
    world.svix.script_for(&Method::POST, [Fault::status(422)]);
    world.faults.journal().fail_next(Op::Set, 1);
    let reply = world.push(event("evt_1")).await;
    reply.assert_retryable_problem(503, "store-failing");
    let names = world.names().await;
    let of_letter = names.iter().filter(|name| name.starts_with("letter"));
    assert_eq!(of_letter.count(), 0, "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn a_discarded_letter_acknowledges_its_event_for_the_retention() {
    let world = world();
    let body = wrapped(event("evt_1"));
    world.svix.script(vec![Fault::status(500); 4]);
    assert_eq!(world.post(&body).await.status, 503);
    settle().await;
    world.clock.advance(DAY * 29);
    world.svix.set_body_limit(10);
    world.post(&body).await.assert_became("dead-lettered");
    assert_eq!(ask(&world, "DELETE", "/dead-letters/1").await.status, 200);
    settle().await;

    world.clock.advance(DAY * 29);
    assert_eq!(unresolved(&world).await, 0);
    assert_eq!(purge(&world).await, 0, "the later page is not due");
    world.post(&body).await.assert_became("dead-lettered");
    world.clock.advance(DAY * 3);
    purge(&world).await;
    assert_left_only(&world, "journal/").await;
    world.clock.advance(DUE);
    purge(&world).await;
    assert_nothing_left(&world).await;
}

/// Replays or discards the only letter that is seen.
async fn decide(world: &World, replay: bool) {
    let list = show(world, "/dead-letters").await;
    let letters = list["deadLetters"].as_array().expect("a list");
    assert_eq!(letters.len(), 1);
    let path = format!("/dead-letters/{}", letters[0]["number"]);
    let decided = if replay {
        ask(world, "POST", &format!("{path}/replay")).await
    } else {
        ask(world, "DELETE", &path).await
    };
    assert_eq!(decided.status, 200);
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_write_seemed_to_fail_is_purged_like_any_other() {
    let world = world();
    world.faults.write_then_fail_next_set();
    let reply = world.post(&event("evt_1")).await;
    reply.assert_retryable_problem(503, "store-failing");
    assert_eq!(world.records().await.len(), 1);
    fall_due(&world).await;
    assert_eq!(purge(&world).await, 1);
    assert_nothing_left(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_deliveries_write_at_once_is_one_and_is_deleted_whole() {
    for (replay, on_two_nodes) in [(true, false), (false, false), (true, true), (false, true)] {
        let world = world();
        let other = world.node(&Setup::operated());
        world.svix.always_for(&Method::POST, Fault::status(422));
        let body = wrapped(event("evt_1"));
        if on_two_nodes {
            world.faults.delay(Op::Increment, Duration::from_millis(50));
            tokio::join!(world.post(&body), other.post(&body));
        } else {
            world.faults.delay(Op::Get, Duration::from_millis(100));
            join_all((0..16).map(|_| world.post(&body))).await;
        }
        world.faults.clear();
        settle().await;
        world.svix.always(Fault::None);
        let names = world.names().await;
        let of = |prefix: &str| names.iter().filter(|name| name.starts_with(prefix)).count();
        assert!(on_two_nodes || of("dead-letter/") > 1, "several numbers");
        assert_eq!((of("letter/"), of("letter-body/")), (1, 1), "one letter");
        assert_eq!(unresolved(&world).await, 1);
        world.clock.advance(Duration::from_mins(30));
        decide(&world, replay).await;
        if !on_two_nodes {
            // The mark passes the letter, and the numbers that lead nowhere.
            world.clock.advance(DAY);
            assert_eq!(unresolved(&world).await, 0);
        }

        let delivered = world.svix.messages().len();
        world.clock.advance(DUE);
        assert_eq!(unresolved(&world).await, 0);
        purge(&world).await;
        let list = show(&world, "/dead-letters").await;
        assert_eq!(list["deadLetters"], json!([]));
        let all = ask(&world, "POST", "/dead-letters/replay").await;
        assert_eq!(all.json()["resolved"], 0);
        assert_eq!(world.svix.messages().len(), delivered);
        assert_eq!(left(&world).await, [""; 0], "replay: {replay}");
    }
}

/// Overwrites the record of the only letter, as a delivery does that ends late.
async fn overtake(world: &World) {
    let unknown = r#"{"version":1,"state":"unknown","project":"dev","eventId":"evt_1","eventType":"user.created","firstAttemptAt":"2026-10-01T00:00:00Z"}"#;
    let name = world.records().await.remove(0);
    world.put(&name, unknown.as_bytes()).await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_may_be_the_only_copy_of_an_event_stays_until_a_decision() {
    for (method, path) in [
        ("POST", "/dead-letters/1/replay"),
        ("DELETE", "/dead-letters/1"),
        ("POST", "/notifications"),
    ] {
        let world = world();
        let body = wrapped(event("evt_1"));
        world.svix.script([Fault::status(422)]);
        world.post(&body).await;
        overtake(&world).await;
        settle().await;
        for _ in 0..3 {
            world.clock.advance(DUE);
            purge(&world).await;
            let letter = show(&world, "/dead-letters/1").await;
            assert_eq!(letter["eventId"], "evt_1");
        }
        if path == "/notifications" {
            world.post(&body).await;
        } else {
            assert_eq!(ask(&world, method, path).await.status, 200);
        }
        let delivered = world.svix.messages().len();
        assert_eq!(unresolved(&world).await, 0, "{path}");
        settle().await;
        for _ in 0..3 {
            world.clock.advance(DUE);
            purge(&world).await;
        }
        assert_eq!(unresolved(&world).await, 0);
        // A delivery unaware of the letter leaves its number behind, and nothing else.
        let mut left = left(&world).await;
        left.retain(|name| name != "dead-letter/1" || path != "/notifications");
        assert_eq!(left, [""; 0], "{path}");
        assert_eq!(world.svix.messages().len(), delivered);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_letter_was_discarded_stays_acknowledged_even_with_another_record() {
    for gone in [true, false] {
        let world = world();
        let body = wrapped(event("evt_1"));
        world.svix.script([Fault::status(422)]);
        world.post(&body).await;
        overtake(&world).await;
        if gone {
            let name = world.records().await.remove(0);
            world.remove(&name).await;
        }
        assert_eq!(ask(&world, "DELETE", "/dead-letters/1").await.status, 200);
        world.post(&body).await.assert_became("dead-lettered");
        assert_eq!(world.svix.messages().len(), 0);
        fall_due(&world).await;
        assert_eq!(unresolved(&world).await, 0);
        purge(&world).await;
        assert_nothing_left(&world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_became_a_dead_letter_later_stays_with_its_letter() {
    let world = world();
    let body = wrapped(event("evt_1"));
    world.svix.script(vec![Fault::status(500); 4]);
    assert_eq!(world.post(&body).await.status, 503);
    settle().await;
    // The record is unknown, and in the journal.
    assert_eq!(world.records().await.len(), 1);
    world.svix.set_body_limit(10);
    // Until then Svix may still store the message.
    world.clock.advance(Duration::from_mins(1));
    let kept = json!({"status": "dead-lettered", "deadLetter": 1});
    assert_eq!(world.post(&body).await.json(), kept);
    settle().await;

    world.clock.advance(DUE);
    assert_eq!(purge(&world).await, 0);
    let letter = ask(&world, "GET", "/dead-letters/1").await;
    assert_eq!(letter.json()["eventId"], "evt_1");
    assert_eq!(world.post(&body).await.json(), kept, "the same letter");
}

#[tokio::test(start_paused = true)]
async fn a_letter_without_a_valid_event_is_deleted_with_the_record_that_resolved_it() {
    // The event is too large for the relay that kept it, and not for the one that replays it.
    let small = World::with(&[("admin_token", "hush"), ("max_body_bytes", "100")]);
    small.push(event("evt_1")).await;
    let world = small.node(&Setup::operated());
    replay(&world, 1).await.assert_became("delivered");
    fall_due(&world).await;
    assert_eq!(unresolved(&world).await, 0);
    purge(&world).await;
    assert_nothing_left(&world).await;
}

/// 1 October 2026, in days since 1970.
const OCTOBER: u64 = 20_727;

/// Writes so many records of 1 October, on pages of so many.
async fn fill(world: &World, records: usize, page: usize) {
    for number in 0..records.div_ceil(page) {
        let mut text = "2 2026-10-01T12:00:00Z".to_owned();
        for record in (number * page..records).take(page) {
            let name = format!("record/old{record}");
            let value = r#"{"version":1,"state":"delivered","project":"dev","eventId":"evt","eventType":"t","svixMessageId":"msg_1","attempts":1,"deliveredAt":"2026-10-01T12:00:00Z"}"#;
            world.put(&name, value.as_bytes()).await;
            text = format!("{text}\n{name}");
        }
        world.put(&page_name(number + 1), text.as_bytes()).await;
    }
    let pages = i64::try_from(records.div_ceil(page)).expect("a few");
    let counter = format!("journal/day/{OCTOBER}");
    world.put(&counter, &pages.to_le_bytes()).await;
}

fn page_name(page: usize) -> String {
    format!("journal/day/{OCTOBER}/{page}")
}

#[tokio::test(start_paused = true)]
async fn a_slice_on_a_slow_store_ends_in_time_and_the_next_one_goes_on() {
    let world = world();
    fill(&world, 500, 10).await;
    let journal = world.faults.journal();
    for faults in [&world.faults, &journal] {
        faults.delay(Op::Get, Duration::from_millis(50));
    }
    let mut slices = 0;
    loop {
        let (report, took) = world.timed(slice(&world)).await;
        assert!(took < Duration::from_millis(1_400), "{took:?}");
        slices += 1;
        if report["done"] == true {
            break;
        }
        assert_ne!(report["purged"], 0);
    }
    assert!(slices > 3, "{slices}");
    for faults in [&world.faults, &journal] {
        faults.clear();
    }
    assert_nothing_left(&world).await;
    assert_eq!(slice(&world).await["done"], true);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_now_and_then_only_delays_the_purge() {
    let world = world();
    fill(&world, 1_000, 250).await;
    let mut slices = 0;
    loop {
        world.faults.clear();
        for _ in 0..40 {
            world.faults.fail_nth(Op::Get, 50);
        }
        let reply = ask(&world, "POST", "/maintenance/purge").await;
        slices += 1;
        if reply.status == 200 && reply.json()["done"] == true {
            break;
        }
        assert!(slices < 30, "{}", world.records().await.len());
    }
    assert_nothing_left(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_to_delete_many_at_once_deletes_one_by_one() {
    let world = world();
    fill(&world, 100, 100).await;
    world.faults.fail_always(Op::DeleteMany);
    assert_eq!(purge(&world).await, 100);
    assert_nothing_left(&world).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_while_its_record_is_deleted_stays_one_message() {
    let world = World::with(&[("admin_token", "hush"), ("retry_max_attempts", "1")]);
    let other = world.node(&Setup::operated());
    world.svix.script([Fault::HangAfterStoring]);
    assert_eq!(world.post(&event("evt_1")).await.status, 503);
    fall_due(&world).await;
    world.faults.delay(Op::DeleteMany, Duration::from_secs(1));
    let meanwhile = async {
        world.faults.called(Op::DeleteMany, 1).await;
        post(&other, "evt_1").await;
        assert_eq!(world.records().await.len(), 1);
    };
    let (purged, ()) = tokio::join!(purge(&world), meanwhile);
    assert_eq!(purged, 1);
    assert_eq!(world.records().await.len(), 0);
    let again = world.post(&event("evt_1")).await.json();
    assert_fields(&again, &json!({"status": "delivered", "attempts": 0}));
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn events_flow_during_a_purge_and_keep_their_records() {
    const EVENTS: usize = 300;
    let world = world();
    fill(&world, 20_000, 100).await;
    let events = join_all((0..EVENTS).map(async |number| {
        tokio::time::sleep(Duration::from_millis(number as u64)).await;
        post(&world, &format!("evt_{number}")).await;
    }));
    let purged = async {
        // Reads are slow, so that the purge lasts as long as the events come.
        world.faults.delay(Op::Get, Duration::from_millis(5));
        purge(&world).await
    };
    let (purged, _) = futures::future::join(purged, events).await;
    assert_eq!(purged, 20_000);
    assert_eq!(world.records().await.len(), EVENTS);
    for number in 0..EVENTS {
        let again = world.post(&event(&format!("evt_{number}"))).await;
        again.assert_became("duplicate");
    }
    assert_eq!(world.svix.messages().len(), EVENTS);
}

/// Purges a slice, and lets the process die at the `nth` call of `op`.
async fn purge_and_crash_at(world: &World, op: Op, nth: usize) -> Option<Reply> {
    let crash = async {
        world.faults.called(op, nth).await;
        world.crash().await;
    };
    let request = world.request_or_die("POST", "/maintenance/purge", &[ADMIN], b"");
    tokio::join!(request, crash).0
}

#[tokio::test(start_paused = true)]
async fn the_purge_after_a_crash_in_a_slice_deletes_the_rest() {
    for (op, nth) in [(Op::Get, 7), (Op::DeleteMany, 1), (Op::DeleteMany, 5)] {
        let world = world();
        fill(&world, 1_000, 50).await;
        world.faults.hang_nth(op, nth);
        let reply = purge_and_crash_at(&world, op, nth).await;
        assert!(reply.is_none(), "{op:?} {nth}");
        assert!(!world.records().await.is_empty());
        purge(&world).await;
        assert_eq!(left(&world).await, [""; 0], "{op:?} {nth}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_letter_outlives_its_record_after_a_crash_in_between() {
    for nth in 1..=4 {
        let world = world();
        refuse(&world, "evt_1").await;
        replay(&world, 1).await;
        fall_due(&world).await;
        assert_eq!(unresolved(&world).await, 0);
        // The store deletes body, head, number and record one by one.
        world.faults.fail_always(Op::DeleteMany);
        world.faults.hang_nth(Op::Delete, nth);
        purge_and_crash_at(&world, Op::Delete, nth).await;
        world.faults.clear();
        assert_eq!(unresolved(&world).await, 0, "{nth}");
        let all = ask(&world, "POST", "/dead-letters/replay").await;
        assert_eq!(all.json()["resolved"], 0, "{nth}");
        purge(&world).await;
        assert_eq!(left(&world).await, [""; 0], "{nth}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slice_on_a_failing_store_is_a_503_and_the_next_one_goes_on() {
    for op in [Op::Get, Op::Delete] {
        let world = world();
        fill(&world, 1_000, 50).await;
        // The store refuses to delete several values at once.
        world.faults.fail_next(Op::DeleteMany, 10);
        world.faults.fail_nth(op, 1);
        world.faults.journal().fail_nth(op, 3);
        let mut failures = 0;
        loop {
            let reply = ask(&world, "POST", "/maintenance/purge").await;
            if reply.status == 200 {
                break;
            }
            reply.assert_retryable_problem(503, "store-failing");
            failures += 1;
        }
        assert!(failures > 0, "{op:?}");
        purge(&world).await;
        assert_eq!(left(&world).await, [""; 0], "{op:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_purges_at_once_do_no_harm() {
    let world = world();
    fill(&world, 2_000, 20).await;
    post(&world, "evt_1").await;
    tokio::join!(purge(&world), purge(&world));
    assert_eq!(world.records().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_purge_reads_and_deletes_only_due_records() {
    let world = world();
    for number in 0..50 {
        post(&world, &format!("evt_{number}")).await;
    }
    settle().await;
    let before = world.faults.count(Op::Get);
    assert_eq!(purge(&world).await, 0);
    assert_eq!(world.faults.count(Op::Get), before, "no record is read");
    world.clock.advance(DUE);
    assert_eq!(purge(&world).await, 50);
    assert_eq!(world.faults.count(Op::DeleteMany), 1);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_a_later_version_is_kept() {
    let world = world();
    fill(&world, 2, 1).await;
    world.put(&page_name(1), b"3\nrecord/old0").await;
    assert_eq!(purge(&world).await, 1);
    assert_eq!(left(&world).await, [page_name(1), "record/old0".to_owned()]);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_was_never_written_is_passed() {
    let world = world();
    fill(&world, 3, 1).await;
    world.remove(&page_name(2)).await;
    assert_eq!(purge(&world).await, 2);
    assert_eq!(left(&world).await, ["record/old1"], "its page is missing");
}

#[tokio::test(start_paused = true)]
async fn records_journaled_by_an_earlier_version_are_deleted_when_due() {
    let world = world();
    fill(&world, 300, 300).await;
    let page = world.stored(&page_name(1)).await.expect("a page");
    let text = String::from_utf8(page).expect("text");
    let text = text.replacen('2', "1 2026-10-01T00:00:00Z", 1);
    let text = text.replacen("record/old7", "record/old7 12", 1);
    for name in [page_name(1), format!("journal/day/{OCTOBER}")] {
        world.remove(&name).await;
    }
    world.put("journal/2", text.as_bytes()).await;
    let letter = r#"{"version":1,"number":12,"deadLetteredAt":"2026-10-01T12:00:00Z","record":"record/old7","source":"wrapped","reason":"not-json","problem":{},"body":"{}"}"#;
    world.put("dead-letter/12", letter.as_bytes()).await;
    world.put("journal", &2_i64.to_le_bytes()).await;
    world.put("journal/purged", b"1").await;
    assert_eq!(purge(&world).await, 0, "the records are named again");
    world.clock.advance(DUE);
    assert_eq!(purge(&world).await, 300);
    assert_nothing_left(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_later_version_is_kept_until_that_version_returns() {
    let world = world();
    fill(&world, 3, 3).await;
    let record = world.stored("record/old1").await.expect("a record");
    let text = String::from_utf8(record.clone()).expect("text");
    let later = text.replace(r#""version":1"#, r#""version":2"#);
    world.put("record/old1", later.as_bytes()).await;
    // The later version reads the record.
    assert_kept_until(&world, &record).await;
}

/// Checks that the purge keeps one of the three records, and deletes it when this has replaced it and is due.
async fn assert_kept_until(world: &World, record: &[u8]) {
    let expected = json!({"purged": 2, "kept": 1, "letters": 0, "day": "2026-10-24", "done": true});
    assert_eq!(slice(world).await, expected);
    world.put("record/old1", record).await;
    assert_eq!(purge(world).await, 0);
    world.clock.advance(DUE);
    assert_eq!(purge(world).await, 1);
    assert_nothing_left(world).await;
}

#[tokio::test(start_paused = true)]
async fn a_record_with_a_wrong_time_holds_up_no_purge_and_is_deleted_later() {
    for time in ["2999-10-01T00:00:00Z", "nonsense"] {
        let world = world();
        fill(&world, 3, 1).await;
        let record = world.stored("record/old1").await.expect("a record");
        let text = String::from_utf8(record.clone()).expect("text");
        let ahead = text.replace("2026-10-01T12:00:00Z", time);
        world.put("record/old1", ahead.as_bytes()).await;

        // One day, the clock has caught up with the time in the record.
        assert_kept_until(&world, &record).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_record_of_many_instances_is_in_the_journal() {
    let mut setup = Setup::operated();
    setup.reuse = Reuse { max_requests: 1, ..Reuse::default() };
    let world = World::build(&setup);
    let other = world.node(&setup);
    join_all((0..40).map(async |number| {
        let world = if number % 2 == 0 { &world } else { &other };
        post(world, &format!("evt_{number}")).await;
    }))
    .await;
    fall_due(&world).await;
    assert_eq!(purge(&world).await, 40);
    assert_nothing_left(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_cannot_be_written_delays_no_event_and_is_written_later() {
    let world = world();
    let journal = world.faults.journal();
    for op in [Op::Increment, Op::Set] {
        journal.fail_always(op);
        for number in 0..3 {
            let ((), took) = world.timed(post(&world, &format!("{op:?}_{number}"))).await;
            assert!(took < Duration::from_millis(10), "{took:?}");
            tokio::time::sleep(Duration::from_secs(8)).await;
        }
        journal.clear();
        // No other event comes.
        tokio::time::sleep(Duration::from_secs(8)).await;
    }
    fall_due(&world).await;
    assert_eq!(purge(&world).await, 6);
    assert_nothing_left(&world).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_instance_writes_its_journal_after_a_minute_without_a_store() {
    let world = world();
    let journal = world.faults.journal();
    for op in [Op::Increment, Op::Set] {
        journal.fail_always(op);
        post(&world, &format!("{op:?}")).await;
        tokio::time::sleep(Duration::from_mins(1)).await;
        journal.clear();
        tokio::time::sleep(Duration::from_secs(8)).await;
    }
    fall_due(&world).await;
    assert_eq!(purge(&world).await, 2);
    assert_nothing_left(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_purge_leaves_a_line() {
    let world = world();
    fill(&world, 2, 1).await;
    purge(&world).await;
    let line = world.last_line();
    assert_eq!(line["outcome"], "purged");
    assert_eq!(line["message"], "purged: 2 records, 0 kept, 0 letters");
}
