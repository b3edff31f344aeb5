//! Reading a few fields of a JSON object without building a tree of it.
//!
//! The relay needs three strings of an event that it must pass on byte for byte, so it never parses
//! more than it looks at. A duplicate key is not its business: the last one counts, as it does for
//! Svix. Numbers are never interpreted.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Why a text could not be read as an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Not JSON at all: where and why, without any of the text.
    NotJson(String),
    /// JSON, but not an object.
    NotAnObject,
}

/// Picks the fields `names` out of the JSON object `json`, each as the text it has there.
///
/// ```ignore
/// let [id, missing] = pick(r#"{"id": "evt_1"}"#, ["id", "type"])?;
/// ```
pub fn pick<'a, const N: usize>(
    json: &'a str,
    names: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], Unreadable> {
    read(json, names).map(|(fields, _)| fields)
}

/// Like [`pick`], where the object may hold no other fields; `None` if it does.
pub fn pick_all<'a, const N: usize>(
    json: &'a str,
    names: [&'static str; N],
) -> Result<Option<[Option<&'a RawValue>; N]>, Unreadable> {
    read(json, names).map(|(fields, others)| (!others).then_some(fields))
}

/// The fields, and whether there are others.
fn read<'a, const N: usize>(
    json: &'a str,
    names: [&'static str; N],
) -> Result<([Option<&'a RawValue>; N], bool), Unreadable> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let fields = deserializer
        .deserialize_map(Fields(names))
        .map_err(|error| unreadable(&error, json))?;
    deserializer
        .end()
        .map_err(|error| unreadable(&error, json))?;
    Ok(fields)
}

/// The string that a raw value is, or `None` if it is something else.
pub fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    match serde_json::from_str::<&str>(text) {
        Ok(plain) => Some(Cow::Borrowed(plain)),
        // With escapes, or not a string.
        Err(_) => serde_json::from_str::<String>(text).ok().map(Cow::Owned),
    }
}

/// Whether a raw value is an object.
pub fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

fn unreadable(error: &serde_json::Error, json: &str) -> Unreadable {
    let first = json.trim_start().chars().next();
    if error.is_data() && first != Some('{') {
        Unreadable::NotAnObject
    } else {
        let problem = if error.is_eof() {
            "ends too early"
        } else {
            "syntax error"
        };
        Unreadable::NotJson(format!(
            "{problem} at line {} column {}",
            error.line(),
            error.column()
        ))
    }
}

struct Fields<const N: usize>([&'static str; N]);

impl<'de, const N: usize> Visitor<'de> for Fields<N> {
    type Value = ([Option<&'de RawValue>; N], bool);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        let mut others = false;
        while let Some(index) = map.next_key_seed(Name(&self.0))? {
            if let Some(index) = index {
                found[index] = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
                others = true;
            }
        }
        Ok((found, others))
    }
}

/// Turns a key into its index among the wanted names, without allocating.
struct Name<'n>(&'n [&'static str]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }

    fn visit_bytes<E: serde::de::Error>(self, _: &[u8]) -> Result<Self::Value, E> {
        Err(E::custom("a key that is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<const N: usize>(json: &str, names: [&'static str; N]) -> [Option<String>; N] {
        pick(json, names)
            .expect("readable")
            .map(|raw| raw.map(|raw| raw.get().to_owned()))
    }

    #[test]
    fn picks_wanted_fields_as_they_stand_and_skips_the_rest() {
        let json = r#"{ "other": [1, {"id": 2}], "id" : "evt_1", "data": {"a": 10.0} }"#;
        let [id, data, missing] = texts(json, ["id", "data", "missing"]);
        assert_eq!(id.as_deref(), Some(r#""evt_1""#));
        assert_eq!(data.as_deref(), Some(r#"{"a": 10.0}"#));
        assert_eq!(missing, None);
    }

    #[test]
    fn tells_whether_there_are_others() {
        for (json, others) in [
            ("{}", false),
            (r#"{"a":1}"#, false),
            (r#"{"a":1,"\u0061":2}"#, false),
            (r#"{"a":1,"b":null}"#, true),
            (r#"{"A":1}"#, true),
        ] {
            let fields = pick_all(json, ["a"]).expect("readable");
            assert_eq!(fields.is_none(), others, "{json}");
        }
    }

    #[test]
    fn the_last_of_duplicate_keys_counts() {
        let [id] = texts(r#"{"id":"a","id":"b"}"#, ["id"]);
        assert_eq!(id.as_deref(), Some(r#""b""#));
    }

    #[test]
    fn knows_a_key_that_is_written_with_escapes() {
        let [id] = texts(r#"{"\u0069d":"a"}"#, ["id"]);
        assert_eq!(id.as_deref(), Some(r#""a""#));
    }

    #[test]
    fn does_not_interpret_numbers() {
        let [big] = texts(r#"{"n":1e999,"big":12345678901234567890123}"#, ["big"]);
        assert_eq!(big.as_deref(), Some("12345678901234567890123"));
    }

    #[test]
    fn survives_deep_nesting() {
        let deep = format!(
            r#"{{"id":"a","data":{}{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        let [id] = texts(&deep, ["id"]);
        assert_eq!(id.as_deref(), Some(r#""a""#));
    }

    #[test]
    fn tells_broken_json_from_json_of_another_kind() {
        for json in ["", "{", "{\"a\":}", "{} x", "nope", "{\"a\":1,}"] {
            assert!(
                matches!(pick(json, ["id"]), Err(Unreadable::NotJson(_))),
                "{json}"
            );
        }
        for json in ["[]", " \"text\"", "12", "null", "true"] {
            let unreadable = pick(json, ["id"]).expect_err(json);
            assert_eq!(unreadable, Unreadable::NotAnObject, "{json}");
        }
    }

    #[test]
    fn decodes_strings_and_nothing_else() {
        let [plain, escaped, number] =
            pick(r#"{"a":"x","b":"\u0041\/","c":1}"#, ["a", "b", "c"]).expect("readable");
        assert_eq!(plain.and_then(string).as_deref(), Some("x"));
        assert_eq!(escaped.and_then(string).as_deref(), Some("A/"));
        assert_eq!(number.and_then(string), None);
    }
}
