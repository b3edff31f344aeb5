//! Operators' requests for a customer: a link to the customer's portal in Svix, and a test event. A test
//! event lets a new customer see a webhook arrive before anything has happened.

use std::ops::RangeInclusive;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::value::RawValue;

use super::conversation::Conversation;
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::config::Config;
use crate::delivery::Occasion;
use crate::event;
use crate::event::arrival::{ArrivalHeaders, is_json_media_type};
use crate::event::notification::{Notification, Rejection};
use crate::host;
use crate::host::clock::{self, Stopwatch};
use crate::host::http::{Headers, Incoming};
use crate::intake;
use crate::json;
use crate::svix::{self, Cause, event_type, portal};
use crate::time::rfc3339;
use crate::violation::Violation;
use crate::watch::entry::Entry;

/// The largest body of such a request, in bytes.
const MAX_BODY: usize = 4 * 1024;

/// For how long Svix lets a link to a portal live, in seconds.
const SHORTEST_EXPIRY: u64 = 3_600;
const LONGEST_EXPIRY: u64 = 7 * 24 * 3_600;

/// The beginning of the types that only samples have.
pub const SAMPLES: &str = "svix-relay.";

/// The type of a sample event, unless another one is asked for.
const TEST_TYPE: &str = "svix-relay.test";

/// Reads the body of such a request. An empty body needs no media type.
pub async fn read_body(
    config: &Config,
    incoming: &mut Incoming,
    headers: &Headers,
    stopwatch: Stopwatch,
) -> Result<Vec<u8>, Problem> {
    let body = intake::body::read_small(config, incoming, MAX_BODY, stopwatch).await?;
    let content_type = headers.get("content-type");
    let is_json = content_type.is_none_or(|content_type| is_json_media_type(&content_type));
    if is_json || body.is_empty() {
        Ok(body)
    } else {
        Err(Problem::UnsupportedMediaType)
    }
}

/// A link to a project's portal in Svix.
pub async fn portal(
    config: &Config,
    project: &str,
    body: &[u8],
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    entry.project(project);
    let expiry = portal_request(project, body)?;
    let url = link(config, project, expiry, stopwatch).await?;
    Ok(Success::document("portal", &Portal { url: &url }))
}

/// Sends a sample event to a project, the way every other event goes.
pub async fn test_event(
    config: &Config,
    project: &str,
    body: &[u8],
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    entry.project(project);
    let event_type = test_event_request(project, body)?;
    send_sample(config, project, &event_type, stopwatch, entry).await
}

/// Delivers a sample event of this type.
pub async fn send_sample(
    config: &Config,
    project: &str,
    event_type: &str,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let event = sample(project, event_type, host::random().u64(..), clock::now());
    let notification = Notification::read(event.as_bytes(), ArrivalHeaders::default());
    entry.arrival(&notification.arrival);
    intake::deliver_event(config, &notification, Occasion::Post, stopwatch, entry).await
}

/// The link is a secret; the token that Svix gives beside it is never passed on.
#[derive(Serialize)]
struct Portal<'a> {
    url: &'a str,
}

async fn link(
    config: &Config,
    project: &str,
    expiry: u64,
    stopwatch: Stopwatch,
) -> Result<String, Problem> {
    let mut conversation = Conversation::new(config, stopwatch);
    let token = config.svix.token.expose();
    let path = portal::path(project);
    // A second link does no harm: no customer gets to see the first.
    let answer = conversation.post(&path, portal::body(expiry)).await?;
    if let Some(url) = portal::classify(&answer, token)? {
        return Ok(url);
    }
    if config.svix.create_applications {
        let body = portal::application_body(project);
        let answer = conversation.post(portal::APPLICATION_PATH, body).await?;
        match event_type::classify_create(&answer, token) {
            // If the answer can't be read, the next request shows whether the application is there.
            Ok(())
            | Err(svix::Error::Unavailable {
                cause: Cause::UnreadableAnswer,
                ..
            }) => {}
            Err(error) => return Err(error.into()),
        }
        let answer = conversation.post(&path, portal::body(expiry)).await?;
        if let Some(url) = portal::classify(&answer, token)? {
            return Ok(url);
        }
    }
    Err(Problem::NoApplication)
}

