//! The list of an application's messages, page by page. A page shows the newest message first.
//!
//! As in Svix's open-source server, bounds are compared with the time in a message's id, which counts
//! units of 4 ms. So `before` leaves out the messages of its own unit, and `after` lets them in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use serde::Serialize;

use crate::message::{MessageOut, StoredMessage};
use crate::refusal::{Refusal, Violation};
use crate::reply::{self, Reply};
use crate::request::ReceivedRequest;
use crate::store::{Store, number};
use clock::parse_rfc3339;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 250;

/// The longest time that a list covers, unless it has both bounds or an iterator.
const SPAN: Duration = Duration::from_hours(90 * 24);

#[derive(Debug)]
pub(crate) struct ListMessages<'a> {
    app: &'a str,
    limit: usize,
    iterator: Option<Place>,
    before: Option<SystemTime>,
    after: Option<SystemTime>,
    with_content: bool,
}

/// The message at which a page begins, by its number. That message itself is left out.
#[derive(Clone, Copy, Debug)]
enum Place {
    OlderThan(u64),
    NewerThan(u64),
}

impl Place {
    fn read(iterator: &str) -> Option<Self> {
        match iterator.strip_prefix('-') {
            Some(id) => number(id).map(Self::NewerThan),
            None => number(iterator).map(Self::OlderThan),
        }
    }
}

impl<'a> ListMessages<'a> {
    pub fn read(app: &'a str, request: &'a ReceivedRequest) -> Result<Self, Refusal> {
        let time = |name| {
            let text = request.query(name).map(|text| text.replace("%3A", ":"));
            let time = text.map(|text| parse_rfc3339(&text).ok_or(Refusal::QueryInvalid));
            time.transpose()
        };
        let limit = request.query("limit").map(str::parse).transpose();
        let limit = limit.map_err(|_| Refusal::QueryInvalid)?;
        let iterator = request.query("iterator");
        let list = Self {
            app,
            limit: limit.unwrap_or(DEFAULT_LIMIT),
            iterator: iterator.and_then(Place::read),
            before: time("before")?,
            after: time("after")?,
            with_content: request.flag("with_content", true)?,
        };
        let mut violations = Vec::new();
        if list.limit > MAX_LIMIT {
            let msg = format!("Given limit must not exceed {MAX_LIMIT}");
            violations.push(Violation::value(&["query", "limit"], msg));
        }
        if iterator.is_some() && list.iterator.is_none() {
            let msg = "Invalid id. Expected different prefix";
            violations.push(Violation::value(&["query", "iterator"], msg));
        }
        if violations.is_empty() {
            Ok(list)
        } else {
            Err(Refusal::Invalid(violations))
        }
    }

    pub fn execute(&self, store: &Store, now: SystemTime) -> Reply {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Page<'a> {
            data: Vec<MessageOut<'a>>,
            iterator: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            prev_iterator: Option<String>,
            done: bool,
        }
        if !store.has_application(self.app) {
            return Refusal::ApplicationNotFound.reply();
        }
        let after = self.after.unwrap_or(UNIX_EPOCH);
        let messages =
            store.messages_since(self.app, |message| unit(message.timestamp) >= unit(after));
        let found = messages.filter(|message| self.covers(message, now));
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
        let page = Page {
            iterator: page.last().map(|message| message.id.as_str()),
            prev_iterator: page.first().map(|message| format!("-{}", message.id)),
            data: page
                .iter()
                .map(|message| MessageOut::new(message, self.with_content))
                .collect(),
            done,
        };
        reply::json(StatusCode::OK, &page)
    }

    /// Whether the page begins with the oldest message that it may hold. With `after` alone it does, so
    /// the other messages are newer than the page, and only `prevIterator` leads to them.
    fn is_forward(&self) -> bool {
        match self.iterator {
            Some(Place::NewerThan(_)) => true,
            Some(Place::OlderThan(_)) => false,
            None => self.before.is_none() && self.after.is_some(),
        }
    }

    fn covers(&self, message: &StoredMessage, now: SystemTime) -> bool {
        let number = number(&message.id);
        let in_place = self.iterator.is_none_or(|place| match place {
            Place::OlderThan(other) => number < Some(other),
            Place::NewerThan(other) => number > Some(other),
        });
        let at = unit(message.timestamp);
        let in_span = match (self.before, self.after, self.iterator) {
            (Some(before), _, _) => at >= unit(before - SPAN),
            (None, Some(after), _) => at <= unit(after + SPAN),
            (None, None, Some(_)) => true,
            (None, None, None) => at >= unit(now - SPAN),
        };
        in_place
            && in_span
            && self.before.is_none_or(|before| at < unit(before))
            && self.after.is_none_or(|after| at >= unit(after))
    }
}

/// The unit of 4 ms in which `time` lies.
fn unit(time: SystemTime) -> u128 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() / 4
}
