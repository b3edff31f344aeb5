//! Events that no repeat can deliver: kept once, acknowledged, and in operators' hands.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};

use fake_svix::Fault;
use host::Op;

use crate::support::{
    UNWRAPPED, World, ask, assert_fields, event, refuse, refuse_of, replay, show, world, wrapped,
};

type Headers = &'static [(&'static str, &'static str)];

/// The numbers and reasons of all dead letters, and whether they are resolved.
async fn letters(world: &World) -> Vec<String> {
    let letters = listed(world, "limit=100").await.into_iter();
    letters
        .map(|letter| {
            let is_resolved = letter.get("resolved").is_some();
            let reason = letter["reason"].as_str().expect("a reason");
            let end = if is_resolved { ", resolved" } else { "" };
            format!("{} {reason}{end}", letter["number"])
        })
        .collect()
}

/// The dead letters on a page of their list, which must be the last one.
async fn listed(world: &World, query: &str) -> Vec<Value> {
    let page = show(world, &format!("/dead-letters?{query}")).await;
    assert_eq!(page["next"], Value::Null);
    page["deadLetters"].as_array().expect("a list").clone()
}

async fn letter(world: &World, number: u64) -> Value {
    show(world, &format!("/dead-letters/{number}")).await
}

/// Has Svix refuse so many events.
async fn refuse_many(world: &World, events: u64) {
    for number in 0..events {
        refuse(world, &format!("evt_{number}")).await;
    }
}

