//! A message of Pub/Sub: an event, how it is pushed, and what became of its deliveries so far.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use super::event::Event;
use super::outcome::Outcome;

/// Why a message is delivered again although it was acknowledged: Pub/Sub promises no more than
/// at least once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicate {
    /// Two deliveries at the same time.
    AtOnce,
    /// Some time after the acknowledgement.
    Later,
    /// After the acknowledgement and the next start of the relay.
    AfterRestart,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// What it carries.
    pub event: Event,
    /// Whether and when it comes twice.
    pub duplicate: Option<Duplicate>,
    number: u64,
    published: String,
    history: Vec<Step>,
}

/// One delivery: when it was sent, since the start of the soak, and what came of it.
#[derive(Clone, Copy, Debug)]
struct Step {
    sent: Duration,
    took: Duration,
    outcome: Outcome,
}

impl Message {
    /// A message that was published at a time, given in RFC 3339.
    #[must_use]
    pub fn new(number: u64, event: Event, published: &str, duplicate: Option<Duplicate>) -> Self {
        Self {
            event,
            duplicate,
            number,
            published: published.to_owned(),
            history: Vec::new(),
        }
    }

    /// The body of its push request, in the wrapped form. A redelivery has the same.
    #[must_use]
    pub fn wrapped(&self) -> Bytes {
        let data = BASE64_STANDARD.encode(&self.event.text);
        let (id, time) = (self.number, &self.published);
        let project = self.event.project;
        format!(
            r#"{{"message":{{"data":"{data}","attributes":{{"project":"{project}"}},"messageId":"{id}","message_id":"{id}","publishTime":"{time}","publish_time":"{time}"}},"subscription":"projects/platform/subscriptions/svix-relay"}}"#
        )
        .into()
    }

    /// Adds a delivery to the history.
    pub fn note(&mut self, sent: Duration, took: Duration, outcome: Outcome) {
        self.history.push(Step {
            sent,
            took,
            outcome,
        });
    }

    /// When it was first acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> Option<Duration> {
        let mut steps = self.history.iter();
        let first = steps.find(|step| step.outcome.is_ack())?;
        Some(first.sent + first.took)
    }

    /// How each of its deliveries ended.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.history.iter().map(|step| step.outcome)
    }

    /// How often it was delivered, successfully or not.
    #[must_use]
    pub fn deliveries(&self) -> usize {
        self.history.len()
    }

    /// Whether the relay forgot it: it had acknowledged it, and did not know of it when it got it
    /// again. The message in Svix may then still be only one, but by Svix's memory alone.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        let acknowledged = self.acknowledged();
        let mut later = self
            .history
            .iter()
            .filter(|step| acknowledged.is_some_and(|at| at < step.sent));
        later.any(|step| step.outcome.is_ack() && !step.outcome.is_duplicate())
    }
}

impl fmt::Display for Message {
    /// The event's id and all that happened to it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}:", self.event.id, self.event.project)?;
        if self.history.is_empty() {
            f.write_str(" never delivered")?;
        }
        for Step {
            sent,
            took,
            outcome,
        } in &self.history
        {
            let (sent, took) = (sent.as_secs_f64(), took.as_millis());
            write!(f, " [{sent:.3} s: {outcome} after {took} ms]")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn message() -> Message {
        let event = Event {
            id: "evt_1".to_owned(),
            project: "dev",
            text: Bytes::from_static(br#"{"n":10.0}"#),
        };
        Message::new(7, event, "2026-11-23T14:12:42.123Z", None)
    }

    fn after(steps: &[(u64, u64, u16, &str)]) -> Message {
        let mut message = message();
        for (sent, took, status, said) in steps {
            let body = format!(r#"{{"status":"{said}"}}"#);
            let outcome = Outcome::of_reply(*status, body.as_bytes());
            let [sent, took] = [*sent, *took].map(Duration::from_millis);
            message.note(sent, took, outcome);
        }
        message
    }

    #[test]
    fn is_pushed_as_pubsub_wraps_it() {
        let body: Value = serde_json::from_slice(&message().wrapped()).unwrap();
        assert_eq!(body["message"]["data"], "eyJuIjoxMC4wfQ==");
        assert_eq!(body["message"]["messageId"], "7");
        assert_eq!(body["message"]["publishTime"], "2026-11-23T14:12:42.123Z");
        assert!(body["subscription"].is_string());
    }

    #[test]
    fn is_acknowledged_from_its_first_ack_on() {
        assert_eq!(message().acknowledged(), None);
        let message = after(&[
            (0, 5, 503, ""),
            (9, 3, 200, "delivered"),
            (20, 1, 200, "duplicate"),
        ]);
        assert_eq!(message.acknowledged(), Some(Duration::from_millis(12)));
        assert_eq!(message.deliveries(), 3);
    }

    #[test]
    fn what_was_acknowledged_must_be_known_in_every_later_delivery() {
        let first = (0, 10, 200, "delivered");
        assert!(!after(&[first, (11, 1, 200, "duplicate")]).is_forgotten());
        assert!(!after(&[first, (11, 1, 503, "")]).is_forgotten());
        assert!(after(&[first, (11, 1, 200, "delivered")]).is_forgotten());
        assert!(after(&[first, (11, 1, 200, "dead-lettered")]).is_forgotten());
        // At the same time, both may find that they deliver it.
        assert!(!after(&[first, (9, 3, 200, "delivered")]).is_forgotten());
    }

    #[test]
    fn tells_its_history() {
        let message = after(&[(0, 5, 503, ""), (1_009, 3, 200, "delivered")]);
        let told = "evt_1 of dev: [0.000 s: 503 after 5 ms] [1.009 s: 200 delivered after 3 ms]";
        assert_eq!(message.to_string(), told);
    }
}
