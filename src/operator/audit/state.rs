//! How far the audit has come.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::api::query::Audit;
use crate::json;
use crate::records::journal;
use crate::time::rfc3339;

/// The name of the state in the store.
pub const NAME: &str = "audit/state";

const VERSION: u32 = 1;

/// Everything that the next slice needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    version: u32,
    /// The place in the journal: all pages of this day up to this one are compared.
    pub day: u64,
    pub page: u64,
    /// Only one in so many projects is compared.
    pub one_in: u64,
    /// Up to when all pages are compared, in milliseconds since 1970. 0 until the first batch is done.
    pub until: u64,
    /// How many records were found in Svix since the audit began anew.
    pub events: u64,
    /// How many unknown records were settled since then.
    pub settled: u64,
    /// The batch that the last slice left.
    pub unfinished: Option<Unfinished>,
    /// At most [`MOST_LISTS`], one for each project.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<WaitingList>,
}

/// How many projects may wait for another list. If still more fail, Svix does.
pub const MOST_LISTS: usize = 100;

/// Messages that Svix failed to list. The records of that time are looked up, so a list can only show messages that are
/// doubled, or have no record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingList {
    pub project: String,
    /// The messages that were stored at this time or later, and before the other, in milliseconds since 1970.
    pub after: u64,
    pub before: u64,
    /// When Svix last failed.
    pub tried: u64,
    /// The page that comes next. `None` for the first.
    pub iterator: Option<String>,
}

impl WaitingList {
    /// One list for both times, and all between them.
    pub fn with(self, other: &Self) -> Self {
        Self {
            after: self.after.min(other.after),
            before: self.before.max(other.before),
            tried: self.tried.max(other.tried),
            iterator: None,
            ..self
        }
    }
}

/// A batch that is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// Its last page.
    pub end: u64,
    /// All projects before this one, by the alphabet, are done.
    pub project: String,
    /// How far this project has come. `None` if it has not begun.
    pub progress: Option<Progress>,
}

/// A project that is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Whether all of its messages are listed.
    pub listed: bool,
    /// The page of the list that comes next. `None` for the first.
    pub iterator: Option<String>,
    /// The names of the records that have not met their message yet.
    pub unseen: BTreeSet<String>,
}

impl State {
    /// An audit that begins with the day of `since`.
    fn begin(since: SystemTime) -> Self {
        Self {
            version: VERSION,
            day: journal::day(since),
            page: 0,
            one_in: 1,
            until: 0,
            events: 0,
            settled: 0,
            unfinished: None,
            lists: Vec::new(),
        }
    }

    /// The state that a slice begins with: that of the last one, or else of an audit that begins with the day of
    /// `first`.
    pub fn start(last: Option<Self>, wanted: &Audit, first: SystemTime, now: SystemTime) -> Self {
        // A state in the future comes from a clock that was ahead.
        let last = last.filter(|it| it.day <= journal::day(now) && time(it.until) <= now);
        let mut start = match wanted.since {
            Some(since) => Self::begin(since),
            None => last.unwrap_or_else(|| Self::begin(first)),
        };
        // A batch that is begun goes on with the same projects.
        if start.unfinished.is_none() {
            start.one_in = wanted.one_in;
        }
        start
    }

    pub fn is_behind(&self, other: &Self) -> bool {
        let place = |state: &Self| {
            let project = state.unfinished.as_ref().map(|it| it.project.clone());
            (state.day, state.page, project)
        };
        place(self) < place(other)
    }

    pub fn encode(&self) -> Vec<u8> {
        json::encode(self)
    }

    /// `None` for anything that this version has not written.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let state: Self = serde_json::from_slice(bytes).ok()?;
        (state.version == VERSION).then_some(state)
    }

    /// Up to when everything is compared in both directions. `None` until the first batch is done.
    pub fn verified_until(&self) -> Option<String> {
        let lists = self.lists.iter().map(|it| it.after).min();
        let until = lists.map_or(self.until, |after| after.min(self.until));
        (self.until > 0).then(|| rfc3339(time(until)))
    }
}

