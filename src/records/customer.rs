//! A record as its customer may see it.

use serde_json::value::RawValue;

use crate::json::{self, Stored};

/// A field that a later record gains stays hidden until it is added here. Never add the number of a dead
/// letter: it tells how many events of other customers failed.
const SHOWN: [&str; 10] = [
    "state",
    "project",
    "eventId",
    "eventType",
    "svixMessageId",
    "publishedAt",
    "deliveredAt",
    "exhausted",
    "firstAttemptAt",
    "lastAttemptAt",
];

/// The part of a stored record that its customer may see.
pub fn for_customer(record: &[u8]) -> Vec<u8> {
    let stored = Stored::read(record);
    let field = |name| stored.as_ref()?.raw(name).map(RawValue::get);
    json::object(&SHOWN.map(|name| (name, field(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_sees_what_the_event_is_and_where_it_went() {
        let delivered = r#"{"version":1,"state":"delivered","project":"dev","eventId":"evt_1","eventType":"user.created","svixMessageId":"msg_1","attempts":2,"deliveredAt":"2026-11-23T14:12:42.123Z","deadLetter":7,"fingerprint":"08f44b07b5901a25","publishedAt":"2026-11-23T14:12:42Z","exhausted":[{"endpointId":"ep_1","at":"2026-11-24T14:12:42Z"}],"later":"x"}"#;
        let shown = |record: &str| String::from_utf8(for_customer(record.as_bytes()));
        assert_eq!(
            shown(delivered).as_deref(),
            Ok(
                r#"{"state":"delivered","project":"dev","eventId":"evt_1","eventType":"user.created","svixMessageId":"msg_1","publishedAt":"2026-11-23T14:12:42Z","deliveredAt":"2026-11-23T14:12:42.123Z","exhausted":[{"endpointId":"ep_1","at":"2026-11-24T14:12:42Z"}]}"#
            )
        );
        let dead = r#"{"version":1,"state":"dead-lettered","deadLetter":7}"#;
        assert_eq!(shown(dead).as_deref(), Ok(r#"{"state":"dead-lettered"}"#));
    }
}
