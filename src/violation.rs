//! A field that breaks a rule, and the rule it breaks.
//!
//! The event, the configuration and the operator's requests all report every violation at once, in this
//! shape.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde::Serialize;

/// One field and why it was refused. The field's value is left out: it may be secret or huge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The field's name; dotted for a nested one, such as `message.data`.
    pub field: &'static str,
    /// The rule, as a clause that follows the field's name.
    pub reason: String,
}

impl Violation {
    /// A violation of `field`, for example `Violation::new("id", "is required")`.
    pub fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }
}

/// The number, or the rule that it breaks.
pub fn within<T: PartialOrd + Display>(
    number: Option<T>,
    range: RangeInclusive<T>,
) -> Result<T, String> {
    let number = number.filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let (least, most) = range.into_inner();
        format!("must be a whole number from {least} to {most}")
    })
}
