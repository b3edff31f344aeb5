//! Every fault of Svix, once and for good: what the sender sees, and that one message comes of it.

use std::time::Duration;

use host_tests::fake_svix::{Fault, RetryAfter};

use crate::support::{World, event};

/// What becomes of an event whose every attempt meets the fault.
#[derive(Debug, PartialEq)]
enum Lasting {
    /// It is delivered all the same.
    Delivered,
    /// The sender has to come back.
    Retryable(u16, &'static str),
    /// It never will be.
    Final(u16, &'static str),
}

/// Every fault. A new one doesn't compile before it has its line here.
fn lasting(fault: &Fault) -> Lasting {
    const UNAVAILABLE: Lasting = Lasting::Retryable(503, "svix-unavailable");
    match fault {
        Fault::None | Fault::Delay { millis: ..3_000 } | Fault::SlowBody { millis: ..3_000 } => {
            Lasting::Delivered
        }
        Fault::Status { status: 429, .. } => Lasting::Retryable(429, "rate-limited"),
        Fault::Status {
            status: 400 | 413 | 422,
            ..
        }
        | Fault::EchoCredentials => Lasting::Final(422, "refused-by-svix"),
        Fault::Status {
            status: 401 | 403, ..
        } => Lasting::Retryable(503, "token-refused"),
        Fault::Status {
            status: 302 | 404 | 418,
            ..
        } => Lasting::Retryable(503, "unexpected-status"),
        // Each attempt conflicts, and no message is ever there.
        Fault::RaceToCreateApplication => Lasting::Final(422, "event-id-taken"),
        Fault::Status { .. }
        | Fault::Delay { .. }
        | Fault::SlowBody { .. }
        | Fault::HangBeforeStoring
        | Fault::HangAfterStoring
        | Fault::ResetBeforeStoring
        | Fault::ResetAfterStoring
        | Fault::TruncatedReply
        | Fault::MalformedReply
        | Fault::GarbageBytes
        | Fault::OversizedReply { .. } => UNAVAILABLE,
    }
}

fn faults() -> Vec<Fault> {
    let status = |status, stored| Fault::Status {
        status,
        retry_after: None,
        stored,
    };
    vec![
        Fault::None,
        status(500, false),
        status(500, true),
        status(503, true),
        status(408, true),
        status(429, false),
        status(400, false),
        status(401, false),
        status(403, false),
        status(404, false),
        status(413, false),
        status(422, false),
        status(302, false),
        status(418, false),
        Fault::retry_after(503, RetryAfter::Seconds(1)),
        Fault::retry_after(429, RetryAfter::Date(2)),
        Fault::retry_after(429, RetryAfter::Raw("soon".to_owned())),
        Fault::Delay { millis: 2_900 },
        Fault::Delay { millis: 3_100 },
        Fault::HangBeforeStoring,
        Fault::HangAfterStoring,
        Fault::ResetBeforeStoring,
        Fault::ResetAfterStoring,
        Fault::TruncatedReply,
        Fault::MalformedReply,
        Fault::GarbageBytes,
        Fault::RaceToCreateApplication,
        Fault::OversizedReply { bytes: 1_000_000 },
        Fault::SlowBody { millis: 2_000 },
        Fault::SlowBody { millis: 20_000 },
        Fault::EchoCredentials,
    ]
}

#[tokio::test(start_paused = true)]
async fn a_passing_fault_is_bridged_within_the_request() {
    let world = World::new();
    for (number, fault) in faults().into_iter().enumerate() {
        if matches!(lasting(&fault), Lasting::Final(..)) && fault != Fault::RaceToCreateApplication
            || matches!(lasting(&fault), Lasting::Retryable(503, name) if name != "svix-unavailable")
        {
            continue;
        }
        let id = format!("evt_{number}");
        world.svix.script([fault.clone()]);
        let reply = world.post(&event(&id)).await;
        assert_eq!(reply.status, 200, "{fault:?}: {}", reply.text());
        assert_eq!(
            reply.json()["svixMessageId"],
            world.message(&id).id,
            "{fault:?}"
        );
        assert_eq!(
            world.post(&event(&id)).await.json()["status"],
            "duplicate",
            "{fault:?}"
        );
        world.message(&id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lasting_fault_is_handed_to_the_sender_and_ends_in_one_message() {
    for (number, fault) in faults().into_iter().enumerate() {
        let world = World::new();
        let id = format!("evt_{number}");
        world.svix.always(fault.clone());
        let (reply, took) = world.timed(world.post(&event(&id))).await;
        assert!(
            took <= Duration::from_millis(8_100),
            "{fault:?} took {took:?}"
        );
        match lasting(&fault) {
            Lasting::Delivered => assert_eq!(reply.status, 200, "{fault:?}"),
            Lasting::Retryable(status, name) => {
                reply.assert_retryable_problem(status, name);
            }
            Lasting::Final(status, name) => reply.assert_final_problem(status, name),
        }
        world.svix.clear_faults();
        // Long enough for the gate to open.
        world.clock.advance(Duration::from_mins(1));
        // However the first delivery ended, the next one settles it.
        let reply = world.post(&event(&id)).await;
        assert_eq!(reply.status, 200, "{fault:?}: {}", reply.text());
        assert_eq!(
            reply.json()["svixMessageId"],
            world.message(&id).id,
            "{fault:?}"
        );
    }
}
