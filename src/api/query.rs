//! The query of a request: what it may hold, and what it means.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::SystemTime;

use percent_encoding::percent_decode_str;

use crate::time::parse_rfc3339;
use crate::violation::{Violation, within};

/// The fewest projects that an audit compares are one in so many.
const MAX_ONE_IN: u64 = 1_000;

/// The most dead letters that one request is about.
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

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// Reads `project` and `eventId`. A `+` is a space, as in every query that a form or a library has written.
    pub fn name(&self) -> Result<Name, Violation> {
        let (mut project, mut event_id) = (None, None);
        for (name, value) in self.pairs() {
            let text = decode(&value.replace('+', " "));
            let (name, wanted) = match name {
                "project" => ("project", &mut project),
                "eventId" => ("eventId", &mut event_id),
                _ => return Err(unknown("project and eventId")),
            };
            if wanted.is_some() {
                return Err(Violation::new(name, "may stand only once"));
            }
            *wanted = text;
        }
        let required = |name| move || Violation::new(name, "is required, as text in UTF-8");
        Ok(Name {
            project: project.ok_or_else(required("project"))?,
            event_id: event_id.ok_or_else(required("eventId"))?,
        })
    }

    /// Reads `after`, a text.
    pub fn after(&self) -> Result<String, Violation> {
        let mut after = String::new();
        for (name, value) in self.pairs() {
            match name {
                "after" => value.clone_into(&mut after),
                _ => return Err(unknown("after")),
            }
        }
        Ok(after)
    }

    /// Reads `since` and `oneIn`.
    pub fn audit(&self) -> Result<Audit, Violation> {
        let mut audit = Audit {
            since: None,
            one_in: 1,
        };
        for (name, value) in self.pairs() {
            match name {
                "since" => {
                    let since = decode(value).and_then(|text| parse_rfc3339(&text));
                    let reason = "must be a time in RFC 3339";
                    audit.since = Some(since.ok_or_else(|| Violation::new("since", reason))?);
                }
                "oneIn" => audit.one_in = number("oneIn", value, 1..=MAX_ONE_IN)?,
                _ => return Err(unknown("since and oneIn")),
            }
        }
        Ok(audit)
    }

    /// Reads `after`, `limit`, `project`, `reason` and `unresolved`.
    pub fn selection(&self) -> Result<Selection, Violation> {
        let mut selection = Selection {
            limit: 50,
            ..Selection::default()
        };
        for (name, value) in self.pairs() {
            let text = || percent_decode_str(value).decode_utf8_lossy().into_owned();
            match name {
                "after" => selection.after = parsed("after", value, "must be a whole number")?,
                "limit" => selection.limit = number("limit", value, 1..=MAX_LIMIT)?,
                "project" => selection.project = Some(text()),
                "reason" => selection.reason = Some(text()),
                "unresolved" => {
                    selection.unresolved = parsed("unresolved", value, "must be true or false")?;
                }
                _ => return Err(unknown("after, limit, project, reason and unresolved")),
            }
        }
        Ok(selection)
    }
}

fn unknown(known: &str) -> Violation {
    Violation::new("query", format!("may hold only {known}"))
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
        ] {
            let violation = Query::of(query).name().expect_err(query);
            assert_eq!(violation.field, field);
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
        let selection = Selection {
            limit: 50,
            ..Selection::default()
        };
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
        ] {
            let violation = Query::of(query).selection().expect_err(query);
            assert_eq!(violation.field, field);
        }
    }
}
