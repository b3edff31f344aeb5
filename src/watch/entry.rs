//! One request's line of the log, filled in while the request is handled, in the field names that log
//! collectors know. The line never holds a payload or a secret.

use serde::Serialize;

use super::line::line;
use super::trace::Trace;
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::api::table::Severity;
use crate::auth::Caller;
use crate::event::arrival::{Arrival, Source};
use crate::event::notification::UncheckedFields;
use crate::identifier::{shorten, shortened};

/// The line, as far as the request has come.
///
/// | stage | setters | reached by |
/// | --- | --- | --- |
/// | the route is found, or not | [`Self::of_notification`], [`Self::set_asked`] | notifications; unrouted requests |
/// | the token is checked | [`Self::set_caller`] | operators and dashboards |
/// | the body is read | [`Self::set_arrival`] | notifications, replays, samples |
/// | the event's fields are seen, unchecked | [`Self::set_unchecked_fields`] | notifications |
/// | the event is named | [`Self::set_event`] | valid events for customers; other requests about an event |
/// | the dead letter is kept | [`Self::set_reason`] | events from Pub/Sub |
/// | the request is over | [`Self::set_result`] | each request with a line, each letter of a replay |
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the line")]
pub struct Entry {
    severity: Option<Severity>,
    time: String,
    /// The outcome, unless there is more to say.
    pub message: String,
    pub outcome: &'static str,
    status: u16,
    duration_ms: u64,
    /// The name of the operator that asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<&'static str>,
    /// Whether a token of the project has let the request in.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    project_token: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub svix_message_id: Option<String>,
    /// How often this request posted the event to Svix.
    pub attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pubsub_message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ordering_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_attempt: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<u64>,
    /// Why an event became a dead letter, or the type of a report of Svix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    #[serde(skip)]
    pub trace: Option<Trace>,
    /// Whether only Svix knows if it has the message.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub left_unknown: bool,
    /// Whether a duplicate has other bytes than the event that was delivered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub content_differs: bool,
    /// The `by_lookup` of [`Success::Delivered`]. Svix may have stored the message without ever sending it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    found: bool,
    #[serde(skip)]
    counted: Counted,
    /// Method and path of a request that no route fits.
    #[serde(skip)]
    asked: Option<String>,
}

/// As what the metrics count a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Counted {
    #[default]
    Not,
    Notification,
    /// A notification that holds a valid event.
    Event,
}

impl Entry {
    pub fn of_notification(trace: Trace) -> Self {
        Self { counted: Counted::Notification, trace: Some(trace), ..Self::default() }
    }

    pub fn is_notification(&self) -> bool {
        self.counted != Counted::Not
    }

    /// The project of a valid event. In an invalid event the field can hold any text.
    pub fn counted_project(&self) -> Option<&str> {
        self.project.as_deref().filter(|_| self.counted == Counted::Event)
    }

    pub fn set_caller(&mut self, caller: Caller) {
        match caller {
            Caller::Operator(operator) => self.operator = Some(&operator.name),
            Caller::Project => self.project_token = true,
        }
    }

    /// Method and path, without its query: a sender may have a secret there.
    pub fn set_asked(&mut self, method: &str, path: &str) {
        let path = path.split('?').next().unwrap_or_default();
        self.asked = Some(format!("{} {}", shortened(method), shortened(path)));
    }

    pub fn set_arrival(&mut self, source: Source, arrival: &Arrival) {
        self.source = Some(source);
        self.pubsub_message_id = arrival.pubsub_message_id.as_deref().map(shortened);
        self.ordering_key.clone_from(&arrival.ordering_key);
        self.delivery_attempt = arrival.attempt;
    }

    /// Takes over the readable fields of an event that may be invalid.
    pub fn set_unchecked_fields(&mut self, fields: UncheckedFields) {
        self.project = fields.project;
        self.event_id = fields.id;
        self.event_type = fields.event_type;
    }

    /// Names the event. A notification then counts as one that holds a valid event, so call this only once its event is
    /// checked. Other requests may pass names that no rule has checked.
    pub fn set_event(&mut self, project: &str, id: &str) {
        if self.is_notification() {
            self.counted = Counted::Event;
        }
        self.project = Some(project.to_owned());
        // The id may be as long as the body.
        self.event_id = Some(shortened(id));
    }

    /// Sets the message of a success that an operator should hear of.
    pub fn warn(&mut self, message: String) {
        self.severity = Some(Severity::Warning);
        self.message = message;
    }

    /// Why an event became a dead letter.
    pub fn set_reason(&mut self, problem: &Problem) {
        self.reason = Some(problem.row().name);
        self.message = problem.logged();
    }

    pub fn set_result(&mut self, result: &Result<Success, Problem>) {
        match result {
            Ok(success) => self.success(success),
            Err(problem) => self.problem(problem),
        }
    }

