//! Events so old, or left so long, that Svix no longer recognises them by itself.

use std::time::Duration;

use serde_json::{Value, json};

use fake_svix::Fault;
use host::Op;

use super::methods;
use crate::support::{World, assert_fields, event, wrapped};

/// The sample events are from the moment at which every test begins.
const DAYS: Duration = Duration::from_hours(5 * 24);

/// An event without a time.
const TIMELESS: &str = r#"{"id":"evt_1","type":"t","project":"dev"}"#;

#[tokio::test(start_paused = true)]
async fn an_event_is_looked_up_from_two_minutes_before_svix_forgets_its_key() {
    let world = World::new();
    world.clock.advance(Duration::from_secs(12 * 3_600 - (2 * 60 + 1)));
    world.post(&event("evt_1")).await;
    world.clock.advance(Duration::from_secs(1));
    world.post(&event("evt_2")).await;
    assert_eq!(methods(&world), ["POST", "GET", "POST"]);
    assert_eq!(world.svix.messages().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_delivery_crashed_days_ago_stays_one_message() {
    let world = World::new();
    world.svix.script([Fault::HangAfterStoring]);
    let event = event("evt_1");
    world.post_and_crash_when(&event, |world| world.svix.messages().len() == 1).await;
    // Only the event's age tells of the attempt.
    assert_eq!(world.records().await, [""; 0]);

    world.clock.advance(DAYS);
    let reply = world.post(&event).await.json();
    assert_fields(&reply, &json!({"status": "delivered", "attempts": 0}));
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn the_age_counts_from_the_events_time_or_the_publication_whichever_is_earlier() {
    let world = World::new();
    let young = event("evt_1").replace("2026-11-23T14:12:42Z", "2026-11-23T14:12:41Z");
    let old = |id| event(id).replace("2026-11-23T14:12:42Z", "2026-11-20T00:00:00+05:30");
    world.post(&young).await;
    world.post(&old("evt_2")).await;
    let published_long_ago =
        wrapped(event("evt_3")).replace("2026-11-23T14:12:42.123Z", "2026-11-20T00:00:00Z");
    world.post(&published_long_ago).await;
    world.push(event("evt_4")).await;
    let expected = ["POST", "GET", "POST", "GET", "POST", "POST"];
    assert_eq!(methods(&world), expected);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_unknown_age_is_looked_up_first() {
    let world = World::new();
    world.post(TIMELESS).await;
    let odd = r#"{"id":"evt_2","type":"t","project":"dev","time":"noon"}"#;
    world.post(odd).await;
    assert_eq!(methods(&world), ["GET", "POST", "GET", "POST"]);
}

/// A push of an event without a time.
fn moved(id: &str, published: &str, attributes: &Value) -> String {
    let mut push: Value = serde_json::from_str(&wrapped(TIMELESS)).expect("JSON");
    for (name, value) in [
        ("messageId", json!(id)),
        ("publishTime", json!(published)),
        ("publish_time", json!(published)),
        ("attributes", attributes.clone()),
    ] {
        push["message"][name] = value;
    }
    push.to_string()
}

/// Pub/Sub publishes the event anew to the dead-letter topic, with its first time in an attribute.
#[tokio::test(start_paused = true)]
async fn an_event_from_the_dead_letter_topic_is_as_old_as_its_first_message() {
    for attributes in [
        json!({
            "CloudPubSubDeadLetterSourceDeliveryCount": "100",
            "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-11-23T14:12:42.000+00:00",
        }),
        json!({"CloudPubSubDeadLetterSourceDeliveryCount": "100"}),
    ] {
        let world = World::new();
        world.faults.fail_always(Op::Set);
        let first = moved("1", "2026-11-23T14:12:42Z", &json!({}));
        let reply = world.post(&first).await;
        reply.assert_retryable_problem(503, "store-failing");
        world.faults.clear();
        world.clock.advance(Duration::from_hours(60));
        let again = moved("2", "2026-11-26T02:00:00Z", &attributes);
        world.post(&again).await.assert_became("delivered");
        world.only_message();
    }
}

#[tokio::test(start_paused = true)]
async fn an_unwrapped_event_from_the_dead_letter_topic_is_as_old_as_its_first_message() {
    let world = World::new();
    world.faults.lose_next_set();
    world.post(TIMELESS).await.assert_became("delivered");
    world.clock.advance(Duration::from_hours(60));
    // HTTP's names have no case.
    let headers = [
        ("x-goog-pubsub-message-id", "2"),
        ("x-goog-pubsub-publish-time", "2026-11-26T02:00:00Z"),
        ("CloudPubSubDeadLetterSourceDeliveryCount", "100"),
    ];
    let reply = world.post_with(&headers, TIMELESS).await;
    reply.assert_became("delivered");
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_time_is_still_to_come_is_looked_up() {
    let world = World::new();
    let event = event("evt_1").replace("2026-11-23T", "2026-12-23T");
    world.faults.lose_next_set();
    world.post(&event).await.assert_became("delivered");
    world.clock.advance(Duration::from_hours(49));
    world.post(&event).await.assert_became("delivered");
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_recorded_and_looked_up_days_later() {
    for fault in [
        Fault::status(500),
        Fault::HangAfterStoring,
        Fault::ResetAfterStoring,
        Fault::TruncatedReply,
        Fault::MalformedReply,
        Fault::GarbageBytes,
    ] {
        let world = World::new();
        let event = event("evt_1");
        let path = "/notifications/dev/evt_1";
        world.svix.always(fault.clone());
        let began = "2026-11-23T14:12:42Z";
        let reply = world.post(&event).await;
        assert_eq!(reply.status, 503, "{fault:?}");
        let record = world.get(path).await.json();
        assert_eq!(record["state"], "unknown", "{fault:?}");
        assert_eq!(record["project"], "dev");
        let first = record["firstAttemptAt"].clone();
        assert_eq!(first, began, "the time of the first attempt's beginning");

        // A later failure leaves the time as it was.
        world.clock.advance(Duration::from_hours(1));
        let reply = world.post(&event).await;
        assert_eq!(reply.status, 503, "{fault:?}");
        let record = world.get(path).await.json();
        assert_eq!(record["firstAttemptAt"], first);

        world.svix.clear_faults();
        world.clock.advance(DAYS);
        let reply = world.post(&event).await;
        assert_eq!(reply.json()["status"], "delivered", "{fault:?}");
        world.only_message();
        world.post(&event).await.assert_became("duplicate");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_found_in_svix_is_not_said_to_differ_from_its_own_bytes() {
    let world = World::new();
    let stored = event("evt_1");
    let corrected = stored.replacen('{', r#"{"note":"corrected","#, 1);
    world.svix.always(Fault::HangAfterStoring);
    let reply = world.post(&stored).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    world.svix.clear_faults();
    world.clock.advance(DAYS);
    let found = world.post(&corrected).await.json();
    assert_fields(&found, &json!({"status": "delivered", "attempts": 0}));
    for body in [stored, corrected] {
        let reply = world.post(&body).await.json();
        assert_eq!(reply["status"], "duplicate");
        assert_eq!(reply.get("contentDiffers"), None, "{reply}");
    }
    world.only_message();

    // A young event whose key Svix has forgotten is found after a 409.
    let world = World::new();
    world.svix.store_message("dev", "evt_1", "user.created", "{}");
    let found = world.post(&event("evt_1")).await.json();
    assert_fields(&found, &json!({"status": "delivered", "attempts": 1}));
    let record = world.get("/notifications/dev/evt_1").await.json();
    assert_eq!(record["state"], "delivered");
    assert_eq!(record.get("fingerprint"), None, "{record}");
}

#[tokio::test(start_paused = true)]
async fn an_event_with_a_time_beyond_every_clock_is_delivered() {
    let world = World::new();
    for time in ["1969-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"] {
        let event = event(time).replace("2026-11-23T14:12:42Z", time);
        let reply = world.push(&event).await.json();
        assert_eq!(reply["status"], "delivered", "{time}: {reply}");
    }
    assert_eq!(world.stderr(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_process_frozen_for_a_day_looks_the_event_up_before_it_posts_again() {
    // A new event, and an old one that Svix didn't know before.
    for (age, expected) in [(0, &["POST", "GET"][..]), (13, &["GET", "POST", "GET"])] {
        let world = World::new();
        // The message is stored at once, but the answer comes when the relay no longer waits for it.
        let late = Fault::Delay { millis: 3_100 };
        world.svix.script_for(&http::Method::POST, [late]);
        let event = event("evt_1");
        world.clock.advance(Duration::from_hours(age));
        let post = world.post(&event);
        let freeze = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.clock.advance(Duration::from_hours(24));
        };
        let (reply, ()) = tokio::join!(post, freeze);
        reply.assert_became("delivered");
        assert_eq!(methods(&world), expected);
        world.only_message();
    }
}
