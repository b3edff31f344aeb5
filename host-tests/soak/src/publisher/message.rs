//! A message of Pub/Sub: an event, and the form in which it is pushed.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use super::event::Event;
use super::history::History;

/// When a message is delivered again although it was acknowledged, as Pub/Sub delivers at least
/// once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicate {
    /// Two deliveries at the same time.
    AtOnce,
    /// Some time after the acknowledgement.
    Later,
    /// After the acknowledgement and the next start of the relay.
    AfterRestart,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub event: Event,
    pub duplicate: Option<Duplicate>,
    pub history: History,
    number: u64,
    published: String,
}

impl Message {
    /// `published` is a time in RFC 3339.
    pub fn new(number: u64, event: Event, published: &str, duplicate: Option<Duplicate>) -> Self {
        Self {
            event,
            duplicate,
            history: History::default(),
            number,
            published: published.to_owned(),
        }
    }

    /// The body of its push request, in the wrapped form; the same for every delivery.
    pub fn wrapped(&self) -> Bytes {
        let data = BASE64_STANDARD.encode(&self.event.text);
        let (id, time) = (self.number, &self.published);
        let project = self.event.project;
        let key = self.event.ordering_key.as_ref();
        let key = key.map_or_else(String::new, |key| format!(r#","orderingKey":"{key}""#));
        format!(
            r#"{{"message":{{"data":"{data}","attributes":{{"project":"{project}"}},"messageId":"{id}","message_id":"{id}","publishTime":"{time}","publish_time":"{time}"{key}}},"subscription":"projects/platform/subscriptions/svix-relay"}}"#
        )
        .into()
    }
}

impl fmt::Display for Message {
    /// The event's id and its deliveries.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}:", self.event.id, self.event.project)?;
        self.history.fmt(f)
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
            ordering_key: Some("dev/7".to_owned()),
            text: Bytes::from_static(br#"{"n":10.0}"#),
        };
        Message::new(7, event, "2026-11-23T14:12:42.123Z", None)
    }

    #[test]
    fn a_message_is_pushed_in_the_wrapped_form() {
        let body: Value = serde_json::from_slice(&message().wrapped()).unwrap();
        assert_eq!(body["message"]["data"], "eyJuIjoxMC4wfQ==");
        assert_eq!(body["message"]["messageId"], "7");
        assert_eq!(body["message"]["publishTime"], "2026-11-23T14:12:42.123Z");
        assert_eq!(body["message"]["orderingKey"], "dev/7");
        assert!(body["subscription"].is_string());
        let mut message = message();
        message.event.ordering_key = None;
        let body: Value = serde_json::from_slice(&message.wrapped()).unwrap();
        assert_eq!(body["message"].get("orderingKey"), None);
    }
}
