//! Fuzzes the readers of bytes from outside of requests: the codecs of the key-value store (record, dead
//! letter, gate), and Svix's answers (`Retry-After`, replies).
//!
//! Each reader gets the whole input. A value that was read must be written so that it is read again.

#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use svix_relay::fuzz::{
    Answer, Arrival, DeadLetter, Error, EventAtGate, Gate, Pass, Posted, Reason, Record, Secret,
    Standing, check_identifier, classify_create, classify_lookup, parse_retry_after, whole_seconds,
};

const TOKEN: &str = "testsk_secret";

const HOUR: Duration = Duration::from_hours(1);

/// The statuses that the relay interprets, and some that it doesn't.
const STATUSES: [u16; 20] = [
    100, 200, 201, 202, 299, 301, 400, 401, 403, 404, 405, 408, 409, 413, 422, 425, 429, 500, 503,
    999,
];

fuzz_target!(|input: &[u8]| {
    check_record(input);
    check_dead_letter(input);
    check_gate(input);
    let text = String::from_utf8_lossy(input);
    check_retry_after(&text);
    check_answers(input);
});

fn check_record(input: &[u8]) {
    if let Some(record) = Record::decode(input) {
        assert_eq!(Record::decode(&record.encode()), Some(record));
    }
}

fn check_dead_letter(input: &[u8]) {
    let Some(letter) = DeadLetter::decode(input) else {
        return;
    };
    let again = DeadLetter::decode(&letter.encode()).expect("what is written can be read");
    // The type has no equality of its own; all its fields are in here.
    assert_eq!(format!("{again:?}"), format!("{letter:?}"));
    assert_eq!(again.encode(), letter.encode());

    // A replay starts with these.
    assert_eq!(again.own_body(), letter.own_body());
    let arrival = |letter: &DeadLetter| -> Arrival { letter.arrival() };
    assert_eq!(arrival(&again), arrival(&letter));
    assert!(again.summary().own_body().is_empty());
}

fn check_gate(input: &[u8]) {
    let mut gate = Gate::open();
    gate.learn(Some(input), now());
    let learned = gate.standing(now());
    // The project whose events wait, if it is only one.
    let project = match &learned {
        Standing::Closed { project: Some(only), .. } => only.clone(),
        _ => "dev".to_owned(),
    };
    let event = EventAtGate { key: "evt_1", project: &project };
    for time in [SystemTime::UNIX_EPOCH, now(), later()] {
        if let Pass::Closed(shut) = gate.pass(&project, time) {
            let rest = shut.rest;
            assert!(!rest.is_zero() && rest <= HOUR, "a closing never lasts longer than its time");
        }
    }
    assert!(
        !matches!(gate.pass(&project, later() + HOUR), Pass::Closed(..)),
        "the closing's time is over"
    );
    gate.learn(Some(input), now());
    assert_eq!(gate.standing(now()), learned, "the same state is no news");

    // From any state, the gate goes on, and one instance learns what another shares.
    let lease = Duration::from_secs(3);
    let probing = gate.send_probe(lease, later());
    assert_learned(&gate, &probing);
    if let Some(shut) = gate.closed_for(&project, later()) {
        assert!(shut.probing && shut.rest == lease);
    }
    for reason in [Reason::RateLimited, Reason::SvixUnavailable] {
        let failed = gate.failed(event, true, reason, None, 0.5, later());
        assert_learned(&gate, &failed.expect("a probe decides"));
        let shut = gate.closed_for(&project, later()).expect("a failure closes it");
        assert_eq!(shut.reason, reason);
        let longest = Duration::from_secs(30);
        assert!(shut.rest <= longest, "Svix hasn't asked for it");
    }
    let answered = gate.answered(&project, true, later());
    assert_learned(&gate, &answered.expect("a probe decides"));
    assert_eq!(gate.pass(&project, later()), Pass::Open);
}

fn assert_learned(gate: &Gate, shared: &[u8]) {
    let mut other = Gate::open();
    other.learn(Some(shared), later());
    assert_eq!(other.standing(later()), gate.standing(later()));
}

/// The one time at which everything happens, so that a finding can be repeated.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_443_162_123)
}

/// A time further ahead than the clocks of nodes may be apart: every state that was learned is past.
fn later() -> SystemTime {
    now() + Duration::from_secs(10)
}

fn check_retry_after(text: &str) {
    let wait = parse_retry_after(text, now());
    assert_eq!(parse_retry_after(text.trim(), now()), wait);
    let Some(wait) = wait else {
        assert_eq!(parse_retry_after(text, later()), None);
        return;
    };
    let seconds = whole_seconds(wait);
    assert_eq!(parse_retry_after(&seconds.to_string(), now()), Some(Duration::from_secs(seconds)));
    // A number counts from any time on; a date comes nearer.
    let nearer = wait.saturating_sub(Duration::from_secs(10));
    let counts = parse_retry_after(text, later());
    assert!(counts == Some(wait) || counts == Some(nearer));
}

fn check_answers(body: &[u8]) {
    // Its keys may be no text, which a parser of values would refuse.
    let json = serde_json::from_slice::<&RawValue>(body);
    let is_error_of_svix = json.is_ok_and(|json| json.get().starts_with('{'));
    for status in STATUSES {
        let answer = Answer {
            status,
            retry_after: None,
            body: Some(body.to_vec()),
            written_at: SystemTime::UNIX_EPOCH,
            token: Secret::parse(TOKEN).expect("a token"),
        };
        let answer = match answer.or_common_failure() {
            Ok(answer) => answer,
            Err(error) => {
                check_error(&error, status, is_error_of_svix);
                continue;
            }
        };
        for create_application in [true, false] {
            let created = classify_create(&answer, "evt_1", create_application);
            let found = classify_lookup(&answer, "evt_1");
            match created {
                Ok(Posted::Stored { message_id, .. }) => check_stored(&message_id, status),
                Ok(Posted::Conflict) => assert!(status == 409 && is_error_of_svix),
                Err(error) => check_error(&error, status, is_error_of_svix),
            }
            match found {
                Ok(Some(id)) => check_stored(&id, status),
                Ok(None) => assert!(status == 404 && is_error_of_svix),
                Err(error) => check_error(&error, status, is_error_of_svix),
            }
        }
    }
}

fn check_stored(id: &str, status: u16) {
    assert!((200..=299).contains(&status));
    assert!(id.starts_with("msg_"));
    assert_eq!(check_identifier(id), Ok(()));
}

fn check_error(error: &Error, status: u16, is_error_of_svix: bool) {
    match error {
        Error::Unavailable { .. } => {}
        Error::Refused(refusal) => {
            assert!(matches!(status, 400 | 413 | 422) && is_error_of_svix);
            assert_eq!(refusal.status, status);
            for shown in [&refusal.code, &refusal.detail].into_iter().flatten() {
                assert!(!shown.contains(TOKEN));
                assert!(shown.len() <= 1_000);
            }
        }
        Error::ApplicationMissing => assert!(status == 404 && is_error_of_svix),
        Error::Misconfigured(_) => {
            assert!(matches!(status, 401 | 403) && is_error_of_svix);
        }
    }
}
