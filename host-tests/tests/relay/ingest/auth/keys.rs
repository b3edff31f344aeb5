//! Google's keys: fetched once for all, kept, refreshed, rotated, and out of reach.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use host::Op;

use super::google::{Answers, Google, Key, claims, key};
use super::{bearer, post};
use crate::support::{JSON, World, assert_contains, event};

const HOUR: Duration = Duration::from_hours(1);

/// A token of `key` that is valid now.
fn token(world: &World, key: &Key) -> String {
    key.token(&claims(world))
}

/// The second key under this name.
fn named(kid: &str) -> Value {
    let mut jwk = key(1).jwk();
    jwk["kid"] = json!(kid);
    jwk
}

async fn let_in(world: &World, key: &Key) -> u16 {
    bearer(world, &token(world, key)).await.status
}

async fn stored(world: &World) -> Value {
    let bytes = world.stored("keys").await.expect("keys");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// How many keys are in the store.
async fn kept(world: &World) -> usize {
    let keys = stored(world).await["keys"].take();
    keys.as_array().expect("keys").len()
}

/// How many lines have this outcome.
fn told(world: &World, outcome: &str) -> usize {
    let outcome = format!(r#""outcome":"{outcome}""#);
    world.lines_with(&outcome).len()
}

/// Checks that the last line of the log gives this reason.
#[track_caller]
fn assert_said(world: &World, reason: &str) {
    let line = world.stdout().pop().expect("a line");
    assert_contains(&line, reason);
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_once_for_all_waiting_senders() {
    let (google, world) = Google::with_world();
    google.answer(Answers::Late(1));
    let authorization = format!("Bearer {}", token(&world, key(0)));
    let posts = (0..12).map(async |number: u64| {
        tokio::time::sleep(Duration::from_millis(10 * number)).await;
        post(&world, &authorization, &event(&format!("evt_{number}"))).await
    });
    let (replies, took) = world.timed(join_all(posts)).await;
    for reply in replies {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(google.requests(), 1);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(told(&world, "keys-fetched"), 1);
}

#[tokio::test(start_paused = true)]
async fn other_instances_have_the_keys_from_the_store() {
    let (google, world) = Google::with_world();
    assert_eq!(let_in(&world, key(0)).await, 200);
    let state = stored(&world).await;
    assert_eq!(state["version"], 1);
    let fetched = state["fetchedAt"].as_u64().expect("a time");
    assert_eq!(state["expiresAt"], fetched + 21_600);
    assert_eq!(state["keys"][0]["kid"], "one");
    world.crash().await;
    google.answer(Answers::Down);
    assert_eq!(let_in(&world, key(0)).await, 200);
    assert_eq!((google.requests(), told(&world, "keys-fetched")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn keys_are_fresh_for_as_long_as_google_says() {
    for (cache_control, seconds) in
        [(Some("public, max-age=21600, must-revalidate"), 21_600), (None, 3_600)]
    {
        let (google, world) = Google::with_world();
        google.cache_control(cache_control);
        assert_eq!(let_in(&world, key(0)).await, 200);
        world.clock.advance(Duration::from_secs(seconds - 1));
        assert_eq!(let_in(&world, key(0)).await, 200);
        assert_eq!(google.requests(), 1, "{cache_control:?}");
        world.clock.advance(Duration::from_secs(1));
        assert_eq!(let_in(&world, key(0)).await, 200);
        assert_eq!(google.requests(), 2, "{cache_control:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_known_at_once_and_an_old_one_forgotten() {
    let (google, world) = Google::with_world();
    let old = token(&world, key(0));
    assert_eq!(bearer(&world, &old).await.status, 200);
    google.rotate(&[key(1)]);
    world.clock.advance(Duration::from_mins(2));
    assert_eq!(let_in(&world, key(1)).await, 200);
    assert_eq!(google.requests(), 2);
    assert_eq!(told(&world, "keys-fetched"), 2);
    // The token was verified before and has not expired, but its key is no longer Google's.
    let reply = bearer(&world, &old).await;
    assert_eq!(reply.status, 401);
    assert_said(&world, "The sender is not known: kid names no known key");
    assert_eq!(google.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_with_the_name_of_another_does_not_inherit_its_tokens() {
    let (google, world) = Google::with_world();
    google.cache_control(Some("max-age=60"));
    let old = token(&world, key(0));
    assert_eq!(bearer(&world, &old).await.status, 200);
    let keys = json!({"keys": [named("one")]});
    google.answer(Answers::Text(keys.to_string()));
    world.clock.advance(Duration::from_mins(2));
    // A sender that finds the keys expired starts a fetch, and doesn't wait for it.
    assert_eq!(bearer(&world, &old).await.status, 200);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bearer(&world, &old).await.status, 401);
    assert_said(&world, "wrong signature");
}

#[tokio::test(start_paused = true)]
async fn all_instances_together_ask_for_unknown_keys_once_a_minute() {
    let (google, world) = Google::with_world();
    assert_eq!(let_in(&world, key(0)).await, 200);
    for _ in 0..5 {
        for _ in 0..3 {
            let reply = bearer(&world, &token(&world, key(2))).await;
            assert_eq!(reply.status, 401);
        }
        world.crash().await;
    }
    assert_eq!(google.requests(), 1);
    world.clock.advance(Duration::from_mins(1));
    let replies = (0..12).map(async |_: u8| let_in(&world, key(2)).await);
    assert_eq!(join_all(replies).await, [401; 12]);
    world.crash().await;
    assert_eq!(let_in(&world, key(2)).await, 401);
    assert_eq!(google.requests(), 2);
    assert_eq!(told(&world, "keys-fetched"), 1);
    assert_eq!(world.svix.messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn expired_keys_are_used_for_a_day_while_google_can_not_be_reached() {
    let huge = json!({"keys": [key(1).jwk()], "x": "x".repeat(70_000)}).to_string();
    for answers in [
        Answers::Down,
        Answers::Status(500),
        Answers::Status(302),
        Answers::Status(404),
        Answers::Text("garbage".to_owned()),
        Answers::Text(r#"{"keys":[]}"#.to_owned()),
        Answers::Text(huge),
        Answers::Late(60),
    ] {
        let (google, world) = Google::with_world();
        assert_eq!(let_in(&world, key(0)).await, 200);
        google.answer(answers.clone());
        world.clock.advance(6 * HOUR);
        for _ in 0..3 {
            assert_eq!(let_in(&world, key(0)).await, 200, "{answers:?}");
        }
        assert_eq!(google.requests(), 2, "{answers:?}");
        for _ in 0..3 {
            world.clock.advance(Duration::from_mins(1));
            world.crash().await;
            assert_eq!(let_in(&world, key(0)).await, 200, "{answers:?}");
        }
        let failing = told(&world, "keys-failing");
        assert_eq!((google.requests(), failing), (5, 1), "{answers:?}");

        // The key may be a new one, so the token is not refused for good.
        let reply = bearer(&world, &token(&world, key(2))).await;
        reply.assert_retryable_problem(503, "keys-unavailable");

        world.clock.advance(24 * HOUR);
        let reply = bearer(&world, &token(&world, key(0))).await;
        assert_eq!(reply.assert_retryable_problem(503, "keys-unavailable"), 5);
        google.answer(Answers::Keys);
        world.clock.advance(Duration::from_secs(5));
        assert_eq!(let_in(&world, key(0)).await, 200, "{answers:?}");
        let lines = ["keys-failing", "keys-fetched"].map(|outcome| told(&world, outcome));
        assert_eq!(lines, [1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn without_keys_every_sender_is_told_to_come_again() {
    let (google, world) = Google::with_world();
    google.answer(Answers::Late(30));
    let token = token(&world, key(0));
    let posts = (0..12).map(async |number: u64| {
        tokio::time::sleep(Duration::from_millis(10 * number)).await;
        bearer(&world, &token).await
    });
    let (replies, took) = world.timed(join_all(posts)).await;
    assert!(took < Duration::from_secs(4), "{took:?}");
    for reply in replies {
        assert_eq!(reply.assert_retryable_problem(503, "keys-unavailable"), 5);
        assert!(!reply.text().contains("keys.test"), "{}", reply.text());
    }
    assert_eq!(google.requests(), 1);
    assert_eq!(world.last_line()["severity"], "ERROR");
    assert_said(&world, "failed to fetch the keys: no answer in time");
    assert_eq!(told(&world, "keys-failing"), 1);
    assert_eq!(world.svix.requests().len(), 0);

    google.answer(Answers::Keys);
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(bearer(&world, &token).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_may_not_reach_google_logs_the_denied_request() {
    let google = Google::new(&[key(0)]);
    let mut setup = google.setup();
    let origin = r#", "{{ pubsub_jwks_origin }}""#;
    setup.manifest = setup.manifest.replace(origin, "");
    let world = World::build(&setup);
    let reply = bearer(&world, &token(&world, key(0))).await;
    reply.assert_retryable_problem(503, "keys-unavailable");
    assert_said(&world, "HttpRequestDenied");
    assert_eq!(google.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_leaves_during_the_fetch_holds_up_no_other() {
    let (google, world) = Google::with_world();
    google.answer(Answers::Late(2));
    let token = token(&world, key(0));
    let impatient = tokio::time::timeout(Duration::from_millis(500), bearer(&world, &token));
    let patient = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bearer(&world, &token).await
    };
    let ((gone, reply), took) =
        world.timed(Box::pin(async { tokio::join!(impatient, patient) })).await;
    assert!(gone.is_err());
    assert_eq!(reply.status, 200);
    assert!(took < Duration::from_secs(3), "{took:?}");
    // The keys come although the sender that began to fetch them has left.
    assert_eq!(google.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_rsa_keys_that_sign_are_keys() {
    let small = Key::new("small", 1_024);
    let changed = |name: &str, value: Value| {
        let mut jwk = named(name);
        jwk[name] = value;
        jwk
    };
    let jwks = [
        json!({"kty": "EC", "crv": "P-256", "kid": "ec", "x": "AA", "y": "AA"}),
        json!({"kty": "oct", "kid": "oct", "k": "AAAA"}),
        small.jwk(),
        changed("use", json!("enc")),
        changed("alg", json!("RS512")),
        changed("n", json!("!")),
        changed("e", json!("AQ")),
        changed("kty", json!(7)),
        json!("no key"),
        key(0).jwk(),
    ];
    let (google, world) = Google::with_world();
    google.answer(Answers::Text(json!({"keys": jwks}).to_string()));
    assert_eq!(let_in(&world, key(0)).await, 200);
    assert_eq!(kept(&world).await, 1);
    for kid in ["use", "alg", "n", "e", "kty", "small", "ec", "oct"] {
        let header = json!({"alg": "RS256", "kid": kid});
        let signer = if kid == "small" { &small } else { key(1) };
        let reply = bearer(&world, &signer.token_with(&header, &claims(&world))).await;
        assert_eq!(reply.status, 401, "{kid}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_sixteen_keys_are_kept() {
    let many = (0..40).map(|number| named(&format!("key-{number}")));
    let (google, world) = Google::with_world();
    let keys = json!({"keys": many.collect::<Vec<_>>()});
    google.answer(Answers::Text(keys.to_string()));
    let header = json!({"alg": "RS256", "kid": "key-15"});
    let token = key(1).token_with(&header, &claims(&world));
    assert_eq!(bearer(&world, &token).await.status, 200);
    assert_eq!(kept(&world).await, 16);
}

#[tokio::test(start_paused = true)]
async fn the_store_is_not_needed_to_know_a_sender() {
    let (google, world) = Google::with_world();
    // The first call of each kind is for the keys.
    world.faults.fail_next(Op::Get, 1);
    world.faults.fail_next(Op::Set, 1);
    assert_eq!(let_in(&world, key(0)).await, 200);
    world.crash().await;
    world.put("keys", b"nonsense").await;
    assert_eq!(let_in(&world, key(0)).await, 200);
    assert_eq!(google.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn keys_from_another_address_or_from_the_future_are_not_believed() {
    let (_, world) = Google::with_world();
    assert_eq!(let_in(&world, key(0)).await, 200);
    let good = stored(&world).await;
    let later = good["fetchedAt"].as_u64().expect("a time") + 3_600;
    for (name, value) in [
        ("url", json!("https://evil.example/certs")),
        ("fetchedAt", json!(later)),
        ("attemptedAt", json!(later)),
        ("expiresAt", json!(later + 30 * 86_400)),
        ("version", json!(2)),
    ] {
        let mut state = good.clone();
        state[name] = value;
        state["keys"] = json!([key(2).jwk()]);
        world.crash().await;
        world.put("keys", state.to_string().as_bytes()).await;
        assert_eq!(let_in(&world, key(2)).await, 401, "{name}");
    }
    world.crash().await;
    let reply = bearer(&world, &token(&world, key(0))).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_that_one_node_is_fetching_is_known_to_the_others_once_it_has_come() {
    let (google, world) = Google::with_world();
    let other = world.node(&google.setup());
    for node in [&world, &other] {
        assert_eq!(let_in(node, key(0)).await, 200);
    }
    google.rotate(&[key(0), key(1)]);
    google.answer(Answers::Late(1));
    world.clock.advance(Duration::from_mins(10));
    let late = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let_in(&other, key(1)).await
    };
    let replies = Box::pin(async { tokio::join!(let_in(&world, key(1)), late) }).await;
    assert_eq!(replies, (200, 200));
    assert_eq!(google.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_while_it_fetches_the_keys_holds_up_the_others_for_seconds() {
    let (google, world) = Google::with_world();
    assert_eq!(let_in(&world, key(0)).await, 200);
    google.rotate(&[key(1)]);
    google.answer(Answers::Late(2));
    world.clock.advance(Duration::from_mins(10));
    let dies = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.crash().await;
    };
    let token = token(&world, key(1));
    let authorization = format!("Bearer {token}");
    let headers = [JSON, ("authorization", &authorization[..])];
    let body = event("evt_1");
    let asks = world.request_or_die("POST", "/notifications", &headers, body.as_bytes());
    let _ = Box::pin(async { tokio::join!(asks, dies) }).await;
    google.answer(Answers::Keys);
    let (reply, took) = world.timed(bearer(&world, &token)).await;
    assert_eq!(reply.status, 200);
    assert!(took < Duration::from_secs(7), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_can_fetch_no_keys_takes_none_from_the_others() {
    let (google, world) = Google::with_world();
    assert_eq!(let_in(&world, key(0)).await, 200);
    world.crash().await;
    google.answer(Answers::Down);
    world.clock.advance(Duration::from_mins(10));
    world.faults.fail_next(Op::Get, 1);
    bearer(&world, &token(&world, key(0))).await;
    assert_eq!(kept(&world).await, 1);
    world.crash().await;
    assert_eq!(let_in(&world, key(0)).await, 200);

    // Two instances begin without keys, and only the first gets them.
    let (google, world) = Google::with_world();
    let other = world.node(&google.setup());
    google.answer(Answers::Late(1));
    let second = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        google.answer(Answers::Late(60));
        let_in(&other, key(0)).await
    };
    Box::pin(async { tokio::join!(let_in(&world, key(0)), second) }).await;
    google.answer(Answers::Down);
    world.crash().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(let_in(&world, key(0)).await, 200);
}

#[tokio::test(start_paused = true)]
async fn keys_that_come_too_late_for_one_sender_are_there_for_the_next() {
    let google = Google::new(&[key(0)]);
    let mut setup = google.setup();
    setup.variables.insert("retry_budget_ms", "1000");
    google.answer(Answers::Late(2));
    let world = World::build(&setup);
    let reply = bearer(&world, &token(&world, key(0))).await;
    reply.assert_retryable_problem(503, "keys-unavailable");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(let_in(&world, key(0)).await, 200);
    assert_eq!(google.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_instance_with_older_keys_takes_no_newer_ones_from_the_others() {
    let (google, world) = Google::with_world();
    let other = world.node(&google.setup());
    assert_eq!(let_in(&world, key(0)).await, 200);
    google.rotate(&[key(0), key(1)]);
    world.clock.advance(Duration::from_mins(10));
    assert_eq!(let_in(&other, key(1)).await, 200);
    google.answer(Answers::Down);
    world.faults.fail_next(Op::Get, 1);
    bearer(&world, &token(&world, key(2))).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(kept(&world).await, 2);
    world.crash().await;
    assert_eq!(let_in(&world, key(1)).await, 200);
}
