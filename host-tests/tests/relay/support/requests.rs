//! Events in their forms, and the requests of senders and operators.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::FutureExt as _;
use http::Method;
use serde_json::{Value, json};

use fake_svix::Fault;

use super::{Reply, Setup, World};

/// The operator's token in a [`world`].
pub const ADMIN: (&str, &str) = ("authorization", "Bearer hush");

pub const JSON: (&str, &str) = ("content-type", "application/json");

/// A world with an operator, whose token is [`ADMIN`].
pub fn world() -> World {
    World::build(&Setup::operated())
}

/// An operator's request.
pub async fn ask(world: &World, method: &str, path: &str) -> Reply {
    world.request(method, path, &[ADMIN], "").await
}

/// Shows what an operator sees at this path.
pub async fn show(world: &World, path: &str) -> Value {
    ask(world, "GET", path).await.ok().json()
}

/// A request with this token.
pub async fn ask_as(world: &World, token: &str, method: &str, path: &str) -> Reply {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", &authorization[..])];
    world.request(method, path, &headers, "").await
}

/// Has an event delivered.
pub async fn post(world: &World, id: &str) {
    post_of(world, "dev", id).await;
}

pub async fn post_of(world: &World, project: &str, id: &str) {
    let event = event_of(project, id);
    world.post(&event).await.assert_became("delivered");
}

/// Has an event of Pub/Sub become a dead letter, because Svix refuses it.
pub async fn refuse(world: &World, id: &str) {
    refuse_of(world, "dev", id).await;
}

pub async fn refuse_of(world: &World, project: &str, id: &str) {
    // Svix may be asked first whether it has the event.
    world.svix.script_for(&Method::POST, [Fault::status(422)]);
    let reply = world.push(event_of(project, id)).await;
    reply.assert_became("dead-lettered");
}

/// Replays a dead letter.
pub async fn replay(world: &World, number: u64) -> Reply {
    ask(world, "POST", &format!("/dead-letters/{number}/replay")).await
}

/// How many dead letters wait for a decision.
pub async fn unresolved(world: &World) -> u64 {
    let status = show(world, "/status").await;
    let unresolved = status["deadLetters"]["unresolved"].as_u64();
    unresolved.expect("a number")
}

/// How many bodies of dead letters are in the store.
pub async fn letter_bodies(world: &World) -> usize {
    let mut names = world.names().await;
    names.retain(|name| name.starts_with("letter-body/"));
    names.len()
}

/// Whether the metrics have this line.
pub async fn has_metric(world: &World, line: &str) -> bool {
    let metrics = ask(world, "GET", "/metrics").await.text();
    metrics.lines().any(|it| it == line)
}

/// Waits until the counts and the journal are written, which the relay does in the background.
pub async fn settle() {
    tokio::time::sleep(Duration::from_secs(10)).await;
}

/// An event of the platform's shape, with this id.
pub fn event(id: &str) -> String {
    let sample = include_str!("../../../samples/user.created.json");
    let mut event = sample.replacen("evt_0SNlurA049MEWV5gNTcQ5A07h3Ol", id, 1);
    event.truncate(event.trim_end().len());
    event
}

/// The same of another project than `dev`.
pub fn event_of(project: &str, id: &str) -> String {
    event(id).replace("\"dev\"", &format!("\"{project}\""))
}

/// An identifier of a message that only the same bytes have.
fn message_id(event: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    event.hash(&mut hasher);
    hasher.finish().to_string()
}

/// Lets time pass without a turn for the other tasks, as a call does that waits for Spin's SQLite.
pub fn hold_up() {
    let _ = tokio::time::advance(Duration::from_millis(3)).now_or_never();
}

/// Pub/Sub's push of these bytes, in its default form.
pub fn wrapped(event: impl AsRef<[u8]>) -> String {
    let event = event.as_ref();
    let message_id = message_id(event);
    json!({
        "message": {
            "data": BASE64_STANDARD.encode(event),
            "attributes": {"k": "v"},
            "messageId": message_id,
            "message_id": message_id,
            "publishTime": "2026-11-23T14:12:42.123Z",
            "publish_time": "2026-11-23T14:12:42.123Z",
            "orderingKey": "k",
        },
        "subscription": "projects/p/subscriptions/s",
        "deliveryAttempt": 5,
    })
    .to_string()
}

/// The headers of Pub/Sub's push without wrapper.
pub const UNWRAPPED: [(&str, &str); 4] = [
    ("x-goog-pubsub-subscription-name", "projects/p/subscriptions/s"),
    ("x-goog-pubsub-message-id", "136969346945"),
    ("x-goog-pubsub-publish-time", "2026-11-23T14:12:42.123Z"),
    ("content-type", "application/octet-stream"),
];

/// The headers of an unwrapped push with an identifier that only the same bytes have, as in [`wrapped`].
pub fn unwrapped(event: impl AsRef<[u8]>) -> [(&'static str, &'static str); 4] {
    let id = message_id(event.as_ref()).leak();
    UNWRAPPED.map(|(name, value)| match name {
        "x-goog-pubsub-message-id" => (name, &*id),
        _ => (name, value),
    })
}
