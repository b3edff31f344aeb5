//! Other versions of the relay share the store. Values of all earlier versions are understood. After a
//! roll-back, values of a later version are kept and make no second message.

use std::time::Duration;

use fake_svix::Fault;
use serde_json::{Value, json};

use crate::support::{Setup, World, ask, event, unresolved, world, wrapped};

/// The record of `evt_1` of `dev`.
const RECORD: &str = "record/193e465eef8b7ffec290ebb03ed5391f528a1474ee89d4089e611e77e4ee7e50";

/// The bytes of each state that each version has written. Never to be changed, only added to.
const DELIVERED: [&str; 2] = [
    r#"{"version":1,"state":"delivered","project":"dev","eventId":"evt_1","eventType":"user.created","svixMessageId":"msg_1","attempts":2,"deliveredAt":"2026-11-23T14:12:42.123Z"}"#,
    r#"{"version":1,"state":"delivered","project":"dev","eventId":"evt_1","eventType":"user.created","svixMessageId":"msg_1","attempts":1,"deliveredAt":"2026-11-23T14:12:42.123Z","deadLetter":7}"#,
];
const UNKNOWN: [&str; 1] = [
    r#"{"version":1,"state":"unknown","project":"dev","eventId":"evt_1","eventType":"user.created","firstAttemptAt":"2026-11-23T14:12:42.123Z"}"#,
];
const DEAD_LETTERED: [&str; 2] = [
    r#"{"version":1,"state":"dead-lettered","deadLetter":7}"#,
    r#"{"version":1,"state":"dead-lettered","deadLetter":7,"discardedAt":"2026-11-23T14:12:42.123Z"}"#,
];
const LETTERS: [&str; 1] = [
    r#"{"version":1,"number":7,"deadLetteredAt":"2026-11-23T14:12:42Z","record":"RECORD","project":"dev","eventId":"evt_1","eventType":"user.created","source":"wrapped","pubsubMessageId":"8","publishTime":"2026-11-23T14:12:42.123Z","deliveryAttempt":5,"reason":"refused-by-svix","problem":{"type":"urn:svix-relay:problem:refused-by-svix","title":"Svix refuses the event","status":422,"detail":"no","retryable":false},"body":"BODY"}"#,
];

