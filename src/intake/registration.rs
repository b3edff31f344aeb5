//! Event types register themselves: after the first delivery of a type, the relay makes the type known to
//! Svix, so that customers can choose it.
//!
//! No event depends on this. Registering begins after the record is written and goes on after the reply,
//! and Svix takes events of unknown types all the same. So a failure costs nothing, and registering neither
//! waits at the gate nor tells it anything.
//!
//! There may be many instances, each for a short time. The store keeps them from asking again and again.
//! If Svix refuses a type, for example for want of a right, the relay asks again after `PAUSE_IF_REFUSED`. If Svix
//! fails, it asks again after `PAUSE`.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use spin_sdk::wasip3;

use crate::config::{Config, Svix, load};
use crate::delivery::shared_gate;
use crate::digest;
use crate::host::http::Method;
use crate::host::{self, clock, store};
use crate::identifier;
use crate::json;
use crate::svix::client::{self, Request};
use crate::svix::{self, event_type as api};
use crate::time::{parse_rfc3339, rfc3339};
use crate::watch;
use crate::watch::change::Change;

/// How long a type rests after a try, however that ended. Longer than any try takes.
const PAUSE: Duration = Duration::from_mins(1);

/// How long a type rests if only an operator can change Svix's answer.
const PAUSE_IF_REFUSED: Duration = Duration::from_hours(1);

/// The longest that Svix may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How many types an instance remembers. A platform has some dozens.
const MAX_REMEMBERED: usize = 256;

/// The longest name of a value that every store behind Spin takes, in bytes, less the longest prefix.
const LONGEST_NAME: usize = 255 - 32;

/// The version of the values that this relay writes.
const VERSION: u64 = 1;

thread_local! {
    /// The event types that this instance knows.
    static TYPES: RefCell<Types> = const { RefCell::new(Types::none()) };
}

/// The knowledge of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registration {
    Known,
    /// Nothing is tried before this time.
    Rests(SystemTime),
}

/// Types by name. A list, as they are few.
#[derive(Debug, Default)]
struct Types(Vec<(String, Registration)>);

impl Types {
    const fn none() -> Self {
        Self(Vec::new())
    }

    fn get(&self, name: &str) -> Option<Registration> {
        let mut types = self.0.iter();
        types.find(|(known, _)| known == name).map(|(_, registration)| *registration)
    }

    /// Whether Svix is known to know the type. Needs no clock.
    fn knows(&self, name: &str) -> bool {
        self.get(name) == Some(Registration::Known)
    }

    /// Whether to try now. If so, no other request of this instance tries for a while.
    fn try_begin(&mut self, name: &str, now: SystemTime) -> bool {
        match self.get(name) {
            Some(Registration::Known) => return false,
            Some(Registration::Rests(until)) if now < until => return false,
            Some(Registration::Rests(_)) | None => {}
        }
        self.put(name, Registration::Rests(now + PAUSE));
        true
    }

    fn remember(&mut self, name: &str) {
        self.put(name, Registration::Known);
    }

    fn put(&mut self, name: &str, registration: Registration) {
        if let Some(known) = self.0.iter_mut().find(|(known, _)| known == name) {
            known.1 = registration;
            return;
        }
        // With more types than that, the store is asked for them again.
        if self.0.len() >= MAX_REMEMBERED {
            self.0.clear();
        }
        self.0.push((name.to_owned(), registration));
    }
}

/// A type as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    version: u64,
    /// When this was written, in RFC 3339.
    time: String,
    /// Until when the type rests, in RFC 3339. Without this, Svix knows the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    postponed_until: Option<String>,
}

/// The name of a type's value in the store.
fn name(event_type: &str) -> String {
    let name = format!("event-type/{event_type}");
    if name.len() <= LONGEST_NAME {
        name
    } else {
        // No event type holds an asterisk, so the names never meet.
        format!("event-type/*{}", digest::of_pair("", event_type))
    }
}

/// Whether Svix knows the type (`Some(true)`), or the type rests at `now` (`Some(false)`), by what the
/// store holds. `None` if a try is due, also for bytes that this version has not written.
fn is_known(bytes: &[u8], now: SystemTime) -> Option<bool> {
    let stored = json::Stored::read(bytes).filter(|it| it.number("version") == Some(VERSION))?;
    match stored.raw("postponedUntil") {
        None => Some(true),
        Some(until) => lasts(&json::string(until)?, now).then_some(false),
    }
}

/// Whether the wait until then, in RFC 3339, still lasts at `now`. A wait that is longer than any of the
/// relay's comes from a wrong clock, and is treated as over.
fn lasts(until: &str, now: SystemTime) -> bool {
    parse_rfc3339(until)
        .and_then(|until| until.duration_since(now).ok())
        .is_some_and(|rest| !rest.is_zero() && rest <= PAUSE_IF_REFUSED)
}

/// Makes a type known to Svix, unless Svix knows it, after the reply to the event that brought it.
pub fn make_known(config: &Config, event_type: &str) {
    // A dot segment would climb the path of the request, and is no name for customers to choose.
    let wanted = config.svix.register_event_types
        && !identifier::is_dot_segment(event_type)
        && !TYPES.with_borrow(|types| types.knows(event_type));
    let begin = || TYPES.with_borrow_mut(|types| types.try_begin(event_type, clock::now()));
    if wanted && shared_gate::closed().is_none() && begin() {
        let event_type = event_type.to_owned();
        // If the instance ends before the task does, the next event of this type begins it again.
        wasip3::spawn(async move { register_if_due(&event_type).await });
    }
}

