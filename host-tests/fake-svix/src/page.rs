//! Pages of a list. A page shows the newest item first.
//!
//! As in Svix's open-source server (`v1/utils/mod.rs`), bounds are compared with the time in an item's
//! id, which counts units of 4 ms. So `before` leaves out the items of its own unit, and `after` lets
//! them in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use serde::Serialize;

use crate::refusal::{Refusal, Violation};
use crate::reply::{self, Reply};
use crate::request::ReceivedRequest;
use crate::store::number;
use clock::parse_rfc3339;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 250;

/// The longest time that a list covers, unless it has both bounds or an iterator.
const SPAN: Duration = Duration::from_hours(90 * 24);

/// An item of a list. Newer items have higher numbers in their ids.
pub(crate) trait Listed {
    fn id(&self) -> &str;
    fn time(&self) -> SystemTime;
}

/// The part of a list that a request asks for.
#[derive(Debug)]
pub(crate) struct Paging {
    pub limit: usize,
    /// The number of the item at which the page begins. That item itself is left out.
    pub iterator: Option<u64>,
    before: Option<SystemTime>,
    after: Option<SystemTime>,
}

impl Paging {
    /// `prefix` is that of the items' ids.
    pub fn read(request: &ReceivedRequest, prefix: &str) -> Result<Self, Refusal> {
        let time = |name| {
            let text = request.query(name).map(|text| text.replace("%3A", ":"));
            let time = text.map(|text| parse_rfc3339(&text).ok_or(Refusal::QueryInvalid));
            time.transpose()
        };
        let limit = request.query("limit").map(str::parse).transpose();
        let limit = limit.map_err(|_| Refusal::QueryInvalid)?;
        let iterator = request.query("iterator");
        let paging = Self {
            limit: limit.unwrap_or(DEFAULT_LIMIT),
            iterator: iterator.filter(|id| id.starts_with(prefix)).and_then(number),
            before: time("before")?,
            after: time("after")?,
        };
        let mut violations = Vec::new();
        if paging.limit > MAX_LIMIT {
            let msg = format!("Given limit must not exceed {MAX_LIMIT}");
            violations.push(Violation::value(&["query", "limit"], msg));
        }
        if iterator.is_some() && paging.iterator.is_none() {
            let msg = "Invalid id. Expected different prefix";
            violations.push(Violation::value(&["query", "iterator"], msg));
        }
        Refusal::of(violations)?;
        Ok(paging)
    }

    /// The page of `items`, which come oldest first. Without `now`, the list goes back for ever.
    pub fn page<'a, T: Listed + 'a, O: Serialize>(
        &self,
        items: impl DoubleEndedIterator<Item = &'a T>,
        now: Option<SystemTime>,
        show: impl Fn(&'a T) -> O,
    ) -> Reply {
        let found = items.filter(|item| self.covers(*item, now));
        let mut page: Vec<_> = if self.is_forward() {
            found.take(self.limit + 1).collect()
        } else {
            found.rev().take(self.limit + 1).collect()
        };
        let done = page.len() <= self.limit;
        page.truncate(self.limit);
        if self.is_forward() {
            page.reverse();
        }
        reply_with(&page, done, |item| show(*item))
    }

    /// Whether `after` lets this item in.
    pub fn is_reached(&self, item: &impl Listed) -> bool {
        self.after.is_none_or(|after| unit(item.time()) >= unit(after))
    }

    /// Whether the page begins with the oldest item that it may hold. With `after` alone it does, so the
    /// other items are newer than the page, and `iterator` doesn't lead to them.
    fn is_forward(&self) -> bool {
        self.iterator.is_none() && self.before.is_none() && self.after.is_some()
    }

    fn covers(&self, item: &impl Listed, now: Option<SystemTime>) -> bool {
        let in_place = self.iterator.is_none_or(|other| number(item.id()) < Some(other));
        let at = unit(item.time());
        let in_span = match (self.before, self.after, self.iterator) {
            (Some(before), _, _) => at >= unit(before - SPAN),
            (None, Some(after), _) => at <= unit(after + SPAN),
            (None, None, Some(_)) => true,
            (None, None, None) => now.is_none_or(|now| at >= unit(now - SPAN)),
        };
        in_place
            && in_span
            && self.before.is_none_or(|before| at < unit(before))
            && self.is_reached(item)
    }
}

/// The reply with these items.
pub(crate) fn reply_with<T: Listed, O: Serialize>(
    page: &[T],
    done: bool,
    show: impl Fn(&T) -> O,
) -> Reply {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Page<'a, O> {
        data: Vec<O>,
        iterator: Option<&'a str>,
        /// Svix's way back. The relay never takes it.
        prev_iterator: (),
        done: bool,
    }
    let page = Page {
        data: page.iter().map(show).collect(),
        iterator: page.last().map(Listed::id),
        prev_iterator: (),
        done,
    };
    reply::json(StatusCode::OK, &page)
}

impl<T: Listed> Listed for &T {
    fn id(&self) -> &str {
        (*self).id()
    }

    fn time(&self) -> SystemTime {
        (*self).time()
    }
}

/// The unit of 4 ms in which `time` lies.
fn unit(time: SystemTime) -> u128 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() / 4
}
