//! How an event came: the request's headers, and the attributes of a Pub/Sub message.

use std::fmt;
use std::time::SystemTime;

use serde::de::{MapAccess, Visitor};
use serde::{Deserializer as _, Serialize, Serializer};
use serde_json::value::RawValue;

/// The prefixes of CloudEvents' attributes where the event's data is sent alone: over HTTP and Pub/Sub,
/// over Kafka, and over AMQP.
const CLOUD_EVENT_PREFIXES: [&str; 4] = ["ce-", "ce_", "cloudevents:", "cloudevents_"];

/// The types of the events by which Eventarc and Knative carry a Pub/Sub message.
const PUBSUB_EVENTS: [&str; 2] = [
    "google.cloud.pubsub.topic.v1.messagePublished",
    "com.google.cloud.pubsub.topic.publish",
];

/// The form of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The event itself, posted directly.
    Direct,
    /// Pub/Sub's default push: JSON around the base64 of the event.
    Wrapped,
    /// Pub/Sub's push without wrapper: the event itself, metadata in headers.
    Unwrapped,
}

impl Source {
    /// Reads what `Serialize` writes.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "direct" => Some(Self::Direct),
            "wrapped" => Some(Self::Wrapped),
            "unwrapped" => Some(Self::Unwrapped),
            _ => None,
        }
    }
}

/// How a notification came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub source: Source,
    /// Pub/Sub's own identifier of the message.
    pub message_id: Option<String>,
    /// The name of the subscription that pushed the message.
    pub subscription: Option<String>,
    /// How often Pub/Sub has tried. Only a subscription with a dead-letter topic says so.
    pub attempt: Option<u64>,
    /// The time at which Pub/Sub was given the message.
    pub publish_time: Option<SystemTime>,
    pub attributes: Attributes,
}

/// The headers of a request that tell how its event came.
#[derive(Clone, Debug, Default)]
pub struct ArrivalHeaders {
    /// `x-goog-pubsub-message-id`; the push is unwrapped if it is there.
    pub message_id: Option<String>,
    /// `x-goog-pubsub-subscription-name`.
    pub subscription: Option<String>,
    /// `x-goog-pubsub-publish-time`.
    pub publish_time: Option<String>,
    /// The headers that may be attributes of the message.
    pub attributes: Attributes,
    /// Whether the message is known to have come in a wrapper, as a replay knows. Then the attributes are
    /// the message's, and say nothing of the wrapper.
    pub wrapped: bool,
}

/// The attributes of a message: names and values. As JSON, they are an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub Vec<(String, String)>);

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let attributes = self.0.iter();
        serializer.collect_map(attributes.map(|(name, value)| (name, value)))
    }
}

/// Collects the pairs of an object of strings.
struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<(String, String)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

/// The attributes by which a CloudEvent in binary mode is known.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CloudEvent<'a> {
    specversion: Option<&'a str>,
    pub id: Option<&'a str>,
    pub event_type: Option<&'a str>,
}

impl Attributes {
    /// The attributes in an object. Anything but an object of strings has none.
    pub fn read(object: &RawValue) -> Self {
        let pairs = serde_json::Deserializer::from_str(object.get()).deserialize_map(Pairs);
        Self(pairs.unwrap_or_default())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An attribute by its name, written in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(|known| known.eq_ignore_ascii_case(name))
    }

    /// The encoding of the data, such as `gzip`, if an attribute names one.
    pub fn encoding(&self) -> Option<&str> {
        let names = ["content-encoding", "contentEncoding", "content_encoding"];
        let encoding = names.iter().find_map(|name| self.get(name))?;
        is_encoded(encoding).then_some(encoding)
    }

