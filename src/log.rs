//! What is left on standard output: one line for each request, and one for each change that concerns
//! more than one request. JSON, in the field names that log collectors know. Never a payload, never a
//! secret.

use std::fmt::Write as _;

use serde::Serialize;

use crate::event::shortened;
use crate::gate::Closing;
use crate::notification::{Delivery, Hints, Source};
use crate::problem::{Problem, Severity};
use crate::reply::Success;
use crate::trace::Trace;

/// What is known of a request, filled in while it is handled.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    severity: Option<Severity>,
    time: String,
    message: String,
    outcome: &'static str,
    status: u16,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    svix_message_id: Option<String>,
    /// How often Svix was sent the message for this request.
    pub attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pubsub_message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_attempt: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    /// The trace that the request belongs to.
    #[serde(skip)]
    pub trace: Option<Trace>,
    /// Whether nobody knows whether Svix has the message: the next delivery asks first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub left_unknown: bool,
    /// Whether it is a notification, and so to be counted.
    #[serde(skip)]
    pub notification: bool,
    /// Whether it holds a valid event.
    #[serde(skip)]
    valid: bool,
}

impl Entry {
    /// How the request ended.
    pub fn outcome(&self) -> &'static str {
        self.outcome
    }

    /// The project of a valid event: what else a sender writes there can be anything.
    pub fn counted_project(&self) -> Option<&str> {
        self.project.as_deref().filter(|_| self.valid)
    }

    /// Notes where the notification came from.
    pub fn delivery(&mut self, delivery: &Delivery) {
        self.source = Some(delivery.source);
        self.pubsub_message_id = delivery.message_id.as_deref().map(shortened);
        self.delivery_attempt = delivery.attempt;
    }

    /// Notes what could be read of an event that may not be valid.
    pub fn hints(&mut self, hints: Hints) {
        self.project = hints.project;
        self.event_id = hints.id;
        self.event_type = hints.event_type;
    }

    /// Notes which valid event it is about.
    pub fn event(&mut self, project: &str, id: &str) {
        self.valid = true;
        self.project = Some(shortened(project));
        self.event_id = Some(shortened(id));
    }

    /// Notes which project it is about.
    pub fn project(&mut self, project: &str) {
        self.project = Some(shortened(project));
    }

    /// Notes the event's type.
    pub fn event_type(&mut self, event_type: &str) {
        self.event_type = Some(shortened(event_type));
    }

    /// Notes under which id Svix holds the message.
    pub fn svix_message_id(&mut self, id: &str) {
        self.svix_message_id = Some(shortened(id));
    }

    /// Notes which dead letter it is about.
    pub fn dead_letter(&mut self, number: u64) {
        self.dead_letter = Some(number);
    }

    /// Says more than the outcome does.
    pub fn say(&mut self, message: String) {
        self.message = message;
    }

    /// Notes why an event became a dead letter.
    pub fn reason(&mut self, problem: &Problem) {
        self.reason = Some(problem.answer().name);
        self.message = problem.logged();
    }

    /// Notes how the request ended.
    pub fn result(&mut self, result: &Result<Success, Problem>) {
        match result {
            Ok(success) => self.success(success),
            Err(problem) => self.problem(problem),
        }
    }

    /// Notes that the request was fulfilled.
    pub fn success(&mut self, success: &Success) {
        self.severity = Some(Severity::Info);
        self.outcome = success.name();
        self.status = 200;
        if self.message.is_empty() {
            self.outcome.clone_into(&mut self.message);
        }
        if let Success::DeadLettered(number) = success {
            self.severity = Some(Severity::Warning);
            self.dead_letter = Some(*number);
        }
    }

    /// Notes that it was not.
    pub fn problem(&mut self, problem: &Problem) {
        let answer = problem.answer();
        self.severity = Some(answer.severity);
        self.outcome = answer.name;
        self.message = format!("{}: {}", answer.title, problem.logged());
        self.status = answer.status;
    }

    /// The line, with its end; `time` in RFC 3339.
    pub fn line(mut self, time: String, duration_ms: u64) -> String {
        self.time = time;
        self.duration_ms = duration_ms;
        (self.trace_id, self.span_id) = self.trace.take().map(Trace::into_ids).unzip();
        line(&self)
    }
}

/// A change that concerns all requests to come.
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
}

impl Change {
    /// Something has changed: `outcome` is its stable name.
    pub fn new(severity: Severity, outcome: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity,
            time: String::new(),
            message: message.into(),
            outcome,
            reason: None,
            seconds: None,
            event_type: None,
        }
    }

    /// The gate has closed, or closed anew, or opened; `None`: only what it knows has changed.
    pub fn of_gate(before: Option<Closing>, after: Option<Closing>) -> Option<Self> {
        if let Some(closing) = after {
            let (reason, rest) = (closing.reason.name(), closing.rest);
            let message = format!("Svix is left alone for {rest:?}: {reason}");
            return Some(Self {
                reason: Some(reason),
                seconds: Some(rest.as_secs_f64()),
                ..Self::new(Severity::Warning, "gate-closed", message)
            });
        }
        let opened = || Self::new(Severity::Info, "gate-opened", "Svix takes events again");
        before.map(|_| opened())
    }

    /// Events could be delivered again.
    pub fn ready() -> Self {
        Self::new(Severity::Info, "ready", "ready again")
    }

    /// No event could be delivered.
    pub fn not_ready(problem: &Problem) -> Self {
        let answer = problem.answer();
        Self {
            reason: Some(answer.name),
            ..Self::new(answer.severity, "not-ready", problem.logged())
        }
    }

    /// Svix could not be told of an event type.
    pub fn unregistered(event_type: &str, problem: &Problem) -> Self {
        let message = format!("event type not registered: {}", problem.logged());
        Self {
            reason: Some(problem.answer().name),
            event_type: Some(shortened(event_type)),
            ..Self::new(Severity::Warning, "event-type-unregistered", message)
        }
    }

    /// The line, with its end; `time` in RFC 3339.
    pub fn line(mut self, time: String) -> String {
        self.time = time;
        line(&self)
    }
}

