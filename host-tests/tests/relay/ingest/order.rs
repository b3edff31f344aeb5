//! Pub/Sub's ordering key, in the log, in the record and in a dead letter.

use serde_json::{Value, json};

use crate::support::{JSON, World, ask, event, show, unwrapped, world, wrapped};

const HEADER: &str = "x-goog-pubsub-ordering-key";

/// Whatever may stand in `message.orderingKey`, and how the relay shows it.
fn keys() -> Vec<(Value, Option<String>)> {
    let shown = |key: &str| (json!(key), Some(key.to_owned()));
    vec![
        shown("usr_1"),
        shown("with space, \"quotes\", / and Zürich 東京"),
        shown("line\nbreak\u{1b}[31m\u{2028}"),
        (json!("k".repeat(1_024)), Some("k".repeat(300))),
        // No character is cut in two.
        (json!(format!("k{}", "ä".repeat(500))), Some(format!("k{}", "ä".repeat(149)))),
        (json!(""), None),
        (json!(null), None),
        (json!(7), None),
        (json!(["usr_1"]), None),
    ]
}

fn with_key(event: &str, key: &Value) -> String {
    let mut push: Value = serde_json::from_str(&wrapped(event)).expect("JSON");
    push["message"]["orderingKey"] = key.clone();
    push.to_string()
}

/// The ordering key in the last line of the log, in the record of `evt_1`, and in dead letter 1.
async fn noted(world: &World) -> [Option<String>; 3] {
    let line = world.stdout().pop().expect("a line");
    assert!(!line.trim_end().contains(char::is_control), "{line}");
    let line: Value = serde_json::from_str(&line).expect("JSON");
    let record = show(world, "/notifications/dev/evt_1").await;
    let letter = show(world, "/dead-letters/1").await;
    [line, record, letter].map(|value| {
        let key = value.get("orderingKey");
        key.map(|key| key.as_str().expect("a string").to_owned())
    })
}

#[tokio::test(start_paused = true)]
async fn the_ordering_key_of_a_wrapped_push_is_noted() {
    for (key, expected) in keys() {
        let world = world();
        let reply = world.post(&with_key("nonsense", &key)).await;
        assert_eq!(reply.json()["status"], "dead-lettered", "{key}");
        let reply = world.post(&with_key(&event("evt_1"), &key)).await;
        assert_eq!(reply.json()["status"], "delivered", "{key}");
        let expected = [(); 3].map(|()| expected.clone());
        assert_eq!(noted(&world).await, expected, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_ordering_key_of_an_unwrapped_push_is_noted() {
    let longest = "k".repeat(1_024);
    for (key, expected) in [
        (None, None),
        (Some(""), None),
        (Some("usr_1"), Some("usr_1")),
        (Some("a, \"b\" / c"), Some("a, \"b\" / c")),
        (Some(longest.as_str()), Some(&longest[..300])),
    ] {
        let world = world();
        for body in ["nonsense", &event("evt_1")] {
            let mut headers = unwrapped(body).to_vec();
            headers.extend(key.map(|key| (HEADER, key)));
            let path = "/notifications";
            world.request("POST", path, &headers, body).await.ok();
        }
        let expected = [(); 3].map(|()| expected.map(str::to_owned));
        assert_eq!(noted(&world).await, expected, "{key:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_direct_post_has_no_ordering_key() {
    let world = world();
    let body = event("evt_1").replacen('{', r#"{"orderingKey":"usr_1","#, 1);
    let headers = [JSON, (HEADER, "usr_1")];
    let path = "/notifications";
    let reply = world.request("POST", path, &headers, &body).await;
    reply.assert_became("delivered");
    assert!(!world.stdout().concat().contains("usr_1"));
    let record = show(&world, "/notifications/dev/evt_1").await;
    assert_eq!(record.get("orderingKey"), None);
}

#[tokio::test(start_paused = true)]
async fn an_event_without_an_ordering_key_is_stored_as_before() {
    let world = world();
    world.post(&with_key(&event("evt_1"), &Value::Null)).await;
    let name = world.records().await.remove(0);
    let record = world.stored(&name).await.expect("a record");
    let record: Value = serde_json::from_slice(&record).expect("JSON");
    let names: Vec<_> = record.as_object().expect("an object").keys().collect();
    let expected = "attempts deliveredAt eventId eventType fingerprint project publishedAt state svixMessageId version";
    assert_eq!(names, expected.split(' ').collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_replayed_letter_keeps_its_ordering_key() {
    let body = event("evt_1");
    let mut headers = unwrapped(&body).to_vec();
    headers.push((HEADER, "usr_1"));
    let wrapped = with_key(&body, &json!("usr_1"));
    for (headers, body) in [(&headers[..], &body), (&[], &wrapped)] {
        let world = world();
        world.svix.script([fake_svix::Fault::status(422)]);
        let path = "/notifications";
        let reply = world.request("POST", path, headers, body).await;
        reply.assert_became("dead-lettered");
        let path = "/dead-letters/1/replay";
        ask(&world, "POST", path).await.assert_became("delivered");
        let letter = show(&world, "/dead-letters/1").await;
        assert_eq!(letter["orderingKey"], "usr_1");
        assert_eq!(letter["resolved"]["orderingKey"], "usr_1");
    }
}
