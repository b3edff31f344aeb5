//! Event types register themselves: Svix shows customers, and lets them choose among, only the types
//! that it has been told of, so the relay tells it of a type once the first event has got through.
//!
//! No event depends on it. It begins after the record is written, goes on after the reply, and what
//! goes wrong costs nothing but time: events of a type that Svix doesn't know are delivered all the
//! same. So it neither waits at the gate nor tells it anything.
//!
//! An instance lives for a second or more, and there may be many: what stops them from asking again
//! and again is in the store. While Svix refuses (a token without the right, say), each type costs
//! one request in `REFUSED`, and besides it only what instances ask at the very same moment;
//! while Svix fails, one in `REST`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use spin_sdk::wasip3;

use crate::client::{self, Request};
use crate::config::Config;
use crate::delivery;
use crate::event;
use crate::host;
use crate::json;
use crate::log::Change;
use crate::problem::Problem;
use crate::record::{parse_rfc3339, rfc3339};
use crate::reply;
use crate::svix;

/// How long a type is left alone after a try, however that ended; longer than any try takes.
const REST: Duration = Duration::from_mins(1);

/// How long it is left alone if only an operator can change the answer.
const REFUSED: Duration = Duration::from_hours(1);

/// The longest that Svix may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many types an instance remembers. A platform has some dozens.
const MOST: usize = 256;

/// The longest name of a value that every store behind Spin takes, in bytes.
const LONGEST_NAME: usize = 255;

/// The version of the values that this relay writes.
const VERSION: u32 = 1;

/// What this instance knows of event types.
static TYPES: Mutex<Types> = Mutex::new(Types::none());

/// Never held while waiting.
fn types() -> MutexGuard<'static, Types> {
    TYPES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What to do about a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing: Svix knows it.
    Known,
    /// Nothing before then.
    Rests(SystemTime),
}

/// Types by name. A list, as they are few.
#[derive(Debug, Default)]
struct Types(Vec<(String, Standing)>);

impl Types {
    const fn none() -> Self {
        Self(Vec::new())
    }

    fn get(&self, name: &str) -> Option<Standing> {
        let mut types = self.0.iter();
        types
            .find(|(known, _)| known == name)
            .map(|(_, standing)| *standing)
    }

    /// Whether nothing has to be done, without asking what time it is.
    fn knows(&self, name: &str) -> bool {
        self.get(name) == Some(Standing::Known)
    }

    /// Whether to try now: then nobody else does in this instance for a while.
    fn claim(&mut self, name: &str, now: SystemTime) -> bool {
        match self.get(name) {
            Some(Standing::Known) => return false,
            Some(Standing::Rests(until)) if now < until => return false,
            Some(Standing::Rests(_)) | None => {}
        }
        self.put(name, Standing::Rests(now + REST));
        true
    }

    fn remember(&mut self, name: &str) {
        self.put(name, Standing::Known);
    }

    fn put(&mut self, name: &str, standing: Standing) {
        if let Some(known) = self.0.iter_mut().find(|(known, _)| known == name) {
            known.1 = standing;
            return;
        }
        // Whoever has more types asks the store for them again.
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.push((name.to_owned(), standing));
    }
}

/// What the store holds of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    version: u32,
    /// When this was written, in RFC 3339.
    time: String,
    /// Until when the type is left alone, in RFC 3339. Without it, Svix knows the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    postponed_until: Option<String>,
}

/// The name of a type's value in the store.
fn name(event_type: &str) -> String {
    let name = format!("event-type/{event_type}");
    if name.len() <= LONGEST_NAME {
        name
    } else {
        // No event type holds what this one begins with.
        format!("event-type/*{}", svix::key("", event_type))
    }
}

/// Whether what the store holds of a type settles what is to be done at `now`: nothing, because Svix
/// knows it (`Some(true)`), or nothing yet (`Some(false)`).
///
/// Bytes that this relay has not written settle nothing.
fn settled(bytes: &[u8], now: SystemTime) -> Option<bool> {
    let text = str::from_utf8(bytes).ok()?;
    let [version, until] = json::pick(text, ["version", "postponedUntil"]).ok()?;
    if version?.get() != VERSION.to_string() {
        return None;
    }
    match until {
        None => Some(true),
        Some(until) => lasts(&json::string(until)?, now).then_some(false),
    }
}

/// Whether the wait until then, in RFC 3339, still lasts at `now`. One that is longer than any this
/// relay asks for is one of a clock that was wrong.
fn lasts(until: &str, now: SystemTime) -> bool {
    parse_rfc3339(until)
        .and_then(|until| until.duration_since(now).ok())
        .is_some_and(|rest| !rest.is_zero() && rest <= REFUSED)
}

/// Makes a type known to Svix, unless it is: later, when the event that brought it is answered.
pub fn make_known(config: &Config, event_type: &str) {
    // A dot segment would climb the path of the request, and is no name for customers to choose.
    let wanted = config.register_event_types
        && !event::is_dot_segment(event_type)
        && !types().knows(event_type);
    if wanted && delivery::closed().is_none() && types().claim(event_type, host::now()) {
        let event_type = event_type.to_owned();
        // It may not live to its end. Then another event of this type brings it up again.
        wasip3::spawn(async move { settle(&event_type).await });
    }
}

