//! How an event came: the request's headers, and the attributes of a Pub/Sub message.

use std::borrow::Cow;
use std::time::SystemTime;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::media_type::{essence, is_encoded};
use crate::identifier::shortened;
use crate::json;
use crate::time::parse_rfc3339;

/// The names of CloudEvents' attributes by which binary mode is known, of 1.0 and of 0.1.
const OF_CLOUD_EVENTS: [[&str; 2]; 4] = [
    ["id", "eventid"],
    ["type", "eventtype"],
    ["specversion", "cloudeventsversion"],
    ["source", "source"],
];

/// The media type of a whole CloudEvent.
const STRUCTURED: &str = "application/cloudevents+json";

/// The types of the events by which Eventarc and Knative carry a Pub/Sub message.
const PUBSUB_EVENTS: [&str; 2] =
    ["google.cloud.pubsub.topic.v1.messagePublished", "com.google.cloud.pubsub.topic.publish"];

/// The form in which a notification came, as its headers and its body tell.
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

/// How the message came that carries an event. The wrapper of a wrapped push tells it, or else the request's headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Pub/Sub's own identifier of the message. As a header, it tells that the push is unwrapped.
    pub pubsub_message_id: Option<String>,
    /// The name of the subscription that pushed the message.
    pub subscription: Option<String>,
    /// How often Pub/Sub has tried. Only a subscription with a dead-letter topic says so.
    pub attempt: Option<u64>,
    /// The time at which Pub/Sub was given the message.
    pub publish_time: Option<SystemTime>,
    /// The beginning of the key within which Pub/Sub keeps messages in order. Never empty.
    pub ordering_key: Option<String>,
    /// The attributes of the message. Without a wrapper, these are all headers that may be such attributes.
    pub attributes: Attributes,
}

/// The body of a request, as far as its headers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyHint {
    /// The event of an unwrapped push, whatever it looks like.
    Unwrapped,
    /// A wrapped push, as the data of a CloudEvent or with the CloudEvent around it.
    WrappedInCloudEvent,
    /// Another CloudEvent, or its data alone.
    OtherCloudEvent,
    /// An event or a wrapped push: its fields tell.
    EventOrWrapped,
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

impl Arrival {
    /// When the message was first published, as far as can be told: Pub/Sub publishes it anew to a dead-letter topic.
    pub fn first_published(&self) -> Option<SystemTime> {
        let is_of_moved = |name: &str| has_prefix(name, OF_MOVED);
        if self.attributes.find(is_of_moved).is_none() {
            return self.publish_time;
        }
        let time = self.attributes.get("CloudPubSubDeadLetterSourceTopicPublishTime");
        parse_rfc3339(time?)
    }

    /// The body, as far as the headers tell.
    pub fn body_hint(&self) -> BodyHint {
        if self.pubsub_message_id.is_some() {
            return BodyHint::Unwrapped;
        }
        match self.attributes.cloud_event() {
            None => BodyHint::EventOrWrapped,
            Some(event) if event.carries_push() => BodyHint::WrappedInCloudEvent,
            Some(_) => BodyHint::OtherCloudEvent,
        }
    }
}

/// How the attributes begin that a message has if Pub/Sub has moved it to a dead-letter topic.
const OF_MOVED: &str = "CloudPubSubDeadLetterSource";

/// An ordering key, cut to what is shown. Pub/Sub treats an empty key as absent.
pub fn ordering_key(key: &str) -> Option<String> {
    (!key.is_empty()).then(|| shortened(key))
}

/// The attributes by which a CloudEvent in binary mode is known.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CloudEvent<'a> {
    /// An attribute that only shows that there is a CloudEvent.
    known: Option<&'a str>,
    pub id: Option<&'a str>,
    pub event_type: Option<&'a str>,
}

impl Attributes {
    /// The attributes in an object; values that are not strings are kept as they stand there. `None` if it is
    /// no object.
    pub fn read(object: &RawValue) -> Option<Self> {
        let stored = json::Stored::read(object.get().as_bytes())?;
        let pairs = stored.into_fields().into_iter().map(|(name, value)| {
            let text = json::string(value).unwrap_or(Cow::Borrowed(value.get()));
            (name.into_owned(), text.into_owned())
        });
        Some(Self(pairs.collect()))
    }

