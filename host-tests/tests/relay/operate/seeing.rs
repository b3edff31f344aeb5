//! The relay as operators see it: metrics, status, and a line in the log for each change.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};

use fake_svix::{Fault, RetryAfter};
use host::Op;

use crate::support::{
    ADMIN, JSON, Reply, Setup, TOKEN, World, assert_fields, event, event_of, letter_bodies, replay,
    root, show, unresolved, wrapped,
};

/// Each request has an instance of its own if `max_requests` is 1.
fn setup(max_requests: usize) -> Setup {
    let mut setup = Setup::operated();
    setup.reuse.max_requests = max_requests;
    setup
}

fn world() -> World {
    World::build(&setup(128))
}

async fn ask(world: &World, method: &str, path: &str) -> Reply {
    world.request(method, path, &[ADMIN], "").await.ok()
}

/// Every sample by its name and labels, as text.
type Samples = BTreeMap<String, String>;

/// Every sample, once all counts are written.
async fn metrics(world: &World) -> Samples {
    tokio::time::sleep(Duration::from_mins(1)).await;
    let text = ask(world, "GET", "/metrics").await.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        (name.to_owned(), value.to_owned())
    };
    lines.map(sample).collect()
}

/// How many notifications there were, by their labels.
fn notifications(samples: &Samples) -> BTreeMap<&str, u64> {
    let name = "svix_relay_notifications_total";
    let labelled = samples.iter().filter_map(|(series, number)| {
        let labels = series.strip_prefix(name)?;
        Some((labels, number.parse().expect("a number")))
    });
    labelled.collect()
}

/// How many notifications there were in all.
async fn notified(world: &World) -> u64 {
    notifications(&metrics(world).await).values().sum()
}

#[track_caller]
fn assert_number(samples: &Samples, name: &str, expected: u64) {
    let number = samples.get(&format!("svix_relay_{name}"));
    assert_eq!(number, Some(&expected.to_string()), "{name} in {samples:?}");
}

