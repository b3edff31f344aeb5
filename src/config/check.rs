//! Reads variables one by one and notes every violation.
//!
//! A violation never repeats the value: an operator may have put the token into the wrong variable.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::violation::{Violation, within};

/// The value of each variable that the host knows.
pub type Values = BTreeMap<&'static str, String>;

pub struct Check<'v> {
    values: &'v Values,
    /// Every variable that was asked for, with its value if an operator may see it.
    pub shown: Values,
    pub violations: Vec<Violation>,
}

impl<'v> Check<'v> {
    pub fn of(values: &'v Values) -> Self {
        Self { values, shown: Values::new(), violations: Vec::new() }
    }

    /// The value of a variable, or `None` with a violation.
    pub fn value<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.values.get(name);
        self.shown.insert(name, value.cloned().unwrap_or_default());
        let result = match value {
            Some(value) => read(value),
            None => Err("is not set".to_owned()),
        };
        result.map_err(|reason| self.refuse::<T>(name, reason)).ok()
    }

    /// The value of a variable that must never be shown, or `None` with a violation.
    pub fn secret<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let result = self.value(name, read);
        if let Some(shown) = self.shown.get_mut(name).filter(|shown| !shown.is_empty()) {
            "[redacted]".clone_into(shown);
        }
        result
    }

    pub fn number(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        self.value(name, |value| whole_number(value, range))
    }

    pub fn days(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<Duration> {
        let days = self.number(name, range);
        days.map(|days| Duration::from_hours(24 * days))
    }

    pub fn milliseconds(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<Duration> {
        self.number(name, range).map(Duration::from_millis)
    }

    /// Whether the value is `yes`, the first of two that are allowed.
    pub fn choice(&mut self, name: &'static str, [yes, no]: [&str; 2]) -> Option<bool> {
        self.value(name, |value| match value {
            value if value == yes => Ok(true),
            value if value == no => Ok(false),
            _ => Err(format!("must be '{yes}' or '{no}'")),
        })
    }

    /// Notes a violation, and returns `None`.
    pub fn refuse<T>(&mut self, name: &'static str, reason: impl Into<String>) -> Option<T> {
        self.violations.push(Violation::new(name, reason));
        None
    }
}

pub fn whole_number(value: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    within(digits.then(|| value.parse().ok()).flatten(), range)
}

/// The parts of a list that is separated by commas. An empty value has none.
pub fn each<T>(value: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let parts = value.split(',').filter(|_| !value.is_empty());
    let parsed = parts.map(|part| match part.trim() {
        "" if value.contains(',') => {
            Err("must hold something before and after each comma".to_owned())
        }
        part => parse(part),
    });
    parsed.collect()
}