/// For how many seconds the link to a portal is to live.
fn portal_request(project: &str, body: &[u8]) -> Result<u64, Problem> {
    let field = only_field(body, "expiry")?;
    let expiry = field.map_or(Ok(SHORTEST_EXPIRY), |raw| {
        whole_number(raw, SHORTEST_EXPIRY..=LONGEST_EXPIRY)
    });
    checked(project, "expiry", expiry)
}

pub fn whole_number(raw: &RawValue, range: RangeInclusive<u64>) -> Result<u64, String> {
    let text = raw.get();
    // To JSON, 3600.0 is a whole number, too.
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|digit| digit == b'0') => whole,
        _ => text,
    };
    let number = whole.parse().ok();
    number
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let (least, most) = range.into_inner();
            format!("must be a whole number from {least} to {most}")
        })
}

/// The type of the sample that is to be sent.
fn test_event_request(project: &str, body: &[u8]) -> Result<String, Problem> {
    let field = only_field(body, "type")?;
    let event_type = field.map_or_else(
        || Ok(TEST_TYPE.to_owned()),
        |raw| match json::string(raw) {
            None => Err("must be a string".to_owned()),
            Some(text) if text.is_empty() => Err("must not be empty".to_owned()),
            Some(text) => event::identifier(&text).map(|()| text.into_owned()),
        },
    );
    checked(project, "type", event_type)
}

/// The value of a field, if the project is valid, too. Fails with every violation there is.
pub fn checked<T>(
    project: &str,
    field: &'static str,
    value: Result<T, String>,
) -> Result<T, Problem> {
    match (event::application_uid(project), value) {
        (Ok(()), Ok(value)) => Ok(value),
        (project, value) => {
            let project = project.map_err(|reason| Violation::new("project", reason));
            let value = value.map_err(|reason| Violation::new(field, reason));
            let violations = [project.err(), value.err()];
            let violations = violations.into_iter().flatten().collect();
            Err(Problem::InvalidRequest(violations))
        }
    }
}

/// The one field that the body of a request may have, if it is there.
pub fn only_field<'a>(body: &'a [u8], name: &'static str) -> Result<Option<&'a RawValue>, Problem> {
    let invalid = |reason: String| Problem::InvalidRequest(vec![Violation::new("body", reason)]);
    if body.is_empty() {
        return Ok(None);
    }
    let text = str::from_utf8(body)
        .map_err(|_| Problem::Rejected(Rejection::NotJson("not UTF-8".to_owned())))?;
    match json::pick_all(text, [name]) {
        Ok(Some([field])) => Ok(field),
        Ok(None) => Err(invalid(format!("may hold only {name}"))),
        Err(json::Error::NotAnObject) => Err(invalid("must be a JSON object".to_owned())),
        Err(json::Error::NotJson(reason)) => Err(Problem::Rejected(Rejection::NotJson(reason))),
    }
}