/// Looks into the store, asks Svix, and writes down the outcome. If the store fails, nothing is done: the
/// next event reports that.
async fn register_if_due(event_type: &str) {
    let Ok(config) = load::config().await else {
        return;
    };
    let name = name(event_type);
    let Ok(stored) = store::get(&name, store::TIMEOUT).await else {
        return;
    };
    match stored.and_then(|bytes| is_known(&bytes, clock::now())) {
        Some(true) => return TYPES.with_borrow_mut(|types| types.remember(event_type)),
        Some(false) => return,
        None => {}
    }
    // The gate may have closed since the event passed it.
    if shared_gate::closed().is_some() {
        return;
    }
    let result = register(&config.svix, event_type).await;
    let now = clock::now();
    let postponed_until = result.as_ref().err().map(|error| {
        let problem = error.clone().into();
        watch::change(Change::unregistered(event_type, &problem));
        rfc3339(now + rest_after(error))
    });
    let stored = Stored { version: VERSION, time: rfc3339(now), postponed_until };
    // If the write fails, Svix is asked again, which does no harm.
    let written = store::set(&name, &json::encode(&stored), store::TIMEOUT).await;
    if result.is_ok() && written.is_ok() {
        TYPES.with_borrow_mut(|types| types.remember(event_type));
    }
}

/// How long a type rests after a failure.
fn rest_after(error: &svix::Error) -> Duration {
    match error {
        svix::Error::Unavailable { .. } => PAUSE,
        svix::Error::Refused(_)
        | svix::Error::ApplicationMissing
        | svix::Error::Misconfigured(_) => PAUSE_IF_REFUSED,
    }
}

/// Has Svix create the type, unless it is there. Creating it without asking would bring back an archived
/// type, with another description.
async fn register(config: &Svix, event_type: &str) -> Result<(), svix::Error> {
    let id = client::request_id(host::random().u64(..));
    let path = api::lookup_path(event_type);
    let ask = |path, body| {
        let request = Request { path, headers: Vec::new(), body, id: &id };
        client::send(config, request, TIMEOUT)
    };
    if api::classify_lookup(&ask(&path, None).await?)? {
        return Ok(());
    }
    let answer = ask(api::CREATE_PATH, Some((Method::Post, api::body(event_type)))).await?;
    api::classify_create(&answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svix::Cause;
    use proptest::prelude::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_443_162 + seconds)
    }

    #[test]
    fn a_type_is_tried_once_at_a_time_and_rests_after() {
        let mut types = Types::none();
        assert!(types.try_begin("a", at(0)));
        assert!(!types.try_begin("a", at(59)));
        assert!(types.try_begin("b", at(59)), "types don't wait for each other");
        assert!(types.try_begin("a", at(60)));
        assert!(!types.knows("a"));
    }

    #[test]
    fn a_known_type_stays_known() {
        let mut types = Types::none();
        assert!(types.try_begin("a", at(0)));
        types.remember("a");
        assert!(types.knows("a"));
        assert!(!types.try_begin("a", at(1_000_000)));
    }

    #[test]
    fn an_instance_remembers_a_bounded_number_of_types() {
        let mut types = Types::none();
        for number in 0..1_000 {
            types.remember(&number.to_string());
            assert!(types.0.len() <= MAX_REMEMBERED);
            assert!(types.knows(&number.to_string()));
        }
    }

    /// Stored bytes outlive the relay that wrote them: these texts must never need to change.
    #[test]
    fn a_type_is_stored_as_it_always_was() {
        let time = || rfc3339(at(0));
        for (postponed_until, text) in [
            (None, r#"{"version":1,"time":"2026-11-23T14:12:42Z"}"#),
            (
                Some(rfc3339(at(60))),
                r#"{"version":1,"time":"2026-11-23T14:12:42Z","postponedUntil":"2026-11-23T14:13:42Z"}"#,
            ),
        ] {
            let known = postponed_until.is_none();
            let stored = Stored { version: VERSION, time: time(), postponed_until };
            assert_eq!(String::from_utf8(json::encode(&stored)).expect("text"), text);
            assert_eq!(is_known(text.as_bytes(), at(59)), Some(known));
            assert_eq!(is_known(text.as_bytes(), at(60)), known.then_some(true));
            let newer = text.replace(r#""version":1"#, r#""version":2"#);
            for bytes in ["", "{}", "known", &newer, &text[..text.len() - 1]] {
                assert_eq!(is_known(bytes.as_bytes(), at(0)), None, "{bytes}");
            }
        }
    }

    #[test]
    fn a_type_rests_until_its_time_and_never_for_longer_than_an_hour() {
        let lasts = |until, now| lasts(&rfc3339(until), now);
        assert!(lasts(at(10), at(9)));
        assert!(!lasts(at(10), at(10)));
        assert!(!lasts(at(10), at(11)));
        assert!(lasts(at(3_600), at(0)));
        assert!(!lasts(at(3_601), at(0)), "a clock was wrong");
        assert!(!super::lasts("soon", at(0)));
    }

    #[test]
    fn a_failure_that_only_an_operator_can_mend_rests_longer() {
        let limited = Cause::RateLimited.into();
        let refused = svix::tests::token_refused();
        assert!(rest_after(&limited) < rest_after(&refused));
    }

    proptest! {
        #[test]
        fn every_type_has_a_name_of_its_own_that_every_store_takes(
            one in "[a-z*]{1,4}|[a-z]{240,256}", other in "[a-z*]{1,4}|[a-z]{240,256}",
        ) {
            prop_assert!(name(&one).len() <= LONGEST_NAME);
            prop_assert_eq!(one == other, name(&one) == name(&other));
        }
    }
}
