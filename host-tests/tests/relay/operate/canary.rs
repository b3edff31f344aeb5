//! The canary: an event of the relay's own, which must come back from Svix as a webhook.

use std::time::Duration;

use serde_json::Value;

use fake_svix::{Fault, Target};

use super::audit::{audit, grow_old};
use crate::support::{Reply, World, ask, has_metric, show};

fn with_canary() -> World {
    World::with(&[("admin_token", "hush"), ("canary_project", "canary")])
}

/// Sends the next canary, minutes after the last one.
async fn canary(world: &World, minutes: u64) -> Reply {
    world.clock.advance(Duration::from_mins(minutes));
    ask(world, "POST", "/maintenance/canary").await
}

#[tokio::test(start_paused = true)]
async fn a_canary_takes_the_way_of_every_event() {
    let world = with_canary();
    assert!(has_metric(&world, "svix_relay_canary_delivered_seconds 0").await);
    let sent = canary(&world, 0).await.json();
    let message = world.only_message();
    assert_eq!(message.app, "canary");
    assert_eq!(message.event_type, "svix-relay.canary");
    assert_eq!(sent["svixMessageId"], message.id);
    assert_eq!(show(&world, "/status").await["canary"], sent);
    world.svix.always(Fault::status(500));
    let reply = canary(&world, 0).await;
    reply.assert_retryable_problem(503, "svix-unavailable");
    let status = show(&world, "/status").await;
    assert_eq!(status["canary"]["deliveredAt"], sent["deliveredAt"]);
    world.svix.clear_faults();
    grow_old(&world).await;
    // The failed canary is no finding.
    assert_eq!(audit(&world).await, (1, 0));
}

/// The canary's time in the metrics, in seconds since 1970.
async fn arrived(world: &World) -> u64 {
    let metrics = ask(world, "GET", "/metrics").await.text();
    let mut lines = metrics.lines();
    let line = lines.find_map(|it| it.strip_prefix("svix_relay_canary_delivered_seconds "));
    line.and_then(|at| at.parse().ok()).expect("a time")
}

#[tokio::test(start_paused = true)]
async fn a_canary_fails_while_svix_sends_no_webhook_of_an_earlier_one() {
    let world = with_canary();
    let canary = |minutes| canary(&world, minutes);
    assert_eq!(canary(0).await.json()["webhookAt"], Value::Null);
    assert_eq!(canary(1).await.json()["webhookAt"], Value::Null);
    world.svix.create_endpoint("canary", "https://hooks.test/");
    // The awaited one is older than the endpoint.
    canary(1).await.assert_final_problem(422, "canary-not-sent");
    let sent = canary(10).await.json();
    let at = sent["webhookAt"].to_string();
    assert!(at.starts_with("\"2026-11-23T14:14:"), "{at}");
    let fresh = arrived(&world).await;
    // The time is that of this canary, not of the awaited one.
    assert_eq!(fresh, 1_795_443_162 + 12 * 60);

    world.svix.stop_sending(true);
    assert_eq!(canary(1).await.status, 200, "the one before was sent");
    canary(1).await.assert_final_problem(422, "canary-not-sent");
    let failing = arrived(&world).await;
    for minutes in [0, 0, 1, 5] {
        // Also at once, as an operator would, and a job that repeats what failed.
        let reply = canary(minutes).await;
        reply.assert_final_problem(422, "canary-not-sent");
        // The alert's time stands still.
        assert_eq!(arrived(&world).await, failing);
    }
    let status = show(&world, "/status").await;
    let missing = &status["canary"]["webhookMissingSince"];
    assert_eq!(*missing, "2026-11-23T14:26:42Z");
    world.svix.stop_sending(false);
    canary(1).await.assert_final_problem(422, "canary-not-sent");
    assert_eq!(canary(1).await.status, 200);
    assert!(arrived(&world).await > failing);
}

#[tokio::test(start_paused = true)]
async fn a_canary_of_a_clock_that_was_ahead_hides_no_missing_webhook() {
    let world = with_canary();
    canary(&world, 0).await;
    world.svix.create_endpoint("canary", "https://hooks.test/");
    world.svix.stop_sending(true);
    let ahead = br#"{"deliveredAt":"2026-11-24T14:00:00Z","durationMs":1,"project":"canary","eventId":"e","svixMessageId":"m","webhookMissingSince":"2026-11-24T14:00:00Z","awaited":{"deliveredAt":"2026-11-24T14:00:00Z","project":"canary","svixMessageId":"m"}}"#;
    world.put("canary", ahead).await;
    // Nothing is awaited yet.
    canary(&world, 0).await.ok();
    let fresh = arrived(&world).await;
    let reply = canary(&world, 1).await;
    reply.assert_final_problem(422, "canary-not-sent");
    assert_eq!(arrived(&world).await, fresh + 60);
}

#[tokio::test(start_paused = true)]
async fn a_canary_fails_if_svix_does_not_say_whether_it_was_sent() {
    let world = with_canary();
    // A relay before webhooks has written this.
    let old = br#"{"deliveredAt":"2026-11-23T14:00:00Z","durationMs":1,"project":"canary","eventId":"e","svixMessageId":"m"}"#;
    world.put("canary", old).await;
    assert_eq!(canary(&world, 0).await.status, 200);
    world.svix.always_at(Target::Deliveries, Fault::status(500));
    for sent in 2..4 {
        let reply = canary(&world, 1).await;
        reply.assert_retryable_problem(503, "svix-unavailable");
        assert_eq!(world.svix.messages().len(), sent, "sent all the same");
    }
    let failing = arrived(&world).await;
    world.svix.clear_faults();
    world.svix.delete_application("canary");
    assert_eq!(canary(&world, 1).await.json()["webhookAt"], Value::Null);
    assert!(arrived(&world).await > failing);
}