/// Replays all. Checks how many were resolved and failed, and after which number and why the replay stopped.
async fn assert_replayed(
    world: &World,
    query: &str,
    (resolved, failed, next, stopped): (u64, u64, Option<u64>, Option<&str>),
) {
    let reply = ask(world, "POST", &format!("/dead-letters/replay{query}")).await;
    let expected =
        json!({"resolved": resolved, "failed": failed, "next": next, "stopped": stopped});
    assert_eq!(reply.json(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_undeliverable_event_of_pubsub_is_kept_and_acknowledged() {
    const NO_DATA: &str = r#"{"message":{"attributes":{"k":"v"}}}"#;
    const ANOTHER: [(&str, &str); 1] = [("x-goog-pubsub-message-id", "another")];
    let world = world();
    let poison: [(Vec<u8>, Headers, &str); 7] = [
        (wrapped(b"nonsense").into(), &[], "not-json"),
        (wrapped(b"\xff").into(), &[], "not-utf8"),
        (br#"{"message":{"data":"%"}}"#.into(), &[], "not-base64"),
        (wrapped(br#"{"id":"evt_1"}"#).into(), &[], "invalid-event"),
        (NO_DATA.into(), &[], "invalid-event"),
        (b"nonsense too".into(), &UNWRAPPED, "not-json"),
        (b"\xff\xfe".into(), &ANOTHER, "not-utf8"),
    ];
    for (number, (body, headers, reason)) in poison.iter().enumerate() {
        let number = number as u64 + 1;
        let reply = world.post_with(headers, body).await;
        reply.ok().assert_kept_as(number);

        let letter = letter(&world, number).await;
        let kind = format!("urn:svix-relay:problem:{reason}");
        assert_eq!(letter["problem"]["type"], kind);
        let expected = json!({"reason": reason, "deadLetteredAt": "2026-11-23T14:12:42Z"});
        assert_fields(&letter, &expected);
        match str::from_utf8(body) {
            Ok(text) => assert_eq!(letter["body"], text),
            Err(_) => assert_eq!(letter["bodyBase64"], "//4="),
        }
    }
    assert_eq!(world.svix.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_too_large_for_the_relay_but_not_for_pubsub_is_kept_too() {
    let large =
        event("evt_1").replace(r#""id""#, &format!(r#""x":"{}","id""#, "x".repeat(5_000_000)));
    let world = world();
    let bodies: [(String, Headers); 2] = [(wrapped(&large), &[]), (large.clone(), &UNWRAPPED)];
    for (body, headers) in &bodies {
        let reply = world.post_with(headers, body).await;
        reply.assert_became("dead-lettered");
    }
    let letter = letter(&world, 1).await;
    assert_eq!(letter["reason"], "body-too-large");
    assert!(letter["body"] == bodies[0].0, "the body is kept as it came");
    assert_eq!(letters(&world).await.len(), 1, "one event, one letter");

    let reply = world.post(&large).await;
    reply.assert_final_problem(413, "body-too-large");
    let rejecting = World::with(&[("dead_letters", "reject")]);
    for (body, headers) in &bodies {
        let reply = rejecting.post_with(headers, body).await;
        reply.assert_final_problem(413, "body-too-large");
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_names_its_source_and_the_reason_of_svix() {
    let world = world();
    world.svix.set_body_limit(500);
    let body = wrapped(event("evt_1"));
    world.post(&body).await.assert_became("dead-lettered");

    let letter = letter(&world, 1).await;
    let expected = json!({
        "project": "dev", "eventId": "evt_1", "eventType": "user.created", "source": "wrapped",
        "publishTime": "2026-11-23T14:12:42.123Z", "deliveryAttempt": 5, "body": body,
    });
    assert_fields(&letter, &expected);
    assert!(letter["pubsubMessageId"].is_string(), "{letter}");
    assert_eq!(letter["problem"]["svix"]["code"], "payload_too_large");
    let record = show(&world, "/notifications/dev/evt_1").await;
    assert_fields(&record, &json!({"state": "dead-lettered", "deadLetter": 1}));
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_is_acknowledged_without_a_second_letter() {
    let world = world();
    refuse(&world, "evt_1").await;
    let invalid = wrapped(b"nonsense");
    world.post(&invalid).await;
    for _ in 0..3 {
        let again = world.push(event("evt_1")).await;
        again.assert_kept_as(1);
        let later = invalid.replace(r#""deliveryAttempt":5"#, r#""deliveryAttempt":6"#);
        assert_ne!(later, invalid);
        let again = world.post(&later).await;
        again.assert_kept_as(2);
    }
    assert_eq!(letters(&world).await.len(), 2);
    assert_eq!(world.svix.requests().len(), 2, "a post and a lookup");
}

#[tokio::test(start_paused = true)]
async fn a_letter_whose_writing_breaks_off_acknowledges_nothing_until_it_is_whole() {
    for values in 0..3 {
        let world = world();
        let push = wrapped(event("evt_1"));
        world.svix.script([Fault::status(422)]);
        world.faults.write_first_of_next_set_many(values);
        let reply = world.post(&push).await;
        reply.assert_retryable_problem(503, "store-failing");
        assert_eq!(world.faults.count(Op::SetMany), 1);
        assert_eq!(world.records().await.len(), 0, "{values} values written");
        refuse(&world, "evt_1").await;
        assert_eq!(letters(&world).await.len(), 1, "{values} values written");
        let replayed = ask(&world, "POST", "/dead-letters/replay").await.json();
        assert_eq!(replayed["resolved"], 1, "{values} values written");
        world.only_message();
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_a_delivery_keeps_while_an_operator_discards_it_stays() {
    let world = world();
    let push = wrapped(b"nonsense");
    // The slow delivery has seen no record, and writes between the discarding and its second look.
    world.faults.delay(Op::SetMany, Duration::from_secs(3));
    let slow = world.post(&push);
    let operator = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.faults.delay(Op::SetMany, Duration::ZERO);
        let quick = world.post(&push).await.json();
        world.faults.delay(Op::Get, Duration::from_millis(500));
        let path = format!("/dead-letters/{}", quick["deadLetter"]);
        let discarded = ask(&world, "DELETE", &path).await;
        world.faults.clear();
        (quick, discarded.status)
    };
    let (slow, (quick, discarded)) = Box::pin(async { tokio::join!(slow, operator) }).await;
    assert_eq!(discarded, 200);
    let kept = slow.json();
    assert_eq!(kept["status"], "dead-lettered", "{kept}");
    assert_ne!(kept["deadLetter"], quick["deadLetter"]);
    let letter = show(&world, &format!("/dead-letters/{}", kept["deadLetter"])).await;
    assert!(letter["body"].is_string(), "{letter}");
}

#[tokio::test(start_paused = true)]
async fn every_number_that_an_answer_names_leads_to_the_letter() {
    let world = world();
    let body = wrapped(b"nonsense");
    world.faults.delay(Op::Get, Duration::from_millis(100));
    let replies = join_all((0..16).map(|_| world.post(&body))).await;
    world.faults.clear();
    let numbers: BTreeSet<_> =
        replies.iter().map(|reply| reply.json()["deadLetter"].to_string()).collect();
    assert!(numbers.len() > 1, "{numbers:?}");
    let mut shown = BTreeSet::new();
    for number in &numbers {
        let letter = show(&world, &format!("/dead-letters/{number}")).await;
        shown.insert(letter["number"].to_string());
    }
    assert_eq!(shown.len(), 1, "{shown:?}");
    let first = numbers.first().expect("a number");
    let discarded = ask(&world, "DELETE", &format!("/dead-letters/{first}")).await.json();
    assert!(shown.contains(&discarded["discarded"].to_string()), "{discarded}");
    assert_eq!(letters(&world).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_letter_stays_in_sight_if_its_record_is_overwritten_or_unreadable() {
    let world = world();
    refuse(&world, "evt_1").await;
    let name = world.records().await.remove(0);
    let unknown = br#"{"version":1,"state":"unknown","project":"dev","eventId":"evt_1","eventType":"user.created","firstAttemptAt":"2026-11-23T14:12:42.123Z"}"#;
    for record in [&unknown[..], b"garbage"] {
        world.put(&name, record).await;
        assert_eq!(letters(&world).await, ["1 refused-by-svix"]);
    }
    replay(&world, 1).await.assert_became("delivered");
    assert_eq!(letters(&world).await, ["1 refused-by-svix, resolved"]);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_ends_late_and_unknown_hides_no_letter() {
    let world = World::with(&[("admin_token", "hush"), ("retry_max_attempts", "1")]);
    let body = wrapped(event("evt_1"));
    world.faults.delay(Op::Set, Duration::from_millis(500));
    let faults = [Fault::HangBeforeStoring, Fault::status(422)];
    world.svix.script(faults);
    let late = world.post(&body);
    let refused = async {
        let written = world.faults.called(Op::Set, 1);
        let patience = Duration::from_secs(9);
        let written = tokio::time::timeout(patience, written).await;
        written.expect("a record");
        world.post(&body).await.assert_became("dead-lettered");
    };
    let (late, ()) = tokio::join!(late, refused);
    late.assert_retryable_problem(503, "svix-unavailable");
    assert_eq!(letters(&world).await, ["1 refused-by-svix"]);
}

#[tokio::test(start_paused = true)]
async fn with_dead_letters_rejected_an_undeliverable_event_of_pubsub_is_refused() {
    let world = World::with(&[("admin_token", "hush"), ("dead_letters", "reject")]);
    let reply = world.push(b"nonsense").await;
    reply.assert_final_problem(400, "not-json");
    world.svix.script([Fault::status(422)]);
    let reply = world.push(event("evt_1")).await;
    reply.assert_final_problem(422, "refused-by-svix");
    assert!(letters(&world).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_wrong_operators_token_opens_nothing() {
    let world = world();
    for headers in [
        &[][..],
        &[("authorization", "hush")],
        &[("authorization", "Bearer hus")],
        &[("authorization", "Bearer hushh")],
        &[("authorization", "Basic hush")],
    ] {
        let reply = world.request("GET", "/dead-letters", headers, "").await;
        reply.assert_final_problem(401, "unauthorized");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
    let reply = world.request("PUT", "/dead-letters", &[], "").await;
    reply.assert_final_problem(401, "unauthorized");
    let reply = ask(&world, "PUT", "/dead-letters").await;
    reply.assert_final_problem(405, "method-not-allowed");
    let reply = ask(&World::new(), "PUT", "/dead-letters").await;
    reply.assert_final_problem(404, "not-found");
    let headers = [("authorization", "bearer hush")];
    let reply = world.request("GET", "/dead-letters", &headers, "").await;
    assert_eq!(reply.status, 200, "the scheme's case means nothing");
}

#[tokio::test(start_paused = true)]
async fn a_list_reads_only_the_letters_that_it_shows() {
    let world = world();
    refuse_many(&world, 7).await;
    let before = world.faults.count(Op::Get);
    let page = show(&world, "/dead-letters?after=2&limit=3").await;
    // Each letter's number, head and record.
    assert_eq!(world.faults.count(Op::Get) - before, 9);
    let letters = &page["deadLetters"];
    let numbers = [0, 1, 2].map(|place| letters[place]["number"].clone());
    assert_eq!(numbers, [3, 4, 5]);
    assert_eq!((&letters[3], &page["next"]), (&Value::Null, &json!(5)));
    assert_eq!(letters[0].get("body"), None, "bodies are shown one by one");
}

#[tokio::test(start_paused = true)]
async fn a_list_can_be_of_one_project_or_one_reason() {
    let world = world();
    refuse(&world, "evt_1").await;
    refuse_of(&world, "gigs", "evt_2").await;
    world.push(b"nonsense").await;
    for (query, expected) in [
        ("project=gigs", &[2][..]),
        ("reason=not-json", &[3]),
        ("reason=refused-by-svix", &[1, 2]),
        ("project=dev&reason=not-json", &[]),
    ] {
        let letters = listed(&world, query).await.into_iter();
        let numbers: Vec<_> = letters.map(|letter| letter["number"].clone()).collect();
        assert_eq!(numbers, expected, "{query}");
    }
    for query in ["limit=0", "limit=1&limit=2"] {
        let reply = ask(&world, "GET", &format!("/dead-letters?{query}")).await;
        reply.assert_final_problem(400, "invalid-query");
        assert_eq!(reply.json()["errors"][0]["field"], "limit");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_delivers_and_resolves() {
    let world = world();
    refuse(&world, "evt_1").await;
    replay(&world, 1).await.assert_became("delivered");
    let message = world.only_message();
    assert_eq!(message.payload, event("evt_1"));
    assert_eq!(letters(&world).await, ["1 refused-by-svix, resolved"]);
    let letter = letter(&world, 1).await;
    assert_eq!(letter["resolved"]["svixMessageId"], message.id);

    replay(&world, 1).await.assert_became("duplicate");
    world.push(event("evt_1")).await.assert_became("duplicate");
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn replays_and_redeliveries_at_once_are_one_message() {
    let world = world();
    refuse(&world, "evt_1").await;
    world.clock.advance(Duration::from_hours(100));
    world.svix.set_latency(Duration::from_millis(50));
    let body = wrapped(event("evt_1"));
    let replays = join_all((0..4).map(|_| replay(&world, 1)));
    let redeliveries = join_all((0..4).map(|_| world.post(&body)));
    let (replays, redeliveries) = tokio::join!(replays, redeliveries);
    for reply in replays.into_iter().chain(redeliveries) {
        reply.ok();
    }
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_fails_changes_nothing() {
    let world = world();
    refuse(&world, "evt_1").await;
    world.svix.script_for(&Method::POST, [Fault::status(422)]);
    let reply = replay(&world, 1).await;
    reply.assert_final_problem(422, "refused-by-svix");
    world.svix.set_down(true);
    let reply = replay(&world, 1).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    assert_eq!(letters(&world).await, ["1 refused-by-svix"]);
    let redelivered = world.push(event("evt_1")).await;
    redelivered.assert_became("dead-lettered");
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_all_counts_resolved_and_failed_letters() {
    let world = world();
    refuse_many(&world, 5).await;
    world.push(b"nonsense").await;
    replay(&world, 2).await;

    assert_replayed(&world, "?limit=2", (2, 0, Some(3), None)).await;
    assert_replayed(&world, "?after=3", (2, 1, None, None)).await;
    assert_eq!(world.svix.messages().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_all_stops_at_a_closed_gate() {
    let world = world();
    refuse_many(&world, 3).await;
    // The first replay meets a rate limit, which closes the gate for the others.
    world.svix.script([Fault::None, Fault::None]);
    let limited = Fault::retry_after(429, fake_svix::RetryAfter::Seconds(60));
    world.svix.always(limited);
    assert_replayed(&world, "", (1, 0, Some(1), Some("rate-limited"))).await;
    assert_replayed(&world, "?after=1", (0, 0, Some(1), Some("gate"))).await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_one_project_stops_when_the_gate_closes_for_that_project() {
    let world = world();
    refuse_many(&world, 12).await;
    refuse_of(&world, "sim", "evt_1").await;
    world.svix.always(Fault::status(503));
    let reply = ask(&world, "POST", "/dead-letters/replay?project=dev").await;
    let replayed = reply.json();
    assert_eq!(replayed["stopped"], "gate", "{replayed}");
    assert!(replayed["failed"].as_u64() < Some(12), "{replayed}");
    world.svix.clear_faults();
    let reply = ask(&world, "POST", "/dead-letters/replay?project=sim").await;
    assert_eq!(reply.json()["resolved"], 1, "the gate is open for others");
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_all_counts_the_letters_before_the_store_failed() {
    let world = world();
    refuse_many(&world, 3).await;
    // The first letter takes four reads with its record and body, and its replay two; the seventh is the
    // second letter's.
    world.faults.fail_nth(Op::Get, 7);
    assert_replayed(&world, "", (1, 0, Some(1), Some("store-failing"))).await;
    assert_replayed(&world, "?after=1", (2, 0, None, None)).await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_on_which_svix_fails_does_not_stop_a_replay_of_all() {
    let world = World::with(&[("admin_token", "hush"), ("retry_max_attempts", "1")]);
    refuse_many(&world, 3).await;
    world.svix.script([Fault::status(500)]);
    assert_replayed(&world, "", (2, 1, None, None)).await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_whose_id_svix_still_works_on_does_not_stop_a_replay_of_all() {
    let world = world();
    refuse_many(&world, 3).await;
    // A post without an answer, and then conflicts that no lookup explains.
    let faults = [500, 409, 409, 409].map(Fault::status);
    world.svix.script_for(&Method::POST, faults);
    assert_replayed(&world, "", (2, 1, None, None)).await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_whose_body_is_lost_does_not_stop_a_replay_of_all() {
    let world = world();
    refuse(&world, "evt_0").await;
    for name in world.names().await {
        if name.starts_with("letter-body/") {
            world.remove(&name).await;
        }
    }
    refuse(&world, "evt_1").await;
    assert_replayed(&world, "", (1, 1, None, None)).await;
    let reply = replay(&world, 1).await;
    reply.assert_final_problem(404, "no-dead-letter");
    // An operator still sees which event it was, and no delivery is acknowledged by it.
    let letter = letter(&world, 1).await;
    assert_eq!(letter["eventId"], "evt_0");
    world.push(event("evt_0")).await.assert_became("delivered");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_takes_too_long_names_its_next_number() {
    let world = world();
    refuse_many(&world, 5).await;
    world.faults.delay(Op::Get, Duration::from_millis(1_400));
    let (reply, took) = world.timed(ask(&world, "GET", "/dead-letters")).await;
    let page = reply.json();
    assert_eq!(page["deadLetters"].as_array().map(Vec::len), Some(2));
    assert_eq!(page["next"], 2);
    assert!(took < Duration::from_secs(11), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn large_identifiers_make_no_large_list() {
    let world = world();
    let large =
        r#"{"id":"evt_1","type":"t","project":""#.to_owned() + &"x".repeat(500_000) + r#""}"#;
    for number in 0..50 {
        let event = large.replace("evt_1", &format!("evt_{number}"));
        world.push(&event).await.assert_became("dead-lettered");
    }
    let reply = ask(&world, "GET", "/dead-letters").await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.len() < 100_000, "{} bytes", reply.body.len());
}

#[tokio::test(start_paused = true)]
async fn an_operators_request_that_meets_a_failing_store_changes_nothing() {
    // How often each request reads, and the first call of another kind that it needs.
    for (method, path, reads, other) in [
        ("GET", "/dead-letters/1", 4, None),
        ("GET", "/dead-letters", 3, Some(Op::Increment)),
        ("DELETE", "/dead-letters/1", 3, Some(Op::Set)),
        ("POST", "/dead-letters/1/replay", 5, Some(Op::Set)),
    ] {
        let calls = (1..=reads).map(|nth| (Op::Get, nth));
        let calls = calls.chain(other.map(|op| (op, 1)));
        for (op, nth) in calls {
            let world = world();
            refuse(&world, "evt_1").await;
            for hangs in [false, true] {
                if !hangs {
                    world.faults.fail_nth(op, nth);
                } else if op == Op::Increment {
                    // A synchronous call would hold up its instance.
                    continue;
                } else {
                    world.faults.hang_nth(op, nth);
                }
                let reply = ask(&world, method, path).await;
                reply.assert_retryable_problem(503, "store-failing");
            }
            let left = letters(&world).await;
            assert_eq!(left, ["1 refused-by-svix"], "{method} {path} {op:?} {nth}");
            replay(&world, 1).await.assert_became("delivered");
            world.only_message();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_discarded_letter_is_gone_and_its_event_stays_acknowledged() {
    let world = world();
    refuse(&world, "evt_1").await;
    let reply = ask(&world, "DELETE", "/dead-letters/1").await;
    assert_eq!(reply.json(), json!({"discarded": 1}));
    assert!(letters(&world).await.is_empty());
    for (method, path) in [
        ("GET", "/dead-letters/1"),
        ("DELETE", "/dead-letters/1"),
        ("POST", "/dead-letters/1/replay"),
        ("GET", "/dead-letters/99"),
    ] {
        let reply = ask(&world, method, path).await;
        reply.assert_final_problem(404, "no-dead-letter");
    }
    let redelivered = world.push(event("evt_1")).await;
    redelivered.assert_became("dead-lettered");
    let record = show(&world, "/notifications/dev/evt_1").await;
    assert_eq!(record["state"], "dead-lettered");
    assert!(record["discardedAt"].is_string(), "{record}");
}

#[tokio::test(start_paused = true)]
async fn a_letter_is_not_discarded_by_a_request_that_asks_for_something_else() {
    let world = world();
    world.push(b"nonsense").await;
    for query in ["dryRun=true", "x", "="] {
        let reply = ask(&world, "DELETE", &format!("/dead-letters/1?{query}")).await;
        reply.assert_final_problem(400, "invalid-query");
    }
    assert_eq!(letters(&world).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_letter_is_missing_acknowledges_nothing() {
    let world = world();
    for (body, part) in [(wrapped(event("evt_1")), "letter"), (wrapped(b"nonsense"), "letter-body")]
    {
        world.svix.set_body_limit(10);
        let kept = world.post(&body).await.json();
        // A crash leaves the record alone where a store has no transactions.
        let entry = format!("dead-letter/{}", kept["deadLetter"]);
        let record = world.stored(&entry).await.expect("an entry");
        let record = String::from_utf8(record).expect("text");
        world.remove(&format!("{part}/{record}")).await;
        let again = world.post(&body).await.json();
        assert_eq!(again["status"], "dead-lettered");
        assert_ne!(again["deadLetter"], kept["deadLetter"]);
        let letter = format!("/dead-letters/{}", again["deadLetter"]);
        assert_eq!(ask(&world, "GET", &letter).await.status, 200);
        assert_eq!(world.post(&body).await.json(), again);
    }
}
