//! Recovery: sending an endpoint again all messages that it failed to take, as Svix's open-source server
//! does (`v1/endpoints/endpoint/recovery.rs`), or all that were never sent to it, as the hosted Svix does by
//! its specification.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::delivery;
use crate::endpoint;
use crate::refusal::{Answer, Refusal, Violation};
use crate::reply::{self, Reply};
use crate::request::ReceivedRequest;
use crate::store::Store;
use clock::{parse_rfc3339, rfc3339};

/// How far back a recovery may begin: 14 days, and 5 minutes for clocks that differ.
const RECOVERABLE: Duration = Duration::from_mins(14 * 24 * 60 + 5);

#[derive(Debug)]
pub(crate) struct Recover<'a> {
    app: &'a str,
    endpoint: &'a str,
    since: SystemTime,
    until: Option<SystemTime>,
}

impl<'a> Recover<'a> {
    pub fn read(
        app: &'a str,
        endpoint: &'a str,
        request: &ReceivedRequest,
    ) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct RecoverIn {
            since: String,
            until: Option<String>,
        }
        let body: RecoverIn = request.json()?;
        let time = |name, text: &str| {
            parse_rfc3339(text).ok_or_else(|| {
                let msg = "input contains invalid characters";
                Refusal::Invalid(vec![Violation::unreadable(&["body", name], &msg)])
            })
        };
        Ok(Self {
            app,
            endpoint,
            since: time("since", &body.since)?,
            until: body.until.map(|until| time("until", &until)).transpose()?,
        })
    }

    /// `since` is checked before the endpoint, and an attempt's time decides, not its message's.
    pub fn failed(&self, store: &mut Store, now: SystemTime) -> Answer {
        store.application(self.app).ok_or(Refusal::EntityNotFound)?;
        let until = self.until.unwrap_or(now);
        if self.since < until - RECOVERABLE {
            let msg = "Cannot recover more than 14 days of messages";
            let violation = Violation::value(&["body", "since"], msg);
            return Err(Refusal::Invalid(vec![violation]));
        }
        let endpoint = endpoint::find(store, self.app, self.endpoint)?.id.clone();
        let messages = store.deliveries.failed(&endpoint, self.since, until);
        Ok(start("endpoint.recover", store, &messages, &endpoint, now))
    }

    /// The specification names no limit for `since`.
    pub fn missing(&self, store: &mut Store, now: SystemTime) -> Answer {
        let endpoint = endpoint::find(store, self.app, self.endpoint)?.id.clone();
        let until = self.until.unwrap_or(now);
        let messages = delivery::missing(store, self.app, &endpoint, self.since, until);
        Ok(start("endpoint.replay", store, &messages, &endpoint, now))
    }
}

/// Sends messages to an endpoint, and answers with the task that does so.
fn start(
    task: &str,
    store: &mut Store,
    messages: &[String],
    endpoint: &str,
    now: SystemTime,
) -> Reply {
    let deliveries = &mut store.deliveries;
    for message in messages {
        deliveries.resend(message, endpoint, now);
    }
    let task = json!({
        "id": deliveries.new_id("qtask_"),
        "status": "running", "task": task, "updatedAt": rfc3339(now),
    });
    reply::json(StatusCode::ACCEPTED, &task)
}
