//! A customer's application in Svix: its name, its metadata, and how fast its endpoints are sent to.

use serde_json::value::RawValue;

use super::request::{Check, OperatorRequest, fields, whole_number};
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::api::table;
use crate::json::{self, Stored};
use crate::svix::application::{self, Change};

/// The longest name, in bytes. Svix names no limit.
const MAX_NAME: usize = 256;

/// The most metadata that Svix takes, in bytes of JSON.
const MAX_METADATA: usize = 4_096;

/// The highest rate that Svix takes, in messages per second.
const MAX_RATE: u64 = u16::MAX as u64;

/// Creates a project's application, or changes it. What the request doesn't name stays as it is.
pub async fn put(request: &mut OperatorRequest<'_>, project: &str) -> Result<Success, Problem> {
    request.entry.project = Some(project.to_owned());
    let body = request.body().await?;
    let change = change_request(project, &body)?;
    let mut conversation = request.conversation();
    let create = application::create_body(project, &change);
    let mut answer = conversation.post(application::CREATE_PATH, create).await?;
    // The application is there already, or another request is creating it. Svix's PUT would erase what is
    // not named.
    if matches!(answer.status, 200 | 409) {
        let body = application::patch_body(&change);
        answer = conversation.patch(&application::path(project), body).await?;
    }
    let application = application::classify(&answer)?;
    let application = application.ok_or(table::NO_APPLICATION)?;
    Ok(Success::document("application", &application))
}

fn change_request<'a>(project: &str, body: &'a [u8]) -> Result<Change<'a>, Problem> {
    let [name, metadata, throttle_rate] = fields(body, ["name", "metadata", "throttleRate"])?;
    let mut check = Check::of(project);
    check.field("name", name, |raw| {
        let fits = json::text(raw, |_| Ok(()))?.len() <= MAX_NAME;
        fits.then_some(()).ok_or_else(|| format!("must be at most {MAX_NAME} bytes long"))
    });
    check.field("metadata", metadata, check_metadata);
    let throttle_rate = check.field("throttleRate", throttle_rate, |raw| match raw.get() {
        "null" => Ok("null".to_owned()),
        _ => match whole_number(raw, 1..=MAX_RATE) {
            Ok(rate) => Ok(rate.to_string()),
            Err(reason) => Err(reason + ", or null"),
        },
    });
    check.end(Some(Change { name, metadata, throttle_rate }))
}

fn check_metadata(raw: &RawValue) -> Result<(), String> {
    let fields = Stored::read(raw.get().as_bytes()).map(Stored::into_fields);
    let texts = fields.and_then(|fields| {
        let text = |(name, value)| Some([name, json::string(value)?]);
        fields.into_iter().map(text).collect::<Option<Vec<_>>>()
    });
    let Some(texts) = texts else {
        return Err("must be an object of strings".to_owned());
    };
    if texts.iter().flatten().any(|text| text.contains('\0')) {
        // Svix's database can't store it: the open-source server answers 500.
        Err("must not hold U+0000".to_owned())
    } else if raw.get().len() > MAX_METADATA {
        Err(format!("must be at most {MAX_METADATA} bytes of JSON"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::named;
    use super::*;

    /// The body of the request that changes an application, or the fields that break a rule.
    fn change(body: &str) -> Result<String, Vec<&'static str>> {
        let change = named(change_request("dev", body.as_bytes()))?;
        Ok(String::from_utf8(application::patch_body(&change)).expect("UTF-8"))
    }

    #[test]
    fn a_change_is_passed_on_as_svix_takes_it() {
        for (body, expected) in [
            ("", "{}"),
            (
                r#"{"throttleRate":5.0,"name":"Dev \u0041"}"#,
                r#"{"name":"Dev \u0041","throttleRate":5}"#,
            ),
            (r#"{"throttleRate":null}"#, r#"{"throttleRate":null}"#),
            (
                r#"{"metadata":{"svix.email":"grace@example.com"}}"#,
                r#"{"metadata":{"svix.email":"grace@example.com"}}"#,
            ),
            (r#"{"metadata":{}}"#, r#"{"metadata":{}}"#),
            (r#"{"metadata":{"a":"\\u0000"}}"#, r#"{"metadata":{"a":"\\u0000"}}"#),
        ] {
            assert_eq!(change(body).as_deref(), Ok(expected), "{body}");
        }
    }

    #[test]
    fn every_value_that_svix_would_refuse_is_named() {
        for (field, values) in [
            ("name", &["\"\"", "7", "null", "[]"][..]),
            (
                "metadata",
                &[
                    "null",
                    "[]",
                    "\"a\"",
                    r#"{"a":1}"#,
                    r#"{"a":{"b":"c"}}"#,
                    r#"{"a":null}"#,
                    r#"{"a":"b\u0000"}"#,
                    r#"{"a\u0000":"b"}"#,
                ],
            ),
            ("throttleRate", &["0", "65536", "-1", "1.5", "\"5\"", "true"]),
        ] {
            for value in values {
                let body = format!(r#"{{"{field}":{value}}}"#);
                assert_eq!(change(&body), Err(vec![field]), "{body}");
            }
        }
        let metadata = |size| format!(r#"{{"metadata":{{"a":"{}"}}}}"#, "x".repeat(size - 8));
        assert!(change(&metadata(MAX_METADATA)).is_ok());
        assert_eq!(change(&metadata(MAX_METADATA + 1)), Err(vec!["metadata"]));
        let name = |size| format!(r#"{{"name":"{}"}}"#, "x".repeat(size));
        assert!(change(&name(MAX_NAME)).is_ok());
        assert_eq!(change(&name(MAX_NAME + 1)), Err(vec!["name"]));
    }
}
