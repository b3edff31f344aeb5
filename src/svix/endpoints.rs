//! The way of a message from Svix to the customer's endpoints.
//!
//! Svix names an endpoint at a message only once it has tried to reach it, so the application's endpoints
//! are listed, too.

use std::borrow::Cow;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

use super::{Answer, Error};
use crate::json;
use crate::time::{parse_rfc3339, rfc3339};

/// The most of each list that is asked for.
pub const LIMIT: usize = 100;

/// An endpoint of a customer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    pub id: String,
    #[serde(serialize_with = "without_secrets")]
    pub url: String,
    #[serde(default)]
    pub disabled: bool,
    /// The event types that the endpoint takes. `None` for all.
    #[serde(default)]
    pub filter_types: Option<Vec<String>>,
    /// The same, under the name that newer versions of Svix use.
    #[serde(default, skip_serializing)]
    event_types: Option<Vec<String>>,
    /// The channels whose messages the endpoint takes. `None` for every message.
    #[serde(default)]
    pub channels: Option<Vec<String>>,
    /// The status of the last attempt with the message. `None` if there was none.
    #[serde(default)]
    pub status: Option<Status>,
    /// When Svix tries again, in RFC 3339. `None` if it doesn't.
    #[serde(default)]
    pub next_attempt: Option<String>,
    /// When it was last changed, or created, in RFC 3339.
    #[serde(default, skip_serializing)]
    updated_at: Option<String>,
    /// Whether only the message still names it.
    #[serde(skip_deserializing)]
    pub deleted: bool,
}

impl Endpoint {
    /// The event types that the endpoint takes, under either name. `None` for all.
    pub fn types(&self) -> Option<Vec<String>> {
        let types = self.event_types.as_ref().or(self.filter_types.as_ref());
        types.cloned()
    }

    /// Whether Svix was bound to send this endpoint a message of this type that it stored at this time. `false` if
    /// something may explain why it didn't: the endpoint is disabled, has channels, or may have changed since then.
    pub fn surely_takes(&self, event_type: &str, stored_at: &str) -> bool {
        let updated_at = self.updated_at.as_deref().and_then(parse_rfc3339);
        let is_unchanged =
            updated_at.is_some_and(|updated| Some(updated) < parse_rfc3339(stored_at));
        let takes_type = |types: Vec<String>| types.iter().any(|it| it == event_type);
        !self.disabled
            && self.channels.is_none()
            && is_unchanged
            && self.types().is_none_or(takes_type)
    }

    /// The endpoint in the list of a message that Svix hasn't tried to send there: without a status and a next try.
    pub fn untried(self) -> Self {
        Self { filter_types: self.types(), status: None, next_attempt: None, ..self }
    }
}

/// A try at one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    pub endpoint_id: String,
    /// In RFC 3339.
    pub timestamp: String,
    pub status: Status,
    /// The endpoint's HTTP status, or 0 if it gave none.
    #[serde(default)]
    pub response_status_code: i32,
    #[serde(default)]
    pub response_duration_ms: i64,
    pub trigger_type: Trigger,
}

/// Svix writes numbers; the relay writes words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "i64", rename_all = "lowercase")]
pub enum Status {
    Success,
    Pending,
    Fail,
    Sending,
    Canceled,
    /// A later Svix may know more.
    Unknown,
}

/// Why an attempt was made. Svix writes a number; the relay writes a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "i64", rename_all = "lowercase")]
pub enum Trigger {
    /// By Svix's schedule.
    Scheduled,
    /// A person or a program has asked for it.
    Manual,
    /// A later Svix may know more triggers.
    Unknown,
}

impl From<i64> for Status {
    fn from(number: i64) -> Self {
        match number {
            0 => Self::Success,
            1 => Self::Pending,
            2 => Self::Fail,
            3 => Self::Sending,
            4 => Self::Canceled,
            _ => Self::Unknown,
        }
    }
}

impl From<i64> for Trigger {
    fn from(number: i64) -> Self {
        match number {
            0 => Self::Scheduled,
            1 => Self::Manual,
            _ => Self::Unknown,
        }
    }
}

