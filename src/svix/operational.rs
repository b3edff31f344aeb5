//! Operational webhooks: the reports of Svix on customers' endpoints.

use serde_json::value::RawValue;

use crate::identifier;
use crate::json;
use crate::time::parse_rfc3339;

/// The types that the relay knows, as metrics name them. All others are counted as [`OTHER`].
pub const TYPES: [&str; 8] = [
    "endpoint.created",
    "endpoint.deleted",
    "endpoint.disabled",
    "endpoint.enabled",
    "endpoint.updated",
    "message.attempt.exhausted",
    "message.attempt.failing",
    "message.attempt.recovered",
];

pub const OTHER: &str = "other";

/// An operational webhook, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// One of [`TYPES`], or [`OTHER`].
    pub kind: &'static str,
    /// The endpoint, and the message if there is one. `None` for another type, and for an application without a uid.
    pub subject: Option<Subject>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub project: String,
    pub endpoint_id: String,
    /// The message of an attempt.
    pub message: Option<Message>,
    /// Since when a disabled endpoint has failed, in RFC 3339.
    pub failing_since: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: String,
    /// The eventId under which Svix stores it. `None` for a message that another sender posted without one.
    pub event_id: Option<String>,
    /// The last attempt's time, in RFC 3339.
    pub attempted_at: String,
}

impl Report {
    /// Reads the body of an operational webhook. `None` if it isn't one.
    pub fn read(body: &[u8]) -> Option<Self> {
        let text = str::from_utf8(body).ok()?;
        let [kind, data] = json::pick(text, ["type", "data"]).ok()?;
        let kind = json::string(kind?)?;
        let kind = TYPES.into_iter().find(|known| *known == kind);
        let fields = ["appUid", "endpointId", "msgId", "msgEventId", "lastAttempt", "failSince"];
        let fields = json::pick(data?.get(), fields).ok()?;
        Some(Self {
            kind: kind.unwrap_or(OTHER),
            subject: kind.and_then(|kind| Subject::of(kind, fields)),
        })
    }

    /// Whether Svix has given a message up.
    pub fn is_exhausted(&self) -> bool {
        self.kind == "message.attempt.exhausted"
    }
}

impl Subject {
    fn of(
        kind: &str,
        [app, endpoint, id, event_id, attempt, since]: [Option<&RawValue>; 6],
    ) -> Option<Self> {
        let text = |raw: Option<&RawValue>| Some(json::string(raw?)?.into_owned());
        // Both become parts of paths.
        let project = text(app).filter(|uid| identifier::check_project(uid).is_ok())?;
        let endpoint_id = text(endpoint).filter(|id| identifier::check_path_segment(id).is_ok())?;
        let message = || {
            let [attempted_at] = json::pick(attempt?.get(), ["timestamp"]).ok()?;
            Some(Message {
                id: text(id)?,
                event_id: text(event_id),
                attempted_at: text(attempted_at)?,
            })
        };
        let message = if kind.starts_with("message.") { Some(message()?) } else { None };
        Some(Self {
            project,
            endpoint_id,
            message,
            failing_since: text(since).filter(|since| parse_rfc3339(since).is_some()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_svix_sends() {
        let body = br#"{"data":{"appId":"app_1","appUid":"dev","endpointId":"ep_1","lastAttempt":{"id":"atmpt_1","responseStatusCode":500,"timestamp":"2026-11-26T07:06:38.526057Z"},"msgEventId":"evt_1","msgId":"msg_1"},"type":"message.attempt.exhausted"}"#;
        let report = Report::read(body).expect("readable");
        assert!(report.is_exhausted());
        let message = Message {
            id: "msg_1".to_owned(),
            event_id: Some("evt_1".to_owned()),
            attempted_at: "2026-11-26T07:06:38.526057Z".to_owned(),
        };
        let subject = Subject {
            project: "dev".to_owned(),
            endpoint_id: "ep_1".to_owned(),
            message: Some(message),
            failing_since: None,
        };
        assert_eq!(report.subject, Some(subject));
        let body = br#"{"data":{"appId":"app_1","appUid":"dev","endpointId":"ep_1","endpointUid":null},"type":"endpoint.disabled"}"#;
        let report = Report::read(body).expect("readable");
        assert!(!report.is_exhausted());
        assert!(report.subject.is_some_and(|subject| subject.message.is_none()));
    }

    #[test]
    fn a_report_of_something_else_has_no_subject() {
        for (kind, data) in [
            ("endpoint.renamed", r#"{"appUid":"dev","endpointId":"ep_1"}"#),
            ("endpoint.disabled", r#"{"appUid":null,"endpointId":"ep_1"}"#),
            ("endpoint.disabled", r#"{"appUid":"app_1","endpointId":"ep_1"}"#),
            ("endpoint.disabled", r#"{"appUid":"dev/../x","endpointId":"ep_1"}"#),
            ("endpoint.disabled", r#"{"appUid":"dev","endpointId":".."}"#),
            ("endpoint.disabled", r#"{"appUid":"dev","endpointId":"a/b"}"#),
            (
                "message.attempt.exhausted",
                r#"{"appUid":"dev","endpointId":"ep_1","msgId":"msg_1"}"#,
            ),
        ] {
            let body = format!(r#"{{"type":"{kind}","data":{data}}}"#);
            let report = Report::read(body.as_bytes()).expect("readable");
            assert_eq!(report.subject, None, "{body}");
        }
    }

    #[test]
    fn other_bodies_are_no_reports() {
        for body in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"type":"endpoint.disabled"}"#,
            r#"{"type":7,"data":{}}"#,
            r#"{"type":"a","data":[]}"#,
        ] {
            assert_eq!(Report::read(body.as_bytes()), None, "{body}");
        }
        assert_eq!(Report::read(b"\xff"), None);
    }
}
