//! The customer's portal in Svix: a link that opens it, and the end of such links.

use serde::Serialize;
use serde_json::value::RawValue;

use super::request::{Check, OperatorRequest, fields, flag, strings, whole_number};
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::api::table;
use crate::json;
use crate::svix::portal::{self, Limits};
use crate::svix::{self, Cause, application};

/// For how long Svix lets a link to a portal live, in seconds.
const SHORTEST_EXPIRY: u64 = 3_600;
const LONGEST_EXPIRY: u64 = 7 * 24 * 3_600;

/// How far off the end of a revoked link may be, in seconds.
const LATEST_END: u64 = 3 * 24 * 3_600;

/// The longest id of a session that Svix takes.
const MAX_SESSION_ID: usize = 64;

/// The most sessions that one request revokes. Svix takes more than a body has room for.
const MAX_SESSIONS: usize = 100;

const CAPABILITIES: [&str; 6] = [
    "ViewBase",
    "ViewEndpointSecret",
    "ManageEndpointSecret",
    "ManageTransformations",
    "CreateAttempts",
    "ManageEndpoint",
];

/// The link is a secret; the token that Svix gives beside it is never passed on.
#[derive(Serialize)]
struct Portal<'a> {
    url: &'a str,
}

#[derive(Serialize)]
struct Revoked<'a> {
    /// The project.
    revoked: &'a str,
}

/// A link to a project's portal in Svix.
pub async fn open(request: &mut OperatorRequest<'_>, project: &str) -> Result<Success, Problem> {
    request.entry.project = Some(project.to_owned());
    let body = request.body().await?;
    let limits = portal_request(project, &body)?;
    let url = link(request, project, &portal::body(limits)).await?;
    Ok(Success::document("portal", &Portal { url: &url }))
}

/// Ends the links to a project's portal, and the visits that they have opened.
pub async fn revoke(request: &mut OperatorRequest<'_>, project: &str) -> Result<Success, Problem> {
    request.entry.project = Some(project.to_owned());
    let body = revoke_request(project, &request.body().await?)?;
    let mut conversation = request.conversation();
    let path = portal::revoke_path(project);
    let answer = conversation.post_to_hosted(&path, body).await?;
    if answer.no_content()? {
        let revoked = Revoked { revoked: project };
        Ok(Success::document("portal-revoked", &revoked))
    } else {
        Err(table::NO_APPLICATION.into())
    }
}

/// The link. Creates the application that it belongs to, if that is allowed.
async fn link(
    request: &OperatorRequest<'_>,
    project: &str,
    body: &[u8],
) -> Result<String, Problem> {
    let mut conversation = request.conversation();
    let path = portal::path(project);
    // A second link does no harm: no customer gets to see the first.
    let answer = conversation.post(&path, body.to_vec()).await?;
    if let Some(url) = portal::classify(&answer)? {
        return Ok(url);
    }
    if request.config.svix.create_applications {
        let create = application::create_body(project, &application::Change::default());
        let answer = conversation.post(application::CREATE_PATH, create).await?;
        match application::classify(&answer) {
            // If the answer can't be read, the next request shows whether the application is there.
            Ok(_)
            | Err(svix::Error::Unavailable {
                cause: Cause::UnreadableAnswer | Cause::NotSvix(200..=299),
                ..
            }) => {}
            // Another instance has just created it.
            Err(_) if answer.status == 409 => {}
            Err(error) => return Err(error.into()),
        }
        let answer = conversation.post(&path, body.to_vec()).await?;
        if let Some(url) = portal::classify(&answer)? {
            return Ok(url);
        }
    }
    Err(table::NO_APPLICATION.into())
}

fn portal_request<'a>(project: &str, body: &'a [u8]) -> Result<Limits<'a>, Problem> {
    let names = ["expiry", "capabilities", "readOnly", "sessionId"];
    let [expiry, capabilities, read_only, session_id] = fields(body, names)?;
    let mut check = Check::of(project);
    let expiry =
        check.field("expiry", expiry, |raw| whole_number(raw, SHORTEST_EXPIRY..=LONGEST_EXPIRY));
    check.field("capabilities", capabilities, check_capabilities);
    check.field("readOnly", read_only, flag);
    check.field("sessionId", session_id, |raw| {
        let is_valid = json::string(raw).is_some_and(|id| is_session_id(&id));
        let rule = "may hold 1 to 64 letters, digits, '@', '_' and '-'";
        is_valid.then_some(()).ok_or_else(|| rule.to_owned())
    });
    check.end(Some(Limits {
        expiry: expiry.unwrap_or(SHORTEST_EXPIRY),
        capabilities,
        read_only,
        session_id,
    }))
}

