//! Media types and encodings of a body, as headers and attributes name them.

/// Whether a `Content-Encoding` names any encoding but the plain one.
pub fn is_encoded(content_encoding: &str) -> bool {
    let mut codings = content_encoding.split(',').map(str::trim);
    codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
}

/// Whether a `Content-Type` promises one event as JSON. Its charset is ignored: JSON is UTF-8, and other bytes are
/// refused when they are read.
pub fn is_json_media_type(content_type: &str) -> bool {
    let essence = essence(content_type);
    let json = ["application/json", "text/json"].contains(&essence.as_str());
    let suffixed = essence.starts_with("application/") && essence.ends_with("+json");
    // A batch holds many events, of which each needs an answer of its own.
    json || (suffixed && !essence.ends_with("-batch+json"))
}

/// A media type without its parameters, in lower case.
pub fn essence(media_type: &str) -> String {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_identity_leaves_a_body_plain() {
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