/// Looks into the store, asks Svix, and writes down what came of it. If the store fails, that is told
/// by the events themselves.
async fn settle(event_type: &str) {
    let Ok(config) = host::config().await else {
        return;
    };
    let name = name(event_type);
    let Ok(stored) = host::get(&name, host::STORE_TIMEOUT).await else {
        return;
    };
    match stored.and_then(|bytes| settled(&bytes, host::now())) {
        Some(true) => return types().remember(event_type),
        Some(false) => return,
        None => {}
    }
    // It may have closed since the event passed it.
    if delivery::closed().is_some() {
        return;
    }
    let result = register(config, event_type).await;
    let now = host::now();
    let stored = Stored {
        version: VERSION,
        time: rfc3339(now),
        postponed_until: result.as_ref().err().map(|problem| {
            host::print(&Change::unregistered(event_type, problem).line(rfc3339(now)));
            rfc3339(now + rest_after(problem))
        }),
    };
    let written = host::set(&name, &reply::json(&stored), host::STORE_TIMEOUT).await;
    // What is not written down is asked of Svix again, which does no harm.
    if result.and(written).is_ok() {
        types().remember(event_type);
    }
}

/// How long a type is left alone after a failure.
fn rest_after(problem: &Problem) -> Duration {
    match problem {
        Problem::Unavailable(_) => REST,
        _ => REFUSED,
    }
}

/// Has Svix create the type, unless it is there.
///
/// Creating alone would not do: it brings back an archived type, with another description.
async fn register(config: &Config, event_type: &str) -> Result<(), Problem> {
    let id = client::request_id(host::random().u64(..));
    let token = config.token.expose();
    let path = svix::event_type_path(event_type);
    let ask = Request {
        path: &path,
        headers: Vec::new(),
        body: None,
        id: &id,
    };
    let result = client::send(config, ask, PATIENCE).await?;
    if svix::classify_event_type(result, token, host::now())? {
        return Ok(());
    }
    let create = Request {
        path: svix::EVENT_TYPES_PATH,
        headers: Vec::new(),
        body: Some(svix::event_type_body(event_type)),
        id: &id,
    };
    let result = client::send(config, create, PATIENCE).await?;
    svix::classify_created(result, token, host::now())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svix::{Cause, Misconfiguration, Trouble};
    use proptest::prelude::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_443_162 + seconds)
    }

    #[test]
    fn one_try_at_a_time_and_none_soon_after() {
        let mut types = Types::none();
        assert!(types.claim("a", at(0)));
        assert!(!types.claim("a", at(59)));
        assert!(types.claim("b", at(59)), "types don't wait for each other");
        assert!(types.claim("a", at(60)));
        assert!(!types.knows("a"));
    }

    #[test]
    fn what_is_known_stays_known() {
        let mut types = Types::none();
        assert!(types.claim("a", at(0)));
        types.remember("a");
        assert!(types.knows("a"));
        assert!(!types.claim("a", at(1_000_000)));
    }

    #[test]
    fn remembers_no_more_than_so_many() {
        let mut types = Types::none();
        for number in 0..1_000 {
            types.remember(&number.to_string());
            assert!(types.0.len() <= MOST);
            assert!(types.knows(&number.to_string()));
        }
    }

    /// Stored bytes outlive the relay that wrote them: these texts must never need to change.
    #[test]
    fn is_stored_as_it_always_was() {
        let time = || rfc3339(at(0));
        for (postponed_until, text) in [
            (None, r#"{"version":1,"time":"2026-11-23T14:12:42Z"}"#),
            (
                Some(rfc3339(at(60))),
                r#"{"version":1,"time":"2026-11-23T14:12:42Z","postponedUntil":"2026-11-23T14:13:42Z"}"#,
            ),
        ] {
            let known = postponed_until.is_none();
            let stored = Stored {
                version: VERSION,
                time: time(),
                postponed_until,
            };
            assert_eq!(String::from_utf8(reply::json(&stored)).expect("text"), text);
            assert_eq!(settled(text.as_bytes(), at(59)), Some(known));
            assert_eq!(settled(text.as_bytes(), at(60)), known.then_some(true));
            let newer = text.replace(r#""version":1"#, r#""version":2"#);
            for bytes in ["", "{}", "known", &newer, &text[..text.len() - 1]] {
                assert_eq!(settled(bytes.as_bytes(), at(0)), None, "{bytes}");
            }
        }
    }

    #[test]
    fn is_postponed_until_its_time_and_never_for_longer_than_an_hour() {
        let lasts = |until, now| lasts(&rfc3339(until), now);
        assert!(lasts(at(10), at(9)));
        assert!(!lasts(at(10), at(10)));
        assert!(!lasts(at(10), at(11)));
        assert!(lasts(at(3_600), at(0)));
        assert!(!lasts(at(3_601), at(0)), "a clock was wrong");
        assert!(!super::lasts("soon", at(0)));
    }

    #[test]
    fn what_only_an_operator_can_mend_is_left_alone_for_longer() {
        let limited = Problem::Unavailable(Trouble {
            cause: Cause::RateLimited,
            retry_after: None,
        });
        let refused = Problem::Misconfigured(Misconfiguration::TokenRefused);
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

        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = settled(&bytes, at(0));
        }
    }
}
