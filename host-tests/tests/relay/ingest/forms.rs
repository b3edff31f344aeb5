//! Every form in which an event comes in, and the message in Svix.

use serde_json::{Value, json};

use crate::support::{
    JSON, UNWRAPPED, World, ask, assert_contains, assert_fields, event, show, wrapped,
};

const SAMPLES: [&str; 2] = [
    include_str!("../../../samples/user.created.json"),
    include_str!("../../../samples/subscription.activated.json"),
];

#[tokio::test(start_paused = true)]
async fn an_event_arrives_byte_for_byte_in_every_form() {
    let world = World::new();
    for (number, sample) in SAMPLES.iter().enumerate() {
        let cloud_event = ("content-type", "application/cloudevents+json");
        for (form, headers) in [
            ("direct", &[cloud_event][..]),
            ("bare", &[]),
            ("unwrapped", &UNWRAPPED),
            ("wrapped", &[JSON]),
        ] {
            let id = format!("evt_{form}_{number}");
            let sent = rename(sample, &id);
            let body = match form {
                "wrapped" => wrapped(&sent),
                _ => sent.clone(),
            };
            let reply = world.post_with(headers, &body).await;
            assert_eq!(reply.json()["status"], "delivered", "{form}");
            // The fake Svix keeps a JSON value, without the white space around it.
            assert_eq!(world.message(&id).payload, sent.trim(), "{form}");
            let request = world.svix.requests().pop().expect("a request");
            let text = String::from_utf8(request.body.to_vec()).expect("UTF-8");
            assert_contains(&text, &format!(r#""payload":{sent}}}"#));
        }
    }
}

/// The same event with another id.
fn rename(sample: &str, id: &str) -> String {
    let event: Value = serde_json::from_str(sample).expect("a sample is JSON");
    let old = event["id"].as_str().expect("a sample has an id");
    sample.replacen(old, id, 1)
}

#[tokio::test(start_paused = true)]
async fn the_same_event_is_a_duplicate_in_any_other_form() {
    let world = World::new();
    let sent = event("evt_1");
    world.post(&sent).await;
    world.push(&sent).await.assert_became("duplicate");
    let reply = world.post_with(&UNWRAPPED, &sent).await;
    reply.assert_became("duplicate");
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
    let ids = ["msg_1", "with space", "a/b?c#d", "ä", "..", "sha256.x", &long];
    for id in ids {
        let event = event(id);
        let reply = world.post(&event).await;
        assert_eq!(reply.json()["status"], "delivered", "{id}");
        assert_eq!(reply.json()["eventId"], id);
        world.post(&event).await.assert_became("duplicate");
    }
    let messages = world.svix.messages();
    assert_eq!(messages.len(), ids.len());
    for (message, id) in messages.iter().zip(ids) {
        let event_id = message.event_id.as_deref().expect("an eventId");
        assert!(event_id.starts_with("sha256."), "{event_id}");
        assert_eq!(message.payload, event(id));
    }
}

const PUSH_ID: (&str, &str) = ("x-goog-pubsub-message-id", "7");

fn json_headers<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![JSON];
    headers.extend(more);
    headers
}

#[tokio::test(start_paused = true)]
async fn the_bytes_decide_and_not_the_charset() {
    for charset in ["utf8", "UTF-8", "\"utf-8\"", "us-ascii", "iso-8859-1"] {
        let world = World::new();
        let content_type = format!("application/json; charset={charset}");
        let headers = [("content-type", content_type.as_str())];
        let body = event("evt_1");
        let reply = world.post_with(&headers, &body).await;
        assert_eq!(reply.json()["status"], "delivered", "{charset}");
        let latin = world.post_with(&headers, b"{\"id\":\"\xe4\"}");
        latin.await.assert_final_problem(400, "not-utf8");
    }
}

#[tokio::test(start_paused = true)]
async fn an_encoded_body_is_refused_by_the_name_of_its_encoding() {
    let world = World::with(&[("admin_token", "hush")]);
    let gzip = b"\x1f\x8b\x08\x00\x00\x00";
    let headers = json_headers(&[("content-encoding", "gzip")]);
    let reply = world.post_with(&headers, gzip).await;
    reply.assert_final_problem(415, "content-encoded");
    assert_eq!(reply.header("accept-encoding"), Some("identity"));
    assert!(reply.text().contains("gzip"), "{}", reply.text());
    let undeclared = world.post_bytes(gzip).await;
    undeclared.assert_final_problem(415, "content-encoded");

    let identity = json_headers(&[("content-encoding", "identity")]);
    let body = event("evt_1");
    let plain = world.post_with(&identity, &body);
    plain.await.assert_became("delivered");

    let attribute = [PUSH_ID, ("content-encoding", "br")];
    let kept = world.post_with(&attribute, b"\xff\x00").await;
    kept.assert_became("dead-lettered");
    world.push(gzip).await.assert_became("dead-lettered");
    for number in [1, 2] {
        let path = format!("/dead-letters/{number}");
        let letter = show(&world, &path).await;
        assert_eq!(letter["reason"], "content-encoded", "{letter}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cloud_event_in_binary_mode_is_refused_and_never_sent_under_its_datas_names() {
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "evt_9"),
        ("ce-type", "user.created"),
        ("ce-source", "/users"),
    ];
    let world = World::with(&[("admin_token", "hush")]);
    let headers = json_headers(&binary);
    for body in [event("usr_1"), "{\"id\":\"usr_1\"}".to_owned(), String::new()] {
        let reply = world.post_with(&headers, &body).await;
        reply.assert_final_problem(415, "binary-cloud-event");
    }
    // From Pub/Sub, with and without wrapper.
    let mut push: Value = serde_json::from_str(&wrapped(event("usr_1"))).expect("JSON");
    push["message"]["attributes"] = json!({"ce-id": "evt_9", "ce-type": "user.created"});
    let mut unwrapped = vec![PUSH_ID];
    unwrapped.extend(binary);
    for (headers, body) in [(&[][..], push.to_string()), (&unwrapped[..], event("usr_1"))] {
        let reply = world.post_with(headers, &body).await;
        reply.assert_became("dead-lettered");
    }
    let replayed = ask(&world, "POST", "/dead-letters/replay").await;
    assert_eq!(replayed.json()["failed"], 2, "{}", replayed.text());
    let letter = show(&world, "/dead-letters/2").await;
    assert_eq!(letter["attributes"]["ce-id"], "evt_9");
    assert!(world.svix.requests().is_empty());

    let structured = [("content-type", "application/cloudevents+json"), binary[1]];
    let body = event("evt_1");
    let reply = world.post_with(&structured, &body);
    reply.await.assert_became("delivered");
}

#[tokio::test(start_paused = true)]
async fn a_push_inside_a_whole_cloud_event_may_be_as_large_as_any_other() {
    let world = World::new();
    let large = "x".repeat(900_000);
    let event = event("evt_1").replacen('{', &format!(r#"{{"pad":"{large}","#), 1);
    let body = format!(
        r#"{{"id":"9","source":"//pubsub.googleapis.com/projects/p/topics/t","specversion":"1.0","type":"google.cloud.pubsub.topic.v1.messagePublished","data":{}}}"#,
        wrapped(&event)
    );
    let reply = world.post(&body).await;
    reply.assert_became("delivered");
    assert_eq!(reply.json()["eventId"], "evt_1");
}

#[tokio::test(start_paused = true)]
async fn a_cloud_event_whose_push_is_missing_is_refused_and_not_ignored() {
    let world = World::with(&[("event_types", "user.created")]);
    let reply = world
        .post(r#"{"id":"9","type":"google.cloud.pubsub.topic.v1.messagePublished","data":7}"#)
        .await;
    reply.assert_final_problem(422, "invalid-event");
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_with_other_bytes_is_a_duplicate_that_says_so() {
    let world = World::new();
    world.post(&event("evt_1")).await;
    let same = world.push(event("evt_1")).await.json();
    assert_fields(&same, &json!({"status": "duplicate", "contentDiffers": null}));
    let other = event("evt_1").replace("usr_0S", "usr_1S");
    assert_ne!(other, event("evt_1"));
    let differs = world.post(&other).await.json();
    assert_fields(&differs, &json!({"status": "duplicate", "contentDiffers": true}));
    let line = world.last_line();
    assert_fields(&line, &json!({"severity": "WARNING", "contentDiffers": true}));
    world.only_message();
}

#[tokio::test(start_paused = true)]
async fn a_request_of_a_web_page_needs_its_media_type() {
    let world = World::new();
    let origin = [("origin", "https://evil.example")];
    let reply = world.post_with(&origin, &event("evt_1")).await;
    reply.assert_final_problem(415, "unsupported-media-type");
    world.assert_untouched();
}

#[tokio::test(start_paused = true)]
async fn a_whole_event_whose_attributes_name_another_type_is_never_ignored() {
    for attributes in [
        json!({"ce-type": "com.gigs.user.created"}),
        json!({"ce-id": "evt_1", "ce-type": "event"}),
        json!({"ce-type": "User.created"}),
    ] {
        let world = World::with(&[("event_types", "user.created")]);
        let whole = event("evt_1");
        let own = r#"{"id":"evt_2","type":"user.created","project":"dev"}"#;
        for whole in [own, &whole] {
            let mut push: Value = serde_json::from_str(&wrapped(whole)).expect("JSON");
            push["message"]["attributes"] = attributes.clone();
            let reply = world.post(&push.to_string()).await;
            reply.assert_became("dead-lettered");
        }
        let headers = [JSON, ("ce-type", "gigs.user.created")];
        let reply = world.post_with(&headers, &whole).await;
        reply.assert_final_problem(415, "binary-cloud-event");
        let data = json_headers(&[("ce-type", "user.deleted"), ("ce-id", "evt_1")]);
        let reply = world.post_with(&data, r#"{"id":"usr_1","type":"u"}"#).await;
        reply.assert_became("ignored");
    }
}
