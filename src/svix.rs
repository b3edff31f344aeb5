//! What is said to Svix, and what its answers mean.
//!
//! Builds requests and classifies replies; sends nothing. The same event always yields the same
//! request, to the byte and to the URI, since Svix's idempotency covers nothing less.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::value::{RawValue, Value};
use sha2::{Digest as _, Sha256};

use crate::event::{self, Event};
use crate::gate::Reason;
use crate::json;
use crate::retry;

/// Starts every eventId that is not the event's own id. An id that starts so itself is mapped like
/// an unacceptable one, which keeps the mapping free of collisions.
const MAPPED_PREFIX: &str = "sha256.";

/// For how long Svix knows an `Idempotency-Key`.
const KEY_LIFETIME: Duration = Duration::from_hours(12);

/// How much of a refusal's own words is passed on, in bytes.
const MAX_DETAIL: usize = 1_000;

/// The eventId under which Svix stores an event: its own id where Svix accepts it, otherwise a
/// stable stand-in made of its SHA-256.
pub fn event_id(id: &str) -> Cow<'_, str> {
    let acceptable = !id.is_empty()
        && event::identifier(id).is_ok()
        && !id.starts_with("msg_")
        && !id.starts_with(MAPPED_PREFIX)
        && !event::is_dot_segment(id);
    if acceptable {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(format!("{MAPPED_PREFIX}{}", sha256_hex(&[id.as_bytes()])))
    }
}

/// Identifies an event by project and id alone, as 64 hexadecimal digits: the `Idempotency-Key`,
/// and the name of its record.
pub fn key(project: &str, id: &str) -> String {
    // No project holds a zero byte, so no two pairs run together.
    sha256_hex(&[project.as_bytes(), b"\0", id.as_bytes()])
}

fn sha256_hex(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut hex = String::with_capacity(64);
    for byte in hash.finalize() {
        // Writing to a String can't fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// The name under which the record of a notification without a valid event is kept.
pub fn identity_key(identity: &[u8]) -> String {
    format!("rejected-{}", sha256_hex(&[identity]))
}

/// Whether Svix may have forgotten an attempt at an event that was there at `published`: then it
/// has to be asked before the event is sent. `None`: nobody knows how old the event is.
pub fn may_have_forgotten(published: Option<SystemTime>, now: SystemTime) -> bool {
    let Some(published) = published else {
        return true;
    };
    // An event from the future is one of another clock: it is new.
    now.duration_since(published).unwrap_or_default() >= KEY_LIFETIME
}

/// The path, with query, of the request that creates a message.
pub fn create_path(project: &str) -> String {
    format!("/api/v1/app/{project}/msg/?with_content=false")
}

/// The path, with query, of the request that asks for the message of an event.
pub fn lookup_path(project: &str, event_id: &str) -> String {
    format!("/api/v1/app/{project}/msg/{event_id}/?with_content=false")
}

/// The body of the request that creates the message of an event; the payload is the event itself,
/// byte for byte.
///
/// With `create_application`, Svix creates the project's application if there is none.
pub fn message_body(event: &Event<'_>, create_application: bool) -> Vec<u8> {
    // Type, eventId and project are plain identifiers by now: nothing in them needs escaping.
    let mut body = String::with_capacity(event.json.len() + 1_024);
    let _ = write!(
        body,
        r#"{{"eventType":"{}","eventId":"{}","#,
        event.event_type,
        event_id(&event.id)
    );
    if create_application {
        let project = &event.project;
        let _ = write!(
            body,
            r#""application":{{"uid":"{project}","name":"{project}"}},"#
        );
    }
    body.push_str(r#""payload":"#);
    body.push_str(event.json);
    body.push('}');
    body.into_bytes()
}

/// The path of the request for a link to a project's portal.
pub fn portal_path(project: &str) -> String {
    format!("/api/v1/auth/app-portal-access/{project}/")
}

/// The body of the request for a link to a portal, valid for so many seconds.
pub fn portal_body(expiry: u64) -> Vec<u8> {
    format!(r#"{{"expiry":{expiry}}}"#).into_bytes()
}

/// The path, with query, of the request that creates an application unless it is there.
pub const APPLICATION_PATH: &str = "/api/v1/app/?get_if_exists=true";

/// The body of the request that creates a project's application.
pub fn application_body(project: &str) -> Vec<u8> {
    // A plain identifier: nothing in it needs escaping.
    format!(r#"{{"uid":"{project}","name":"{project}"}}"#).into_bytes()
}

/// The path of the request that creates an event type.
pub const EVENT_TYPES_PATH: &str = "/api/v1/event-type/";

/// The path of the request that asks for an event type.
pub fn event_type_path(event_type: &str) -> String {
    format!("{EVENT_TYPES_PATH}{event_type}/")
}

/// The body of the request that creates an event type. Customers see the description; whoever knows
/// a better one than the name may write it in Svix, where the relay never changes it.
pub fn event_type_body(event_type: &str) -> Vec<u8> {
    format!(r#"{{"name":"{event_type}","description":"{event_type}"}}"#).into_bytes()
}

/// What was asked of Svix, as far as its reply can only be understood with it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The eventId that was sent.
    pub event_id: &'a str,
    /// Whether Svix may create the project's application.
    pub create_application: bool,
    /// The token, which must not be passed on should the reply repeat it.
    pub token: &'a str,
}

/// A reply of Svix, read in full.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The `Retry-After` header, as it came.
    pub retry_after: Option<String>,
    /// The body, or `None` if it could not be read to its end or was too large.
    pub body: Option<Vec<u8>>,
}

/// Why a request got no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No reply within the time an attempt may take. Svix may have stored the message.
    Timeout,
    /// The connection failed, in the host's words. Svix may have stored the message.
    Connection(String),
    /// The request never got as far as Svix, in the host's words.
    Unreachable(String),
}

/// What an attempt or a lookup means for the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Svix holds the message, under this id.
    Stored(String),
    /// A conflict (409): the event may be stored already, or not. Only a lookup can tell.
    Conflict,
    /// A lookup found no message: the event is not stored in this application.
    Absent,
    /// Another try may succeed.
    Retry(Trouble),
    /// Svix will never take this event.
    Refused(Refusal),
    /// No event can be delivered until an operator acts.
    Misconfigured(Misconfiguration),
}

impl Verdict {
    /// Its name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stored(_) => "stored",
            Self::Conflict => "conflict",
            Self::Absent => "absent",
            Self::Retry(_) => "retry",
            Self::Refused(_) => "refused",
            Self::Misconfigured(_) => "misconfigured",
        }
    }
}

