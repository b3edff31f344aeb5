//! The one line that each request leaves on standard output: JSON, in the field names that log
//! collectors know. Never a payload, never a secret.

use std::fmt::Write as _;

use serde::Serialize;

use crate::event::shortened;
use crate::notification::{Delivery, Hints, Source};
use crate::problem::{Problem, Severity};
use crate::reply::Success;

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
}

impl Entry {
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

    /// Notes which event it is about.
    pub fn event(&mut self, project: &str, id: &str) {
        self.project = Some(shortened(project));
        self.event_id = Some(shortened(id));
    }

    /// Notes the event's type.
    pub fn event_type(&mut self, event_type: &str) {
        self.event_type = Some(shortened(event_type));
    }

    /// Notes under which id Svix holds the message.
    pub fn svix_message_id(&mut self, id: &str) {
        self.svix_message_id = Some(shortened(id));
    }

    /// Notes why an event became a dead letter.
    pub fn reason(&mut self, problem: &Problem) {
        self.reason = Some(problem.answer().name);
        self.message = problem.logged();
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
        line(&self)
    }
}

/// The line, with its end, that says what has changed beyond one request; `time` in RFC 3339.
pub fn change(severity: Severity, outcome: &'static str, message: &str, time: String) -> String {
    #[derive(Serialize)]
    struct Change<'a> {
        severity: Severity,
        time: String,
        message: &'a str,
        outcome: &'static str,
    }
    line(&Change {
        severity,
        time,
        message,
        outcome,
    })
}

fn line(value: &impl Serialize) -> String {
    // Strings and numbers only: this can't fail.
    let json = serde_json::to_string(value).unwrap_or_default();
    let mut line = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        // JSON allows DEL and the control characters above it; terminals obey them.
        if character.is_control() {
            let _ = write!(line, "\\u{:04x}", u32::from(character));
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::HostError;

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
