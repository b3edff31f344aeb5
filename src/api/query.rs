//! The query of a request: what it may hold, and what it means.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::SystemTime;

use percent_encoding::percent_decode_str;

use super::table::ROWS;
use crate::time::parse_rfc3339;
use crate::violation::{Violation, within};

/// The largest `oneIn`.
const MAX_ONE_IN: u64 = 1_000;

/// The largest `limit`.
const MAX_LIMIT: usize = 100;

/// A query, not parsed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query(String);

/// Which event is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The customer.
    pub project: String,
    /// The platform's identifier of the event.
    pub event_id: String,
}

/// Which records are to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Begin anew with the day of this time.
    pub since: Option<SystemTime>,
    /// Only one in so many projects, others each day.
    pub one_in: u64,
}

/// Which dead letters are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only those with a higher number.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
    /// Only those of this project.
    pub project: Option<String>,
    /// Only those with this reason.
    pub reason: Option<String>,
    /// Only those that wait for a decision.
    pub unresolved: bool,
}

impl Query {
    pub fn of(query: &str) -> Self {
        Self(query.to_owned())
    }

    /// The values of these parameters, each if it is there. Any other is refused, and so is one that occurs twice.
    fn pick<const N: usize>(
        &self,
        names: [&'static str; N],
    ) -> Result<[Option<&str>; N], Violation> {
        let mut values = [None; N];
        for pair in self.0.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(at) = names.iter().position(|known| *known == name) else {
                let reason = format!("may hold only {}", names.join(", "));
                return Err(Violation::new("query", reason));
            };
            if values[at].replace(value).is_some() {
                return Err(Violation::new(names[at], "may stand only once"));
            }
        }
        Ok(values)
    }

    /// Reads `project` and `eventId`. A `+` is a space, as in every query that a form or a library has written.
    pub fn name(&self) -> Result<Name, Violation> {
        let [project, event_id] = self.pick(["project", "eventId"])?;
        let required = |name, value: Option<&str>| {
            let text = value.and_then(|value| decode(&value.replace('+', " ")));
            text.ok_or_else(|| Violation::new(name, "is required, as text in UTF-8"))
        };
        Ok(Name {
            project: required("project", project)?,
            event_id: required("eventId", event_id)?,
        })
    }

    /// Reads `after`, a text.
    pub fn after(&self) -> Result<String, Violation> {
        let [after] = self.pick(["after"])?;
        Ok(after.unwrap_or_default().to_owned())
    }

    /// Reads `since` and `oneIn`.
    pub fn audit(&self) -> Result<Audit, Violation> {
        let [since, one_in] = self.pick(["since", "oneIn"])?;
        let time = |value| {
            let time = decode(value).and_then(|text| parse_rfc3339(&text));
            time.ok_or_else(|| Violation::new("since", "must be a time in RFC 3339"))
        };
        Ok(Audit {
            since: since.map(time).transpose()?,
            one_in: one_in.map_or(Ok(1), |value| number("oneIn", value, 1..=MAX_ONE_IN))?,
        })
    }

    /// Reads `unresolved` and what [`Self::unresolved`] reads.
    pub fn selection(&self) -> Result<Selection, Violation> {
        let [after, limit, project, reason, unresolved] =
            self.pick(["after", "limit", "project", "reason", "unresolved"])?;
        let unresolved =
            unresolved.map(|value| parsed("unresolved", value, "must be true or false"));
        Selection::of([after, limit, project, reason], unresolved.unwrap_or(Ok(false))?)
    }

    /// Reads `after`, `limit`, `project` and `reason` of unresolved letters.
    pub fn unresolved(&self) -> Result<Selection, Violation> {
        let selection = self.pick(["after", "limit", "project", "reason"])?;
        Selection::of(selection, true)
    }
}

impl Selection {
    fn of(
        [after, limit, project, reason]: [Option<&str>; 4],
        unresolved: bool,
    ) -> Result<Self, Violation> {
        let text = |name, value| {
            let text = decode(value);
            text.ok_or_else(|| Violation::new(name, "must be text in UTF-8, and not empty"))
        };
        let reason = reason.map(|value| text("reason", value)).transpose()?;
        let is_known = |reason: &String| ROWS.iter().any(|row| row.name == reason);
        if !reason.as_ref().is_none_or(is_known) {
            return Err(Violation::new("reason", "must be the name of a problem"));
        }
        let after = after.map(|value| parsed("after", value, "must be a whole number"));
        Ok(Self {
            after: after.unwrap_or(Ok(0))?,
            limit: limit.map_or(Ok(50), |value| number("limit", value, 1..=MAX_LIMIT))?,
            project: project.map(|value| text("project", value)).transpose()?,
            reason,
            unresolved,
        })
    }
}

fn number<T: FromStr + PartialOrd + Display>(
    name: &'static str,
    value: &str,
    range: RangeInclusive<T>,
) -> Result<T, Violation> {
    within(value.parse().ok(), range).map_err(|reason| Violation::new(name, reason))
}

fn parsed<T: FromStr>(name: &'static str, value: &str, rule: &str) -> Result<T, Violation> {
    value.parse().map_err(|_| Violation::new(name, rule))
}

/// A text of a URL. `None` if it is empty, or not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    (!text.is_empty()).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_query_that_names_no_event() {
        for (query, field) in [
            ("", "project"),
            ("eventId=evt_1", "project"),
            ("project=dev", "eventId"),
            ("project=dev&eventId=", "eventId"),
            ("project=dev&eventId=%FF", "eventId"),
            ("project=dev&id=evt_1", "query"),
            ("project=dev&eventId=a&eventId=b", "eventId"),
            ("project=&project=dev&eventId=a", "project"),
        ] {
            let violation = Query::of(query).name().expect_err(query);
            assert_eq!(violation.field, field);
        }
    }

    #[test]
    fn refuses_a_parameter_that_occurs_twice() {
        let twice = |name: &str| Query::of(&format!("{name}=1&{name}=1"));
        for violation in [
            twice("after").after().expect_err("after"),
            twice("oneIn").audit().expect_err("oneIn"),
            twice("limit").selection().expect_err("limit"),
        ] {
            assert_eq!(violation.reason, "may stand only once");
        }
    }

    #[test]
    fn a_plus_in_an_event_id_is_a_space_unless_it_is_encoded() {
        let name = Query::of("project=dev&eventId=order+7%2B8").name();
        assert_eq!(name.expect("valid").event_id, "order 7+8");
    }

    #[test]
    fn a_selection_is_every_letter_unless_the_query_says_less() {
        let all = "after=7&limit=2&project=d%65v&reason=not-json&unresolved=true";
        let selection = Selection {
            after: 7,
            limit: 2,
            project: Some("dev".to_owned()),
            reason: Some("not-json".to_owned()),
            unresolved: true,
        };
        assert_eq!(Query::of(all).selection(), Ok(selection));
        let selection = Selection { limit: 50, ..Selection::default() };
        assert_eq!(Query::of("").selection(), Ok(selection));
    }

    #[test]
    fn refuses_a_query_that_makes_no_sense() {
        for (query, field) in [
            ("after=x", "after"),
            ("after=-1", "after"),
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit", "limit"),
            ("unresolved=1", "unresolved"),
            ("projct=dev", "query"),
            ("project=", "project"),
            ("project=%ff", "project"),
            ("reason=hold", "reason"),
            ("reason", "reason"),
        ] {
            let violation = Query::of(query).selection().expect_err(query);
            assert_eq!(violation.field, field);
        }
    }
}
