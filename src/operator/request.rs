//! An operator's request, and its body: a small object of JSON, checked field by field.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::SystemTime;

use serde_json::value::RawValue;

use crate::api::problem::Problem;
use crate::api::table;
use crate::auth::Caller;
use crate::config::Config;
use crate::conversation::Conversation;
use crate::event::media_type::is_json_media_type;
use crate::event::rejection::Rejection;
use crate::host::body::{Body, read_bounded};
use crate::host::deadline::Deadline;
use crate::host::http::Headers;
use crate::host::server::Incoming;
use crate::identifier;
use crate::json;
use crate::time::parse_rfc3339;
use crate::violation::{Violation, within};
use crate::watch::entry::Entry;

/// The largest body of such a request, in bytes.
const MAX_BODY: usize = 16 * 1024;

/// A request whose sender has shown an operator's token, or one of a project.
pub struct OperatorRequest<'a> {
    pub config: &'static Config,
    pub caller: Caller,
    pub deadline: Deadline,
    /// The line that the request will leave.
    pub entry: &'a mut Entry,
    pub headers: &'a Headers,
    pub body: &'a mut Incoming,
}

impl OperatorRequest<'_> {
    /// Reads the body. Without a media type it counts as JSON.
    pub async fn body(&mut self) -> Result<Vec<u8>, Problem> {
        let time = self.deadline.remaining();
        let body = read_bounded(self.body, |_| MAX_BODY, time).await?.bytes;
        let content_type = self.headers.get("content-type");
        let is_json = content_type.is_none_or(|content_type| is_json_media_type(&content_type));
        if is_json || body.is_empty() {
            Ok(body)
        } else {
            Err(table::UNSUPPORTED_MEDIA_TYPE.into())
        }
    }

    /// Fails if there is a body: the operator may have meant to say less than the path alone. Clients that always send
    /// JSON may send an empty object.
    pub async fn check_no_body(&mut self) -> Result<(), Problem> {
        let time = self.deadline.remaining();
        let body = read_bounded(self.body, |_| MAX_BODY, time).await;
        let is_empty = |body: Body| matches!(body.bytes.trim_ascii(), b"" | b"{}");
        if body.is_ok_and(is_empty) {
            return Ok(());
        }
        Err(Problem::invalid("body", "must be empty"))
    }

    /// A conversation with Svix that ends in time for the answer.
    pub fn conversation(&self) -> Conversation<'static> {
        Conversation::new(self.config, self.deadline)
    }

    /// A conversation whose posts take their key from the request's `Idempotency-Key`, if it has one. If the operator
    /// then repeats the request with the same key, Svix does nothing twice.
    pub fn keyed_conversation(&self) -> Conversation<'static> {
        let key = self.headers.get("idempotency-key");
        let key = key.filter(|key| !key.is_empty());
        self.conversation().with_key(key.map(Cow::into_owned))
    }
}

/// The fields that the body of a request may have, each if it is there.
pub fn fields<'a, const N: usize>(
    body: &'a [u8],
    names: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], Problem> {
    if body.is_empty() {
        return Ok([None; N]);
    }
    let text = str::from_utf8(body)
        .map_err(|_| Problem::Rejected(Rejection::NotJson("not UTF-8".to_owned())))?;
    match json::pick_all(text, names) {
        Ok(Some(fields)) => Ok(fields),
        Ok(None) => {
            let reason = format!("may hold only {}", names.join(", "));
            Err(Problem::invalid("body", reason))
        }
        Err(json::Error::NotAnObject) => Err(Problem::invalid("body", "must be a JSON object")),
        Err(json::Error::NotJson(reason)) => Err(Problem::Rejected(Rejection::NotJson(reason))),
    }
}

/// Collects every violation of a request.
pub struct Check(Vec<Violation>);

impl Check {
    /// Begins with the project.
    pub fn of(project: &str) -> Self {
        let mut check = Self(Vec::new());
        check.take("project", identifier::check_project(project));
        check
    }

    /// The value of a field that is there.
    pub fn field<'a, T>(
        &mut self,
        name: &'static str,
        raw: Option<&'a RawValue>,
        read: impl FnOnce(&'a RawValue) -> Result<T, String>,
    ) -> Option<T> {
        self.take(name, read(raw?))
    }

    /// The value of a field that must be there.
    pub fn required<'a, T>(
        &mut self,
        name: &'static str,
        raw: Option<&'a RawValue>,
        read: impl FnOnce(&'a RawValue) -> Result<T, String>,
    ) -> Option<T> {
        let raw = raw.ok_or_else(|| "is required".to_owned());
        self.take(name, raw.and_then(read))
    }

    pub fn take<T>(&mut self, name: &'static str, value: Result<T, String>) -> Option<T> {
        value.map_err(|reason| self.0.push(Violation::new(name, reason))).ok()
    }

    /// Returns `request`, which may be missing if there is a violation. Fails if there is one.
    pub fn end<T>(self, request: Option<T>) -> Result<T, Problem> {
        let request = request.filter(|_| self.0.is_empty());
        request.ok_or(Problem::InvalidRequest(self.0))
    }
}