/// The scheme and the host of a URL, and whether it has a path. Customers put secrets everywhere else: a
/// chat's webhook, for example, is known by its path alone.
fn without_secrets<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = plain.split_once("://").unwrap_or(("", plain));
    // To many readers of URLs, a backslash is a slash.
    let (authority, path) = rest.split_at(rest.find(['/', '\\']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let path = if path.len() > 1 { "/…" } else { "" };
    serializer.collect_str(&format_args!("{scheme}://{host}{path}"))
}

/// The application's endpoints.
pub fn endpoints_path(project: &str) -> String {
    format!("/api/v1/app/{project}/endpoint/?limit={LIMIT}")
}

/// The endpoints that Svix has tried to reach with a message.
pub fn destinations_path(project: &str, message: &str) -> String {
    format!("/api/v1/app/{project}/msg/{message}/endpoint/?limit={LIMIT}")
}

pub fn attempts_path(project: &str, message: &str) -> String {
    format!("/api/v1/app/{project}/attempt/msg/{message}/?limit={LIMIT}&with_content=false")
}

pub fn endpoint_path(project: &str, endpoint: &str) -> String {
    format!("/api/v1/app/{project}/endpoint/{endpoint}/")
}

pub fn resend_path(project: &str, message: &str, endpoint: &str) -> String {
    format!("/api/v1/app/{project}/msg/{message}/endpoint/{endpoint}/resend/")
}

/// The first page of a list.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct FirstPage<T> {
    pub data: Vec<T>,
    /// Whether this is all.
    #[serde(default)]
    done: Option<bool>,
}

impl<T> FirstPage<T> {
    pub fn none() -> Self {
        Self { data: Vec::new(), done: Some(true) }
    }

    /// Whether there is more than this page.
    pub fn is_cut(&self) -> bool {
        !self.done.unwrap_or(self.data.len() < LIMIT)
    }
}

/// The first page of a list. `None` if Svix doesn't have what was asked about.
pub fn classify_list<T: DeserializeOwned>(answer: &Answer) -> Result<Option<FirstPage<T>>, Error> {
    answer.success_or_missing(|| answer.json())
}

/// The endpoint that was asked for. `None` if Svix doesn't have it.
pub fn classify_endpoint(answer: &Answer) -> Result<Option<Endpoint>, Error> {
    answer.success_or_missing(|| answer.json())
}

pub fn recover_path(project: &str, endpoint: &str) -> String {
    format!("/api/v1/app/{project}/endpoint/{endpoint}/recover/")
}

/// Only the hosted Svix has this path.
pub fn replay_missing_path(project: &str, endpoint: &str) -> String {
    format!("/api/v1/app/{project}/endpoint/{endpoint}/replay-missing/")
}

