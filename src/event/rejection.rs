//! Why a notification holds no valid event.

use crate::json;
use crate::violation::Violation;

/// The deepest event that is relayed, in arrays and objects within each other. Svix's parser takes 127
/// around the payload and in it; customers' parsers may take less.
pub const MAX_DEPTH: usize = 100;

/// Why a notification holds no valid event, and never will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    NotUtf8,
    /// The text is not JSON: where and why.
    NotJson(String),
    /// `message.data` of a wrapped push is not base64.
    NotBase64,
    /// The bytes are encoded, such as with `gzip`.
    Encoded(String),
    /// The bytes are the data of a CloudEvent in binary mode, without the event.
    BinaryMode,
    /// Arrays and objects are nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// Fields are missing or break a rule.
    Invalid(Vec<Violation>),
}

impl From<json::Error> for Rejection {
    fn from(error: json::Error) -> Self {
        match error {
            json::Error::NotJson(reason) => Self::NotJson(reason),
            json::Error::NotAnObject => {
                Self::Invalid(vec![Violation::new("event", "must be a JSON object")])
            }
        }
    }
}
