//! Compares the published events with Svix's messages at the end.

use std::collections::HashMap;

use serde::Deserialize;

use crate::publisher::event::Event;
use fake_svix::StoredMessage;

/// The differences between events and messages. Events are given by their place in the list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Events without a message.
    pub missing: Vec<usize>,
    /// Events with several messages, and how many.
    pub repeated: Vec<(usize, usize)>,
    /// Events with a message whose payload differs by a byte or more, or whose eventId differs, or
    /// whose idempotency key is missing or another event's.
    pub altered: Vec<usize>,
    /// Events that Svix was given after a later one of the same project and ordering key, and that one.
    pub reordered: Vec<(usize, usize)>,
    /// Messages without an event, or in another application than that of their project.
    pub unknown: Vec<String>,
}

impl Comparison {
    /// `events` are in the order in which they were published, `messages` in that in which Svix stored them.
    pub fn of(events: &[Event], messages: &[StoredMessage]) -> Self {
        let name = |event: &Event| (event.project.to_owned(), event.id.clone());
        let places: HashMap<_, usize> = events.iter().map(name).zip(0..).collect();
        let mut counts = vec![0; events.len()];
        let mut newest = HashMap::new();
        let mut keys = HashMap::new();
        let mut comparison = Self::default();
        for message in messages {
            let event_id = message.event_id.as_deref();
            // Find the event by the payload first, because the eventId may be wrong.
            let ids = [original_id(&message.payload), event_id.map(str::to_owned)];
            let mut ids = ids.into_iter().flatten();
            let Some(place) = ids.find_map(|id| places.get(&(message.app.clone(), id)).copied())
            else {
                let (id, app) = (event_id.unwrap_or("no eventId"), &message.app);
                let unknown = format!("{} ({id} in {app})", message.id);
                comparison.unknown.push(unknown);
                continue;
            };
            counts[place] += 1;
            let event = &events[place];
            // Customers know an event by its first message.
            if counts[place] == 1
                && let Some(key) = &event.ordering_key
            {
                let newest = newest.entry((event.project, key)).or_insert(place);
                if place < *newest {
                    comparison.reordered.push((place, *newest));
                }
                *newest = place.max(*newest);
            }
            let key = message.idempotency_key.as_deref();
            let is_keyed = key.is_some_and(|key| *keys.entry(key).or_insert(place) == place);
            let exact = message.payload.as_bytes() == event.text && event_id == Some(&event.id);
            let exact = exact && is_keyed;
            if !exact && !comparison.altered.contains(&place) {
                comparison.altered.push(place);
            }
        }
        for (place, count) in counts.into_iter().enumerate() {
            match count {
                0 => comparison.missing.push(place),
                1 => {}
                more => comparison.repeated.push((place, more)),
            }
        }
        comparison
    }
}

/// The id in the payload.
fn original_id(payload: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Payload {
        id: String,
    }
    let payload: Payload = serde_json::from_str(payload).ok()?;
    Some(payload.id)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn event(id: &str, text: &str) -> Event {
        Event {
            id: id.to_owned(),
            project: "dev",
            ordering_key: None,
            text: text.to_owned().into(),
        }
    }

    fn message(app: &str, event_id: &str, payload: &str) -> StoredMessage {
        StoredMessage {
            app: app.to_owned(),
            id: "msg_1".to_owned(),
            event_id: Some(event_id.to_owned()),
            event_type: "user.created".to_owned(),
            channels: None,
            payload: payload.to_owned(),
            timestamp: SystemTime::UNIX_EPOCH,
            idempotency_key: Some(format!("{app} {event_id}")),
        }
    }

    #[test]
    fn one_message_for_each_event_is_clean() {
        let events = [event("a", "{}"), event("b", "{ }")];
        let messages = [message("dev", "b", "{ }"), message("dev", "a", "{}")];
        assert_eq!(Comparison::of(&events, &messages), Comparison::default());
    }

    #[test]
    fn finds_missing_repeated_altered_and_unknown_messages() {
        let events = ["a", "b", "c", "d"].map(|id| event(id, r#"{"n":10.0}"#));
        let exact = r#"{"n":10.0}"#;
        let messages = [
            message("dev", "a", exact),
            message("dev", "a", exact),
            message("dev", "b", r#"{"n":10}"#),
            message("gigs", "c", exact),
            message("dev", "d", exact),
            message("dev", "e", exact),
        ];
        let expected = Comparison {
            missing: vec![2],
            repeated: vec![(0, 2)],
            altered: vec![1],
            reordered: Vec::new(),
            unknown: vec!["msg_1 (c in gigs)".into(), "msg_1 (e in dev)".into()],
        };
        assert_eq!(Comparison::of(&events, &messages), expected);
    }

    #[test]
    fn finds_events_that_a_later_one_of_their_key_has_passed() {
        let ordered = |id: &str, project, key: Option<&str>| Event {
            project,
            ordering_key: key.map(str::to_owned),
            ..event(id, "{}")
        };
        let events = [
            ordered("a", "dev", Some("1")),
            ordered("b", "dev", Some("2")),
            ordered("c", "dev", Some("1")),
            ordered("d", "gigs", Some("1")),
            ordered("e", "dev", Some("1")),
            ordered("f", "dev", None),
        ];
        let reordered = |stored: &str| {
            let messages: Vec<_> = stored
                .split(' ')
                .map(|id| message(if id == "d" { "gigs" } else { "dev" }, id, "{}"))
                .collect();
            Comparison::of(&events, &messages).reordered
        };
        assert!(reordered("a b c d e f").is_empty());
        // Each key, each project and the events without a key have an order of their own.
        assert!(reordered("f d a c e b").is_empty());
        assert_eq!(reordered("a b e c d f"), [(2, 4)]);
        assert_eq!(reordered("e a c"), [(0, 4), (2, 4)]);
        // A second message comes after the first, and a missing one is no matter of order.
        assert!(reordered("a c a e c").is_empty());
        assert!(reordered("a e").is_empty());
    }

    #[test]
    fn each_event_has_an_idempotency_key_of_its_own() {
        let events = ["a", "b", "c"].map(|id| event(id, "{}"));
        let keyed = |id: &str, key: Option<&str>| StoredMessage {
            idempotency_key: key.map(str::to_owned),
            ..message("dev", id, "{}")
        };
        let messages = [keyed("a", Some("k")), keyed("b", Some("k")), keyed("c", None)];
        assert_eq!(Comparison::of(&events, &messages).altered, [1, 2]);
    }

    #[test]
    fn another_event_id_does_not_hide_a_repetition() {
        let text = r#"{"id":"a"}"#;
        let messages = [message("dev", "a", text), message("dev", "other", text)];
        let expected =
            Comparison { repeated: vec![(0, 2)], altered: vec![0], ..Comparison::default() };
        assert_eq!(Comparison::of(&[event("a", text)], &messages), expected);
    }
}
