//! A change that concerns more than one request: one line of the log.

use std::time::Duration;

use serde::Serialize;

use super::line::line;
use crate::api::problem::Problem;
use crate::api::table::Severity;
use crate::auth::known_keys::News;
use crate::identifier::shortened;
use crate::letters::DeadLetter;
use crate::svix::gate::Standing;

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    severity: Severity,
    time: String,
    message: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    svix_message_ids: Vec<String>,
}

impl Change {
    /// `outcome` is the change's name, which never changes.
    fn new(severity: Severity, outcome: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity,
            time: String::new(),
            message: message.into(),
            outcome,
            reason: None,
            seconds: None,
            event_type: None,
            project: None,
            event_id: None,
            svix_message_ids: Vec::new(),
        }
    }

    /// The gate has closed, or closed anew, or opened. `None` if it stays as it was.
    pub fn of_gate(before: &Standing, after: Standing) -> Option<Self> {
        match after {
            // Another project's failure or success leaves a closing as it is.
            Standing::Closed { .. } if *before == after => None,
            Standing::Closed { reason, seconds, project } => {
                let (reason, rest) = (reason.name(), Duration::from_secs_f64(seconds));
                let whose = if project.is_some() { " about one project" } else { "" };
                let message = format!("Svix is not asked{whose} for {rest:?}: {reason}");
                Some(Self {
                    reason: Some(reason),
                    seconds: Some(seconds),
                    project,
                    ..Self::new(Severity::Warning, "gate-closed", message)
                })
            }
            Standing::Open => {
                let opened = || Self::new(Severity::Info, "gate-opened", "Svix takes events again");
                (*before != Standing::Open).then(opened)
            }
        }
    }

    pub fn ready() -> Self {
        Self::new(Severity::Info, "ready", "ready again")
    }

    pub fn not_ready(problem: &Problem) -> Self {
        let row = problem.row();
        Self { reason: Some(row.name), ..Self::new(row.severity, "not-ready", problem.logged()) }
    }

    /// Svix could not be told of an event type.
    pub fn unregistered(event_type: &str, problem: &Problem) -> Self {
        let message = format!("event type not registered: {}", problem.logged());
        Self {
            reason: Some(problem.row().name),
            event_type: Some(shortened(event_type)),
            ..Self::new(Severity::Warning, "event-type-unregistered", message)
        }
    }

    /// The audit has found that a record and Svix don't agree.
    pub fn of_finding(kind: &'static str, project: &str, event_id: &str, ids: &[String]) -> Self {
        let message = format!("the audit has found an event that is {kind}");
        Self {
            reason: Some(kind),
            project: Some(shortened(project)),
            event_id: Some(shortened(event_id)),
            svix_message_ids: ids.iter().map(|id| shortened(id)).collect(),
            ..Self::new(Severity::Error, "audit-finding", message)
        }
    }

    /// A letter was deleted, since no operator has decided on it.
    pub fn of_expired(letter: &DeadLetter) -> Self {
        let DeadLetter { number, reason, .. } = letter;
        let message =
            format!("dead letter {number} ({reason}) has waited for too long, and is deleted");
        Self {
            event_type: letter.event_type.as_deref().map(shortened),
            project: letter.project.as_deref().map(shortened),
            event_id: letter.event_id.as_deref().map(shortened),
            ..Self::new(Severity::Warning, "dead-letter-expired", message)
        }
    }

    /// Google's keys are others now, or can't be fetched.
    pub fn of_keys(news: News) -> Self {
        match news {
            News::Fetched(keys) => {
                let message = format!("keys fetched: {keys}");
                Self::new(Severity::Info, "keys-fetched", message)
            }
            News::Failing { reason, usable } => {
                let severity = if usable { Severity::Warning } else { Severity::Error };
                let message = format!("keys can't be fetched: {reason}");
                Self::new(severity, "keys-failing", message)
            }
        }
    }

    /// The line; `time` in RFC 3339.
    pub fn line(mut self, time: String) -> String {
        self.time = time;
        line(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;
    use crate::svix;
    use crate::svix::gate::Reason;

    #[test]
    fn a_change_says_what_has_changed_and_why() {
        let line = |change: Change| change.line("2026-11-23T14:12:42Z".to_owned());
        let closed = |project: Option<&str>| Standing::Closed {
            reason: Reason::RateLimited,
            seconds: 2.5,
            project: project.map(str::to_owned),
        };
        let of_gate = |before, after| line(Change::of_gate(&before, after).expect("a change"));
        assert_eq!(Change::of_gate(&Standing::Open, Standing::Open), None);
        assert_eq!(Change::of_gate(&closed(None), closed(None)), None);
        assert_eq!(
            of_gate(Standing::Open, closed(Some("dev"))),
            concat!(
                r#"{"severity":"WARNING","time":"2026-11-23T14:12:42Z","#,
                r#""message":"Svix is not asked about one project for 2.5s: rate-limited","#,
                r#""outcome":"gate-closed","reason":"rate-limited","seconds":2.5,"project":"dev"}"#,
                "\n"
            )
        );
        assert_eq!(
            of_gate(Standing::Open, closed(None)),
            concat!(
                r#"{"severity":"WARNING","time":"2026-11-23T14:12:42Z","#,
                r#""message":"Svix is not asked for 2.5s: rate-limited","#,
                r#""outcome":"gate-closed","reason":"rate-limited","seconds":2.5}"#,
                "\n"
            )
        );
        assert_eq!(
            of_gate(closed(None), Standing::Open),
            concat!(
                r#"{"severity":"INFO","time":"2026-11-23T14:12:42Z","#,
                r#""message":"Svix takes events again","outcome":"gate-opened"}"#,
                "\n"
            )
        );
        let problem = Problem::StoreFailing(host::Error {
            what: "read from the store",
            reason: "gone".to_owned(),
        });
        assert_eq!(
            line(Change::not_ready(&problem)),
            concat!(
                r#"{"severity":"ERROR","time":"2026-11-23T14:12:42Z","#,
                r#""message":"failed to read from the store: gone","#,
                r#""outcome":"not-ready","reason":"store-failing"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_type_that_was_not_registered_has_a_line_of_its_own() {
        let problem = Problem::Svix(svix::tests::token_refused());
        assert_eq!(
            Change::unregistered("user.created", &problem).line("2026-11-23T14:12:42Z".to_owned()),
            concat!(
                r#"{"severity":"WARNING","time":"2026-11-23T14:12:42Z","#,
                r#""message":"event type not registered: Svix answered 403, plan_limit: "#,
                r#"check svix_token, its plan, and that svix_url is of the same region","#,
                r#""outcome":"event-type-unregistered","reason":"token-refused","#,
                r#""eventType":"user.created"}"#,
                "\n"
            )
        );
    }
}
