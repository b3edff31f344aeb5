//! The fault matrix: every fault of Svix and of the store, at every point of a delivery, for a new event
//! and for its duplicates. Tables hold the expected outcomes.

pub mod store;
mod svix;
pub mod table;

use std::fmt::Debug;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Reply, World, ask, assert_fields, event, show, unwrapped};

/// The reply to a sender, in the words of [`told`].
type View = &'static str;

const DELIVERED: View = "200 delivered";
const DUPLICATE: View = "200 duplicate";
const DEAD_LETTERED: View = "200 dead-lettered";
const LIMITED: View = "429 rate-limited, retry";
const UNAVAILABLE: View = "503 svix-unavailable, retry";
const STORE_FAILING: View = "503 store-failing, retry";

/// The store's knowledge of an event.
type State = &'static str;

const NO_RECORD: State = "no record";
const UNKNOWN: State = "unknown";
const RECORDED: State = "delivered";
const KEPT: State = "dead-lettered";

/// The id of the event that all cells are about.
const ID: &str = "evt_1";

/// How a notification comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    Direct,
    Wrapped,
    Unwrapped,
}

impl Form {
    async fn deliver(self, world: &World, event: &str) -> Reply {
        match self {
            Self::Direct => world.post(event).await,
            Self::Wrapped => world.push(&event).await,
            Self::Unwrapped => {
                let headers = unwrapped(event);
                world.post_with(&headers, event).await
            }
        }
    }
}

/// The visible outcome of a fault.
#[derive(Debug, PartialEq)]
struct Seen {
    /// The replies to the senders, sorted.
    told: Vec<String>,
    /// How many messages Svix holds.
    held: usize,
    state: String,
}

impl Seen {
    async fn of(world: &World, told: Vec<String>) -> Self {
        let mut told = told;
        told.sort_unstable();
        Self { told, held: messages(world, &event(ID)), state: state(world).await }
    }
}

/// A reply in a few words. Checks its form on the way.
#[track_caller]
fn told(reply: &Reply) -> String {
    let json = reply.json();
    let text = |field: &str| json[field].as_str().expect("a text").to_owned();
    if reply.status == 200 {
        return format!("200 {}", text("status"));
    }
    let problem = text("type");
    let (_, name) = problem.rsplit_once(':').expect("a URN");
    if json["retryable"] == true {
        reply.assert_retryable_problem(reply.status, name);
        format!("{} {name}, retry", reply.status)
    } else {
        reply.assert_final_problem(reply.status, name);
        format!("{} {name}", reply.status)
    }
}

/// How many messages Svix holds; each is the event, byte for byte.
#[track_caller]
fn messages(world: &World, event: &str) -> usize {
    let messages = world.svix.messages();
    for message in &messages {
        assert_eq!(message.payload, event);
        assert_eq!(message.app, "dev");
        assert_eq!(message.event_id.as_deref(), Some(ID));
        assert_eq!(message.event_type, "user.created");
    }
    messages.len()
}

async fn record(world: &World) -> Option<Value> {
    let path = format!("/notifications/dev/{ID}");
    let reply = ask(world, "GET", &path).await;
    (reply.status == 200).then(|| reply.json())
}

async fn state(world: &World) -> String {
    let record = record(world).await;
    let state =
        record.as_ref().map_or(NO_RECORD, |record| record["state"].as_str().expect("a state"));
    state.to_owned()
}

/// The dead letters that are listed.
async fn letters(world: &World) -> Vec<Value> {
    let page = show(world, "/dead-letters").await;
    page["deadLetters"].as_array().expect("a list").clone()
}

/// Checks that every acknowledgement is justified: Svix has the message or, if Svix has refused the event,
/// the store has its letter.
async fn assert_justified(seen: &Seen, world: &World, cell: impl Debug) {
    for told in &seen.told {
        let reasons = match told.as_str() {
            DELIVERED | DUPLICATE => seen.held,
            // Another delivery may have succeeded since.
            DEAD_LETTERED => letters(world).await.len().max(seen.held),
            _ => continue,
        };
        assert_eq!(reasons, 1, "{cell:?}: {seen:?}");
    }
}

/// Ends all faults and delivers the event again: one message must come of it.
async fn finish(world: &World, form: Form, cell: impl Debug) {
    world.svix.clear_faults();
    world.svix.set_latency(Duration::ZERO);
    world.faults.clear();
    // Long enough for the gate to open.
    world.clock.advance(Duration::from_mins(1));
    let event = event(ID);
    let expected = match state(world).await.as_str() {
        RECORDED => DUPLICATE,
        KEPT if form != Form::Direct => DEAD_LETTERED,
        _ => DELIVERED,
    };
    let again = told(&form.deliver(world, &event).await);
    assert_eq!(again, expected, "{cell:?}");
    if again == DEAD_LETTERED {
        let replayed = ask(world, "POST", "/dead-letters/replay").await;
        let replayed = replayed.ok().json();
        assert_fields(&replayed, &json!({"resolved": 1, "failed": 0}));
    }

    assert_eq!(messages(world, &event), 1, "{cell:?}");
    let record = record(world).await.expect("a record");
    assert_eq!(record["state"], RECORDED, "{cell:?}");
    assert_eq!(record["svixMessageId"], world.only_message().id, "{cell:?}");
    for letter in letters(world).await {
        assert!(letter.get("resolved").is_some(), "{cell:?}: {letter}");
    }
    let posts = world.svix.requests().len();
    assert_eq!(told(&form.deliver(world, &event).await), DUPLICATE);
    assert_eq!(world.svix.requests().len(), posts, "{cell:?}");
}