/// The body of the request to Svix.
fn revoke_request(project: &str, body: &[u8]) -> Result<Vec<u8>, Problem> {
    let [expiry, session_ids] = fields(body, ["expiry", "sessionIds"])?;
    let mut check = Check::of(project);
    let expiry = check.field("expiry", expiry, |raw| whole_number(raw, 0..=LATEST_END));
    check.field("sessionIds", session_ids, |raw| {
        // To Svix, an empty list may stand for all sessions.
        let is_valid = strings(raw).is_some_and(|ids| {
            (1..=MAX_SESSIONS).contains(&ids.len()) && ids.iter().all(|id| is_session_id(id))
        });
        let rule = || format!("must be a list of 1 to {MAX_SESSIONS} ids of sessions, each once");
        is_valid.then_some(()).ok_or_else(rule)
    });
    // Svix doesn't say what a missing expiry means. Here it means now.
    check.end(Some(portal::revoke_body(expiry.unwrap_or(0), session_ids)))
}

fn check_capabilities(raw: &RawValue) -> Result<(), String> {
    let is_known = |name: &String| CAPABILITIES.contains(&name.as_str());
    let is_valid = strings(raw).is_some_and(|all| !all.is_empty() && all.iter().all(is_known));
    let rule = || format!("must be a list of {}, each once", CAPABILITIES.join(", "));
    is_valid.then_some(()).ok_or_else(rule)
}

fn is_session_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@_-".contains(&byte);
    (1..=MAX_SESSION_ID).contains(&id.len()) && id.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::named;
    use super::*;

    /// The body of the request to Svix, or the fields that break a rule.
    fn portal(body: &str) -> Result<String, Vec<&'static str>> {
        told(portal_request("dev", body.as_bytes()).map(portal::body))
    }

    fn revocation(body: &str) -> Result<String, Vec<&'static str>> {
        told(revoke_request("dev", body.as_bytes()))
    }

    fn told(result: Result<Vec<u8>, Problem>) -> Result<String, Vec<&'static str>> {
        named(result).map(|body| String::from_utf8(body).expect("UTF-8"))
    }

    #[test]
    fn a_link_is_limited_as_svix_takes_it() {
        for (body, expected) in [
            ("", r#"{"expiry":3600}"#),
            (r#"{"expiry":604800.0}"#, r#"{"expiry":604800}"#),
            (
                r#"{ "sessionId": "user_1@a-b", "readOnly": false }"#,
                r#"{"expiry":3600,"readOnly":false,"sessionId":"user_1@a-b"}"#,
            ),
            (
                r#"{"capabilities":["ViewBase","CreateAttempts"],"expiry":3600}"#,
                r#"{"expiry":3600,"capabilities":["ViewBase","CreateAttempts"]}"#,
            ),
        ] {
            assert_eq!(portal(body).as_deref(), Ok(expected), "{body}");
        }
    }

    #[test]
    fn every_limit_that_svix_would_refuse_is_named() {
        for (field, values) in [
            ("expiry", &["3599", "604801", "\"3600\"", "null"][..]),
            (
                "capabilities",
                &[
                    "[]",
                    "\"ViewBase\"",
                    r#"["viewBase"]"#,
                    r#"["ViewBase","ViewBase"]"#,
                    "[1]",
                    "null",
                ],
            ),
            ("readOnly", &["1", "\"true\"", "null"]),
            ("sessionId", &["\"\"", "\"a b\"", "\"a.b\"", "7", "null"]),
        ] {
            for value in values {
                let body = format!(r#"{{"{field}":{value}}}"#);
                assert_eq!(portal(&body), Err(vec![field]), "{body}");
            }
        }
        let longest = "x".repeat(64);
        assert!(portal(&format!(r#"{{"sessionId":"{longest}"}}"#)).is_ok());
        assert!(portal(&format!(r#"{{"sessionId":"{longest}x"}}"#)).is_err());
        let all = r#"{"expiry":1,"capabilities":1,"readOnly":1,"sessionId":1}"#;
        let fields = ["expiry", "capabilities", "readOnly", "sessionId"];
        assert_eq!(portal(all), Err(fields.to_vec()));
    }

    #[test]
    fn links_end_at_once_unless_an_expiry_is_given() {
        for (body, expected) in [
            ("", r#"{"expiry":0}"#),
            (r#"{"expiry":259200}"#, r#"{"expiry":259200}"#),
            (r#"{"sessionIds":["a","b"]}"#, r#"{"expiry":0,"sessionIds":["a","b"]}"#),
        ] {
            assert_eq!(revocation(body).as_deref(), Ok(expected), "{body}");
        }
        let many: Vec<_> = (0..=MAX_SESSIONS).map(|id| format!("\"{id}\"")).collect();
        for ids in ["[]", "[\"\"]", "[\"a\",\"a\"]", "\"a\"", "null"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("[{}]", many.join(","))])
        {
            let body = format!(r#"{{"sessionIds":{ids}}}"#);
            assert_eq!(revocation(&body), Err(vec!["sessionIds"]), "{body}");
        }
        assert_eq!(revocation(r#"{"expiry":259201}"#), Err(vec!["expiry"]));
    }
}