/// A value with an unknown version, as a later relay may write it.
fn later(text: &str) -> String {
    let text = text.replace(r#""version":1"#, r#""version":2"#);
    let fields = text.strip_suffix('}').expect("an object");
    format!(r#"{fields},"later":{{"field":[1,"2"]}}}}"#)
}

fn letter(text: &str, event: &str) -> String {
    let body = json!(wrapped(event)).to_string();
    text.replace("RECORD", RECORD).replace("\"BODY\"", &body)
}

/// The seventh letter with its record, as a relay would have kept it.
async fn keep(world: &World, letter: &str, record: &str) {
    world.put(RECORD, record.as_bytes()).await;
    world.put("dead-letter/7", letter.as_bytes()).await;
    world.put("dead-letters", &7_i64.to_le_bytes()).await;
}

/// Has Svix store the event, and lets the process die before it can write that down.
async fn crash_before_the_record(world: &World) {
    world.svix.script([Fault::HangAfterStoring]);
    let stored = |world: &World| world.svix.messages().len() == 1;
    world.post_and_crash_when(&event("evt_1"), stored).await;
}

#[tokio::test(start_paused = true)]
async fn a_record_has_the_same_name_in_every_version() {
    let world = world();
    world.post(&event("evt_1")).await;
    assert_eq!(world.records().await, [RECORD]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_any_earlier_version_delivered_is_a_duplicate() {
    for record in DELIVERED {
        let world = world();
        world.put(RECORD, record.as_bytes()).await;
        let reply = world.post(&event("evt_1")).await.json();
        assert_eq!(reply["status"], "duplicate", "{record}");
        assert_eq!(reply["svixMessageId"], "msg_1");
        let found = ask(&world, "GET", "/notifications/dev/evt_1").await;
        assert_eq!(found.text(), record);
        assert_eq!(world.svix.requests().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_any_earlier_version_left_unknown_is_looked_up() {
    for record in UNKNOWN {
        for stored in [true, false] {
            let world = world();
            if stored {
                crash_before_the_record(&world).await;
            }
            world.put(RECORD, record.as_bytes()).await;
            let reply = world.post(&event("evt_1")).await.json();
            assert_eq!(reply["status"], "delivered", "{record}");
            assert_eq!(reply["attempts"], u32::from(!stored), "{record}");
            world.only_message();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_of_any_earlier_version_is_shown_and_replayed() {
    let sent = event("evt_1");
    for (text, record) in LETTERS.into_iter().zip(DEAD_LETTERED) {
        let world = world();
        keep(&world, &letter(text, &sent), record).await;
        world.push(&sent).await.assert_kept_as(7);
        let shown = ask(&world, "GET", "/dead-letters/7").await;
        let stored: Value = serde_json::from_str(&letter(text, &sent)).expect("JSON");
        assert_eq!(shown.json(), stored);
        let path = "/dead-letters/7/replay";
        ask(&world, "POST", path).await.assert_became("delivered");
        assert_eq!(world.only_message().event_id.as_deref(), Some("evt_1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_later_version_leads_to_no_second_message() {
    let all = [&DELIVERED[..], &UNKNOWN, &DEAD_LETTERED].concat();
    for record in all {
        for days in [0, 5, 40] {
            let world = world();
            crash_before_the_record(&world).await;
            world.put(RECORD, later(record).as_bytes()).await;
            world.clock.advance(Duration::from_hours(24 * days));
            let reply = world.post(&event("evt_1")).await.json();
            assert_eq!(reply["status"], "delivered", "{record}");
            assert_eq!(reply["attempts"], 0, "{record}");
            world.only_message();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_of_a_later_version_is_hidden_and_kept() {
    let sent = event("evt_1");
    for (text, record) in LETTERS.into_iter().zip(DEAD_LETTERED) {
        let world = world();
        let kept = later(&letter(text, &sent));
        keep(&world, &kept, &later(record)).await;
        world.svix.set_body_limit(10);
        world.push(&sent).await.assert_kept_as(8);
        let shown = ask(&world, "GET", "/dead-letters/7").await;
        shown.assert_final_problem(404, "no-dead-letter");
        let discarded = ask(&world, "DELETE", "/dead-letters/7").await;
        discarded.assert_final_problem(404, "no-dead-letter");
        assert_eq!(world.stored("dead-letter/7").await, Some(kept.into_bytes()));
    }
}

/// After a roll-back, the letter is still readable, and the record of its delivery isn't.
#[tokio::test(start_paused = true)]
async fn a_record_of_a_later_version_outlives_the_letter_of_its_event() {
    let sent = event("evt_1");
    let record = later(DELIVERED[1]);
    let mut setup = Setup::operated();
    setup.variables.insert("dead_letter_retention_days", "10");
    let world = World::build(&setup);
    keep(&world, &letter(LETTERS[0], &sent), &record).await;

    let discarded = ask(&world, "DELETE", "/dead-letters/7").await;
    discarded.assert_final_problem(404, "no-dead-letter");
    world.clock.advance(Duration::from_hours(24 * 40));
    ask(&world, "POST", "/maintenance/purge").await.ok();
    assert_eq!(ask(&world, "GET", "/dead-letters/7").await.status, 200);
    assert_eq!(unresolved(&world).await, 1);
    ask(&world, "POST", "/projects/dev/erase").await.ok();
    let shown = ask(&world, "GET", "/dead-letters/7").await;
    shown.assert_final_problem(404, "no-dead-letter");
    assert_eq!(world.stored(RECORD).await, Some(record.into_bytes()));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_record_goes_with_the_letter_of_its_event() {
    for record in ["", r#"{"version":1}"#, &DEAD_LETTERED[0][..20]] {
        let world = world();
        keep(&world, &letter(LETTERS[0], &event("evt_1")), record).await;
        ask(&world, "DELETE", "/dead-letters/7").await.ok();
        let shown = ask(&world, "GET", "/dead-letters/7").await;
        shown.assert_final_problem(404, "no-dead-letter");
        assert_eq!(unresolved(&world).await, 0, "{record}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_values_of_a_later_version_stop_no_event() {
    let world = world();
    let gate = r#"{"version":1,"changed":1795443162000,"closed":{"reason":"rate-limited","millis":60000,"times":1,"probing":false,"failedProbe":null},"run":{"failures":0,"event":"","ofEvent":0}}"#;
    world.put("gate", gate.as_bytes()).await;
    assert_eq!(world.post(&event("evt_1")).await.status, 429, "understood");
    for name in ["gate", "metrics/0", "event-type/user.created"] {
        world.put(name, later(gate).as_bytes()).await;
    }
    let mut setup = Setup::new();
    setup.variables.insert("register_event_types", "true");
    let world = world.node(&setup);
    assert_eq!(world.post(&event("evt_1")).await.status, 200);
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn applications_with_different_prefixes_share_a_store_without_meeting() {
    let mut setup = Setup::operated();
    setup.variables.insert("key_prefix", "one/");
    let one = World::build(&setup);
    setup.variables.insert("key_prefix", "two/");
    let two = one.node(&setup);
    for world in [&one, &two] {
        world.post(&event("evt_1")).await.assert_became("delivered");
        world.post(&event("evt_1")).await.assert_became("duplicate");
        let kept = world.push(b"nonsense").await;
        assert_eq!(kept.json()["deadLetter"], 1);
        assert_eq!(world.get("/readyz").await.status, 200);
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    for name in one.names().await {
        let (application, _) = name.split_once('/').expect("a prefix");
        assert!(["one", "two"].contains(&application), "{name}");
    }
}
