//! Fields of an event that become tags or channels of its message.

use std::borrow::Cow;

use crate::identifier;
use crate::json;

/// The longest tag and the longest channel that Svix takes, in characters.
const MAX_VALUE: usize = 128;

/// The most objects that a field may be nested in, the event included.
const MAX_DEPTH: usize = 3;

/// The name of a field, such as `data.user.id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field(Vec<String>);

impl Field {
    pub fn parse(name: &str) -> Option<Self> {
        let names: Vec<_> = name.split('.').map(str::to_owned).collect();
        // A list with commas, a JSON path or a JSON pointer would otherwise be the name of a field that no event has.
        let is_mistake = name.contains([',', ';', '[', ']', '"', '\'', '*', '{', '}'])
            || name.starts_with(['$', '/']);
        let is_valid =
            names.len() <= MAX_DEPTH && !names.iter().any(String::is_empty) && !is_mistake;
        is_valid.then_some(Self(names))
    }

    /// The value of the field, a string or a number. `None` if the event has none that Svix would take.
    fn value<'a>(&self, event: &'a str) -> Option<Cow<'a, str>> {
        let mut json = event;
        for name in &self.0 {
            let [field] = json::pick(json, [name]).ok()?;
            json = field?.get();
        }
        let value = match json.as_bytes().first()? {
            b'"' => serde_json::from_str(json).ok().map(Cow::Owned)?,
            b'-' | b'0'..=b'9' => Cow::Borrowed(json),
            _ => return None,
        };
        let fits = (1..=MAX_VALUE).contains(&value.len()) && identifier::check(&value).is_ok();
        fits.then_some(value)
    }
}

/// The values of the fields, each one once.
pub fn values<'a>(fields: &[Field], event: &'a str) -> Vec<Cow<'a, str>> {
    let mut values = Vec::with_capacity(fields.len());
    for value in fields.iter().filter_map(|field| field.value(event)) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"id":"evt_1","data":{"id":"sub_1","n":7,"big":12345678901234567890123,"f":1.5,"e":1e3,"user":{"id":"usr_1","deep":{"id":"x"}},"none":null,"odd":"a b","ok":true,"u\u0069d":"\u0061","empty":""}}"#;

    fn value(name: &str) -> Option<String> {
        let field = Field::parse(name).expect("a name");
        field.value(EVENT).map(Cow::into_owned)
    }

    #[test]
    fn a_value_is_a_string_or_a_number() {
        for (name, expected) in [
            ("id", Some("evt_1")),
            ("data.id", Some("sub_1")),
            ("data.user.id", Some("usr_1")),
            ("data.n", Some("7")),
            ("data.big", Some("12345678901234567890123")),
            ("data.uid", Some("a")),
            ("data.f", Some("1.5")),
            ("data.e", Some("1e3")),
            ("data.user.deep", None),
            ("data.none", None),
            ("data.odd", None),
            ("data.ok", None),
            ("data.empty", None),
            ("data", None),
            ("id.id", None),
            ("missing.id", None),
        ] {
            assert_eq!(value(name).as_deref(), expected, "{name}");
        }
        let field = Field::parse("id").expect("a name");
        for (length, fits) in [(128, true), (129, false)] {
            let event = format!(r#"{{"id":"{}"}}"#, "x".repeat(length));
            assert_eq!(field.value(&event).is_some(), fits);
        }
    }

    #[test]
    fn each_value_counts_once() {
        let fields = ["data.id", "data.missing", "data.id", "id"]
            .map(|name| Field::parse(name).expect("a name"));
        assert_eq!(values(&fields, EVENT), ["sub_1", "evt_1"]);
    }

    #[test]
    fn a_name_has_at_most_three_parts_and_no_list_or_path_is_taken_for_one() {
        for name in [
            "", ".", "a.", ".a", "a..b", "a.b.c.d", "a,b", "a[0]", "\"a\"", "$.a", "/a", "a.*",
            "{{a}}",
        ] {
            assert_eq!(Field::parse(name), None, "{name}");
        }
        for name in ["@type", "data.$oid", "data.a/b"] {
            assert!(Field::parse(name).is_some(), "{name}");
        }
    }
}
