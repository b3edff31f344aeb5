//! A field that breaks a rule, and the rule it breaks.
//!
//! Shared by the event's validation and the configuration's: both report everything that is wrong
//! at once, in the same shape.

use serde::Serialize;

/// One field and why it was refused. Never holds the field's value: it may be secret or huge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The field's name; dotted for a nested one, such as `message.data`.
    pub field: &'static str,
    /// What the field must be, as a clause that follows its name.
    pub reason: String,
}

impl Violation {
    /// A violation of `field`, for example `Violation::new("id", "is required")`.
    pub fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self {
            field,
            reason: reason.into(),
        }
    }
}