/// Why Svix has not done what it was asked for, whatever that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setback {
    /// Another try may succeed.
    Retry(Trouble),
    /// Svix will never do it.
    Refused(Refusal),
    /// Nothing of the kind can be done until an operator acts.
    Misconfigured(Misconfiguration),
}

impl From<Setback> for Verdict {
    fn from(setback: Setback) -> Self {
        match setback {
            Setback::Retry(trouble) => Self::Retry(trouble),
            Setback::Refused(refusal) => Self::Refused(refusal),
            Setback::Misconfigured(what) => Self::Misconfigured(what),
        }
    }
}

/// A failure that may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What went wrong.
    pub cause: Cause,
    /// How long Svix asks to wait.
    pub retry_after: Option<Duration>,
}

/// What may pass by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Svix limits the rate (429).
    RateLimited,
    /// Svix failed, with this status.
    Status(u16),
    /// Svix accepted, but its reply is cut off or not what its API promises.
    UnreadableReply,
    /// Svix was not asked: the gate is closed.
    Gate(Reason),
    /// Too little of the budget was left.
    OutOfTime,
    /// No reply came.
    NoReply(Failure),
}

impl Cause {
    /// Whether Svix may have stored the message all the same.
    pub fn leaves_unknown(&self) -> bool {
        match self {
            Self::Status(_) | Self::UnreadableReply => true,
            Self::NoReply(failure) => matches!(failure, Failure::Timeout | Failure::Connection(_)),
            Self::RateLimited | Self::Gate(_) | Self::OutOfTime => false,
        }
    }

    /// Why the gate should close for this, if Svix is at fault.
    pub fn gate_reason(&self) -> Option<Reason> {
        match self {
            Self::RateLimited => Some(Reason::RateLimited),
            Self::Status(_) | Self::UnreadableReply | Self::NoReply(_) => {
                Some(Reason::SvixUnavailable)
            }
            Self::Gate(_) | Self::OutOfTime => None,
        }
    }
}