/// A line of the log. JSON allows DEL and the control characters above it; terminals obey them.
fn line(value: &impl Serialize) -> String {
    // Strings and numbers only: this can't fail.
    let json = serde_json::to_string(value).unwrap_or_default();
    let mut line = if json.bytes().any(|byte| matches!(byte, 0x7f | 0xc2)) {
        escaped(&json)
    } else {
        json
    };
    line.push('\n');
    line
}

/// With every control character as JSON's escape.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if character.is_control() {
            // Writing to a String can't fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Reason;
    use crate::problem::HostError;
    use crate::svix::Misconfiguration;
    use std::time::Duration;

    fn line(fill: impl FnOnce(&mut Entry)) -> String {
        let mut entry = Entry::default();
        fill(&mut entry);
        entry.line("2026-11-23T14:12:42Z".to_owned(), 7)
    }

    #[test]
    fn holds_what_is_known_and_nothing_else() {
        let line = line(|entry| {
            entry.delivery(&Delivery {
                source: Source::Wrapped,
                message_id: Some("136969346945".to_owned()),
                attempt: Some(5),
                publish_time: None,
            });
            entry.event("dev", "evt_1");
            entry.event_type("user.created");
            entry.attempts = 1;
            entry.svix_message_id("msg_1");
            entry.success(&Success::document("delivered", &()));
        });
        assert_eq!(
            line,
            concat!(
                r#"{"severity":"INFO","time":"2026-11-23T14:12:42Z","message":"delivered","#,
                r#""outcome":"delivered","status":200,"durationMs":7,"project":"dev","#,
                r#""eventId":"evt_1","eventType":"user.created","svixMessageId":"msg_1","#,
                r#""attempts":1,"source":"wrapped","pubsubMessageId":"136969346945","#,
                r#""deliveryAttempt":5}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_change_says_what_has_changed_and_why() {
        let line = |change: Change| change.line("2026-11-23T14:12:42Z".to_owned());
        let closing = Closing {
            reason: Reason::RateLimited,
            rest: Duration::from_millis(2_500),
            probing: false,
        };
        let of_gate = |before, after| line(Change::of_gate(before, after).expect("a change"));
        assert_eq!(Change::of_gate(None, None), None);
        assert_eq!(
            of_gate(None, Some(closing)),
            concat!(
                r#"{"severity":"WARNING","time":"2026-11-23T14:12:42Z","#,
                r#""message":"Svix is left alone for 2.5s: rate-limited","#,
                r#""outcome":"gate-closed","reason":"rate-limited","seconds":2.5}"#,
                "\n"
            )
        );
        assert_eq!(
            of_gate(Some(closing), None),
            concat!(
                r#"{"severity":"INFO","time":"2026-11-23T14:12:42Z","#,
                r#""message":"Svix takes events again","outcome":"gate-opened"}"#,
                "\n"
            )
        );
        let problem = Problem::StoreFailing(HostError {
            what: "read the record",
            reason: "gone".to_owned(),
        });
        assert_eq!(
            line(Change::not_ready(&problem)),
            concat!(
                r#"{"severity":"ERROR","time":"2026-11-23T14:12:42Z","#,
                r#""message":"failed to read the record: gone","#,
                r#""outcome":"not-ready","reason":"store-failing"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_type_that_was_not_registered_has_a_line_of_its_own() {
        let problem = Problem::Misconfigured(Misconfiguration::TokenRefused);
        assert_eq!(
            Change::unregistered("user.created", &problem).line("2026-11-23T14:12:42Z".to_owned()),
            concat!(
                r#"{"severity":"WARNING","time":"2026-11-23T14:12:42Z","#,
                r#""message":"event type not registered: check svix_token, "#,
                r#"and that svix_url is of the same region","#,
                r#""outcome":"event-type-unregistered","reason":"token-refused","#,
                r#""eventType":"user.created"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn only_the_project_of_a_valid_event_is_counted() {
        let mut entry = Entry::default();
        entry.hints(Hints {
            project: Some("anything".to_owned()),
            ..Hints::default()
        });
        assert_eq!(entry.counted_project(), None);
        entry.event("dev", "evt_1");
        assert_eq!(entry.counted_project(), Some("dev"));
    }

    #[test]
    fn nothing_from_outside_can_break_or_flood_the_line() {
        let id = format!("a\n\u{2028}\u{9b}31m\u{7f}\"{}", "ä".repeat(10_000));
        let line = line(|entry| {
            entry.event("dev", &id);
            entry.problem(&Problem::StoreFailing(HostError {
                what: "read the record",
                reason: "two\nlines".to_owned(),
            }));
        });
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.len() < 1_000);
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert!(!line.trim_end().contains(char::is_control), "{line}");
        assert!(
            value["eventId"]
                .as_str()
                .is_some_and(|id| id.starts_with("a\n\u{2028}\u{9b}"))
        );
        assert_eq!(value["outcome"], "store-failing");
        assert_eq!(value["severity"], "ERROR");
    }
}
