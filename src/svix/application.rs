//! A customer's application: Svix's name for what holds the customer's endpoints and messages.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Answer, Error};
use crate::json;

/// The fields of an application that change. `None` leaves one as it is.
#[derive(Clone, Debug, Default)]
pub struct Change<'a> {
    /// A string.
    pub name: Option<&'a RawValue>,
    /// An object of strings. Svix replaces all of it.
    pub metadata: Option<&'a RawValue>,
    /// Messages per second, or `null`.
    pub throttle_rate: Option<String>,
}

/// An application as Svix shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Application<'a> {
    pub name: &'a RawValue,
    pub metadata: &'a RawValue,
    pub throttle_rate: Option<&'a RawValue>,
}

/// The path, with query, of the request that creates an application unless it is there.
pub const CREATE_PATH: &str = "/api/v1/app/?get_if_exists=true";

/// The path of the request that changes an application.
pub fn path(project: &str) -> String {
    format!("/api/v1/app/{project}/")
}

/// The body of the request that creates a project's application, named after the project if need be.
pub fn create_body(project: &str, change: &Change<'_>) -> Vec<u8> {
    // The project is a plain identifier: nothing in it needs escaping.
    let uid = format!("\"{project}\"");
    body(Some(&uid), change, Some(&uid))
}

/// The body of the request that changes an application. Svix leaves every other field as it is.
pub fn patch_body(change: &Change<'_>) -> Vec<u8> {
    body(None, change, None)
}

fn body(uid: Option<&str>, change: &Change<'_>, name: Option<&str>) -> Vec<u8> {
    json::object(&[
        ("uid", uid),
        ("name", change.name.map(RawValue::get).or(name)),
        ("metadata", change.metadata.map(RawValue::get)),
        ("throttleRate", change.throttle_rate.as_deref()),
    ])
}

/// The application in an answer. `None` if Svix doesn't have it.
pub fn classify(answer: &Answer) -> Result<Option<Application<'_>>, Error> {
    answer.success_or_missing(|| {
        let [name, metadata, throttle_rate] =
            answer.fields(["name", "metadata", "throttleRate"])?;
        Some(Application {
            name: name.filter(|name| json::string(name).is_some())?,
            metadata: metadata.filter(|metadata| json::is_object(metadata))?,
            throttle_rate,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{answer, error_body};
    use super::super::{Cause, Refusal};
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn a_new_application_is_named_after_its_project_unless_it_has_a_name() {
        let plain = create_body("dev", &Change::default());
        assert_eq!(text(plain), r#"{"uid":"dev","name":"dev"}"#);
        let json = r#"{"name":"Dev \"Inc\"","throttleRate":null}"#;
        let [name] = json::pick(json, ["name"]).expect("JSON");
        let change = Change { name, throttle_rate: Some("null".to_owned()), ..Change::default() };
        assert_eq!(
            text(create_body("dev", &change)),
            r#"{"uid":"dev","name":"Dev \"Inc\"","throttleRate":null}"#
        );
        assert_eq!(text(patch_body(&change)), json);
    }

    #[test]
    fn an_application_is_told_from_a_refusal_and_from_a_page() {
        let body =
            r#"{"uid":"dev","name":"Dev","throttleRate":7,"metadata":{"a":"b"},"id":"app_1"}"#;
        let shown = answer(200, body);
        let shown = classify(&shown).expect("readable").expect("there");
        assert_eq!(
            text(json::encode(&shown)),
            r#"{"name":"Dev","metadata":{"a":"b"},"throttleRate":7}"#
        );
        let missing = answer(404, &error_body("not_found"));
        assert!(matches!(classify(&missing), Ok(None)));
        let refused = answer(409, &error_body("conflict"));
        assert!(matches!(classify(&refused), Err(Error::Refused(Refusal { status: 409, .. }))));
        let unexpected = Error::from(Cause::NotSvix(200));
        for page in ["<html>", "{}", r#"{"name":"Dev"}"#, r#"{"name":7,"metadata":{}}"#] {
            let error = classify(&answer(200, page)).expect_err(page);
            assert_eq!(error, unexpected, "{page}");
        }
    }
}