    /// All names and values, whatever their order was.
    pub fn in_order(&self) -> String {
        let mut lines: Vec<_> =
            self.0.iter().map(|(name, value)| format!("{name}\0{value}\0")).collect();
        lines.sort_unstable();
        lines.concat()
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
        let get = |[name, old]: [&str; 2]| {
            self.find(|known| unprefixed(known).is_some_and(|known| known == name || known == old))
        };
        let [id, event_type, specversion, source] = OF_CLOUD_EVENTS.map(get);
        // Over MQTT the names have no prefix, and of these only this one is a CloudEvent's alone.
        let specversion = specversion.or_else(|| self.get("specversion"));
        let event = CloudEvent { known: specversion.or(source), id, event_type };
        let media_types = ["content-type", "contentType", "content_type"];
        let structured = media_types
            .iter()
            .filter_map(|name| self.get(name))
            .any(|media_type| essence(media_type) == STRUCTURED);
        (event != CloudEvent::default() && !structured).then_some(event)
    }

    fn find(&self, is: impl Fn(&str) -> bool) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(name, _)| is(name))?;
        Some(value)
    }
}

impl CloudEvent<'_> {
    fn carries_push(&self) -> bool {
        self.event_type.is_some_and(carries_push)
    }
}

/// Whether the data of a CloudEvent of this type should be the push of a Pub/Sub message.
pub fn carries_push(event_type: &str) -> bool {
    PUBSUB_EVENTS.contains(&event_type)
}

/// Whether a name begins with the prefix, written in any case.
pub fn has_prefix(name: &str, prefix: &str) -> bool {
    let start = name.as_bytes().get(..prefix.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// The name of a CloudEvent's attribute without the prefix that HTTP, Pub/Sub, Kafka or AMQP gives it, in lower
/// case. `None` if it has none.
fn unprefixed(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let rest = name.strip_prefix("cloudevents").or_else(|| name.strip_prefix("ce"))?;
    let rest = rest.strip_prefix(['-', '_', ':', '.'])?;
    Some(rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(list: &[(&str, &str)]) -> Attributes {
        let owned = list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
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
            "CE-EventID",
            "ce-source",
            "cloudevents-id",
            "specversion",
        ] {
            assert!(attributes(&[(name, "1")]).cloud_event().is_some(), "{name}");
        }
        for name in ["id", "ce-", "type", "source", "ceid", "force-id"] {
            assert_eq!(attributes(&[(name, "1")]).cloud_event(), None, "{name}");
        }
    }

    #[test]
    fn a_media_type_of_cloud_events_says_that_the_data_is_the_whole_event() {
        for name in ["content-type", "Content-Type", "contentType"] {
            let structured = [("ce-id", "1"), (name, "Application/CloudEvents+json")];
            assert_eq!(attributes(&structured).cloud_event(), None, "{name}");
        }
        for other in ["application/json", "application/cloudevents-batch+json"] {
            let binary = [("ce-id", "1"), ("content-type", other)];
            assert!(attributes(&binary).cloud_event().is_some(), "{other}");
        }
    }

    #[test]
    fn only_googles_event_types_carry_a_push() {
        let carries = |event_type| {
            let attributes = attributes(&[("ce-type", event_type)]);
            attributes.cloud_event().is_some_and(|event| event.carries_push())
        };
        assert!(carries("google.cloud.pubsub.topic.v1.messagePublished"));
        assert!(!carries("user.created"));
    }

    #[test]
    fn names_the_encoding_of_data() {
        let encoding = |name, value| attributes(&[(name, value)]).encoding().map(str::to_owned);
        assert_eq!(encoding("content-encoding", "gzip").as_deref(), Some("gzip"));
        assert_eq!(encoding("contentEncoding", "br").as_deref(), Some("br"));
        assert_eq!(encoding("Content-Encoding", "identity"), None);
        assert_eq!(encoding("content-encoding", ""), None);
    }
}