    fn success(&mut self, success: &Success) {
        self.severity.get_or_insert(Severity::Info);
        self.outcome = success.name();
        self.status = 200;
        if self.message.is_empty() {
            self.outcome.clone_into(&mut self.message);
        }
        match success {
            Success::Delivered { by_lookup, .. } => self.found = *by_lookup,
            Success::DeadLettered { number, differs } => {
                self.severity = Some(Severity::Warning);
                self.dead_letter = Some(*number);
                self.content_differs = *differs;
                if *differs {
                    "another event waits under this id".clone_into(&mut self.message);
                }
            }
            Success::Unlisted => {
                self.severity = Some(Severity::Warning);
                "event_types doesn't say for whom this type is".clone_into(&mut self.message);
            }
            Success::Duplicate { differs: true, .. } => {
                self.severity = Some(Severity::Warning);
                self.content_differs = true;
                "another event was delivered under this id".clone_into(&mut self.message);
            }
            _ => {}
        }
    }

    fn problem(&mut self, problem: &Problem) {
        let row = problem.row();
        self.severity = Some(row.severity);
        self.outcome = row.name;
        self.message = format!("{}: {}", row.title, problem.logged());
        if let Some(asked) = &self.asked {
            self.message += ": ";
            self.message += asked;
        }
        self.status = row.status;
    }

    /// The line; `time` in RFC 3339.
    pub fn line(mut self, time: String, duration_ms: u64) -> String {
        self.time = time;
        self.duration_ms = duration_ms;
        let texts = [&mut self.project, &mut self.event_type, &mut self.svix_message_id];
        texts.into_iter().flatten().for_each(shorten);
        (self.trace_id, self.span_id) = self.trace.take().map(Trace::into_ids).unzip();
        line(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::route::NoRoute;
    use crate::host;

    fn line(fill: impl FnOnce(&mut Entry)) -> String {
        let mut entry = Entry::default();
        fill(&mut entry);
        entry.line("2026-11-23T14:12:42Z".to_owned(), 7)
    }

    #[test]
    fn a_line_holds_the_known_fields_and_no_others() {
        let line = line(|entry| {
            let arrival = Arrival {
                pubsub_message_id: Some("136969346945".to_owned()),
                attempt: Some(5),
                ordering_key: Some("usr_1".to_owned()),
                ..Arrival::default()
            };
            entry.set_arrival(Source::Wrapped, &arrival);
            entry.set_event("dev", "evt_1");
            entry.event_type = Some("user.created".to_owned());
            entry.attempts = 1;
            entry.svix_message_id = Some("msg_1".to_owned());
            entry.success(&Success::document("delivered", &()));
        });
        assert_eq!(
            line,
            concat!(
                r#"{"severity":"INFO","time":"2026-11-23T14:12:42Z","message":"delivered","#,
                r#""outcome":"delivered","status":200,"durationMs":7,"project":"dev","#,
                r#""eventId":"evt_1","eventType":"user.created","svixMessageId":"msg_1","#,
                r#""attempts":1,"source":"wrapped","pubsubMessageId":"136969346945","#,
                r#""orderingKey":"usr_1","deliveryAttempt":5}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_request_without_a_route_is_named_without_its_query() {
        let line = line(|entry| {
            entry.set_asked("POST", "/notifications/?token=hush");
            entry.problem(&Problem::NoRoute(NoRoute::NotFound));
        });
        assert!(line.contains("POST /notifications/\""), "{line}");
        assert!(!line.contains("hush"));
    }

    #[test]
    fn a_method_of_any_length_is_shown_shortened() {
        let line = line(|entry| {
            entry.set_asked(&"LONG".repeat(10_000), "/");
            entry.problem(&Problem::NoRoute(NoRoute::NotFound));
        });
        assert!(line.contains("LONGLONG") && line.len() < 1_000, "{line}");
    }

    #[test]
    fn only_the_project_of_a_valid_event_is_counted() {
        let trace = Trace::of(None, "", &mut fastrand::Rng::with_seed(1));
        let mut entry = Entry::of_notification(trace);
        entry.set_unchecked_fields(UncheckedFields {
            project: Some("anything".to_owned()),
            ..UncheckedFields::default()
        });
        assert_eq!(entry.counted_project(), None);
        entry.set_event("dev", "evt_1");
        assert_eq!(entry.counted_project(), Some("dev"));
    }

    #[test]
    fn nothing_from_outside_can_break_or_flood_the_line() {
        let id = format!("a\n\u{2028}\u{9b}31m\u{7f}\"{}", "ä".repeat(10_000));
        let line = line(|entry| {
            entry.set_event("dev", &id);
            entry.problem(&Problem::StoreFailing(host::Error {
                what: "read from the store",
                reason: "two\nlines".to_owned(),
            }));
        });
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.len() < 1_000);
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert!(!line.trim_end().contains(char::is_control), "{line}");
        assert!(value["eventId"].as_str().is_some_and(|id| id.starts_with("a\n\u{2028}\u{9b}")));
        assert_eq!(value["outcome"], "store-failing");
        assert_eq!(value["severity"], "ERROR");
    }
}