/// A refusal of one event for good, in Svix's own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Svix's status: 400, 413 or 422.
    pub status: u16,
    /// Svix's `code`, if it gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Svix's `detail`, shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What only an operator can mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misconfiguration {
    /// Svix refuses the token (401, 403).
    TokenRefused,
    /// Svix has no application for the project (404) and the relay may not create one.
    ApplicationMissing,
    /// The host doesn't let the relay reach Svix.
    OutboundDenied,
    /// An answer that Svix's API never gives: most likely not Svix at this URL.
    UnexpectedStatus(u16),
}

/// What the outcome of a request that creates a message means.
pub fn classify_create(
    result: Result<Reply, Failure>,
    asked: &Asked<'_>,
    now: SystemTime,
) -> Verdict {
    match answered(result, now) {
        Ok(reply) => match (reply.status, message_id(&reply, asked)) {
            (200..=299, Some(id)) => Verdict::Stored(id),
            (200..=299, None) => retry(Cause::UnreadableReply, None).into(),
            (409, _) => Verdict::Conflict,
            (400 | 413 | 422, _) => Verdict::Refused(refusal(&reply, asked.token)),
            (404, _) if !asked.create_application => {
                Verdict::Misconfigured(Misconfiguration::ApplicationMissing)
            }
            (status, _) => Verdict::Misconfigured(Misconfiguration::UnexpectedStatus(status)),
        },
        Err(setback) => setback.into(),
    }
}

/// What the outcome of a request that asks for an event's message means.
pub fn classify_lookup(
    result: Result<Reply, Failure>,
    asked: &Asked<'_>,
    now: SystemTime,
) -> Verdict {
    match answered(result, now) {
        Ok(reply) => match (reply.status, message_id(&reply, asked)) {
            (200, Some(id)) => Verdict::Stored(id),
            (200, None) => retry(Cause::UnreadableReply, None).into(),
            (404, _) => Verdict::Absent,
            (status, _) => Verdict::Misconfigured(Misconfiguration::UnexpectedStatus(status)),
        },
        Err(setback) => setback.into(),
    }
}

/// The link to a project's portal, or `None` if Svix has no application for the project.
pub fn classify_portal(
    result: Result<Reply, Failure>,
    token: &str,
    now: SystemTime,
) -> Result<Option<String>, Setback> {
    let reply = answered(result, now)?;
    match reply.status {
        200..=299 => match link(&reply) {
            Some(link) => Ok(Some(link)),
            None => Err(retry(Cause::UnreadableReply, None)),
        },
        404 => Ok(None),
        _ => Err(refused_or_unexpected(&reply, token)),
    }
}

/// Whether Svix now has the application or the event type that it was to create.
pub fn classify_created(
    result: Result<Reply, Failure>,
    token: &str,
    now: SystemTime,
) -> Result<(), Setback> {
    let reply = answered(result, now)?;
    match reply.status {
        // A conflict: somebody else has just created it.
        200 | 201 | 409 => Ok(()),
        _ => Err(refused_or_unexpected(&reply, token)),
    }
}

/// Whether Svix has the event type that it was asked for. An archived one is there, too: whoever
/// archived it doesn't want to see it.
pub fn classify_event_type(
    result: Result<Reply, Failure>,
    token: &str,
    now: SystemTime,
) -> Result<bool, Setback> {
    let reply = answered(result, now)?;
    match reply.status {
        200 => Ok(true),
        404 => Ok(false),
        _ => Err(refused_or_unexpected(&reply, token)),
    }
}

fn refused_or_unexpected(reply: &Reply, token: &str) -> Setback {
    match reply.status {
        400 | 413 | 422 => Setback::Refused(refusal(reply, token)),
        status => Setback::Misconfigured(Misconfiguration::UnexpectedStatus(status)),
    }
}

/// The link in a reply: only if a browser would take it to the web.
fn link(reply: &Reply) -> Option<String> {
    let [url] = fields(reply, ["url"])?;
    let url = json::string(url?)?;
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))?;
    let host = rest.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[');
    (host && url.bytes().all(|byte| byte.is_ascii_graphic())).then(|| url.into_owned())
}

/// What is the same for every request: the setback, unless the reply's meaning depends on it.
fn answered(result: Result<Reply, Failure>, now: SystemTime) -> Result<Reply, Setback> {
    let reply = result.map_err(|failure| retry(Cause::NoReply(failure), None))?;
    let cause = match reply.status {
        401 | 403 => return Err(Setback::Misconfigured(Misconfiguration::TokenRefused)),
        429 => Cause::RateLimited,
        408 | 425 | 500..=599 => Cause::Status(reply.status),
        _ => return Ok(reply),
    };
    let retry_after = reply.retry_after.as_deref();
    let wait = retry_after.and_then(|value| retry::parse_retry_after(value, now));
    Err(retry(cause, wait))
}

