//! Events of the platform's form: several projects, many types, from 300 bytes to 7 kB. They use
//! every spelling that JSON allows, because Svix must get them byte for byte.

use std::fmt::Write as _;

use bytes::Bytes;
use fastrand::Rng;

/// The customers. Their Svix applications are created during the soak.
const PROJECTS: [&str; 6] = ["dev", "gigs", "nomad-mobile", "acme.eu", "tele_one", "x9"];

const TYPES: [(&str, &str); 8] = [
    ("user.created", "user"),
    ("user.updated", "user"),
    ("user.address.created", "userAddress"),
    ("subscription.created", "subscription"),
    ("subscription.activated", "subscription"),
    ("sim.updated", "sim"),
    ("porting.completed", "porting"),
    ("invoice.finalized", "invoice"),
];

/// The text between two members, around all members, and after a colon.
const SPELLINGS: [(&str, &str, &str); 4] =
    [(",", "", ""), (", ", "", " "), (",\n    ", "\n    ", "  "), (",\r\n\t", " ", "\t")];

/// Values that a relay would change if it parsed and printed them. They are floats, exponents, huge
/// numbers, unnecessary escapes, and text beyond ASCII.
const VALUES: [&str; 14] = [
    "10.0",
    "0.0",
    "1e2",
    "-0",
    "12345678901234567890123",
    "null",
    "true",
    "[ ]",
    r#""Zürich, Straße 1 – 東京""#,
    r#""quotes \" and \\ and \/ stay""#,
    r#""\u00e9\u0041 \ud83d\ude00""#,
    r#"{"amount":1990,"currency":"EUR","tax":19.0}"#,
    r#"{"object":"plan","id":"pln_0SNlurA049MEWV3bs","simTypes":["eSIM","pSIM"],"validity":{"unit":"month","value":1},"limits":{"throttledBytes":null}}"#,
    r#"["AT","BE","CH","DE","DK","ES","FR","GB","IE","IT","NL","PL","PT","SE"]"#,
];

/// The percentage of events with an ordering key, and the number of keys of each project.
const ORDERED: u8 = 25;
const ORDERING_KEYS: usize = 8;

/// The lengths of `data` in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 300..=7_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Unique among all events.
    pub id: String,
    /// The customer: the uid of the Svix application.
    pub project: &'static str,
    /// The key within which the event is published in order.
    pub ordering_key: Option<String>,
    /// The whole event as JSON.
    pub text: Bytes,
}

impl Event {
    /// An event that happened at `time`. Its number makes its id unique.
    pub fn random(number: usize, time: &str, random: &mut Rng) -> Self {
        let id = format!("evt_0SN{}{number:07}", letters(random, 18));
        let project = pick(random, &PROJECTS);
        let is_ordered = random.u8(..100) < ORDERED;
        let number_of_key = random.usize(..ORDERING_KEYS);
        let (kind, object) = pick(random, &TYPES);
        let (comma, margin, space) = pick(random, &SPELLINGS);
        let data = data(random, object);

        let members = [
            ("object", r#""event""#.to_owned()),
            ("id", format!(r#""{id}""#)),
            ("type", format!(r#""{kind}""#)),
            ("project", format!(r#""{project}""#)),
            ("source", format!(r#""https://api.example.com/projects/{project}/{object}s""#)),
            ("specversion", r#""1.0""#.to_owned()),
            ("datacontenttype", r#""application/json""#.to_owned()),
            ("time", format!(r#""{time}""#)),
            ("version", r#""2023-01-30""#.to_owned()),
            ("data", data),
        ];
        let members = members.map(|(name, value)| format!(r#""{name}":{space}{value}"#));
        let text = format!("{{{margin}{}{margin}}}", members.join(comma));
        Self {
            id,
            project,
            ordering_key: is_ordered.then(|| format!("{project}/{number_of_key}")),
            text: text.into(),
        }
    }
}

/// A resource of random length.
fn data(random: &mut Rng, object: &str) -> String {
    let length = random.usize(LENGTHS);
    let id = letters(random, 24);
    let mut data = format!(r#"{{"object":"{object}","id":"{}_{id}""#, &object[..3]);
    while data.len() + 1 < length {
        let name = letters(random, 6);
        let value = pick(random, &VALUES);
        // Writing to a string can't fail.
        let _ = write!(data, r#","{name}": {value}"#);
    }
    data.push('}');
    data
}

fn letters(random: &mut Rng, length: usize) -> String {
    std::iter::repeat_with(|| random.alphanumeric()).take(length).collect()
}

fn pick<T: Copy>(random: &mut Rng, of: &[T]) -> T {
    of[random.usize(..of.len())]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    fn events(seed: u64) -> Vec<Event> {
        let mut random = Rng::with_seed(seed);
        let event = |number| Event::random(number, "2026-11-23T14:12:42Z", &mut random);
        (0..500).map(event).collect()
    }

    #[test]
    fn events_are_json_of_the_platforms_shape() {
        for event in events(1) {
            let json: Value = serde_json::from_slice(&event.text).unwrap();
            assert_eq!(json["id"], event.id.as_str());
            assert_eq!(json["project"], event.project);
            for name in ["object", "type", "source", "specversion", "time", "version"] {
                assert!(json[name].is_string(), "{name}: {json}");
            }
            assert!(json["data"]["object"].is_string(), "{json}");
            assert!((500..8_500).contains(&event.text.len()), "{json}");
        }
    }

    #[test]
    fn events_are_all_different_and_of_several_projects() {
        let events = events(2);
        let ids: HashSet<_> = events.iter().map(|event| &event.id).collect();
        let projects: HashSet<_> = events.iter().map(|event| event.project).collect();
        assert_eq!((ids.len(), projects.len()), (500, PROJECTS.len()));
    }

    #[test]
    fn the_same_seed_makes_the_same_events() {
        assert_eq!(events(3), events(3));
        assert_ne!(events(3), events(4));
    }
}
