//! The way of a message from Svix to the customer's endpoints.
//!
//! Svix names an endpoint at a message only once it has tried to reach it, so the application's endpoints
//! are listed, too.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

use super::{Answer, Cause, Error};

/// The most of each list that is asked for.
pub const LIMIT: usize = 100;

/// An endpoint of a customer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    pub id: String,
    #[serde(serialize_with = "without_secrets")]
    pub url: String,
    pub disabled: bool,
    /// The event types that the endpoint takes. `None` for all.
    #[serde(default)]
    pub filter_types: Option<Vec<String>>,
    /// The status of the last attempt with the message. `None` if there was none.
    #[serde(default)]
    pub status: Option<Status>,
    /// When Svix tries again, in RFC 3339. `None` if it doesn't.
    #[serde(default)]
    pub next_attempt: Option<String>,
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
#[serde(try_from = "u8", rename_all = "lowercase")]
pub enum Status {
    Success,
    Pending,
    Fail,
    Sending,
    Canceled,
}

/// Likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "u8", rename_all = "lowercase")]
pub enum Trigger {
    /// By Svix's schedule.
    Scheduled,
    /// A person or a program has asked for it.
    Manual,
}

impl TryFrom<u8> for Status {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        Ok(match number {
            0 => Self::Success,
            1 => Self::Pending,
            2 => Self::Fail,
            3 => Self::Sending,
            4 => Self::Canceled,
            _ => return Err("no such status"),
        })
    }
}

impl TryFrom<u8> for Trigger {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self::Scheduled),
            1 => Ok(Self::Manual),
            _ => Err("no such trigger"),
        }
    }
}

/// The URL without user, password, query and fragment: customers put secrets there.
fn without_secrets<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = plain.split_once("://").unwrap_or(("", plain));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
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

/// The first page of a list. `None` if Svix doesn't have what was asked about.
pub fn classify_list<T: DeserializeOwned>(answer: &Answer) -> Result<Option<Vec<T>>, Error> {
    #[derive(Deserialize)]
    struct Page<T> {
        data: Vec<T>,
    }
    let page = answer.found::<Page<T>>()?;
    Ok(page.map(|page| page.data))
}

/// Whether a message is sent again. `false` if Svix doesn't have it, or not the endpoint.
pub fn classify_resend(answer: &Answer, token: &str) -> Result<bool, Error> {
    match answer.status {
        // Another server's friendly page is no resend: Svix answers with an object.
        200..=299 if answer.fields(["id"]).is_some() => Ok(true),
        200..=299 => Err(Cause::UnreadableAnswer.into()),
        404 if answer.says_not_found() => Ok(false),
        _ => Err(answer.error(token)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{TOKEN, answer, error_body};
    use super::*;

    #[test]
    fn a_list_is_read_and_written_in_words() {
        let endpoint = r#"{"id":"ep_1","url":"https://user:hush@a.test/in?key=hush#x","disabled":false,"uid":null,"filterTypes":["a.b"],"status":2,"statusText":"fail","nextAttempt":"2026-11-23T14:12:47Z"}"#;
        let body = format!(r#"{{"data":[{endpoint}],"iterator":null,"done":true}}"#);
        let endpoints = classify_list::<Endpoint>(&answer(200, &body));
        let endpoints = endpoints.expect("readable").expect("there");
        assert_eq!(
            serde_json::to_string(&endpoints).expect("JSON"),
            concat!(
                r#"[{"id":"ep_1","url":"https://a.test/in","disabled":false,"#,
                r#""filterTypes":["a.b"],"status":"fail","nextAttempt":"2026-11-23T14:12:47Z"}]"#,
            )
        );
        let attempt = r#"{"data":[{"id":"atmpt_1","endpointId":"ep_1","timestamp":"2026-11-23T14:12:42Z","status":0,"responseStatusCode":200,"responseDurationMs":35,"triggerType":1}]}"#;
        let attempts = classify_list::<Attempt>(&answer(200, attempt));
        let attempts = attempts.expect("readable").expect("there");
        assert_eq!(
            (attempts[0].status, attempts[0].trigger_type),
            (Status::Success, Trigger::Manual)
        );
    }

    #[test]
    fn an_answer_that_is_not_the_list_is_told_from_a_missing_message() {
        let missing = answer(404, &error_body("not_found"));
        assert_eq!(classify_list::<Attempt>(&missing), Ok(None));
        let unreadable = Err(Cause::UnreadableAnswer.into());
        for body in ["", "{}", r#"{"data":[{"id":"ep_1"}]}"#] {
            assert_eq!(classify_list::<Attempt>(&answer(200, body)), unreadable);
        }
        let unexpected = Err(Cause::Unexpected(404).into());
        assert_eq!(classify_list::<Attempt>(&answer(404, "")), unexpected);
    }

    #[test]
    fn a_resend_is_known_by_its_status() {
        assert_eq!(classify_resend(&answer(202, "{}"), TOKEN), Ok(true));
        let page = classify_resend(&answer(200, "<html>"), TOKEN);
        assert_eq!(page, Err(Cause::UnreadableAnswer.into()));
        let missing = answer(404, &error_body("not_found"));
        assert_eq!(classify_resend(&missing, TOKEN), Ok(false));
        let gone = answer(400, &error_body("missing_payload"));
        assert!(matches!(
            classify_resend(&gone, TOKEN),
            Err(Error::Refused(_))
        ));
    }
}
