//! Links to a customer's App Portal, and the application behind it.

use super::{Answer, Cause, Error};
use crate::json;

pub fn path(project: &str) -> String {
    format!("/api/v1/auth/app-portal-access/{project}/")
}

/// The body of the request for a link that is valid for `expiry` seconds.
pub fn body(expiry: u64) -> Vec<u8> {
    format!(r#"{{"expiry":{expiry}}}"#).into_bytes()
}

/// The path, with query, of the request that creates an application unless it is there. Its answer
/// is read like that of an event type, by [`super::event_type::classify_create`].
pub const APPLICATION_PATH: &str = "/api/v1/app/?get_if_exists=true";

pub fn application_body(project: &str) -> Vec<u8> {
    // The project is a plain identifier: nothing in it needs escaping.
    format!(r#"{{"uid":"{project}","name":"{project}"}}"#).into_bytes()
}

/// The link to a project's portal, or `None` if Svix has no application for the project.
pub fn classify(answer: &Answer, token: &str) -> Result<Option<String>, Error> {
    match answer.status {
        200..=299 => match link(answer) {
            Some(link) => Ok(Some(link)),
            None => Err(Cause::UnreadableAnswer.into()),
        },
        404 => Ok(None),
        _ => Err(answer.error(token)),
    }
}

/// The link in an answer, only if a browser would take it to the web.
fn link(answer: &Answer) -> Option<String> {
    let [url] = answer.fields(["url"])?;
    let url = json::string(url?)?;
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))?;
    let host = rest.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[');
    (host && url.bytes().all(|byte| byte.is_ascii_graphic())).then(|| url.into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{TOKEN, answer};
    use super::*;

    #[test]
    fn requests_have_the_form_of_the_api() {
        assert_eq!(path("dev"), "/api/v1/auth/app-portal-access/dev/");
        assert_eq!(body(3_600), br#"{"expiry":3600}"#);
        assert_eq!(application_body("dev"), br#"{"uid":"dev","name":"dev"}"#);
    }

    #[test]
    fn a_link_is_passed_on_only_if_it_leads_to_the_web() {
        for url in [
            "https://app.svix.com/login#key=eyJhIjoiLysifQ==",
            "http://127.0.0.1:9071/login",
        ] {
            let body = format!(r#"{{"url":"{url}","token":"appsk_secret"}}"#);
            assert_eq!(
                classify(&answer(200, &body), TOKEN),
                Ok(Some(url.to_owned()))
            );
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
            let unreadable = Err(Cause::UnreadableAnswer.into());
            assert_eq!(classify(&answer(200, body), TOKEN), unreadable, "{body}");
        }
    }

    #[test]
    fn a_missing_application_is_told_from_a_failure() {
        assert_eq!(classify(&answer(404, ""), TOKEN), Ok(None));
        let unexpected = Error::from(Cause::Unexpected(302));
        assert_eq!(classify(&answer(302, ""), TOKEN), Err(unexpected));
    }
}
