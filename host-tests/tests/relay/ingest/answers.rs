//! Each row of the table of answers: the reply to the sender, Svix's messages and the store's contents.

use std::time::Duration;

use http::Method;
use serde_json::json;

use fake_svix::{EventIdScope, Fault, RetryAfter};
use host::Op;

use crate::support::{Setup, World, assert_contains, event, show, wrapped};

#[tokio::test(start_paused = true)]
async fn a_new_event_is_delivered() {
    let world = World::new();
    let event = event("evt_1");
    let reply = world.post(&event).await;

    let message = world.only_message();
    let expected = json!({
        "status": "delivered", "project": "dev", "eventId": "evt_1",
        "eventType": "user.created", "svixMessageId": message.id, "attempts": 1,
    });
    assert_eq!((reply.status, reply.json()), (200, expected));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    reply.assert_length();
    assert_eq!(message.app, "dev");
    assert_eq!(message.event_id.as_deref(), Some("evt_1"));
    assert_eq!(message.event_type, "user.created");
    assert_eq!(message.payload, event);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_posted_as_the_api_of_svix_requires() {
    let world = World::new();
    world.post(&event("evt_1")).await;

    let [request] = &world.svix.requests()[..] else {
        panic!("one request");
    };
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, "/api/v1/app/dev/msg/?with_content=false");
    let length = request.body.len().to_string();
    // `printf 'dev\0evt_1' | sha256sum`
    let key = "193e465eef8b7ffec290ebb03ed5391f528a1474ee89d4089e611e77e4ee7e50";
    for (name, value) in [
        ("authorization", Some("Bearer testsk_fake")),
        ("content-type", Some("application/json")),
        ("content-length", Some(&length[..])),
        ("idempotency-key", Some(key)),
        ("svix-retry-count", None),
    ] {
        assert_eq!(request.header(name), value, "{name}");
    }
    assert!(request.header("svix-req-id").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_delivered_event_is_a_duplicate_without_calling_svix() {
    let world = World::new();
    world.post(&event("evt_1")).await;
    let reply = world.post(&event("evt_1")).await;

    let expected = json!({
        "status": "duplicate", "project": "dev", "eventId": "evt_1",
        "eventType": "user.created", "svixMessageId": world.only_message().id, "attempts": 0,
    });
    assert_eq!((reply.status, reply.json()), (200, expected));
    assert_eq!(world.svix.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_json_is_a_400() {
    let world = World::with(&[("dead_letters", "reject")]);
    for (body, name) in [
        (&b"{\"id\":"[..], "not-json"),
        (b"", "not-json"),
        (b"{\"id\":\"\xff\"}", "not-utf8"),
        (br#"{"message":{"data":"%%%"}}"#, "not-base64"),
        (br#"{"message":{"data":"/w=="}}"#, "not-utf8"),
    ] {
        let reply = world.post_bytes(body).await;
        reply.assert_final_problem(400, name);
    }
    world.assert_untouched();
}

#[tokio::test(start_paused = true)]
async fn an_invalid_event_is_a_422_that_lists_every_violation() {
    let world = World::new();
    let reply = world.post(r#"{"id":"","type":"user created"}"#).await;

    reply.assert_final_problem(422, "invalid-event");
    let errors = [
        ("id", "must not be empty"),
        ("type", "may hold only letters, digits, '-', '_' and '.'"),
        ("project", "is required"),
    ];
    reply.assert_errors("an event", &errors);
    let reply = world.post("[]").await;
    reply.assert_final_problem(422, "invalid-event");
    world.assert_untouched();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_too_slowly_is_a_408() {
    let world = World::new();
    let (reply, took) = world.timed(world.post_slowly(&event("evt_1"), 9)).await;
    let reply = reply.expect("a reply");
    reply.assert_retryable_problem(408, "slow-body");
    assert!(took <= Duration::from_millis(8_001), "{took:?}");
    world.assert_untouched();

    let reply = world.post_slowly(&event("evt_1"), 7).await;
    reply.expect("a reply").assert_became("delivered");
}

#[tokio::test(start_paused = true)]
async fn no_attempt_starts_without_time_to_complete() {
    let world = World::with(&[("retry_budget_ms", "7050")]);
    let reply = world.post_slowly(&event("evt_1"), 7).await;
    let reply = reply.expect("a reply");
    reply.assert_retryable_problem(503, "svix-unavailable");
    world.assert_untouched();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_not_taken_for_a_whole_one() {
    let world = World::new();
    // Valid JSON as far as it goes: only the missing end of the body shows that bytes are missing.
    world.post_cut_off(&event("evt_1")).await;
    world.assert_untouched();
    let line = r#""outcome":"incomplete-body""#;
    assert_eq!(world.lines_with(line).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_before_its_length_is_not_taken_for_a_whole_one() {
    let world = World::new();
    let reply = world.post_and_reset(&wrapped(event("evt_1"))).await;
    reply.assert_retryable_problem(400, "incomplete-body");
    world.assert_untouched();
}

#[tokio::test(start_paused = true)]
async fn an_empty_media_type_counts_as_none() {
    let world = World::new();
    let headers = [("content-type", "")];
    let reply = world.post_with(&headers, &event("evt_1")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test(start_paused = true)]
async fn another_media_type_is_a_415() {
    let world = World::new();
    let batch = "application/cloudevents-batch+json";
    for content_type in ["text/plain", "application/xml", batch] {
        let headers = [("content-type", content_type)];
        let reply = world.post_with(&headers, event("evt_1")).await;
        reply.assert_final_problem(415, "unsupported-media-type");
    }
    world.assert_untouched();
}

#[tokio::test(start_paused = true)]
async fn another_method_is_a_405_that_names_the_right_one() {
    let world = World::new();
    for (method, path, allow) in [
        ("GET", "/notifications", "POST"),
        ("PUT", "/notifications", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("DELETE", "/notifications/dev/evt_1", "GET, HEAD"),
        ("PROPFIND", "/readyz", "GET, HEAD"),
    ] {
        let reply = world.request(method, path, &[], "").await;
        reply.assert_final_problem(405, "method-not-allowed");
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_path_is_a_404() {
    let world = World::new();
    for path in ["/", "/notifications/", "/notification", "/notifications/dev"] {
        let reply = world.request("POST", path, &[], &event("evt_1")).await;
        reply.assert_final_problem(404, "not-found");
    }
    world.assert_untouched();
}

#[tokio::test(start_paused = true)]
async fn an_event_that_svix_refuses_is_a_422_with_the_reason_of_svix() {
    let world = World::new();
    for (status, id) in [(400, "evt_1"), (413, "evt_2"), (422, "evt_3")] {
        world.svix.script([Fault::status(status)]);
        let reply = world.post(&event(id)).await;
        reply.assert_final_problem(422, "refused-by-svix");
        assert_eq!(reply.json()["svix"]["status"], status);
    }
    let requests = world.svix.requests();
    let posts = requests.iter().filter(|it| it.method == Method::POST);
    assert_eq!(posts.count(), 3, "no post is repeated");
    assert_eq!(world.svix.messages().len(), 0);
    assert_eq!(world.records().await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_too_large_for_svix_is_a_422_with_the_reason_of_svix() {
    let world = World::new();
    world.svix.set_body_limit(500);
    let reply = world.post(&event("evt_1")).await;
    reply.assert_final_problem(422, "refused-by-svix");
    assert_eq!(reply.json()["svix"]["code"], "payload_too_large");
}

/// Lets another application of Svix hold the id of `evt_1`.
fn hold_elsewhere(world: &World) {
    world.svix.set_event_id_scope(EventIdScope::Environment);
    world.svix.create_application("another");
    world.svix.store_message("another", "evt_1", "t", "{}");
}

#[tokio::test(start_paused = true)]
async fn an_id_that_another_application_in_svix_holds_is_a_422() {
    let world = World::new();
    hold_elsewhere(&world);

    let reply = world.post(&event("evt_1")).await;
    reply.assert_final_problem(422, "event-id-taken");
    assert_eq!(world.svix.messages_for("dev").len(), 0);
    assert_eq!(world.records().await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_id_seems_taken_comes_back_if_svix_is_too_slow_for_the_last_look() {
    let world = World::new();
    hold_elsewhere(&world);
    world.svix.always(Fault::Delay { millis: 1_600 });
    let reply = world.push(event("evt_1")).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    assert_eq!(world.records().await.len(), 0);

    world.svix.clear_faults();
    let reply = world.push(event("evt_1")).await;
    reply.assert_became("dead-lettered");
    assert_eq!(world.svix.messages_for("dev").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_lookups_show_late_makes_no_dead_letter() {
    let world = World::with(&[("admin_token", "hush")]);
    // The first post is stored, and all get a 409.
    let stored = Fault::status_after_storing(409);
    world.svix.script_for(&Method::POST, [stored]);
    let lag = [404, 404].map(Fault::status);
    world.svix.script_for(&Method::GET, lag);

    world.push(event("evt_1")).await.assert_became("delivered");
    assert_eq!(world.svix.messages().len(), 1);
    let letters = show(&world, "/dead-letters").await;
    assert_eq!(letters["deadLetters"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn an_id_that_an_earlier_attempt_of_the_event_may_hold_is_no_422() {
    let world = World::new();
    hold_elsewhere(&world);
    world.svix.script([Fault::HangBeforeStoring]);

    let reply = world.post(&event("evt_1")).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    let record = world.get("/notifications/dev/evt_1").await.json();
    assert_eq!(record["state"], "unknown");

    // The next delivery looks the event up.
    world.clock.advance(Duration::from_secs(20));
    let reply = world.post(&event("evt_1")).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    // The earlier attempt has ended by now.
    world.clock.advance(Duration::from_mins(5));
    let reply = world.post(&event("evt_1")).await;
    reply.assert_final_problem(422, "event-id-taken");
}

#[tokio::test(start_paused = true)]
async fn the_last_attempt_that_svix_left_unanswered_counts_and_not_the_first() {
    let world = World::new();
    hold_elsewhere(&world);
    world.svix.script([Fault::HangBeforeStoring]);
    let reply = world.post(&event("evt_1")).await;
    reply.assert_retryable_problem(503, "svix-unavailable");

    world.clock.advance(Duration::from_mins(2));
    // A lookup finds nothing, and the post after it is left open.
    world.svix.script([Fault::None, Fault::HangBeforeStoring]);
    let reply = world.post(&event("evt_1")).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    let record = world.get("/notifications/dev/evt_1").await.json();
    let last = record["lastAttemptAt"].to_string();
    assert!(last.starts_with("\"2026-11-23T14:14:"), "{last}");

    world.clock.advance(Duration::from_secs(20));
    let reply = world.post(&event("evt_1")).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
}

#[tokio::test(start_paused = true)]
async fn answers_of_svix_do_not_prolong_the_doubt_of_an_earlier_attempt() {
    let world = World::new();
    hold_elsewhere(&world);
    world.svix.script([Fault::HangBeforeStoring]);
    for seconds in [0, 40] {
        world.clock.advance(Duration::from_secs(seconds));
        let reply = world.post(&event("evt_1")).await;
        reply.assert_retryable_problem(503, "svix-unavailable");
    }
    world.clock.advance(Duration::from_secs(40));
    let reply = world.post(&event("evt_1")).await;
    reply.assert_final_problem(422, "event-id-taken");
}

#[tokio::test(start_paused = true)]
async fn with_a_slow_svix_and_a_slow_store_the_answer_comes_before_pubsubs_deadline() {
    for millis in [500, 1_000, 1_400] {
        for fault in [Fault::HangAfterStoring, Fault::Delay { millis: 2_900 }] {
            let world = World::new();
            for op in [Op::Open, Op::Get, Op::Set] {
                world.faults.delay(op, Duration::from_millis(millis));
            }
            world.svix.always(fault.clone());
            let (reply, took) = world.timed(world.post(&event("evt_1"))).await;
            assert!(matches!(reply.status, 200 | 503), "{}", reply.text());
            let longest = Duration::from_millis(9_550);
            assert!(took < longest, "{fault:?}, {millis} ms: {took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_a_429_with_the_wait_of_svix() {
    let world = World::new();
    for (retry_after, expected) in [
        (RetryAfter::Seconds(30), 30),
        (RetryAfter::Date(40), 40),
        (RetryAfter::Seconds(1_000_000), 3_600),
    ] {
        world.svix.script([Fault::retry_after(429, retry_after)]);
        let reply = world.post(&event("evt_1")).await;
        // A date has whole seconds only: it may be up to one second short.
        let wait = reply.assert_retryable_problem(429, "rate-limited");
        let range = expected - 1..=expected;
        assert!(range.contains(&wait), "{wait} for {expected}");
        world.clock.advance(Duration::from_hours(1));
    }
    // No request waits longer than its budget.
    assert_eq!(world.svix.requests().len(), 3);
    world.post(&event("evt_1")).await.assert_became("delivered");
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_without_retry_after_is_a_429() {
    let world = World::new();
    world.svix.always(Fault::status(429));
    let reply = world.post(&event("evt_1")).await;
    let wait = reply.assert_retryable_problem(429, "rate-limited");
    assert!((1..=5).contains(&wait), "{wait}");
    assert!(world.svix.requests().len() <= 4);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_a_503_and_loses_nothing() {
    let world = World::with(&[("svix_token", "wrong")]);
    let reply = world.post(&event("evt_1")).await;
    assert_eq!(reply.assert_retryable_problem(503, "token-refused"), 60);
    assert_eq!(world.svix.requests().len(), 1, "the post is final");
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_project_without_an_application_is_refused_for_good() {
    let world = World::with(&[("create_applications", "false")]);
    let reply = world.post(&event("evt_1")).await;
    reply.assert_final_problem(422, "application-missing");

    world.svix.create_application("dev");
    world.post(&event("evt_1")).await.assert_became("delivered");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_not_allowed_is_a_503() {
    let mut setup = Setup::new();
    let url = "https://api.example.com";
    setup.variables.insert("svix_url", url);
    setup.manifest = setup.manifest.replace(r#", "{{ svix_url }}""#, "");
    let world = World::build(&setup);
    let reply = world.post(&event("evt_1")).await;
    reply.assert_retryable_problem(503, "outbound-denied");
    assert_eq!(world.svix.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_configuration_is_named_in_every_refusal() {
    let world = World::with(&[("svix_timeout_ms", "soon"), ("svix_token", "")]);
    for reply in [
        world.post(&event("evt_1")).await,
        world.post("not even json").await,
        world.get("/readyz").await,
    ] {
        reply.assert_retryable_problem(503, "invalid-configuration");
        let timeout = "must be a whole number from 1 to 60000";
        let errors = [("svix_token", "is required"), ("svix_timeout_ms", timeout)];
        reply.assert_errors("any request", &errors);
    }
    assert_eq!(world.get("/healthz").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_variable_that_the_host_can_not_give_is_a_503_that_names_it() {
    let mut setup = Setup::new();
    setup.variables.remove("svix_token");
    let world = World::build(&setup);
    for reply in [world.post(&event("evt_1")).await, world.get("/readyz").await] {
        reply.assert_retryable_problem(503, "unreadable-configuration");
        let detail = reply.json()["detail"].take();
        assert_eq!(detail, "the host gives no value of svix_token");
    }
    world.assert_untouched();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_after_the_send_is_a_503_and_still_one_message() {
    let world = World::new();
    world.faults.fail_next(Op::Set, 1);
    let failed = world.post(&event("evt_1")).await;
    world.faults.delay(Op::Set, Duration::from_secs(9));
    let slow = world.post(&event("evt_0")).await;
    // The rest of the budget is the store's.
    assert_eq!(slow.status, 200);
    world.faults.clear();
    world.faults.hang_next(Op::Set);
    let hung = world.post(&event("evt_1")).await;
    world.faults.write_then_fail_next_set();
    let unsure = world.post(&event("evt_1")).await;
    for reply in [failed, hung, unsure] {
        reply.assert_retryable_problem(503, "store-failing");
        assert!(!reply.text().contains("injected"), "{}", reply.text());
    }
    world.post(&event("evt_1")).await.assert_became("duplicate");
    world.message("evt_1");
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_end_of_a_body_reaches_a_client_that_still_sends() {
    let world = World::with(&[("ingest_auth", "token"), ("ingest_token", "right")]);
    let body = "x".repeat(5_000_000);
    let token = "authorization: Bearer right\r\n";
    for (media_type, token, status) in [
        ("application/json", "", 401),
        ("text/plain", token, 415),
        ("application/json", token, 413),
    ] {
        let length = body.len();
        let head = format!("content-type: {media_type}\r\n{token}content-length: {length}\r\n");
        let post = format!("POST /notifications HTTP/1.1\r\nhost: a\r\n{head}\r\n{body}");
        let next = "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let sent = post + next;
        let replies = world.send_raw(sent.as_bytes()).await;
        let first = format!("HTTP/1.1 {status} ");
        assert!(replies.starts_with(&first), "{replies}");
        // The next request is answered, too.
        assert_contains(&replies, "HTTP/1.1 200 ");
    }
}