    /// The CloudEvent that these attributes describe, if they do. Its data came alone then, unless the
    /// media type says that the data is the whole event.
    pub fn cloud_event(&self) -> Option<CloudEvent<'_>> {
        if self.is_empty() {
            return None;
        }
        let get = |wanted: &str| {
            self.find(|name| {
                let name = name.to_ascii_lowercase();
                let mut prefixes = CLOUD_EVENT_PREFIXES.iter();
                prefixes.any(|prefix| name.strip_prefix(prefix) == Some(wanted))
            })
        };
        let event = CloudEvent {
            specversion: get("specversion"),
            id: get("id"),
            event_type: get("type"),
        };
        let media_types = ["content-type", "contentType", "content_type"];
        let structured = media_types
            .iter()
            .filter_map(|name| self.get(name))
            .any(|media_type| begins_with(media_type, "application/cloudevents"));
        (event != CloudEvent::default() && !structured).then_some(event)
    }

    fn find(&self, is: impl Fn(&str) -> bool) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(name, _)| is(name))?;
        Some(value)
    }
}

impl CloudEvent<'_> {
    /// Whether the data may be the push of a Pub/Sub message.
    pub fn may_carry_push(&self) -> bool {
        self.event_type
            .is_some_and(|event_type| PUBSUB_EVENTS.contains(&event_type))
    }
}

/// Whether a `Content-Encoding` names any encoding but the plain one.
pub fn is_encoded(content_encoding: &str) -> bool {
    let mut codings = content_encoding.split(',').map(str::trim);
    codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
}

/// Whether a `Content-Type` promises one event as JSON. Which characters the bytes stand for is no matter
/// of the header: JSON is UTF-8, and anything else is found out.
pub fn is_json_media_type(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    let json = ["application/json", "text/json"].contains(&essence.as_str());
    let suffixed = essence.starts_with("application/") && essence.ends_with("+json");
    // A batch holds many events, of which each needs an answer of its own.
    json || (suffixed && !essence.ends_with("-batch+json"))
}

fn begins_with(text: &str, prefix: &str) -> bool {
    let text = text.trim_start().as_bytes();
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(list: &[(&str, &str)]) -> Attributes {
        let owned = list
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Attributes(owned.collect())
    }

    #[test]
    fn a_cloud_event_in_binary_mode_is_known_by_any_of_its_attributes() {
        for name in [
            "ce-id",
            "Ce-SpecVersion",
            "ce-type",
            "ce_id",
            "cloudEvents:specversion",
            "cloudEvents_type",
        ] {
            assert!(attributes(&[(name, "1")]).cloud_event().is_some(), "{name}");
        }
        for name in ["id", "ce-", "ce-subject", "source", "ceid", "force-id"] {
            assert_eq!(attributes(&[(name, "1")]).cloud_event(), None, "{name}");
        }
    }

    #[test]
    fn a_media_type_of_cloud_events_says_that_the_data_is_the_whole_event() {
        for name in ["content-type", "Content-Type", "contentType"] {
            let structured = [("ce-id", "1"), (name, "Application/CloudEvents+json")];
            assert_eq!(attributes(&structured).cloud_event(), None, "{name}");
        }
        let binary = [("ce-id", "1"), ("content-type", "application/json")];
        assert!(attributes(&binary).cloud_event().is_some());
    }

    #[test]
    fn only_googles_event_types_carry_a_push() {
        let carries = |event_type| {
            let attributes = attributes(&[("ce-type", event_type)]);
            attributes
                .cloud_event()
                .is_some_and(|event| event.may_carry_push())
        };
        assert!(carries("google.cloud.pubsub.topic.v1.messagePublished"));
        assert!(!carries("user.created"));
    }

    #[test]
    fn names_the_encoding_of_data() {
        let encoding = |name, value| attributes(&[(name, value)]).encoding().map(str::to_owned);
        assert_eq!(
            encoding("content-encoding", "gzip").as_deref(),
            Some("gzip")
        );
        assert_eq!(encoding("contentEncoding", "br").as_deref(), Some("br"));
        assert_eq!(encoding("Content-Encoding", "identity"), None);
        assert_eq!(encoding("content-encoding", ""), None);
        assert!(is_encoded("identity, zstd"));
        assert!(!is_encoded(" Identity "));
    }

    #[test]
    fn recognises_json_media_types() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=utf8",
            "application/json; charset=us-ascii",
            "application/cloudevents+json;charset=\"utf-8\"",
            "text/json",
            "application/vnd.gigs.event+json",
        ] {
            assert!(is_json_media_type(good), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/jsonx",
            "application/cloudevents-batch+json",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ] {
            assert!(!is_json_media_type(bad), "{bad}");
        }
    }
}
