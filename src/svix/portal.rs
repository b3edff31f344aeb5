//! Links to a customer's App Portal.

use serde_json::value::RawValue;

use super::{Answer, Error};
use crate::json;

pub fn path(project: &str) -> String {
    format!("/api/v1/auth/app-portal-access/{project}/")
}

/// The limits of a link to a portal. All but the expiry are the JSON that Svix takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// For how many seconds the link is valid.
    pub expiry: u64,
    pub capabilities: Option<&'a RawValue>,
    pub read_only: Option<&'a RawValue>,
    pub session_id: Option<&'a RawValue>,
}

/// The body of the request for a link.
pub fn body(limits: Limits<'_>) -> Vec<u8> {
    json::object(&[
        ("expiry", Some(&limits.expiry.to_string())),
        ("capabilities", limits.capabilities.map(RawValue::get)),
        ("readOnly", limits.read_only.map(RawValue::get)),
        ("sessionId", limits.session_id.map(RawValue::get)),
    ])
}

/// The path of the request that revokes links. Only the hosted Svix has it.
pub fn revoke_path(project: &str) -> String {
    format!("/api/v1/auth/app/{project}/expire-all/")
}

/// The body of the request that revokes links, and what was opened by them, in `expiry` seconds: all of them,
/// or those of some sessions.
pub fn revoke_body(expiry: u64, session_ids: Option<&RawValue>) -> Vec<u8> {
    json::object(&[
        ("expiry", Some(&expiry.to_string())),
        ("sessionIds", session_ids.map(RawValue::get)),
    ])
}

/// The link to a project's portal, or `None` if Svix has no application for the project.
pub fn classify(answer: &Answer) -> Result<Option<String>, Error> {
    answer.success_or_missing(|| link(answer))
}

/// The link in an answer, only if a browser would take it to the web.
fn link(answer: &Answer) -> Option<String> {
    let [url] = answer.fields(["url"])?;
    let url = json::string(url?)?;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let host = rest.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[');
    (host && url.bytes().all(|byte| byte.is_ascii_graphic())).then(|| url.into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{answer, error_body};
    use super::super::{Cause, Refusal};
    use super::*;

    #[test]
    fn requests_have_the_paths_of_the_api() {
        assert_eq!(path("dev"), "/api/v1/auth/app-portal-access/dev/");
        let revoke = "/api/v1/auth/app/dev/expire-all/";
        assert_eq!(revoke_path("dev"), revoke);
    }

    #[test]
    fn a_link_is_passed_on_only_if_it_leads_to_the_web() {
        for url in
            ["https://app.svix.com/login#key=eyJhIjoiLysifQ==", "http://127.0.0.1:9071/login"]
        {
            let body = format!(r#"{{"url":"{url}","token":"appsk_secret"}}"#);
            assert_eq!(classify(&answer(200, &body)), Ok(Some(url.to_owned())));
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
            let unexpected = Err(Cause::NotSvix(200).into());
            assert_eq!(classify(&answer(200, body)), unexpected, "{body}");
        }
    }

    #[test]
    fn a_missing_application_is_told_from_a_failure() {
        let missing = answer(404, &error_body("not_found"));
        assert_eq!(classify(&missing), Ok(None));
        assert_eq!(missing.no_content(), Ok(false));
        let unexpected = Error::from(Cause::NotSvix(302));
        assert_eq!(classify(&answer(302, "")), Err(unexpected));
        let refused = classify(&answer(409, &error_body("conflict")));
        assert!(matches!(refused, Err(Error::Refused(Refusal { status: 409, .. }))));
    }

    #[test]
    fn only_an_empty_answer_revokes() {
        assert_eq!(answer(204, "").no_content(), Ok(true));
        let page = answer(200, "<html>").no_content();
        assert_eq!(page, Err(Cause::NotSvix(200).into()));
    }
}
