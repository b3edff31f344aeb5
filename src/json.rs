//! Reads a few fields of a JSON object without building a tree of it, and writes JSON.
//!
//! The relay needs a few fields of an event that it must pass on byte for byte, so it parses only these.
//! Of a duplicate key the last value counts, as it does for Svix. An event's numbers are never interpreted.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Why a text could not be read as an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The text is not JSON: where and why, without any of the text.
    NotJson(String),
    /// The text is JSON, but not an object.
    NotAnObject,
}

/// Picks the fields `names` out of the JSON object `json`, each as the text it has there.
///
/// ```ignore
/// let [id, missing] = pick(r#"{"id": "evt_1"}"#, ["id", "type"])?;
/// ```
pub fn pick<'a, const N: usize>(
    json: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a RawValue>; N], Error> {
    let mut found = [None; N];
    pick_into(json, &names, &mut found)?;
    Ok(found)
}

/// Like [`pick`]. `None` if the object holds other fields.
pub fn pick_all<'a, const N: usize>(
    json: &'a str,
    names: [&str; N],
) -> Result<Option<[Option<&'a RawValue>; N]>, Error> {
    let mut found = [None; N];
    let others = pick_into(json, &names, &mut found)?;
    Ok((!others).then_some(found))
}

/// [`pick`], compiled once for any number of fields. Returns whether there are other fields.
fn pick_into<'a>(
    json: &'a str,
    names: &[&str],
    found: &mut [Option<&'a RawValue>],
) -> Result<bool, Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer
        .deserialize_map(Picking { names, found })
        .and_then(|others| deserializer.end().map(|()| others))
        .map_err(|error| unreadable(&error, json))
}

/// A stored value: the fields of a JSON object. Reading a value so costs a third of the code that a derived
/// `Deserialize` does.
pub struct Stored<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Stored<'a> {
    /// `None` if the bytes are not a JSON object.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let fields = deserializer.deserialize_map(All).ok()?;
        deserializer.end().ok()?;
        Some(Self(fields))
    }

    /// All fields, by name.
    pub fn into_fields(self) -> Vec<(Cow<'a, str>, &'a RawValue)> {
        self.0
    }

    pub fn raw(&self, name: &str) -> Option<&'a RawValue> {
        let mut fields = self.0.iter().rev();
        let (_, value) = fields.find(|(known, _)| known == name)?;
        Some(value)
    }

    pub fn string(&self, name: &str) -> Option<String> {
        string(self.raw(name)?).map(Cow::into_owned)
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.raw(name)?.get().parse().ok()
    }
}

/// Collects all fields of an object.
struct All;

impl<'de> Visitor<'de> for All {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(16);
        while let Some(key) = map.next_key::<Key<'de>>()? {
            fields.push((key.0, map.next_value()?));
        }
        Ok(fields)
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The string in a raw value. `None` if the value is not a string.
pub fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    match serde_json::from_str::<&str>(text) {
        Ok(plain) => Some(Cow::Borrowed(plain)),
        // The string has escapes, or the value is not a string.
        Err(_) => serde_json::from_str::<String>(text).ok().map(Cow::Owned),
    }
}

/// The text of a field, which may not be empty and keeps to a rule.
pub fn text(
    raw: &RawValue,
    rule: impl FnOnce(&str) -> Result<(), String>,
) -> Result<Cow<'_, str>, String> {
    match string(raw) {
        None if raw.get().starts_with('"') => {
            Err("must be Unicode: it holds half of a surrogate pair".to_owned())
        }
        None => Err("must be a string".to_owned()),
        Some(text) if text.is_empty() => Err("must not be empty".to_owned()),
        Some(text) => rule(&text).map(|()| text),
    }
}

pub fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

/// Whether arrays and objects in `json`, which must be valid, are nested deeper than `limit`.
pub fn is_deeper_than(json: &str, limit: usize) -> bool {
    // Count all brackets first, in half the time: few texts hold so many at all.
    let brackets = json.bytes().filter(|byte| matches!(byte, b'{' | b'['));
    if brackets.count() <= limit {
        return false;
    }
    let mut depth = 0;
    let mut in_string = false;
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            // A backslash stands only in a string, and may escape a quote.
            b'\\' => {
                bytes.next();
            }
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
    }
    false
}

/// JSON of one of the relay's values, which always have it. In the store, an empty value would be worse than a panic.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    // `ok` leaves out the code that would write the error, 4 kB.
    let json = serde_json::to_vec(value).ok();
    json.expect("the relay's values are strings, numbers, lists and objects")
}

