//! The fields of a message beside its payload: tags, channels and the retention, and which events become messages.

use serde_json::{Value, json};

use crate::support::{
    ADMIN, JSON, World, assert_contains, assert_fields, event, unwrapped, wrapped,
};

const TYPES: (&str, &str) = ("event_types", "user.* subscription.activated");

fn of_type(event_type: &str) -> String {
    event("evt_1").replace("user.created", event_type)
}

async fn post(world: &World, body: &str) -> Value {
    world.post(body).await.ok().json()
}

/// The body of the only message that was posted.
fn posted(world: &World) -> Value {
    let request = world.svix.requests().pop().expect("a request");
    serde_json::from_slice(&request.body).expect("JSON")
}

#[tokio::test(start_paused = true)]
async fn an_event_of_another_type_is_acknowledged_and_goes_no_further() {
    let world = World::with(&[TYPES, ("register_event_types", "true")]);
    let internal = r#"{"type":"internal.ledger","balance":7}"#;
    for body in [
        of_type("invoice.paid"),
        wrapped(of_type("subscription.activated.late")),
        internal.to_owned(),
        wrapped(internal),
    ] {
        let reply = post(&world, &body).await;
        assert_eq!(reply, json!({ "status": "ignored" }), "{body}");
    }
    let headers = unwrapped(internal);
    // The data of a CloudEvent, whose own fields name another thing.
    let binary = [("ce-id", "1"), ("ce-type", "internal.ledger"), ("ce-specversion", "1.0")];
    for (headers, body) in [(&headers[..], internal), (&binary[..], r#"{"type":"user.created"}"#)] {
        let reply = world.post_with(headers, body).await;
        assert_eq!(reply.json(), json!({ "status": "ignored" }), "{body}");
    }
    world.assert_untouched();
    let log = world.lines();
    assert_eq!(log.len(), 6);
    for line in &log {
        assert_fields(line, &json!({"outcome": "ignored", "severity": "INFO"}));
    }
    assert_eq!(log[0]["eventType"], "invoice.paid");
    assert_eq!(world.lines_with("balance"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_list_says_nothing_of_is_acknowledged_with_a_warning() {
    let world = World::with(&[("event_types", "user.* !user.flagged !ledger.*")]);
    for (event_type, status) in [
        ("user.created", "delivered"),
        ("user.flagged", "ignored"),
        ("ledger.booked", "ignored"),
        ("port.failed", "unlisted"),
    ] {
        let reply = post(&world, &wrapped(of_type(event_type))).await;
        assert_eq!(reply["status"], status, "{event_type}");
    }
    world.only_message();
    for (event_type, severity) in [("ledger.booked", "INFO"), ("port.failed", "WARNING")] {
        assert_contains(&world.lines_with(event_type)[0], severity);
    }
    assert_contains(&world.lines_with("port.failed")[0], "unlisted");
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_listed_type_is_delivered_and_a_broken_one_is_kept() {
    let world = World::with(&[TYPES]);
    for event_type in ["user.created", "subscription.activated"] {
        let body = of_type(event_type).replace("evt_1", event_type);
        assert_eq!(post(&world, &body).await["status"], "delivered");
    }
    for broken in ["nonsense", r#"{"id":"evt_2","project":"dev"}"#, r#"{"type":"user.created"}"#] {
        let reply = post(&world, &wrapped(broken)).await;
        assert_eq!(reply["status"], "dead-lettered", "{broken}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sample_and_a_replay_need_no_listed_type() {
    let world = World::with(&[("event_types", "user.created"), ("admin_token", "hush")]);
    let body = r#"{"type":"invoice.paid"}"#;
    let path = "/projects/dev/test-event";
    let reply = world.request("POST", path, &[ADMIN, JSON], body).await;
    reply.assert_became("delivered");
}

#[tokio::test(start_paused = true)]
async fn customers_find_a_message_by_the_resources_of_its_event() {
    let world = World::with(&[
        ("message_tags", "data.id data.user.id data.missing"),
        ("message_channels", "data.planId"),
        ("payload_retention_days", "30"),
    ]);
    let event = r#"{"id":"evt_1","type":"user.created","project":"dev","data":{"id":"sub_1","user":{"id":"usr_1"},"planId":42}}"#;
    assert_eq!(post(&world, event).await["status"], "delivered");
    let body = posted(&world);
    assert_eq!(body["tags"], json!(["sub_1", "usr_1"]));
    assert_eq!(body["channels"], json!(["42"]));
    assert_eq!(body["payloadRetentionPeriod"], 30);
}