#[tokio::test(start_paused = true)]
async fn the_counts_of_all_instances_of_all_nodes_add_up() {
    let setup = setup(1);
    let here = World::build(&setup);
    let there = here.node(&setup);
    for (number, world) in [&here, &there, &here].into_iter().enumerate() {
        let sent = event(&format!("evt_{number}"));
        world.post(&sent).await;
        world.post(&sent).await;
    }
    let gigs = event_of("gigs", "evt_1");
    assert_ne!(gigs, event("evt_1"), "another project");
    there.post(&gigs).await;
    there.post("nonsense").await;
    here.post(r#"{"project":"not a project"}"#).await;
    here.svix.script_for(&Method::POST, [Fault::status(422), Fault::status(500)]);
    here.push(event("evt_8")).await;
    there.post(&event("evt_9")).await;

    let (one, other) = (metrics(&here).await, metrics(&there).await);
    assert_eq!(one, other);
    let expected = [
        (r#"{outcome="dead-lettered",project="dev"}"#, 1),
        (r#"{outcome="delivered",project="dev"}"#, 4),
        (r#"{outcome="delivered",project="gigs"}"#, 1),
        (r#"{outcome="duplicate",project="dev"}"#, 3),
        (r#"{outcome="invalid-event",project=""}"#, 1),
        (r#"{outcome="not-json",project=""}"#, 1),
    ];
    assert_eq!(notifications(&one), expected.into());
    for (name, expected) in [
        (r#"attempts_total{result="stored"}"#, 5),
        (r#"attempts_total{result="refused"}"#, 1),
        (r#"attempts_total{result="retry"}"#, 1),
        ("svix_duration_seconds_count", 8),
        (r#"svix_duration_seconds_bucket{le="+Inf"}"#, 8),
        ("request_duration_seconds_count", 11),
        ("dead_letters_total", 1),
        ("dead_letters_unresolved", 1),
    ] {
        assert_number(&one, name, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn latencies_are_in_their_buckets() {
    let world = world();
    world.svix.script([Fault::Delay { millis: 40 }]);
    world.post(&event("evt_1")).await;
    let metrics = metrics(&world).await;
    for name in ["svix_duration_seconds", "request_duration_seconds"] {
        for (bound, expected) in [("0.025", 0), ("0.05", 1), ("10.0", 1)] {
            let bucket = format!(r#"{name}_bucket{{le="{bound}"}}"#);
            assert_number(&metrics, &bucket, expected);
        }
        let sum = &metrics[&format!("svix_relay_{name}_sum")];
        assert!(sum.starts_with("0.04"), "{sum}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_dies_loses_only_counts_that_it_has_not_written() {
    let world = world();
    for number in 0..3 {
        world.post(&event(&format!("evt_{number}"))).await;
    }
    assert_eq!(notified(&world).await, 3);
    world.post(&event("evt_3")).await;
    world.crash().await;
    world.post(&event("evt_4")).await;
    assert_eq!(notified(&world).await, 4);
}

#[tokio::test(start_paused = true)]
async fn counts_written_to_one_page_at_the_same_moment_are_not_lost() {
    const EVENTS: usize = 60;
    let setup = setup(1);
    let here = World::build(&setup);
    let there = here.node(&setup);
    // The delay leaves time for other instances to read the page that is about to be replaced. Three writes that
    // overlap end within half a second: if they took longer, they could undo an addition that was seen confirmed.
    here.faults.metrics().delay(Op::Set, Duration::from_millis(150));
    let posts = (0..EVENTS).map(async |number| {
        let world = if number % 2 == 0 { &here } else { &there };
        world.post(&event(&format!("evt_{number}"))).await.status
    });
    assert_eq!(join_all(posts).await, [200; EVENTS]);
    assert_eq!(notified(&here).await, 60);
    let writes = here.faults.metrics().count(Op::Set);
    assert!(writes > EVENTS + 5, "{writes}: nothing was lost at first");
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_is_lost_is_not_counted_twice() {
    let world = world();
    world.faults.metrics().write_then_fail_next_set();
    world.post(&event("evt_1")).await;
    assert_eq!(notified(&world).await, 1);
    world.faults.metrics().write_then_hang_next_set();
    world.post(&event("evt_2")).await;
    assert_eq!(notified(&world).await, 2);
    world.faults.metrics().lose_next_set();
    world.post(&event("evt_3")).await;
    assert_eq!(notified(&world).await, 3);
}

/// Posts three events, none of which may be delayed.
async fn post_three(world: &World, id: &str) {
    for number in 0..3 {
        let sent = event(&format!("{id}_{number}"));
        let (reply, took) = world.timed(world.post(&sent)).await;
        assert_eq!(reply.status, 200);
        assert!(took < Duration::from_millis(10), "{took:?}");
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_metrics_delays_no_event_and_loses_no_count() {
    let world = world();
    let faults = world.faults.metrics();
    for op in [Op::Get, Op::Set] {
        faults.fail_always(op);
        post_three(&world, &format!("{op:?}")).await;
        faults.clear();
    }
    faults.delay(Op::Set, Duration::from_hours(1));
    post_three(&world, "hangs").await;
    faults.clear();
    assert_eq!(notified(&world).await, 9);
}

#[tokio::test(start_paused = true)]
async fn counts_that_were_given_up_are_written_with_the_next_ones() {
    let world = world();
    world.faults.metrics().fail_always(Op::Get);
    world.post(&event("evt_1")).await;
    // Wait until the task has given up, but not until the instance ends.
    while world.faults.metrics().count(Op::Get) < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.faults.clear();
    world.faults.metrics().clear();
    world.post(&event("evt_2")).await;
    assert_eq!(notified(&world).await, 2);
}

#[tokio::test(start_paused = true)]
async fn an_instance_takes_requests_while_it_writes_counts_and_ends_after() {
    let world = world();
    for number in 0..20 {
        world.post(&event(&format!("evt_{number}"))).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // An instance opens the store once, and again for each page of the journal.
    let instances = || world.faults.count(Op::Open) - world.faults.journal().count(Op::Increment);
    assert_eq!(instances(), 1, "all in one instance");
    let writes = world.faults.metrics().count(Op::Set);
    assert!((3..=8).contains(&writes), "{writes} writes in 10 s");
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.post(&event("evt_20")).await;
    assert_eq!(instances(), 2, "dropped when it was idle");
}

#[tokio::test(start_paused = true)]
async fn metrics_are_open_metrics_text() {
    let world = world();
    world.post(&event("evt_1")).await;
    let metrics = metrics(&world).await;
    let reply = ask(&world, "GET", "/metrics").await;
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(reply.header("content-type"), Some(expected));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let text = reply.text();
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    for name in metrics.keys() {
        let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let declared = |line: &str| {
            let family = line.split(' ').next().expect("a name");
            let suffix = name.strip_prefix(family).map(|rest| {
                let end = rest.find('{').unwrap_or(rest.len());
                rest[..end].to_owned()
            });
            suffix.is_some_and(|it| ["", "_total", "_bucket", "_sum", "_count"].contains(&&*it))
        };
        assert_eq!(families.filter(|line| declared(line)).count(), 1, "{name}");
    }
    let head = ask(&world, "HEAD", "/metrics").await;
    assert_eq!(head.header("content-type"), Some(expected));
}

#[tokio::test(start_paused = true)]
async fn the_status_shows_every_variable_but_secrets() {
    let mut setup = setup(128);
    setup.variables.insert("ingest_auth", "token");
    setup.variables.insert("ingest_token", "psst,shh");
    let world = World::build(&setup);
    let headers = [JSON, ("authorization", "Bearer psst")];
    let post = async |body: &str| world.post_with(&headers, body).await;
    post(&event("evt_1")).await;
    post(&event("evt_1")).await;
    post("nonsense").await;
    world.clock.advance(Duration::from_mins(2));
    post(&wrapped(b"nonsense")).await;
    let limited = Fault::retry_after(429, RetryAfter::Seconds(90));
    world.svix.script([limited]);
    post(&event("evt_2")).await;
    tokio::time::sleep(Duration::from_secs(10)).await;

    let reply = ask(&world, "GET", "/status").await;
    let text = reply.text();
    for secret in [TOKEN, "hush", "psst", "shh"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let mut status = reply.json();
    let seconds = status["gate"]["seconds"].take().as_f64().expect("a number");
    assert!((40.0..=60.0).contains(&seconds), "{seconds}");
    let mut configuration = status["configuration"].take();
    let version = env!("CARGO_PKG_VERSION");
    let expected = json!({
        "version": version, "time": status["time"],
        "operator": {"name": "operator", "readOnly": false},
        "gate": {"state": "closed", "reason": "rate-limited", "seconds": null},
        "configuration": null,
        "deadLetters": {"written": 1, "unresolved": 1},
        "audit": {
            "verifiedUntil": null, "events": 0, "oneIn": 1,
            "findings": {"missing": 0, "doubled": 0, "unrecorded": 0, "unsettled": 0, "unsent": 0, "application-missing": 0, "pending": 0},
        },
        "heldProjects": [],
        "endpoints": {"disabled": [], "exhausted": []},
        "canary": null,
        "lastHour": [
            {"minute": "2026-11-23T14:12:00Z", "outcomes": {"delivered": 1, "duplicate": 1, "not-json": 1}},
            {"minute": "2026-11-23T14:14:00Z", "outcomes": {"dead-lettered": 1, "rate-limited": 1}},
        ],
    });
    assert_eq!(status, expected);
    let time = status["time"].to_string();
    assert!(time.starts_with("\"2026-11-23T14:14:"), "{time}");

    for secret in ["svix_token", "admin_token", "ingest_token"] {
        assert_eq!(configuration[secret].take(), "[redacted]", "{secret}");
    }
    assert_eq!(configuration["svix_url"], "http://svix.test");
    assert_eq!(configuration["ingest_auth"], "token");
    let manifest = std::fs::read_to_string(root().join("spin.toml")).expect("spin.toml");
    let variables = manifest.split_once("[variables]").expect("variables").1;
    let variables = variables.split_once("\n[").expect("an end").0;
    let names = variables.lines().filter_map(|line| line.split_once(" = "));
    let names: Vec<_> = names.map(|(name, _)| name).collect();
    let shown = configuration.as_object().expect("an object");
    assert!(names.len() >= 18 && shown.len() == names.len(), "{shown:?}");
    for name in names {
        assert!(shown.contains_key(name), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_hour_is_no_longer_than_an_hour() {
    let world = world();
    for number in 0..3 {
        world.post(&event(&format!("evt_{number}"))).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.clock.advance(Duration::from_mins(45));
    }
    world.clock.advance(Duration::from_mins(14));
    let status = show(&world, "/status").await;
    let minutes = status["lastHour"].as_array().expect("a list");
    assert_eq!(minutes.len(), 1, "{minutes:?}");
    assert_eq!(minutes[0]["minute"], "2026-11-23T15:42:00Z");
    assert_eq!(notified(&world).await, 3, "all notifications are counted");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_not_set_is_shown_as_empty() {
    let status = ask(&world(), "GET", "/status").await.json();
    assert_eq!(status["configuration"]["ingest_token"], "");
    let letters = json!({"written": 0, "unresolved": 0});
    let expected = json!({"gate": {"state": "open"}, "lastHour": [], "deadLetters": letters});
    assert_fields(&status, &expected);
}

#[tokio::test(start_paused = true)]
async fn metrics_and_status_are_a_503_without_a_store() {
    let world = world();
    for path in ["/metrics", "/status"] {
        world.faults.metrics().fail_next(Op::Get, 1);
        let reply = world.request("GET", path, &[ADMIN], "").await;
        reply.assert_retryable_problem(503, "store-failing");
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_is_unresolved_until_it_is_replayed_or_discarded() {
    let world = world();
    world.svix.always_for(&Method::POST, Fault::status(422));
    for id in ["evt_1", "evt_2", "evt_3"] {
        let sent = wrapped(event(id));
        world.post(&sent).await;
        world.post(&sent).await;
    }
    world.push(b"nonsense").await;
    assert_eq!(unresolved(&world).await, 4);
    world.svix.always(Fault::None);
    replay(&world, 1).await;
    assert_eq!(unresolved(&world).await, 3);
    replay(&world, 1).await;
    ask(&world, "DELETE", "/dead-letters/1").await;
    assert_eq!(unresolved(&world).await, 3, "each letter counts once");
    world.post(&event("evt_2")).await;
    assert_eq!(unresolved(&world).await, 2, "evt_2 was delivered");
    ask(&world, "DELETE", "/dead-letters/3").await;
    ask(&world, "DELETE", "/dead-letters/4").await;
    assert_eq!(unresolved(&world).await, 0);
    world.post(&event("evt_3")).await;
    assert_eq!(unresolved(&world).await, 0, "evt_3 was discarded");
}

#[tokio::test(start_paused = true)]
async fn concurrent_deliveries_and_replays_count_a_letter_once() {
    let world = world();
    world.svix.always_for(&Method::POST, Fault::status(422));
    let sent = wrapped(event("evt_1"));
    join_all((0..16).map(|_| world.post(&sent))).await;
    assert_eq!(unresolved(&world).await, 1);
    world.svix.always(Fault::None);
    let letters = show(&world, "/dead-letters").await;
    let number = &letters["deadLetters"][0]["number"];
    let replay = format!("/dead-letters/{number}/replay");
    let direct = event("evt_1");
    let replays = join_all((0..8).map(|_| ask(&world, "POST", &replay)));
    let posts = join_all((0..8).map(|_| world.post(&direct)));
    tokio::join!(replays, posts);
    assert_eq!(unresolved(&world).await, 0);
    world.svix.always_for(&Method::POST, Fault::status(422));
    world.push(event("evt_2")).await;
    // The number is not below what it shows.
    assert_eq!(unresolved(&world).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_succeeds_and_reports_a_failure_counts_a_letter_right() {
    let world = world();
    world.svix.always_for(&Method::POST, Fault::status(422));
    let sent = wrapped(event("evt_1"));
    // Its body is there, and nothing names it.
    world.faults.write_then_fail_next_set();
    assert_eq!(world.post(&sent).await.status, 503);
    assert_eq!(unresolved(&world).await, 0);
    // Everything is there.
    world.faults.spare_next_set();
    world.faults.write_then_fail_next_set();
    assert_eq!(world.post(&sent).await.status, 503);
    assert_eq!(unresolved(&world).await, 1);
    world.post(&sent).await.assert_became("dead-lettered");
    assert_eq!(unresolved(&world).await, 1);

    world.svix.always(Fault::None);
    world.faults.write_then_fail_next_set();
    assert_eq!(world.post(&event("evt_1")).await.status, 503);
    assert_eq!(unresolved(&world).await, 0);
    world.post(&sent).await.assert_became("duplicate");
    assert_eq!(unresolved(&world).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_letter_whose_deletion_broke_off_is_hidden_until_it_is_deleted_again() {
    let world = world();
    world.svix.always_for(&Method::POST, Fault::status(422));
    for id in ["evt_1", "evt_2"] {
        world.push(event(id)).await;
    }
    let path = "/dead-letters/1";
    for (ops, left) in [(&[Op::Set][..], 2), (&[Op::DeleteMany, Op::Delete], 1)] {
        for op in ops {
            world.faults.fail_next(*op, 1);
        }
        let failed = world.request("DELETE", path, &[ADMIN], "").await;
        failed.assert_retryable_problem(503, "store-failing");
        assert_eq!(unresolved(&world).await, left, "{ops:?}");
    }
    let hidden = world.request("GET", path, &[ADMIN], "").await;
    hidden.assert_final_problem(404, "no-dead-letter");
    assert_eq!(letter_bodies(&world).await, 2);
    ask(&world, "DELETE", path).await;
    assert_eq!(letter_bodies(&world).await, 1);
    assert_eq!(unresolved(&world).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_letter_whose_event_was_delivered_unaware_of_it_counts_as_resolved() {
    let world = world();
    world.svix.script([Fault::status(422)]);
    let sent = wrapped(event("evt_1"));
    world.post(&sent).await;
    assert_eq!(unresolved(&world).await, 1);
    let record = world.records().await.remove(0);
    world.remove(&record).await;
    world.post(&sent).await.assert_became("delivered");
    assert_eq!(unresolved(&world).await, 0);
    let list = show(&world, "/dead-letters").await;
    assert!(list["deadLetters"][0]["resolved"].is_object(), "{list}");
}

#[tokio::test(start_paused = true)]
async fn settled_letters_are_not_looked_at_again() {
    let world = world();
    for number in 0..200 {
        let body = format!("nonsense {number}");
        world.push(&body).await;
    }
    for number in 1..200 {
        ask(&world, "DELETE", &format!("/dead-letters/{number}")).await;
    }
    assert_eq!(unresolved(&world).await, 1);
    assert_one_letter_is_read(&world).await;
}

/// Checks that the status shows one letter, and reads no other one.
async fn assert_one_letter_is_read(world: &World) {
    let before = world.faults.count(Op::Get);
    assert_eq!(unresolved(world).await, 1);
    let reads = world.faults.count(Op::Get) - before;
    // The gate, the mark, the letter, the audit and the canary.
    assert!(reads <= 11, "{reads}");
}

#[tokio::test(start_paused = true)]
async fn a_number_that_was_taken_an_hour_ago_and_never_used_is_not_looked_at_again() {
    let world = world();
    world.put("dead-letters", &500_i64.to_le_bytes()).await;
    assert_eq!(unresolved(&world).await, 0);
    world.clock.advance(Duration::from_mins(61));
    assert_eq!(unresolved(&world).await, 0);
    world.push(b"nonsense").await;
    assert_one_letter_is_read(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_is_written_long_after_its_number_was_taken_counts() {
    let world = world();
    // Another instance has taken number 1, and is still to write the letter.
    world.put("dead-letters", &1_i64.to_le_bytes()).await;
    world.push(b"nonsense").await;
    ask(&world, "DELETE", "/dead-letters/2").await;
    world.clock.advance(Duration::from_mins(59));
    assert_eq!(unresolved(&world).await, 0);
    let head = r#"{"version":2,"number":1,"deadLetteredAt":"2026-11-23T14:12:42Z","record":"record/late","source":"unwrapped","reason":"not-utf8","problem":{}}"#;
    let record = r#"{"version":1,"state":"dead-lettered","deadLetter":1}"#;
    for (name, value) in
        [("letter/record/late", head), ("dead-letter/1", "record/late"), ("record/late", record)]
    {
        world.put(name, value.as_bytes()).await;
    }
    assert_eq!(unresolved(&world).await, 1);
}

/// The first name in the store with this beginning.
async fn stored_name(world: &World, beginning: &str) -> String {
    let names = world.names().await.into_iter();
    let mut found = names.filter(|name| name.starts_with(beginning));
    found.next().expect("a name")
}

#[tokio::test(start_paused = true)]
async fn a_letter_of_a_later_version_is_there_again_after_a_roll_back() {
    for name in ["letter/", "dead-letter/1"] {
        let world = world();
        world.push(b"nonsense").await;
        let name = stored_name(&world, name).await;
        let value = world.stored(&name).await.expect("stored");
        world.put(&name, br#"{"version":9}"#).await;
        for _ in 0..3 {
            unresolved(&world).await;
            world.clock.advance(Duration::from_mins(61));
        }
        world.put(&name, &value).await;
        assert_eq!(unresolved(&world).await, 1, "{name}");
        let letter = ask(&world, "GET", "/dead-letters/1").await;
        assert_eq!(letter.status, 200, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_letter_does_not_hold_the_count_of_the_others_up() {
    for name in ["letter/", "dead-letter/1"] {
        let world = world();
        world.push(b"nonsense 1").await;
        world.put(&stored_name(&world, name).await, b"\xff").await;
        world.push(b"nonsense 2").await;
        for _ in 0..3 {
            assert_eq!(unresolved(&world).await, 1);
            world.clock.advance(Duration::from_mins(61));
        }
        let mark = world.stored("dead-letters/settled").await.expect("a mark");
        let mark = String::from_utf8_lossy(&mark);
        assert!(mark.starts_with("1 "), "{name}: {mark}");
        // The letter may hold the only copy of an event.
        assert!(world.stored("dead-letter/1").await.is_some(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_finds_a_record_that_no_path_leads_to() {
    let world = world();
    world.post(&event("..")).await;
    let find = "/records?project=dev&eventId=%2e.";
    let found = show(&world, find).await;
    assert_eq!(found["eventId"], "..");
    assert_eq!(found["svixMessageId"], world.only_message().id);
    for (query, status, problem) in [
        ("project=dev&eventId=.", 404, "no-record"),
        ("project=.&eventId=.", 404, "no-record"),
        ("project=dev", 400, "invalid-query"),
        ("project=&project=dev&eventId=.", 400, "invalid-query"),
    ] {
        let path = format!("/records?{query}");
        let reply = world.request("GET", &path, &[ADMIN], "").await;
        reply.assert_final_problem(status, problem);
        // A stranger learns nothing of the query.
        let reply = world.get(&path).await;
        reply.assert_final_problem(401, "unauthorized");
    }
    let closed = World::with(&[("ingest_auth", "token"), ("ingest_token", "psst")]);
    let reply = closed.get(find).await;
    reply.assert_final_problem(404, "not-found");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_counted_and_logged() {
    let world = world();
    world.svix.always(Fault::status(500));
    world.post(&event("evt_1")).await;
    let line = r#""leftUnknown":true"#;
    assert_eq!(world.lines_with(line).len(), 1, "{:?}", world.stdout());
    world.svix.always(Fault::None);
    world.clock.advance(Duration::from_mins(2));
    world.post(&event("evt_2")).await;
    let metrics = metrics(&world).await;
    assert_eq!(metrics["svix_relay_outcomes_unknown_total"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_line_stays_short_whatever_its_sender_sends() {
    let world = world();
    let long = "x".repeat(5_000);
    for field in ["id", "type", "project"] {
        let mut event: Value = serde_json::from_str(&event("evt_1")).expect("JSON");
        event[field] = json!(long);
        world.post(&event.to_string()).await;
        world.push(event.to_string()).await;
        world.request("GET", &format!("/{long}"), &[], "").await;
    }
    let lines = world.stdout();
    assert_eq!(lines.len(), 9);
    for line in lines {
        assert!(line.len() < 1_500, "{} bytes: {line}", line.len());
    }
}

#[tokio::test(start_paused = true)]
async fn requests_of_monitoring_leave_no_line() {
    let world = world();
    for path in ["/healthz", "/readyz", "/metrics", "/status"] {
        assert_eq!(ask(&world, "GET", path).await.status, 200);
    }
    assert_eq!(world.stdout(), Vec::<String>::new());
    let reply = world.get("/metrics").await;
    reply.assert_final_problem(401, "unauthorized");
    assert_eq!(world.stdout().len(), 1);
}

/// The lines about changes.
fn changes(world: &World) -> Vec<Value> {
    let lines = world.lines().into_iter();
    lines.filter(|line| line.get("status").is_none()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_gate_leaves_a_line_each_time_it_closes_and_opens() {
    let world = world();
    let elsewhere = world.node(&setup(128));
    let limit = Fault::retry_after(429, RetryAfter::Seconds(30));
    world.svix.script([limit]);
    world.post(&event("evt_1")).await;
    for node in [&world, &elsewhere] {
        for number in 2..5 {
            node.post(&event(&format!("evt_{number}"))).await;
        }
    }
    let closed = &changes(&world)[..];
    assert_eq!(
        closed,
        [json!({
            "severity": "WARNING", "time": "2026-11-23T14:12:42Z",
            "message": "Svix is not asked for 30s: rate-limited",
            "outcome": "gate-closed", "reason": "rate-limited", "seconds": 30.0,
        })]
    );
    let metrics = metrics(&elsewhere).await;
    assert_number(&metrics, r#"gate_closed{reason="rate-limited"}"#, 1);
    assert_number(&metrics, r#"gate_closed{reason="svix-unavailable"}"#, 0);

    world.clock.advance(Duration::from_secs(30));
    world.svix.script([Fault::status(503)]);
    world.post(&event("evt_5")).await;
    let lines = changes(&world);
    assert_eq!(lines.len(), 2, "a probe on its way is no change: {lines:?}");
    let expected = json!({"outcome": "gate-closed", "reason": "svix-unavailable"});
    assert_fields(&lines[1], &expected);
    let seconds = lines[1]["seconds"].as_f64().expect("a number");
    assert!((1.0..=2.0).contains(&seconds), "{seconds}");

    world.clock.advance(Duration::from_secs(2));
    elsewhere.post(&event("evt_6")).await;
    world.post(&event("evt_7")).await;
    // Only the instance that makes a change logs it.
    assert_eq!(changes(&world).len(), 2);
    let opened = changes(&elsewhere);
    assert_eq!(opened.len(), 1, "{opened:?}");
    let expected = json!({"outcome": "gate-opened", "severity": "INFO"});
    assert_fields(&opened[0], &expected);
}

#[tokio::test(start_paused = true)]
async fn readiness_leaves_a_line_when_it_changes() {
    let world = world();
    world.get("/readyz").await;
    assert_eq!(changes(&world), [] as [Value; 0]);
    world.faults.fail_next(Op::Get, 2);
    for status in [503, 503, 200, 200] {
        assert_eq!(world.get("/readyz").await.status, status);
    }
    let lines = changes(&world);
    assert_eq!(lines.len(), 2, "{lines:?}");
    let failing = json!({"outcome": "not-ready", "reason": "store-failing", "severity": "ERROR"});
    assert_fields(&lines[0], &failing);
    let ready = json!({"outcome": "ready", "severity": "INFO"});
    assert_fields(&lines[1], &ready);
}
