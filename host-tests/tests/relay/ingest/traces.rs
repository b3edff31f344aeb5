//! The trace of a notification: from its sender through the log to Svix.

use serde_json::{Value, json};

use fake_svix::{Fault, ReceivedRequest};

use crate::support::{JSON, World, event, replay, wrapped};

const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn post(world: &World, body: &str, traceparent: &str) {
    let headers = [JSON, ("traceparent", traceparent)];
    let reply = world.post_with(&headers, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// The `traceparent` of each request that Svix got.
fn sent(world: &World) -> Vec<String> {
    let requests = world.svix.requests().into_iter();
    let header =
        |name| move |request: ReceivedRequest| request.header(name).expect(name).to_owned();
    requests.map(header("traceparent")).collect()
}

/// The `traceparent` that each line of the log describes.
fn logged(world: &World) -> Vec<String> {
    let lines = world.lines().into_iter();
    let ids = |line: Value| {
        let id = |name: &str| line[name].as_str().expect(name).to_owned();
        format!("00-{}-{}-01", id("traceId"), id("spanId"))
    };
    lines.map(ids).collect()
}

#[tokio::test(start_paused = true)]
async fn the_senders_trace_reaches_log_and_svix_with_a_span_of_the_relay() {
    let world = World::new();
    world.svix.script([Fault::status(500), Fault::status(409)]);
    post(&world, &event("evt_1"), GIVEN).await;
    let sent = sent(&world);
    assert!(sent.len() >= 3, "attempts and a lookup: {sent:?}");
    assert_eq!(&sent[0][..36], &GIVEN[..36], "the same trace");
    assert_ne!(&sent[0][36..52], &GIVEN[36..52], "another span");
    assert!(sent.iter().all(|it| *it == sent[0]), "one span: {sent:?}");
    assert_eq!(logged(&world), sent[..1]);
}

#[tokio::test(start_paused = true)]
async fn without_a_valid_traceparent_a_trace_begins_here() {
    let world = World::new();
    world.post(&event("evt_1")).await;
    for (id, nonsense) in [("evt_2", "nonsense"), ("evt_3", &GIVEN.to_uppercase())] {
        post(&world, &event(id), nonsense).await;
    }
    let (mut sent, logged) = (sent(&world), logged(&world));
    assert_eq!(sent, logged);
    for traceparent in &sent {
        let lengths: Vec<_> = traceparent.split('-').map(str::len).collect();
        assert_eq!(lengths, [2, 32, 16, 2], "{traceparent}");
        assert!(!traceparent.contains("4bf92f3577b34da6"), "{traceparent}");
    }
    sent.dedup_by(|one, other| one[..36] == other[..36]);
    assert_eq!(sent.len(), 3, "three traces");
}

/// The headers of the only request that Svix got, after a notification with these headers.
async fn forwarded(headers: &[(&str, &str)], body: &str) -> (String, Option<String>) {
    let world = World::new();
    let reply = world.post_with(headers, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let requests = world.svix.requests();
    let header = |name| requests[0].header(name).map(str::to_owned);
    let parent = header("traceparent").expect("a traceparent");
    (parent, header("tracestate"))
}

#[tokio::test(start_paused = true)]
async fn the_state_of_a_trace_goes_on_with_it() {
    let event = event("evt_1");
    let given = [JSON, ("traceparent", GIVEN), ("tracestate", "foo=1"), ("tracestate", "bar=2")];
    let (parent, state) = forwarded(&given, &event).await;
    assert_eq!(parent[..36], GIVEN[..36]);
    assert_eq!(state.as_deref(), Some("foo=1,bar=2"));
    let (_, state) = forwarded(&[JSON, ("tracestate", "foo=1")], &event).await;
    assert_eq!(state, None, "without a trace");
}

#[tokio::test(start_paused = true)]
async fn a_trace_of_a_later_version_goes_on_and_two_at_once_do_not() {
    let event = event("evt_1");
    let later = format!("{}-later", GIVEN.replacen("00", "01", 1));
    let (parent, _) = forwarded(&[JSON, ("traceparent", &later)], &event).await;
    assert_eq!(parent[..36], GIVEN[..36]);
    let other = GIVEN.replacen("4bf9", "5bf9", 1);
    let twice = [JSON, ("traceparent", GIVEN), ("traceparent", &other)];
    let (parent, _) = forwarded(&twice, &event).await;
    assert!(!parent.contains("bf92f3577b34da6"), "{parent}");
}

#[tokio::test(start_paused = true)]
async fn the_publishers_trace_goes_on_where_the_request_brings_none() {
    let mut push: Value = serde_json::from_str(&wrapped(event("evt_1"))).expect("JSON");
    push["message"]["attributes"] =
        json!({"googclient_traceparent": GIVEN, "googclient_tracestate": "foo=1"});
    let push = push.to_string();
    let (parent, state) = forwarded(&[JSON], &push).await;
    assert_eq!(parent[..36], GIVEN[..36]);
    assert_eq!(state.as_deref(), Some("foo=1"));
    let other = GIVEN.replacen("4bf9", "5bf9", 1);
    let (parent, state) = forwarded(&[JSON, ("traceparent", &other)], &push).await;
    assert_eq!(parent[..36], other[..36]);
    assert_eq!(state, None);
}

#[tokio::test(start_paused = true)]
async fn a_reply_without_svix_is_traced_in_the_log() {
    let world = World::new();
    post(&world, &event("evt_1"), GIVEN).await;
    post(&world, &event("evt_1"), GIVEN).await;
    let headers = [("traceparent", GIVEN)];
    world.post_with(&headers, "nonsense").await;
    let logged = logged(&world);
    assert_eq!(logged.len(), 3);
    for traceparent in &logged {
        assert_eq!(traceparent[..36], GIVEN[..36]);
    }
    assert_ne!(logged[0], logged[1], "each request has a span of its own");
}

#[tokio::test(start_paused = true)]
async fn a_replay_has_a_trace_of_its_own() {
    let world = World::with(&[("admin_token", "hush")]);
    world.svix.script([Fault::status(422)]);
    post(&world, &wrapped(event("evt_1")), GIVEN).await;
    replay(&world, 1).await.ok();
    let sent = sent(&world);
    let [first, second, replayed @ ..] = &sent[..] else { panic!("Svix was not asked") };
    assert_eq!(first, second, "the post and the lookup");
    assert!(!replayed.is_empty() && replayed.iter().all(|it| *it == replayed[0]));
    assert_ne!(first[..36], replayed[0][..36]);
    assert_eq!(logged(&world), [first.clone(), replayed[0].clone()]);
}
