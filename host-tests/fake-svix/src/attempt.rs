//! Attempts to bring a message to an endpoint, and the lists of them.
//!
//! The shapes are those of Svix's open-source server (`v1/endpoints/attempt.rs`).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::endpoint::Endpoint;
use crate::page::{Listed, Paging, reply_with};
use crate::refusal::{Answer, Refusal};
use crate::request::ReceivedRequest;
use crate::store::{Store, number};
use clock::rfc3339;

#[derive(Debug)]
pub(crate) struct Attempt {
    pub id: String,
    pub message: String,
    /// The id of the endpoint.
    pub endpoint: String,
    pub url: String,
    pub at: SystemTime,
    pub duration: Duration,
    /// The status of the endpoint's answer; 0 without one.
    pub status: u16,
    pub is_manual: bool,
    /// Svix doesn't clear this time if the next attempt is never made.
    pub next: Option<SystemTime>,
}

impl Attempt {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The status as a number and as text. Only the last attempt counts: while retries are due, a
    /// message is failed, too.
    fn outcome(&self) -> (u8, &'static str) {
        if self.is_success() { (0, "success") } else { (2, "fail") }
    }

    fn shown(&self, with_content: bool) -> Value {
        let (status, text) = self.outcome();
        let response = format!("{{\"status\":{}}}", self.status);
        json!({
            "id": self.id, "msgId": self.message, "endpointId": self.endpoint, "url": self.url,
            "responseStatusCode": self.status,
            "responseDurationMs": u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            "response": if with_content { &response } else { "{}" },
            "status": status, "statusText": text, "triggerType": u8::from(self.is_manual),
            "timestamp": rfc3339(self.at),
        })
    }
}

impl Listed for Attempt {
    fn id(&self) -> &str {
        &self.id
    }

    fn time(&self) -> SystemTime {
        self.at
    }
}

#[derive(Debug)]
pub(crate) struct ListAttempts<'a> {
    app: &'a str,
    message: &'a str,
    paging: Paging,
    with_content: bool,
}

impl<'a> ListAttempts<'a> {
    pub fn read(
        app: &'a str,
        message: &'a str,
        request: &'a ReceivedRequest,
    ) -> Result<Self, Refusal> {
        Ok(Self {
            app,
            message,
            paging: Paging::read(request, "atmpt_")?,
            with_content: request.flag("with_content", true)?,
        })
    }

    pub fn execute(&self, store: &Store, now: SystemTime) -> Answer {
        let message = store.find(self.app, self.message).ok_or(Refusal::EntityNotFound)?;
        let attempts = store.deliveries.attempts(&message.id).iter();
        let show = |attempt: &Attempt| attempt.shown(self.with_content);
        Ok(self.paging.page(attempts, Some(now), show))
    }
}

/// An endpoint to which Svix attempted to bring a message.
struct Destination<'a> {
    endpoint: &'a Endpoint,
    latest: &'a Attempt,
}

impl Destination<'_> {
    fn shown(&self) -> Value {
        let (status, text) = self.latest.outcome();
        let mut shown = self.endpoint.shown();
        shown["status"] = json!(status);
        shown["statusText"] = json!(text);
        shown["nextAttempt"] = json!(self.latest.next.map(rfc3339));
        shown
    }
}

impl Listed for Destination<'_> {
    fn id(&self) -> &str {
        &self.endpoint.id
    }

    fn time(&self) -> SystemTime {
        self.latest.at
    }
}

/// The endpoints of a message, the oldest first, unlike in other lists. Svix's server reads at most
/// `limit` of them and not one more, so every page says that it is the last.
pub(crate) fn list_destinations(store: &Store, app: &str, id: &str, paging: &Paging) -> Answer {
    let message = store.find(app, id).ok_or(Refusal::EntityNotFound)?;
    let attempts = store.deliveries.attempts(&message.id);
    let latest: BTreeMap<_, _> = attempts.iter().map(|it| (&it.endpoint, it)).collect();
    let endpoints = store.deliveries.endpoints.iter();
    let mut page: Vec<_> = endpoints
        .filter_map(|endpoint| {
            let latest = latest.get(&endpoint.id)?;
            Some(Destination { endpoint, latest })
        })
        .filter(|destination| number(destination.id()) > paging.iterator)
        .collect();
    page.truncate(paging.limit);
    Ok(reply_with(&page, true, Destination::shown))
}