pub fn time(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_goes_on_where_the_last_one_ended_unless_another_day_is_wanted() {
        let day = |day: u32| UNIX_EPOCH + Duration::from_hours(24) * day;
        let wanted = |since, one_in| Audit { since, one_in };
        let start =
            |last: &State, wanted| State::start(Some(last.clone()), &wanted, day(1), day(9));
        let mut last = State::begin(day(5));
        last.page = 7;
        assert_eq!(start(&last, wanted(None, 1)), last);
        assert_eq!(start(&last, wanted(None, 3)).one_in, 3);
        let since = wanted(Some(day(2)), 1);
        assert_eq!(start(&last, since), State::begin(day(2)));
        let first = State::start(None, &wanted(None, 1), day(1), day(9));
        assert_eq!(first, State::begin(day(1)));
        last.day = 10;
        assert_eq!(start(&last, wanted(None, 1)), first, "a clock was ahead");
        last.day = 5;
        last.unfinished = Some(Unfinished { end: 8, project: "dev".to_owned(), progress: None });
        assert_eq!(start(&last, wanted(None, 3)).one_in, 1);
    }

    #[test]
    fn an_audit_is_behind_another_by_day_page_and_project() {
        let at = |days: u64, page, project: Option<&str>| State {
            page,
            unfinished: project.map(|project| Unfinished {
                end: 8,
                project: project.to_owned(),
                progress: None,
            }),
            ..State::begin(UNIX_EPOCH + Duration::from_hours(24 * days))
        };
        let places = [
            at(1, 7, None),
            at(2, 3, None),
            at(2, 3, Some("dev")),
            at(2, 3, Some("sim")),
            at(2, 4, None),
        ];
        for (number, place) in places.iter().enumerate() {
            for (other_number, other) in places.iter().enumerate() {
                assert_eq!(place.is_behind(other), number < other_number);
            }
        }
    }

    #[test]
    fn the_state_is_read_as_it_is_written() {
        let mut state = State::begin(UNIX_EPOCH + Duration::from_hours(24 * 20_780));
        assert_eq!(state.verified_until(), None);
        state.until = 1_795_443_162_123;
        let until = "2026-11-23T14:12:42.123Z".to_owned();
        assert_eq!(state.verified_until(), Some(until));
        state.lists = vec![WaitingList {
            project: "sim".to_owned(),
            after: 1_795_443_150_000,
            before: 1_795_443_160_000,
            tried: 1_795_443_170_000,
            iterator: None,
        }];
        state.unfinished = Some(Unfinished {
            end: 7,
            project: "dev".to_owned(),
            progress: Some(Progress {
                listed: false,
                iterator: Some("msg_1".to_owned()),
                unseen: BTreeSet::from(["record/a".to_owned()]),
            }),
        });
        let text = concat!(
            r#"{"version":1,"day":20780,"page":0,"oneIn":1,"until":1795443162123,"events":0,"settled":0,"#,
            r#""unfinished":{"end":7,"project":"dev","progress":{"listed":false,"iterator":"msg_1","#,
            r#""unseen":["record/a"]}},"lists":[{"project":"sim","after":1795443150000,"#,
            r#""before":1795443160000,"tried":1795443170000,"iterator":null}]}"#,
        );
        assert_eq!(String::from_utf8(state.encode()).expect("text"), text);
        let until = "2026-11-23T14:12:30Z".to_owned();
        assert_eq!(state.verified_until(), Some(until), "not all is listed");
        assert_eq!(State::decode(text.as_bytes()), Some(state));
        let newer = text.replace(r#""version":1"#, r#""version":2"#);
        for other in ["", "{}", &newer] {
            assert_eq!(State::decode(other.as_bytes()), None);
        }
    }
}