fn retry(cause: Cause, retry_after: Option<Duration>) -> Setback {
    Setback::Retry(Trouble { cause, retry_after })
}

fn fields<'a, const N: usize>(
    reply: &'a Reply,
    names: [&'static str; N],
) -> Option<[Option<&'a RawValue>; N]> {
    let text = str::from_utf8(reply.body.as_deref()?).ok()?;
    json::pick(text, names).ok()
}

/// The id of the message in a reply: only if it is one of Svix's, and of the event that was asked
/// about. Another server's friendly answer must not be taken for a delivery.
fn message_id(reply: &Reply, asked: &Asked<'_>) -> Option<String> {
    let [id, event_id] = fields(reply, ["id", "eventId"])?;
    let id = json::string(id?)?;
    let ours = event_id.is_none_or(|raw| json::string(raw).as_deref() == Some(asked.event_id));
    (ours && id.starts_with("msg_") && event::identifier(&id).is_ok()).then(|| id.into_owned())
}

fn refusal(reply: &Reply, token: &str) -> Refusal {
    let [code, detail] = fields(reply, ["code", "detail"]).unwrap_or_default();
    let shown = |raw: &RawValue| {
        // Written anew, a list has no escapes behind which the token could hide.
        let anew = || {
            serde_json::from_str(raw.get())
                .unwrap_or(Value::Null)
                .to_string()
        };
        let text = json::string(raw).map_or_else(anew, Cow::into_owned);
        let text = text.replace(token, "[redacted]");
        text[..text.floor_char_boundary(MAX_DETAIL)].to_owned()
    };
    Refusal {
        status: reply.status,
        code: code.map(shown),
        detail: detail.map(shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    #[expect(clippy::unnecessary_wraps, reason = "stands beside failures")]
    fn reply(status: u16, body: &str) -> Result<Reply, Failure> {
        Ok(Reply {
            status,
            retry_after: None,
            body: Some(body.as_bytes().to_vec()),
        })
    }

    const ASKED: Asked<'_> = Asked {
        event_id: "evt_1",
        create_application: false,
        token: "testsk_secret",
    };

    fn create(result: Result<Reply, Failure>) -> Verdict {
        classify_create(result, &ASKED, NOW)
    }

    fn cause(verdict: Verdict) -> Cause {
        match verdict {
            Verdict::Retry(trouble) => trouble.cause,
            other => panic!("not retryable: {other:?}"),
        }
    }

    #[test]
    fn an_acceptable_id_is_the_event_id() {
        let longest = "x".repeat(256);
        for id in [
            "evt_0SNlurA049MEWV5gNTcQ5A07h3Ol",
            "a",
            "A-Z_0.9",
            "...",
            &longest,
        ] {
            assert_eq!(event_id(id), id);
        }
    }

    #[test]
    fn an_id_that_svix_refuses_is_mapped() {
        let too_long = "x".repeat(257);
        for id in [
            "",
            "msg_1",
            "with space",
            "\u{fc}",
            "a/b",
            ".",
            "..",
            "sha256.a",
            &too_long,
        ] {
            let mapped = event_id(id);
            assert_ne!(mapped, id);
            assert!(event::identifier(&mapped).is_ok(), "{mapped}");
        }
        // Pinned: a change would make every mapped event new to Svix.
        assert_eq!(
            event_id("msg_1"),
            "sha256.116b88f173007be5e05df2a87105f0950bef284d0ceca39951e9bae80706ac45"
        );
    }

    #[test]
    fn the_key_depends_on_project_and_id_alone() {
        assert_eq!(
            key("dev", "evt_1"),
            "193e465eef8b7ffec290ebb03ed5391f528a1474ee89d4089e611e77e4ee7e50"
        );
        assert_ne!(key("dev", "evt_1"), key("dev", "evt_2"));
        assert_ne!(key("dev", "evt_1"), key("gigs", "evt_1"));
        assert_ne!(key("a", "bc"), key("ab", "c"));
    }

    #[test]
    fn svix_is_asked_first_once_it_may_have_forgotten() {
        let hours = |hours| NOW + Duration::from_hours(hours);
        assert!(!may_have_forgotten(Some(hours(1)), hours(12)));
        assert!(may_have_forgotten(Some(hours(1)), hours(13)));
        assert!(
            !may_have_forgotten(Some(hours(99)), hours(13)),
            "clocks differ"
        );
        assert!(may_have_forgotten(None, hours(13)));
    }

    #[test]
    fn only_what_reached_svix_leaves_open_whether_it_is_stored() {
        let connection = Failure::Connection("reset".to_owned());
        let unreachable = Failure::Unreachable("refused".to_owned());
        for (cause, unknown) in [
            (Cause::Status(500), true),
            (Cause::UnreadableReply, true),
            (Cause::NoReply(Failure::Timeout), true),
            (Cause::NoReply(connection), true),
            (Cause::NoReply(unreachable), false),
            (Cause::RateLimited, false),
            (Cause::Gate(Reason::RateLimited), false),
        ] {
            assert_eq!(cause.leaves_unknown(), unknown, "{cause:?}");
        }
    }

    #[test]
    fn the_message_holds_the_event_byte_for_byte() {
        let json = r#"{ "id":"evt_1", "type":"user.created","project":"dev","data":{"n":10.0} }"#;
        let event = Event {
            id: "evt_1".into(),
            event_type: "user.created".into(),
            project: "dev".into(),
            time: None,
            json,
        };
        assert_eq!(
            String::from_utf8(message_body(&event, true)).expect("text"),
            format!(
                r#"{{"eventType":"user.created","eventId":"evt_1","application":{{"uid":"dev","name":"dev"}},"payload":{json}}}"#
            )
        );
        assert_eq!(
            String::from_utf8(message_body(&event, false)).expect("text"),
            format!(r#"{{"eventType":"user.created","eventId":"evt_1","payload":{json}}}"#)
        );
    }

    #[test]
    fn a_success_that_names_the_message_is_stored() {
        for status in [200, 201, 202] {
            assert_eq!(
                create(reply(status, r#"{"id":"msg_1","eventId":"evt_1"}"#)),
                Verdict::Stored("msg_1".to_owned())
            );
        }
    }

    #[test]
    fn a_success_that_can_not_be_read_is_tried_again() {
        let cut = Ok(Reply {
            status: 202,
            retry_after: None,
            body: None,
        });
        for result in [
            cut,
            reply(202, ""),
            reply(202, "<html>"),
            reply(202, "{}"),
            reply(202, r#"{"id":7}"#),
            reply(202, r#"{"id":""}"#),
            reply(202, r#"{"id":"msg_a b"}"#),
            reply(200, r#"{"id":"somebody else's"}"#),
            reply(202, r#"{"id":"msg_1","eventId":"evt_2"}"#),
            reply(202, r#"{"id":"msg_1","eventId":null}"#),
        ] {
            assert_eq!(cause(create(result)), Cause::UnreadableReply);
        }
    }

    #[test]
    fn failures_of_svix_are_tried_again() {
        for status in [408, 425, 500, 502, 503, 504, 599] {
            assert_eq!(cause(create(reply(status, ""))), Cause::Status(status));
        }
        assert_eq!(cause(create(reply(429, ""))), Cause::RateLimited);
        for failure in [Failure::Timeout, Failure::Connection("reset".to_owned())] {
            assert_eq!(cause(create(Err(failure.clone()))), Cause::NoReply(failure));
        }
    }

    #[test]
    fn retry_after_delays_only_what_is_retryable() {
        let with_retry_after = |status| {
            Ok(Reply {
                status,
                retry_after: Some("7".to_owned()),
                body: None,
            })
        };
        for status in [429, 503] {
            let Verdict::Retry(trouble) = create(with_retry_after(status)) else {
                panic!("{status} is retryable");
            };
            assert_eq!(trouble.retry_after, Some(Duration::from_secs(7)));
        }
        assert!(matches!(create(with_retry_after(422)), Verdict::Refused(_)));
    }

    #[test]
    fn faults_of_the_event_are_final_and_carry_the_reason() {
        let body = r#"{"code":"validation_error","detail":"Payload must be an object."}"#;
        assert_eq!(
            create(reply(422, body)),
            Verdict::Refused(Refusal {
                status: 422,
                code: Some("validation_error".to_owned()),
                detail: Some("Payload must be an object.".to_owned()),
            })
        );
        let listed = r#"{"detail":[{"loc":["body"],"msg":"no","type":"t"}]}"#;
        let Verdict::Refused(refusal) = create(reply(400, listed)) else {
            panic!("400 is final");
        };
        assert_eq!(
            refusal.detail.as_deref(),
            Some(r#"[{"loc":["body"],"msg":"no","type":"t"}]"#)
        );
        assert!(matches!(
            create(reply(413, "not json")),
            Verdict::Refused(_)
        ));
    }

    #[test]
    fn a_refusal_never_repeats_the_token_and_is_short() {
        let body = format!(
            r#"{{"detail":"Bearer testsk_secret {}"}}"#,
            "\u{e4}".repeat(2_000)
        );
        let Verdict::Refused(refusal) = create(reply(400, &body)) else {
            panic!("400 is final");
        };
        let detail = refusal.detail.expect("there");
        assert!(detail.starts_with("Bearer [redacted] "), "{detail}");
        assert!(detail.len() <= MAX_DETAIL);

        let escaped = r#"{"detail":[{"input":"\u0074estsk_secret"}]}"#;
        let Verdict::Refused(refusal) = create(reply(400, escaped)) else {
            panic!("400 is final");
        };
        assert_eq!(
            refusal.detail.as_deref(),
            Some(r#"[{"input":"[redacted]"}]"#)
        );
    }

    #[test]
    fn faults_of_the_configuration_are_kept_apart_from_the_event() {
        use Misconfiguration::{ApplicationMissing, TokenRefused, UnexpectedStatus};
        for (result, expected) in [
            (reply(401, ""), TokenRefused),
            (reply(403, ""), TokenRefused),
            (reply(404, ""), ApplicationMissing),
            (reply(301, ""), UnexpectedStatus(301)),
            (reply(405, ""), UnexpectedStatus(405)),
        ] {
            assert_eq!(create(result), Verdict::Misconfigured(expected));
        }
        let creating = Asked {
            create_application: true,
            ..ASKED
        };
        assert_eq!(
            classify_create(reply(404, ""), &creating, NOW),
            Verdict::Misconfigured(UnexpectedStatus(404))
        );
    }

    #[test]
    fn only_a_lookup_tells_stored_from_absent() {
        assert_eq!(create(reply(409, "")), Verdict::Conflict);
        let lookup = |result| classify_lookup(result, &ASKED, NOW);
        assert_eq!(
            lookup(reply(200, r#"{"id":"msg_1"}"#)),
            Verdict::Stored("msg_1".to_owned())
        );
        assert_eq!(lookup(reply(404, "")), Verdict::Absent);
        assert_eq!(cause(lookup(reply(200, "{}"))), Cause::UnreadableReply);
        assert_eq!(cause(lookup(reply(500, ""))), Cause::Status(500));
        assert_eq!(
            lookup(reply(401, "")),
            Verdict::Misconfigured(Misconfiguration::TokenRefused)
        );
    }

    const TOKEN: &str = ASKED.token;

    #[test]
    fn what_is_asked_for_customers_is_what_the_api_wants() {
        let text = |body: Vec<u8>| String::from_utf8(body).expect("text");
        assert_eq!(portal_path("dev"), "/api/v1/auth/app-portal-access/dev/");
        assert_eq!(text(portal_body(3_600)), r#"{"expiry":3600}"#);
        assert_eq!(
            text(application_body("dev")),
            r#"{"uid":"dev","name":"dev"}"#
        );
        assert_eq!(
            event_type_path("user.created"),
            "/api/v1/event-type/user.created/"
        );
        assert_eq!(
            text(event_type_body("user.created")),
            r#"{"name":"user.created","description":"user.created"}"#
        );
    }

    #[test]
    fn a_link_is_passed_on_only_if_it_leads_to_the_web() {
        let portal = |body: &str| classify_portal(reply(200, body), TOKEN, NOW);
        for url in [
            "https://app.svix.com/login#key=eyJhIjoiLysifQ==",
            "http://127.0.0.1:9071/login",
        ] {
            let body = format!(r#"{{"url":"{url}","token":"appsk_secret"}}"#);
            assert_eq!(portal(&body), Ok(Some(url.to_owned())));
        }
        for body in [
            "",
            "{}",
            r#"{"url":7}"#,
            r#"{"url":""}"#,
            r#"{"url":"/login"}"#,
            r#"{"url":"app.svix.com"}"#,
            r#"{"url":"javascript:alert(1)"}"#,
            r#"{"url":"https:///login"}"#,
            r#"{"url":"https://app.svix.com/ a"}"#,
            r#"{"url":"https://app.svix.com/#\n"}"#,
        ] {
            let unreadable = Err(retry(Cause::UnreadableReply, None));
            assert_eq!(portal(body), unreadable, "{body}");
        }
    }

    #[test]
    fn what_is_not_there_is_told_from_what_failed() {
        use Misconfiguration::{TokenRefused, UnexpectedStatus};
        let missing = reply(404, r#"{"code":"not_found"}"#);
        assert_eq!(classify_portal(missing.clone(), TOKEN, NOW), Ok(None));
        assert_eq!(classify_event_type(missing.clone(), TOKEN, NOW), Ok(false));
        assert_eq!(classify_event_type(reply(200, ""), TOKEN, NOW), Ok(true));
        let unexpected = Err(Setback::Misconfigured(UnexpectedStatus(404)));
        assert_eq!(classify_created(missing.clone(), TOKEN, NOW), unexpected);
        assert_eq!(classify_created(missing, TOKEN, NOW), unexpected);

        let all = |result: &Result<Reply, Failure>| {
            [
                classify_portal(result.clone(), TOKEN, NOW).map(drop),
                classify_created(result.clone(), TOKEN, NOW),
                classify_event_type(result.clone(), TOKEN, NOW).map(drop),
                classify_created(result.clone(), TOKEN, NOW),
            ]
        };
        for (result, expected) in [
            (reply(401, ""), Setback::Misconfigured(TokenRefused)),
            (reply(403, ""), Setback::Misconfigured(TokenRefused)),
            (
                reply(302, ""),
                Setback::Misconfigured(UnexpectedStatus(302)),
            ),
            (reply(429, ""), retry(Cause::RateLimited, None)),
            (reply(500, ""), retry(Cause::Status(500), None)),
            (
                Err(Failure::Timeout),
                retry(Cause::NoReply(Failure::Timeout), None),
            ),
        ] {
            for setback in all(&result) {
                assert_eq!(setback, Err(expected.clone()));
            }
        }
        for setback in all(&reply(422, r#"{"detail":"no testsk_secret"}"#)) {
            let Err(Setback::Refused(refusal)) = setback else {
                panic!("422 is final");
            };
            assert_eq!(refusal.detail.as_deref(), Some("no [redacted]"));
        }
    }

    #[test]
    fn what_is_there_already_needs_no_creating() {
        for status in [200, 201, 409] {
            assert_eq!(classify_created(reply(status, ""), TOKEN, NOW), Ok(()));
        }
        for status in [201, 409] {
            let result = classify_created(reply(status, ""), TOKEN, NOW);
            assert_eq!(result, Ok(()));
        }
    }

    proptest! {
        #[test]
        fn every_id_maps_to_one_that_svix_accepts(id in "\\PC*") {
            let mapped = event_id(&id);
            prop_assert!(!mapped.is_empty());
            prop_assert!(event::identifier(&mapped).is_ok());
            prop_assert!(!mapped.starts_with("msg_"));
            prop_assert!(!event::is_dot_segment(&mapped));
            prop_assert_eq!(&mapped, &event_id(&id), "stable");
        }

        #[test]
        fn different_ids_never_meet(a in "(msg_|sha256[.])?[a-c ./]{0,4}", b in "(msg_|sha256[.])?[a-c ./]{0,4}") {
            prop_assert_eq!(a == b, event_id(&a) == event_id(&b));
        }

        #[test]
        fn a_mapped_id_is_not_its_own_preimage(id in "\\PC{0,20}") {
            let mapped = event_id(&id);
            if mapped != id.as_str() {
                prop_assert_ne!(event_id(&mapped), mapped.as_ref());
            }
        }

        #[test]
        fn classifying_never_panics(
            status in 100u16..=999,
            retry_after in proptest::option::of(".{0,20}"),
            body in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..80)),
        ) {
            let reply = Reply { status, retry_after, body };
            let _ = create(Ok(reply.clone()));
            let _ = classify_lookup(Ok(reply.clone()), &ASKED, NOW);
            let _ = classify_portal(Ok(reply), TOKEN, NOW);
        }
    }
}