/// An object of those fields that have a value, which is JSON. The names need no escaping.
pub fn object(fields: &[(&str, Option<&str>)]) -> Vec<u8> {
    let fields = fields.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    // A value may be large: it is copied once.
    let lengths = fields.clone().map(|(name, value)| name.len() + value.len() + 4);
    let mut text = String::with_capacity(lengths.sum::<usize>() + 2);
    text.push('{');
    for (name, value) in fields {
        let comma = if text.len() > 1 { "," } else { "" };
        let _ = write!(text, r#"{comma}"{name}":{value}"#);
    }
    (text + "}").into_bytes()
}

fn unreadable(error: &serde_json::Error, json: &str) -> Error {
    let first = json.trim_start().chars().next();
    if error.is_data() && first != Some('{') {
        Error::NotAnObject
    } else {
        let problem = if error.is_eof() { "ends too early" } else { "syntax error" };
        Error::NotJson(format!("{problem} at line {} column {}", error.line(), error.column()))
    }
}

struct Picking<'n, 'f, 'de> {
    names: &'n [&'n str],
    found: &'f mut [Option<&'de RawValue>],
}

impl<'de> Visitor<'de> for Picking<'_, '_, 'de> {
    /// Whether there are other fields.
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut others = false;
        while let Some(index) = map.next_key_seed(Name(self.names))? {
            if let Some(index) = index {
                self.found[index] = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
                others = true;
            }
        }
        Ok(others)
    }
}

/// Turns a key into its index among the wanted names. JSON's grammar allows keys that are no text, such as
/// half of a surrogate pair, and Svix takes them.
struct Name<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let key = string(<&RawValue>::deserialize(deserializer)?);
        Ok(key.and_then(|key| self.0.iter().position(|name| *name == key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn texts<const N: usize>(json: &str, names: [&'static str; N]) -> [Option<String>; N] {
        pick(json, names).expect("readable").map(|raw| raw.map(|raw| raw.get().to_owned()))
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
    fn tells_whether_an_object_has_other_fields() {
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
    fn keys_need_not_be_text_but_must_be_json() {
        let [id] = texts(r#"{"\ud800":1,"id":"a","\udc00\ud800":2}"#, ["id"]);
        assert_eq!(id.as_deref(), Some(r#""a""#));
        for broken in ["{\"\n\":1}", r#"{"\ud8":1}"#, r#"{"\x":1}"#, "{a:1}", "{1:1}"] {
            let result = pick(broken, ["id"]);
            assert!(matches!(result, Err(Error::NotJson(_))), "{broken}");
        }
    }

    #[test]
    fn does_not_interpret_numbers() {
        let [big] = texts(r#"{"n":1e999,"big":12345678901234567890123}"#, ["big"]);
        assert_eq!(big.as_deref(), Some("12345678901234567890123"));
    }

    #[test]
    fn survives_deep_nesting() {
        let deep = format!(r#"{{"id":"a","data":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let [id] = texts(&deep, ["id"]);
        assert_eq!(id.as_deref(), Some(r#""a""#));
    }

    #[test]
    fn tells_broken_json_from_json_of_another_kind() {
        for json in ["", "{", "{\"a\":}", "{} x", "nope", "{\"a\":1,}"] {
            assert!(matches!(pick(json, ["id"]), Err(Error::NotJson(_))), "{json}");
        }
        for json in ["[]", " \"text\"", "12", "null", "true"] {
            let unreadable = pick(json, ["id"]).expect_err(json);
            assert_eq!(unreadable, Error::NotAnObject, "{json}");
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

    #[test]
    fn counts_levels_but_not_brackets_in_strings() {
        for (json, depth) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a":[{}],"b":[]}"#, 3),
            (r#"["[[[", "\"[[", "\\", "\\\"[[[["]"#, 1),
            (r#"{"{[\u005b":1}"#, 1),
        ] {
            assert!(!is_deeper_than(json, depth), "{json}");
            assert!(depth == 0 || is_deeper_than(json, depth - 1), "{json}");
        }
    }

    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
            Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[\\[\\]{}\"\\\\a\n]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 40, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("[\\[{\"\\\\]{0,4}", inner), 0..4)
                    .prop_map(|fields| fields.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn levels_are_counted_as_by_a_parser(value in any_json(), pretty: bool) {
            let json = if pretty {
                serde_json::to_string_pretty(&value)
            } else {
                serde_json::to_string(&value)
            };
            let (json, depth) = (json.expect("JSON"), depth(&value));
            prop_assert!(!is_deeper_than(&json, depth));
            prop_assert!(depth == 0 || is_deeper_than(&json, depth - 1));
        }
    }
}