/// A sample event of the platform's shape, which says that it is a test. Customers' parsers may look
/// at the API version, so it is one of the platform's.
fn sample(project: &str, event_type: &str, number: u64, now: SystemTime) -> String {
    let time = rfc3339(now);
    // Type and project are plain identifiers: nothing in them needs escaping.
    format!(
        concat!(
            r#"{{"object":"event","id":"evt_test_{number:016x}","type":"{event_type}","#,
            r#""project":"{project}","source":"urn:svix-relay:test","specversion":"1.0","#,
            r#""datacontenttype":"application/json","time":"{time}","version":"2023-01-30","#,
            r#""data":{{"object":"test","id":"test_{number:016x}","#,
            r#""message":"This is a test. Nothing has happened."}}}}"#,
        ),
        number = number,
        event_type = event_type,
        project = project,
        time = time,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    fn violations<T: std::fmt::Debug>(result: Result<T, Problem>) -> Vec<(&'static str, String)> {
        let Err(Problem::InvalidRequest(violations)) = result else {
            panic!("not invalid: {result:?}");
        };
        let told = violations.into_iter();
        told.map(|violation| (violation.field, violation.reason))
            .collect()
    }

    #[test]
    fn an_empty_body_has_defaults() {
        for body in ["", "{}", " {\n} "] {
            assert_eq!(portal_request("dev", body.as_bytes()), Ok(3_600));
            let event_type = test_event_request("dev", body.as_bytes());
            assert_eq!(event_type.as_deref(), Ok("svix-relay.test"));
        }
    }

    #[test]
    fn takes_any_expiry_and_type_that_svix_allows() {
        for expiry in [3_600, 604_800] {
            let body = format!(r#"{{"expiry": {expiry}}}"#);
            assert_eq!(portal_request("dev", body.as_bytes()), Ok(expiry));
        }
        assert_eq!(portal_request("dev", br#"{"expiry":3600.0}"#), Ok(3_600));
        for expiry in ["3599", "604801", "-1", "3600.5", "4e3", "\"3600\"", "null"] {
            let body = format!(r#"{{"expiry":{expiry}}}"#);
            let reason = "must be a whole number from 3600 to 604800".to_owned();
            assert_eq!(
                violations(portal_request("dev", body.as_bytes())),
                [("expiry", reason)],
                "{expiry}"
            );
        }
        let event_type = test_event_request("dev", br#"{"type":"user\u002ecreated"}"#);
        assert_eq!(event_type.as_deref(), Ok("user.created"));
        for (event_type, reason) in [
            ("7", "must be a string"),
            ("null", "must be a string"),
            (r#""""#, "must not be empty"),
            (
                r#""user created""#,
                "may hold only letters, digits, '-', '_' and '.'",
            ),
        ] {
            let body = format!(r#"{{"type":{event_type}}}"#);
            assert_eq!(
                violations(test_event_request("dev", body.as_bytes())),
                [("type", reason.to_owned())]
            );
        }
    }

    #[test]
    fn reports_all_violations_of_a_request_at_once() {
        let told = violations(portal_request("app_1", br#"{"expiry":1}"#));
        let fields: Vec<_> = told.into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["project", "expiry"]);
        let told = violations(test_event_request("a b", br#"{"type":""}"#));
        let fields: Vec<_> = told.into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["project", "type"]);
    }

    #[test]
    fn a_body_is_an_object_without_anything_else() {
        for (body, reason) in [
            ("[]", "must be a JSON object"),
            ("3600", "must be a JSON object"),
            (r#"{"expires":3600}"#, "may hold only expiry"),
            (r#"{"expiry":3600,"readOnly":true}"#, "may hold only expiry"),
        ] {
            assert_eq!(
                violations(portal_request("dev", body.as_bytes())),
                [("body", reason.to_owned())]
            );
        }
        for body in [&b"{"[..], b" ", b"expiry=3600", b"{\"expiry\":\xff}"] {
            let problem = portal_request("dev", body).expect_err("not JSON");
            assert_eq!(problem.row().name, "not-json", "{body:?}");
        }
    }

    #[test]
    fn a_sample_is_a_valid_event_that_calls_itself_a_test() {
        let json = sample("dev", "user.created", 7, SystemTime::UNIX_EPOCH);
        let fields = json::pick(&json, Event::FIELDS).expect("an object");
        let event = Event::from_fields(&json, fields).expect("valid");
        assert_eq!(event.project, "dev");
        assert_eq!(event.event_type, "user.created");
        assert_eq!(event.time, Some(SystemTime::UNIX_EPOCH));
        assert_eq!(
            json,
            concat!(
                r#"{"object":"event","id":"evt_test_0000000000000007","type":"user.created","#,
                r#""project":"dev","source":"urn:svix-relay:test","specversion":"1.0","#,
                r#""datacontenttype":"application/json","time":"1970-01-01T00:00:00Z","#,
                r#""version":"2023-01-30","data":{"object":"test","id":"test_0000000000000007","#,
                r#""message":"This is a test. Nothing has happened."}}"#,
            )
        );
    }
}
