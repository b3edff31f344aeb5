//! Event types register themselves, and no failure of that shows in an event.

use std::time::Duration;

use futures::future::join;
use serde_json::{Value, json};

use fake_svix::{EventType, Fault, RetryAfter, Target};
use host::Op;

use crate::support::{Setup, TOKEN, World, ask, event, event_of, refuse};

const REGISTER: (&str, &str) = ("register_event_types", "true");

/// The type of the events of these tests, and its places in Svix and in the store.
const TYPE: &str = "user.created";
const ASK: &str = "GET /api/v1/event-type/user.created/";
const CREATE: &str = "POST /api/v1/event-type/";
const STORED: &str = "event-type/user.created";

fn world() -> World {
    World::with(&[REGISTER, ("admin_token", "hush")])
}

/// Posts an event, and waits for the work that follows it, for as long as the instance certainly lives.
async fn deliver(world: &World, id: &str) {
    world.post(&event(id)).await.assert_became("delivered");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// The requests to Svix about event types, in order.
fn asked(world: &World) -> Vec<String> {
    let requests = world.svix.requests().into_iter();
    requests
        .filter(|request| request.path.starts_with("/api/v1/event-type/"))
        .map(|request| format!("{} {}", request.method, request.path))
        .collect()
}

/// The names of the types that Svix knows.
fn known(world: &World) -> Vec<String> {
    let known = world.svix.event_types().into_iter();
    known.map(|event_type| event_type.name).collect()
}

async fn stored(world: &World) -> Option<Value> {
    let bytes = world.stored(STORED).await;
    bytes.map(|bytes| serde_json::from_slice(&bytes).expect("JSON"))
}

/// Whether the store says that Svix knows the type.
async fn is_remembered(world: &World) -> bool {
    let stored = stored(world).await.expect("a value");
    stored.get("postponedUntil").is_none()
}

/// The lines of the log that belong to no request.
fn remarks(world: &World) -> Vec<Value> {
    let lines = world.lines().into_iter();
    lines.filter(|line| line["outcome"] == "event-type-unregistered").collect()
}

#[tokio::test(start_paused = true)]
async fn a_type_is_registered_once_over_many_events_and_instances() {
    let world = world();
    deliver(&world, "evt_1").await;
    assert_eq!(asked(&world), [ASK, CREATE]);
    let [registered] = &world.svix.event_types()[..] else {
        panic!("one event type");
    };
    assert_eq!(registered.name, TYPE);
    assert_eq!(registered.description, TYPE);
    let create = world.svix.requests().pop().expect("a request");
    let body = r#"{"name":"user.created","description":"user.created","groupName":"user"}"#;
    assert_eq!(create.body, body);
    let expected = json!({"version": 1, "time": "2026-11-23T14:12:42Z"});
    assert_eq!(stored(&world).await, Some(expected));

    for number in 2..12 {
        deliver(&world, &format!("evt_{number}")).await;
        if number % 3 == 0 {
            world.crash().await;
        }
    }
    assert_eq!(asked(&world).len(), 2);
    assert_eq!(remarks(&world), Vec::<Value>::new());
    assert_eq!(world.svix.messages().len(), 11);
}

#[tokio::test(start_paused = true)]
async fn every_type_is_registered_in_any_form_of_its_first_event() {
    let world = world();
    let typed = |id: &str, name: &str| event(id).replace(TYPE, name);
    world.post(&typed("evt_1", "a.one")).await;
    world.push(typed("evt_2", "a.two").as_bytes()).await;
    world.svix.script([Fault::status(422)]);
    world.push(typed("evt_3", "a.three").as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(known(&world), ["a.one", "a.two"]);

    for path in ["/dead-letters/1/replay", "/projects/dev/test-event"] {
        ask(&world, "POST", path).await.assert_became("delivered");
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let expected = ["a.one", "a.three", "a.two", "svix-relay.test"];
    assert_eq!(known(&world), expected);
}

#[tokio::test(start_paused = true)]
async fn of_two_events_at_once_one_registers_the_type() {
    let world = world();
    // Both requests are in one instance, and Svix answers both at one moment.
    let delays = [1_000, 990].map(|millis| Fault::Delay { millis });
    world.svix.script(delays);
    let (one, other) = (event("evt_1"), event("evt_2"));
    let second = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        world.post(&other).await
    };
    let (one, other) = join(world.post(&one), second).await;
    assert_eq!((one.status, other.status), (200, 200));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(asked(&world), [ASK, CREATE]);
}

#[tokio::test(start_paused = true)]
async fn many_instances_that_register_a_type_at_once_report_no_failure() {
    let mut setup = Setup::new();
    setup.variables.extend([REGISTER]);
    setup.reuse.max_concurrent = 1;
    let world = World::build(&setup);
    world.svix.set_latency(Duration::from_millis(50));
    let events: [_; 8] = std::array::from_fn(|number| event(&format!("evt_{number}")));
    let replies = events.iter().map(|event| world.post(event));
    for reply in futures::future::join_all(replies).await {
        reply.assert_became("delivered");
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(known(&world), [TYPE]);
    // An instance that finds the type created already reports no failure.
    assert_eq!(remarks(&world), Vec::<Value>::new());
    assert!(is_remembered(&world).await);
}

#[tokio::test(start_paused = true)]
async fn a_type_that_svix_knows_stays_as_it_is() {
    for archived in [false, true] {
        let world = world();
        let before = EventType {
            name: TYPE.to_owned(),
            description: "A user has signed up".to_owned(),
            archived,
            created_at: world.clock.now(),
        };
        world.svix.put_event_type(before.clone());
        deliver(&world, "evt_1").await;
        world.crash().await;
        deliver(&world, "evt_2").await;
        assert_eq!(world.svix.event_types(), [before]);
        assert_eq!(asked(&world), [ASK]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_type_that_another_instance_registers_meanwhile_counts_as_registered() {
    let world = world();
    deliver(&world, "evt_1").await;
    world.remove(STORED).await;
    world.crash().await;
    // The type seemed to be missing a moment before.
    let missing = Fault::status(404);
    world.svix.script_at(Target::EventTypes, [missing]);
    deliver(&world, "evt_2").await;
    assert_eq!(asked(&world)[2..], [ASK, CREATE], "which is a 409");
    assert!(is_remembered(&world).await);
    assert_eq!(remarks(&world), Vec::<Value>::new());
}

/// The failures of a registration, and the reason that is logged for each.
fn failures() -> Vec<(Fault, &'static str)> {
    let limit = Fault::retry_after(429, RetryAfter::Seconds(3_600));
    vec![
        (Fault::status(500), "svix-unavailable"),
        (Fault::status(503), "svix-unavailable"),
        (Fault::status(401), "token-refused"),
        (Fault::status(403), "token-refused"),
        (Fault::status(302), "unexpected-status"),
        (Fault::status(422), "refused-by-svix"),
        (Fault::EchoCredentials, "refused-by-svix"),
        (Fault::status(429), "rate-limited"),
        (limit, "rate-limited"),
        (Fault::HangBeforeStoring, "svix-unavailable"),
        (Fault::HangAfterStoring, "svix-unavailable"),
        (Fault::Delay { millis: 60_000 }, "svix-unavailable"),
        (Fault::ResetBeforeStoring, "svix-unavailable"),
        (Fault::ResetAfterStoring, "svix-unavailable"),
        (Fault::GarbageBytes, "svix-unavailable"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_failed_registration_changes_neither_reply_nor_time_nor_messages() {
    let undisturbed = World::new();
    let (_, expected) = undisturbed.timed(undisturbed.post(&event("evt_1"))).await;
    for (fault, reason) in failures() {
        // The first request fails, or the second.
        for before in [0, 1] {
            let cell = format!("{fault:?} after {before}");
            let world = world();
            let through = vec![Fault::None; before];
            world.svix.script_at(Target::EventTypes, through);
            world.svix.always_at(Target::EventTypes, fault.clone());
            let (reply, took) = world.timed(world.post(&event("evt_1"))).await;
            let message = world.only_message();
            let delivered = json!({
                "status": "delivered", "project": "dev", "eventId": "evt_1",
                "eventType": TYPE, "svixMessageId": message.id, "attempts": 1,
            });
            assert_eq!(reply.json(), delivered, "{cell}");
            assert_eq!(took, expected, "{cell}");
            let next = world.post(&event("evt_2")).await;
            assert_eq!(next.json()["status"], "delivered", "the gate is open");

            tokio::time::sleep(Duration::from_secs(20)).await;
            assert_eq!(asked(&world).len(), before + 1, "{cell}: no second try");
            assert_eq!(world.svix.messages().len(), 2, "{cell}");
            let [remark] = &remarks(&world)[..] else {
                panic!("{cell}: {:?}", remarks(&world));
            };
            let told = ["severity", "eventType", "reason"].map(|name| &remark[name]);
            assert_eq!(told, ["WARNING", TYPE, reason], "{cell}");
            assert!(!remark.to_string().contains(TOKEN), "{cell}");
            assert!(!is_remembered(&world).await, "{cell}");

            // The type is registered as soon as Svix works again.
            world.svix.clear_faults();
            world.clock.advance(Duration::from_hours(1));
            deliver(&world, "evt_3").await;
            assert_eq!(known(&world), [TYPE], "{cell}");
            assert!(is_remembered(&world).await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_an_answer_of_svix_makes_a_type_known() {
    for fault in [
        Fault::TruncatedReply,
        Fault::MalformedReply,
        Fault::OversizedReply { bytes: 3_000_000 },
        Fault::page(200),
    ] {
        let world = world();
        // Of the first answer, only the whole body shows that it is Svix's.
        let faults = [Fault::None, fault.clone()];
        world.svix.script_at(Target::EventTypes, faults);
        deliver(&world, "evt_1").await;
        assert_eq!(asked(&world), [ASK, CREATE], "{fault:?}");
        assert!(!is_remembered(&world).await, "{fault:?}");
        world.clock.advance(Duration::from_mins(2));
        deliver(&world, "evt_2").await;
        assert!(is_remembered(&world).await, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_instances_together_try_a_refused_type_once_an_hour() {
    for (fault, minutes, tries) in [
        // Svix is asked once an hour after a refusal, and once a minute after a failure.
        (Fault::status(403), 119, 2),
        (Fault::status(500), 9, 10),
    ] {
        let world = world();
        world.svix.always_at(Target::EventTypes, fault);
        for number in 0..=minutes * 2 {
            deliver(&world, &format!("evt_{number}")).await;
            world.crash().await;
            let half = Duration::from_secs(30) - Duration::from_millis(100);
            world.clock.advance(half);
        }
        assert_eq!(asked(&world).len(), tries);
        assert_eq!(remarks(&world).len(), tries);
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_lets_a_type_rest_even_if_the_store_can_not_be_written() {
    let world = world();
    world.svix.always_at(Target::EventTypes, Fault::status(500));
    // The record's write is the first.
    world.faults.fail_nth(Op::Set, 2);
    for number in 0..10 {
        deliver(&world, &format!("evt_{number}")).await;
    }
    assert_eq!(asked(&world), [ASK]);
    assert_eq!(stored(&world).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_creating_and_storing_a_type_is_harmless() {
    let world = world();
    let faults = [Fault::None, Fault::HangAfterStoring];
    world.svix.script_at(Target::EventTypes, faults);
    deliver(&world, "evt_1").await;
    assert_eq!(known(&world), [TYPE]);
    world.crash().await;
    assert_eq!(stored(&world).await, None);

    deliver(&world, "evt_2").await;
    assert_eq!(asked(&world), [ASK, CREATE, ASK]);
    assert_eq!(known(&world), [TYPE]);
    world.crash().await;
    deliver(&world, "evt_3").await;
    assert_eq!(asked(&world).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn only_a_new_delivery_registers_its_type() {
    let world = world();
    world.svix.script([Fault::status(422)]);
    let reply = world.post(&event("evt_1")).await;
    reply.assert_final_problem(422, "refused-by-svix");
    refuse(&world, "evt_1").await;
    let invalid = event_of("app_1", "evt_2");
    let reply = world.post(&invalid).await;
    reply.assert_final_problem(422, "invalid-event");
    world.faults.fail_next(Op::Set, 1);
    let unwritten = world.post(&event("evt_3")).await;
    unwritten.assert_retryable_problem(503, "store-failing");
    world.svix.script(vec![Fault::status(500); 4]);
    let reply = world.post(&event("evt_2")).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(asked(&world), Vec::<String>::new());

    deliver(&world, "evt_4").await;
    assert_eq!(asked(&world).len(), 2);
    world.remove(STORED).await;
    world.crash().await;
    world.post(&event("evt_4")).await.assert_became("duplicate");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(asked(&world).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_type_is_registered_while_the_gate_is_closed() {
    let world = world();
    // One event is delivered late, when another has closed the gate.
    world
        .svix
        .script([Fault::Delay { millis: 500 }, Fault::retry_after(429, RetryAfter::Seconds(60))]);
    let (late, limited) = (event("evt_1"), event("evt_2"));
    let second = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        world.post(&limited).await
    };
    let (late, limited) = join(world.post(&late), second).await;
    late.assert_became("delivered");
    limited.assert_retryable_problem(429, "rate-limited");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(asked(&world), Vec::<String>::new());

    world.clock.advance(Duration::from_mins(2));
    deliver(&world, "evt_2").await;
    assert_eq!(known(&world), [TYPE]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_costs_only_another_look_at_the_type() {
    // The third read and the second write belong to the registration.
    let world = world();
    world.faults.fail_nth(Op::Get, 3);
    deliver(&world, "evt_1").await;
    assert_eq!(asked(&world), Vec::<String>::new());
    world.faults.hang_nth(Op::Get, 3);
    world.crash().await;
    deliver(&world, "evt_2").await;
    world.crash().await;
    world.faults.fail_nth(Op::Set, 2);
    deliver(&world, "evt_3").await;
    assert_eq!(known(&world), [TYPE]);
    assert_eq!(stored(&world).await, None);
    world.crash().await;
    deliver(&world, "evt_4").await;
    assert_eq!(asked(&world), [ASK, CREATE, ASK]);
    assert!(is_remembered(&world).await);
    assert_eq!(world.svix.messages().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_variable_turns_registration_off() {
    let world = World::new();
    deliver(&world, "evt_1").await;
    assert_eq!(asked(&world), Vec::<String>::new());
    assert_eq!(world.faults.count(Op::Get), 2);
}

#[tokio::test(start_paused = true)]
async fn the_first_event_of_a_type_stays_one_message_after_any_fault() {
    for fault in [
        Fault::HangAfterStoring,
        Fault::ResetAfterStoring,
        Fault::TruncatedReply,
        Fault::RaceToCreateApplication,
        Fault::status_after_storing(500),
    ] {
        let world = world();
        world.svix.script([fault.clone()]);
        deliver(&world, "evt_1").await;
        world.only_message();
        assert_eq!(known(&world), [TYPE], "{fault:?}");
        world.post(&event("evt_1")).await.assert_became("duplicate");
    }
}
