//! Every form in which an event comes in, and the message in Svix.

use serde_json::json;

use crate::support::{UNWRAPPED, World, event, wrapped};

const SAMPLES: [&str; 2] = [
    include_str!("../../../samples/user.created.json"),
    include_str!("../../../samples/subscription.activated.json"),
];

#[tokio::test(start_paused = true)]
async fn an_event_arrives_byte_for_byte_in_every_form() {
    let world = World::new();
    for (number, sample) in SAMPLES.iter().enumerate() {
        for (form, headers, wrap) in [
            (
                "direct",
                &[("content-type", "application/cloudevents+json")][..],
                false,
            ),
            ("bare", &[], false),
            ("unwrapped", &UNWRAPPED, false),
            ("wrapped", &[("content-type", "application/json")], true),
        ] {
            let id = format!("evt_{form}_{number}");
            let sent = rename(sample, &id);
            let body = if wrap {
                wrapped(sent.as_bytes())
            } else {
                sent.clone()
            };
            let reply = world
                .request("POST", "/notifications", headers, &body)
                .await;
            assert_eq!(reply.json()["status"], "delivered", "{form}");
            // The fake Svix keeps a JSON value, without the white space around it.
            assert_eq!(world.message(&id).payload, sent.trim(), "{form}");
            let request = world.svix.requests().pop().expect("a request");
            let text = String::from_utf8(request.body.to_vec()).expect("UTF-8");
            assert!(
                text.contains(&format!(r#""payload":{sent}}}"#)),
                "{form}: {text}"
            );
        }
    }
}

/// The same event with another id.
fn rename(sample: &str, id: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(sample).expect("a sample is JSON");
    let old = event["id"].as_str().expect("a sample has an id");
    sample.replacen(old, id, 1)
}

#[tokio::test(start_paused = true)]
async fn the_same_event_is_a_duplicate_in_any_other_form() {
    let world = World::new();
    let sent = event("evt_1");
    world.post(&sent).await;
    let reply = world.post(&wrapped(sent.as_bytes())).await;
    assert_eq!(reply.json()["status"], "duplicate");
    let reply = world
        .request("POST", "/notifications", &UNWRAPPED, &sent)
        .await;
    assert_eq!(reply.json()["status"], "duplicate");
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn every_spelling_of_json_passes_through_unchanged() {
    let world = World::new();
    let odd = concat!(
        "\n { \"data\" : {\"float\":10.0, \"float\":1e2, \"big\":12345678901234567890, ",
        "\"text\":\"\\u00e4ä\\/\"},\r\n\t\"id\":\"evt_1\",\"unknown\":null,",
        "\"type\":\"t\",\"project\":\"dev\" } \n"
    );
    world.post(odd).await;
    // White space around a JSON value is not part of it.
    assert_eq!(world.only_message().payload, odd.trim());
}

#[tokio::test(start_paused = true)]
async fn an_id_invalid_for_svix_is_mapped_and_stays_in_the_payload() {
    let world = World::new();
    let long = "x".repeat(300);
    let ids = [
        "msg_1",
        "with space",
        "a/b?c#d",
        "ä",
        "..",
        "sha256.x",
        long.as_str(),
    ];
    for id in ids {
        let event = event(id);
        let reply = world.post(&event).await;
        assert_eq!(reply.json()["status"], "delivered", "{id}");
        assert_eq!(reply.json()["eventId"], id);
        assert_eq!(
            world.post(&event).await.json()["status"],
            "duplicate",
            "{id}"
        );
    }
    let messages = world.svix.messages();
    assert_eq!(messages.len(), ids.len());
    for (message, id) in messages.iter().zip(ids) {
        let event_id = message.event_id.as_deref().expect("an eventId");
        assert!(event_id.starts_with("sha256."), "{event_id}");
        assert_eq!(message.payload, event(id));
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_id_in_two_projects_is_two_events() {
    let world = World::new();
    world.post(&event("evt_1")).await;
    let other = event("evt_1").replace("\"dev\"", "\"gigs\"");
    assert_eq!(world.post(&other).await.json()["status"], "delivered");
    assert_eq!(world.svix.applications(), ["dev", "gigs"]);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_wrapper_is_refused_with_the_violated_rule() {
    let world = World::with(&[("dead_letters", "reject")]);
    let reply = world
        .post(r#"{"message":{"attributes":{"k":"v"},"data":""}}"#)
        .await;
    reply.assert_final_problem(422, "invalid-event");
    assert_eq!(
        reply.json()["errors"],
        json!([{"field": "message.data", "reason": "must not be empty"}])
    );
    let reply = world
        .post(&wrapped(br#"{"id":"evt_1","project":"dev"}"#))
        .await;
    reply.assert_final_problem(422, "invalid-event");
    assert_eq!(
        reply.json()["errors"],
        json!([{"field": "type", "reason": "is required"}])
    );
}
