//! A line of the log.

use std::fmt::Write as _;

use serde::Serialize;

/// A value as JSON on one line, with its end. Control characters are escaped, also those that JSON
/// allows: a terminal would obey them.
pub fn line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).unwrap_or_default();
    let mut line =
        if json.bytes().any(|byte| matches!(byte, 0x7f | 0xc2)) { escaped(&json) } else { json };
    line.push('\n');
    line
}

fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if character.is_control() {
            let _ = write!(escaped, "\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    escaped
}
