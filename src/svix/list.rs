//! A project's messages as Svix lists them, page by page, newest first.

use std::time::SystemTime;

use serde::Deserialize;

use super::{Answer, Error, message};
use crate::identifier;
use crate::time::rfc3339;

/// The part of a message that tells which event it is of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    pub id: String,
    /// `None` if another sender than the relay posted the message without an id.
    pub event_id: Option<String>,
    /// When Svix stored the message, in RFC 3339.
    pub timestamp: String,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    pub messages: Vec<Message>,
    /// The iterator of the next page. `None` at the end.
    pub next: Option<String>,
}

/// The path, with query, of the request for a page of the messages that Svix stored at `after` or later,
/// and before `before`. Without both bounds Svix would begin with other messages.
pub fn path(
    project: &str,
    after: SystemTime,
    before: SystemTime,
    iterator: Option<&str>,
) -> String {
    let (after, before) = (rfc3339(after), rfc3339(before));
    let mut path = format!(
        "/api/v1/app/{project}/msg/?limit=250&with_content=false&after={after}&before={before}"
    );
    if let Some(iterator) = iterator {
        path.push_str("&iterator=");
        path.push_str(iterator);
    }
    path
}

/// The page in an answer. `None` if Svix has no such application.
pub fn classify(answer: &Answer) -> Result<Option<Page>, Error> {
    #[derive(Deserialize)]
    struct Body {
        data: Vec<Message>,
        iterator: Option<String>,
        done: bool,
    }
    answer.existing(|| {
        let body: Body = answer.json()?;
        let next = body.iterator.filter(|_| !body.done);
        // The iterator becomes part of a path. A page without messages that isn't the last may begin a list without
        // end.
        let leads_on = next
            .as_ref()
            .map_or(body.done, |next| !body.data.is_empty() && identifier::check(next).is_ok());
        let messages = body.data;
        let are_of_svix = messages.iter().all(|message| message::is_id(&message.id));
        (leads_on && are_of_svix).then_some(Page { messages, next })
    })
}

/// When Svix stored the message that was looked up by `id`, as Svix writes it. `None` if Svix doesn't hold it.
pub fn classify_held(answer: &Answer, id: &str) -> Result<Option<String>, Error> {
    #[derive(Deserialize)]
    struct Body {
        id: String,
        #[serde(default)]
        timestamp: String,
    }
    answer.existing(|| {
        let body: Body = answer.json()?;
        (body.id == id).then_some(body.timestamp)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Cause;
    use super::super::tests::{answer, error_body, refusal};
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_page_is_asked_for_with_both_bounds() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let first = "/api/v1/app/dev/msg/?limit=250&with_content=false\
                     &after=1970-01-01T00:00:01Z&before=1970-01-01T00:00:09Z";
        assert_eq!(path("dev", at(1), at(9), None), first);
        let next = format!("{first}&iterator=msg_1");
        assert_eq!(path("dev", at(1), at(9), Some("msg_1")), next);
    }

    #[test]
    fn a_page_names_its_messages_and_the_next_page() {
        let message = |id: &str, event_id: Option<&str>| Message {
            id: id.to_owned(),
            event_id: event_id.map(str::to_owned),
            timestamp: "2026-11-23T14:12:42Z".to_owned(),
        };
        let data = r#""data":[
            {"id":"msg_2","eventId":null,"timestamp":"2026-11-23T14:12:42Z","payload":{},"channels":null},
            {"id":"msg_1","eventId":"evt_1","timestamp":"2026-11-23T14:12:42Z"}]"#;
        for (done, next) in [(false, Some("msg_1".to_owned())), (true, None)] {
            let body = format!(r#"{{{data},"iterator":"msg_1","done":{done}}}"#);
            let expected = Page {
                messages: vec![message("msg_2", None), message("msg_1", Some("evt_1"))],
                next,
            };
            assert_eq!(classify(&answer(200, &body)), Ok(Some(expected)));
        }
    }

    #[test]
    fn a_page_that_leads_nowhere_is_not_of_svix() {
        for body in [
            "",
            "{}",
            r#"{"data":[],"iterator":null,"done":false}"#,
            r#"{"data":[],"iterator":"msg_1","done":false}"#,
            r#"{"data":[{"id":"msg_1","eventId":"evt_1","timestamp":""}],"iterator":"a&limit=1","done":false}"#,
            r#"{"data":[{"eventId":"evt_1"}],"iterator":null,"done":true}"#,
            r#"{"data":[{"id":"msg_1?","timestamp":""}],"iterator":null,"done":true}"#,
        ] {
            let unexpected = Err(Cause::NotSvix(200).into());
            assert_eq!(classify(&answer(200, body)), unexpected, "{body}");
        }
    }

    #[test]
    fn a_missing_application_has_no_messages() {
        let missing = answer(404, &error_body("not_found"));
        assert_eq!(classify(&missing), Ok(None));
        let unexpected = Err(Cause::NotSvix(404).into());
        assert_eq!(classify(&answer(404, "")), unexpected);
    }

    #[test]
    fn only_the_message_itself_is_held() {
        let held = |status, body: &str| classify_held(&answer(status, body), "msg_1");
        let at = "2026-11-23T14:12:42Z";
        let body = format!(r#"{{"id":"msg_1","eventId":null,"timestamp":"{at}"}}"#);
        assert_eq!(held(200, &body), Ok(Some(at.to_owned())));
        assert_eq!(held(200, r#"{"id":"msg_1"}"#), Ok(Some(String::new())));
        assert_eq!(held(404, &error_body("not_found")), Ok(None));
        let unexpected = Err(Cause::NotSvix(200).into());
        assert_eq!(held(200, r#"{"id":"msg_2"}"#), unexpected);
        let unforeseen = Err(Cause::UnknownError(refusal(404, "other")).into());
        assert_eq!(held(404, &error_body("other")), unforeseen);
    }
}
