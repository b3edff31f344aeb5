//! The rules for identifiers, most of which Svix sets, and how much of a text is shown.

/// The longest identifier that Svix accepts, in characters.
const LONGEST: usize = 256;

/// How much of a text is shown, in bytes.
const MAX_SHOWN: usize = 300;

/// Svix's rule for every identifier: `^[a-zA-Z0-9\-_.]+$`, at most 256 characters.
pub fn check(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !text.bytes().all(plain) {
        Err("may hold only letters, digits, '-', '_' and '.'".to_owned())
    } else if text.len() > LONGEST {
        Err(format!("must be at most {LONGEST} characters long"))
    } else {
        Ok(())
    }
}

/// The rule for a project: a uid that Svix takes for an application, and safe as a segment of a path.
pub fn check_project(text: &str) -> Result<(), String> {
    check_path_segment(text)?;
    if text.starts_with("app_") {
        return Err("must not start with 'app_'".to_owned());
    }
    Ok(())
}

/// The rule for an identifier that becomes part of a path.
pub fn check_path_segment(text: &str) -> Result<(), String> {
    check(text)?;
    if is_dot_segment(text) {
        return Err("must not be '.' or '..'".to_owned());
    }
    Ok(())
}

/// Whether a server may read a path segment as "here" or "up".
pub fn is_dot_segment(text: &str) -> bool {
    matches!(text, "." | "..")
}

/// The beginning of a text. A sender's text may have any length; a line of the log may not.
pub fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_SHOWN)].to_owned()
}

/// Leaves the beginning of a text.
pub fn shorten(text: &mut String) {
    text.truncate(text.floor_char_boundary(MAX_SHOWN));
}