/// The body of a recovery, and of a replay of what is missing.
pub fn recovery_body(since: SystemTime, until: Option<SystemTime>) -> Vec<u8> {
    let quoted = |time| format!(r#""{}""#, rfc3339(time));
    let until = until.map(quoted);
    json::object(&[("since", Some(&quoted(since))), ("until", until.as_deref())])
}

/// Whether a message is sent again. `false` if Svix doesn't have it, or not the endpoint.
pub fn classify_resend(answer: &Answer) -> Result<bool, Error> {
    // Another server's friendly page is no resend: Svix answers with an object.
    let done = answer.success_or_missing(|| answer.fields(["id"]))?;
    Ok(done.is_some())
}

/// The id and the status of the task that Svix works on. `None` if Svix doesn't have the endpoint.
pub fn classify_recovery(answer: &Answer) -> Result<Option<[String; 2]>, Error> {
    answer.success_or_missing(|| {
        let [id, status] = answer.fields(["id", "status"])?;
        let text = |raw| json::string(raw?).map(Cow::into_owned);
        Some([text(id)?, text(status)?])
    })
}

#[cfg(test)]
mod tests {
    use super::super::Cause;
    use super::super::tests::{answer, error_body, refusal};
    use super::*;

    #[test]
    fn a_list_is_read_and_written_in_words() {
        let endpoint = r#"{"id":"ep_1","url":"https://user:hush@a.test/in?key=hush#x","disabled":false,"uid":null,"filterTypes":["a.b"],"channels":["c"],"status":2,"statusText":"fail","nextAttempt":"2026-11-23T14:12:47Z"}"#;
        let body = format!(r#"{{"data":[{endpoint}],"iterator":null,"done":true}}"#);
        let endpoints = classify_list::<Endpoint>(&answer(200, &body));
        let endpoints = endpoints.expect("readable").expect("there").data;
        assert_eq!(
            serde_json::to_string(&endpoints).expect("JSON"),
            concat!(
                r#"[{"id":"ep_1","url":"https://a.test/…","disabled":false,"#,
                r#""filterTypes":["a.b"],"channels":["c"],"status":"fail","nextAttempt":"2026-11-23T14:12:47Z","deleted":false}]"#,
            )
        );
        let attempt = r#"{"data":[{"id":"atmpt_1","endpointId":"ep_1","timestamp":"2026-11-23T14:12:42Z","status":0,"responseStatusCode":200,"responseDurationMs":35,"triggerType":1}]}"#;
        let attempts = classify_list::<Attempt>(&answer(200, attempt));
        let attempts = attempts.expect("readable").expect("there").data;
        assert_eq!(
            (attempts[0].status, attempts[0].trigger_type),
            (Status::Success, Trigger::Manual)
        );
    }

    #[test]
    fn a_url_shows_only_its_host_and_whether_it_has_a_path() {
        for (url, shown) in [
            ("https://a.test", "https://a.test"),
            ("https://a.test:8443/", "https://a.test:8443"),
            ("https://a.test?key=hush", "https://a.test"),
            ("https://a.test/#hush", "https://a.test"),
            ("https://hush@a.test/T0/B0/hush", "https://a.test/…"),
            ("https://a.test\\hush", "https://a.test/…"),
        ] {
            let serialized = without_secrets(url, serde_json::value::Serializer);
            assert_eq!(serialized.expect("text"), shown, "{url}");
        }
    }

    #[test]
    fn a_number_that_a_later_svix_may_write_hides_no_other_attempt() {
        let attempt = |status, trigger| {
            format!(
                r#"{{"endpointId":"ep_1","timestamp":"t","status":{status},"triggerType":{trigger}}}"#
            )
        };
        let body = format!(r#"{{"data":[{},{}]}}"#, attempt("5", "0"), attempt("0", "-70000"));
        let attempts = classify_list::<Attempt>(&answer(200, &body));
        let attempts = attempts.expect("readable").expect("there").data;
        let read: Vec<_> =
            attempts.iter().map(|attempt| (attempt.status, attempt.trigger_type)).collect();
        let expected = [(Status::Unknown, Trigger::Scheduled), (Status::Success, Trigger::Unknown)];
        assert_eq!(read, expected);
        let shown = serde_json::to_string(&attempts[0]).expect("JSON");
        assert!(shown.contains(r#""status":"unknown""#), "{shown}");
    }

    #[test]
    fn the_types_of_an_endpoint_are_read_under_either_name() {
        for (names, expected) in [
            (r#""eventTypes":["new"],"filterTypes":["old"]"#, Some("new")),
            (r#""eventTypes":["new"]"#, Some("new")),
            (r#""filterTypes":["old"],"eventTypes":null"#, Some("old")),
            (r#""eventTypes":null"#, None),
        ] {
            let body = format!(r#"{{"id":"ep_1","url":"https://a.test",{names}}}"#);
            let endpoint = classify_endpoint(&answer(200, &body));
            let types = endpoint.expect("readable").expect("there").types();
            let expected = expected.map(|name| vec![name.to_owned()]);
            assert_eq!(types, expected, "{names}");
        }
    }

    #[test]
    fn an_endpoint_surely_takes_messages_of_its_types_since_its_last_change() {
        let created = r#""updatedAt":"2026-11-23T14:00:00.5Z""#;
        for (fields, expected) in [
            (created.to_owned(), true),
            (format!(r#"{created},"filterTypes":["a.b"]"#), true),
            (format!(r#"{created},"filterTypes":["a"]"#), false),
            (format!(r#"{created},"eventTypes":["a"]"#), false),
            (format!(r#"{created},"channels":["c"]"#), false),
            (format!(r#"{created},"disabled":true"#), false),
            (r#""updatedAt":"2026-11-23T14:12:42Z""#.to_owned(), false),
            (r#""updatedAt":"yesterday""#.to_owned(), false),
            (r#""updatedAt":null"#.to_owned(), false),
        ] {
            let body = format!(r#"{{"id":"ep_1","url":"https://a.test",{fields}}}"#);
            let endpoint = classify_endpoint(&answer(200, &body));
            let endpoint = endpoint.expect("readable").expect("there");
            let takes = endpoint.surely_takes("a.b", "2026-11-23T14:12:42Z");
            assert_eq!(takes, expected, "{fields}");
        }
    }

    #[test]
    fn svix_says_whether_a_page_is_all() {
        let attempt =
            r#"{"endpointId":"ep_1","timestamp":"t","status":0,"triggerType":0},"#.repeat(LIMIT);
        let attempts = attempt.trim_end_matches(',');
        for (rest, is_cut) in [(r#","done":true"#, false), (r#","done":false"#, true), ("", true)] {
            let body = format!(r#"{{"data":[{attempts}]{rest}}}"#);
            let page = classify_list::<Attempt>(&answer(200, &body));
            let page = page.expect("readable").expect("there");
            assert_eq!(page.is_cut(), is_cut, "{rest}");
        }
    }

    #[test]
    fn an_answer_that_is_not_the_list_is_told_from_a_missing_message() {
        let classify = |answer: &Answer| classify_list::<Attempt>(answer);
        let missing = answer(404, &error_body("not_found"));
        assert_eq!(classify(&missing), Ok(None));
        for body in ["", "{}", r#"{"data":[{"id":"ep_1"}]}"#] {
            let unexpected = Err(Cause::NotSvix(200).into());
            assert_eq!(classify(&answer(200, body)), unexpected);
        }
        let unexpected = Err(Cause::NotSvix(302).into());
        assert_eq!(classify(&answer(302, "")), unexpected);
    }

    #[test]
    fn a_resend_is_known_by_its_status() {
        assert_eq!(classify_resend(&answer(202, "{}")), Ok(true));
        let page = classify_resend(&answer(200, "<html>"));
        assert_eq!(page, Err(Cause::NotSvix(200).into()));
        let missing = answer(404, &error_body("not_found"));
        assert_eq!(classify_resend(&missing), Ok(false));
        for (status, code) in [(400, "missing_payload"), (409, "conflict"), (410, "gone")] {
            let refused = classify_resend(&answer(status, &error_body(code)));
            assert_eq!(refused, Err(Error::Refused(refusal(status, code))));
        }
    }

    #[test]
    fn a_recovery_is_known_by_its_task() {
        let body = r#"{"id":"qtask_1","status":"running","task":"endpoint.recover"}"#;
        let task = ["qtask_1", "running"].map(str::to_owned);
        assert_eq!(classify_recovery(&answer(202, body)), Ok(Some(task)));
        for body in ["", "<html>", "{}", r#"{"id":"qtask_1","status":7}"#] {
            let unexpected = Err(Cause::NotSvix(202).into());
            let read = classify_recovery(&answer(202, body));
            assert_eq!(read, unexpected, "{body}");
        }
        let missing = answer(404, &error_body("not_found"));
        assert_eq!(classify_recovery(&missing), Ok(None));
    }

    #[test]
    fn the_body_of_a_recovery_names_its_bounds() {
        let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let (since, until) = ("1970-01-01T00:00:10Z", "1970-01-01T00:00:20Z");
        let open = format!(r#"{{"since":"{since}"}}"#);
        assert_eq!(recovery_body(at(10), None), open.as_bytes());
        let closed = format!(r#"{{"since":"{since}","until":"{until}"}}"#);
        assert_eq!(recovery_body(at(10), Some(at(20))), closed.as_bytes());
    }
}
