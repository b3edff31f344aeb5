//! The operators: each has a name, a token, and the right to act or only to read.

use serde::Serialize;

use super::check::{Check, each};
use super::secret::Secret;

/// The longest name. A token of the usual length that stands in its place is refused.
const MAX_NAME: usize = 24;

/// The name of an operator whose token stands alone.
const UNNAMED: &str = "operator";

const FORMS: &str = "must be TOKEN, NAME:TOKEN or NAME:ro:TOKEN, several separated by commas";

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Operator {
    /// Two tokens may have the same name, while one of them is rotated.
    pub name: String,
    /// Whether the operator may look at everything, and change nothing.
    pub read_only: bool,
    #[serde(skip)]
    pub token: Secret,
}

impl Operator {
    /// Reads `admin_token`.
    pub fn read(check: &mut Check<'_>) -> Option<Vec<Self>> {
        check.secret("admin_token", Self::parse_all)
    }

    fn parse_all(value: &str) -> Result<Vec<Self>, String> {
        let operators = each(value, Self::parse)?;
        let mut tokens: Vec<_> = operators.iter().map(|one| one.token.expose()).collect();
        tokens.sort_unstable();
        if tokens.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("must not hold the same token twice".to_owned());
        }
        Ok(operators)
    }

    /// A token holds no colon, and `ro` is neither a name nor a token of an entry with colons. So each entry
    /// can be read in one way only.
    fn parse(entry: &str) -> Result<Self, String> {
        let parts: Vec<_> = entry.split(':').collect();
        let (name, read_only, token) = match parts[..] {
            [token] => (UNNAMED, false, token),
            [name, "ro", token] => (name, true, token),
            [name, token] if token != "ro" => (name, false, token),
            _ => return Err(FORMS.to_owned()),
        };
        if token.is_empty() {
            return Err(FORMS.to_owned());
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(plain) || name == "ro" {
            return Err(format!(
                "{FORMS}; a name has up to {MAX_NAME} letters, digits, '-', '_' and '.', and is not 'ro'"
            ));
        }
        Ok(Self { name: name.to_owned(), read_only, token: Secret::parse(token)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<Vec<(String, bool, String)>, String> {
        let operators = Operator::parse_all(value)?.into_iter();
        let read = operators.map(|operator| {
            let token = operator.token.expose().to_owned();
            (operator.name, operator.read_only, token)
        });
        Ok(read.collect())
    }

    fn operator(name: &str, read_only: bool, token: &str) -> (String, bool, String) {
        (name.to_owned(), read_only, token.to_owned())
    }

    #[test]
    fn each_token_may_have_a_name_and_be_read_only() {
        assert_eq!(
            parse("hush, alice:a+/=,alice:b,support:ro:c").as_deref(),
            Ok(&[
                operator("operator", false, "hush"),
                operator("alice", false, "a+/="),
                operator("alice", false, "b"),
                operator("support", true, "c"),
            ][..])
        );
        // A token alone may be any text without a colon.
        let ro = [operator("operator", false, "ro")];
        assert_eq!(parse("ro").as_deref(), Ok(&ro[..]));
    }

    #[test]
    fn an_entry_that_could_be_read_in_two_ways_is_refused_without_its_text() {
        for entry in ["alice:", "alice:ro:", "support:ro:a,alice:"] {
            assert_eq!(parse(entry), Err(FORMS.to_owned()), "{entry}");
        }
        let long = format!("{}:alice", "secret0".repeat(5));
        for entry in [
            "secret:ro",
            "ro:secret",
            "ro:ro:secret",
            "alice:rw:secret",
            "alice:ro:secret:secret",
            "alice:secret:",
            ":secret",
            ":ro:secret",
            "alice:",
            "alice::secret",
            "al ice:secret",
            "\u{e4}:secret",
            "alice:sec ret",
            "alice:sec\u{e4}ret",
            "secret,",
            ",",
            "secret,secret",
            "alice:ro:secret,bob:secret",
            &long,
        ] {
            let reason = parse(entry).expect_err(entry);
            assert!(!reason.contains("sec") && !reason.contains("alice"), "{entry}: {reason}");
        }
    }
}