/// A whole number. To JSON, 3600.0 is one, too.
pub fn whole_number(raw: &RawValue, range: RangeInclusive<u64>) -> Result<u64, String> {
    let text = raw.get();
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|digit| digit == b'0') => whole,
        _ => text,
    };
    within(whole.parse().ok(), range)
}

pub fn flag(raw: &RawValue) -> Result<bool, String> {
    let flag = raw.get().parse().ok();
    flag.ok_or_else(|| "must be true or false".to_owned())
}

pub fn time(raw: &RawValue) -> Result<SystemTime, String> {
    let time = json::string(raw).and_then(|text| parse_rfc3339(&text));
    time.ok_or_else(|| "must be a time in RFC 3339".to_owned())
}

/// A list of strings. `None` if a value is something else, or is there twice.
pub fn strings(raw: &RawValue) -> Option<Vec<String>> {
    let strings: Vec<String> = serde_json::from_str(raw.get()).ok()?;
    let mut rest = &strings[..];
    while let [first, others @ ..] = rest {
        if others.contains(first) {
            return None;
        }
        rest = others;
    }
    Some(strings)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The request, or the fields that break a rule.
    pub fn named<T>(result: Result<T, Problem>) -> Result<T, Vec<&'static str>> {
        result.map_err(|problem| match problem {
            Problem::InvalidRequest(violations) => violations.iter().map(|it| it.field).collect(),
            problem => panic!("{problem:?}"),
        })
    }

    fn violations<T: std::fmt::Debug>(result: Result<T, Problem>) -> Vec<(&'static str, String)> {
        let Err(Problem::InvalidRequest(violations)) = result else {
            panic!("not invalid: {result:?}");
        };
        let told = violations.into_iter();
        told.map(|violation| (violation.field, violation.reason)).collect()
    }

    #[test]
    fn a_body_is_an_object_without_anything_else() {
        for (body, reason) in [
            ("[]", "must be a JSON object"),
            ("3600", "must be a JSON object"),
            (r#"{"expires":3600}"#, "may hold only expiry, type"),
            (r#"{"expiry":3600,"Type":"a"}"#, "may hold only expiry, type"),
        ] {
            let read = fields(body.as_bytes(), ["expiry", "type"]);
            assert_eq!(violations(read), [("body", reason.to_owned())]);
        }
        for body in [&b"{"[..], b" ", b"expiry=3600", b"{\"expiry\":\xff}"] {
            let problem = fields(body, ["expiry"]).expect_err("not JSON");
            assert_eq!(problem.row().name, "not-json", "{body:?}");
        }
        for body in ["", "{}", " {\n} "] {
            let read = fields(body.as_bytes(), ["expiry"]);
            assert!(matches!(read, Ok([None])), "{body}");
        }
    }

    #[test]
    fn every_violation_is_reported_at_once() {
        let text = |raw| json::text(raw, |_| Ok(()));
        let [number, word] =
            fields(br#"{"number":0,"word":7}"#, ["number", "word"]).expect("fields");
        let mut check = Check::of("app_1");
        assert_eq!(check.field("number", number, |raw| whole_number(raw, 1..=2)), None);
        assert_eq!(check.required("word", word, text), None);
        assert_eq!(check.required("time", None, time), None);
        assert_eq!(check.field("other", None, text), None);
        let fields = vec!["project", "number", "word", "time"];
        assert_eq!(named(check.end(Some(()))), Err(fields));
        assert_eq!(Check::of("dev").end(Some(1)), Ok(1));
    }

    #[test]
    fn values_are_read_strictly() {
        let read =
            |json: &str| -> Box<RawValue> { RawValue::from_string(json.to_owned()).expect("JSON") };
        for (json, number) in [("1", Ok(1)), ("2.00", Ok(2))] {
            assert_eq!(whole_number(&read(json), 1..=2), number);
        }
        for json in ["0", "3", "-1", "1.5", "1e0", "\"1\"", "null", "true"] {
            let reason = "must be a whole number from 1 to 2".to_owned();
            assert_eq!(whole_number(&read(json), 1..=2), Err(reason), "{json}");
        }
        assert_eq!(flag(&read("true")), Ok(true));
        for json in ["\"true\"", "1", "null"] {
            assert!(flag(&read(json)).is_err(), "{json}");
        }
        assert_eq!(strings(&read(r#"["a","b"]"#)).map(|all| all.len()), Some(2));
        for json in [r#"["a","a"]"#, r#"["a",1]"#, r#""a""#, "null", "{}"] {
            assert_eq!(strings(&read(json)), None, "{json}");
        }
        assert!(time(&read("\"2026-11-23T14:12:42+01:00\"")).is_ok());
        for json in ["\"yesterday\"", "1795443162", "\"2026-11-23\"", "null"] {
            assert!(time(&read(json)).is_err(), "{json}");
        }
    }
}
