//! Endpoints: creating, changing and showing them, and the answers that they give. No request ever
//! leaves for their URLs.
//!
//! The shapes are those of Svix's open-source server (`v1/endpoints/endpoint/`).

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, SystemTime};

use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::message::check_channels;
use crate::page::{Listed, Paging};
use crate::refusal::{Answer, Refusal, Violation};
use crate::reply;
use crate::request::ReceivedRequest;
use crate::store::Store;
use clock::rfc3339;

/// The time for which an endpoint may give up messages before it is disabled.
const DISABLED_AFTER: Duration = Duration::from_hours(5 * 24);

/// The most channels of an endpoint.
const MAX_CHANNELS: usize = 10;

/// The default time that an endpoint takes to answer.
const DURATION: Duration = Duration::from_millis(35);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewEndpoint {
    pub url: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    disabled: bool,
    #[serde(default, alias = "filterTypes")]
    event_types: Option<Vec<String>>,
    #[serde(default)]
    pub channels: Option<BTreeSet<String>>,
}

impl NewEndpoint {
    /// An endpoint that takes every event type.
    pub fn at(url: &str) -> Self {
        Self { url: url.to_owned(), ..Self::default() }
    }
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub app: String,
    /// Svix's own id, `ep_…`.
    pub id: String,
    pub new: NewEndpoint,
    pub created_at: SystemTime,
    pub updated_at: SystemTime,
    /// Only the list of a message's endpoints still shows a deleted endpoint.
    pub deleted: bool,
    /// The statuses of the next answers. The last one stays; 0 stands for no answer.
    pub answers: VecDeque<u16>,
    pub duration: Duration,
    failing_since: Option<SystemTime>,
}

impl Endpoint {
    /// If the URL ends in `/status/500,200`, these are its answers; else 200 is.
    pub fn new(app: &str, id: String, new: NewEndpoint, now: SystemTime) -> Self {
        let statuses = new.url.rsplit_once("/status/");
        let statuses =
            statuses.and_then(|(_, all)| all.split(',').map(|it| it.parse().ok()).collect());
        Self {
            app: app.to_owned(),
            id,
            answers: statuses.unwrap_or_else(|| VecDeque::from([200])),
            new,
            created_at: now,
            updated_at: now,
            deleted: false,
            duration: DURATION,
            failing_since: None,
        }
    }

    pub fn is_active(&self) -> bool {
        !self.new.disabled && !self.deleted
    }

    /// Whether the endpoint takes messages of this type and with these channels.
    pub fn takes(&self, event_type: &str, channels: Option<&BTreeSet<String>>) -> bool {
        let event_types = self.new.event_types.as_ref();
        let meets = |own| channels.is_some_and(|channels| !channels.is_disjoint(own));
        event_types.is_none_or(|some| some.iter().any(|known| known == event_type))
            && self.new.channels.as_ref().is_none_or(meets)
    }

    pub fn disable(&mut self, disabled: bool, now: SystemTime) {
        self.new.disabled = disabled;
        self.updated_at = now;
    }

    /// The status of the next answer.
    pub fn answer(&mut self) -> u16 {
        let next = self.answers.front().copied().unwrap_or(200);
        if self.answers.len() > 1 {
            self.answers.pop_front();
        }
        next
    }

    pub fn succeeded(&mut self) {
        self.failing_since = None;
    }

    /// The last scheduled attempt of a message has failed. If none has succeeded since the first such failure,
    /// more than 5 and less than 10 days ago, this disables the endpoint. Then this returns the time of the first.
    pub fn exhausted(&mut self, now: SystemTime) -> Option<SystemTime> {
        let known = self.failing_since;
        match known.filter(|since| now < *since + DISABLED_AFTER * 2) {
            Some(since) if now > since + DISABLED_AFTER => {
                self.disable(true, now);
                return known;
            }
            Some(_) => {}
            None => self.failing_since = Some(now),
        }
        None
    }

    /// The fields that an endpoint has everywhere.
    pub fn shown(&self) -> Value {
        json!({
            "id": self.id, "uid": null, "url": self.new.url,
            "description": self.new.description, "disabled": self.new.disabled, "version": 1,
            "rateLimit": null, "throttleRate": null, "channels": self.new.channels,
            "eventTypes": self.new.event_types, "filterTypes": self.new.event_types,
            "createdAt": rfc3339(self.created_at), "updatedAt": rfc3339(self.updated_at),
        })
    }

    fn with_metadata(&self) -> Value {
        let mut shown = self.shown();
        shown["metadata"] = json!({});
        shown
    }
}

impl Listed for Endpoint {
    fn id(&self) -> &str {
        &self.id
    }

    fn time(&self) -> SystemTime {
        self.created_at
    }
}

#[derive(Debug)]
pub(crate) struct CreateEndpoint<'a> {
    app: &'a str,
    endpoint: NewEndpoint,
}

impl<'a> CreateEndpoint<'a> {
    pub fn read(app: &'a str, request: &ReceivedRequest) -> Result<Self, Refusal> {
        let endpoint: NewEndpoint = request.json()?;
        let mut violations = Vec::new();
        let url = endpoint.url.parse::<Uri>();
        if !url.is_ok_and(|url| matches!(url.scheme_str(), Some("http" | "https"))) {
            let msg = "Endpoint URL schemes must be http or https";
            violations.push(Violation::value(&["body", "url"], msg));
        }
        if endpoint.event_types.as_ref().is_some_and(Vec::is_empty) {
            let msg = "eventTypes can't be empty, it must have at least one item.";
            violations.push(Violation::value(&["body", "eventTypes"], msg));
        }
        if let Some(channels) = &endpoint.channels {
            violations.extend(check_channels(channels, MAX_CHANNELS));
        }
        Refusal::of(violations)?;
        Ok(Self { app, endpoint })
    }

    pub fn execute(&self, store: &mut Store, now: SystemTime) -> Answer {
        store.application(self.app).ok_or(Refusal::EntityNotFound)?;
        let types = self.endpoint.event_types.iter().flatten();
        let is_known = |name: &str| store.event_types.get(name).is_some_and(|it| !it.archived);
        let missing: Vec<_> = types.filter(|name| !is_known(name)).cloned().collect();
        if !missing.is_empty() {
            let msg = format!("The following event types don't exist: {}", missing.join(", "));
            let violation = Violation::value(&["body", "eventTypes"], msg);
            return Err(Refusal::Invalid(vec![violation]));
        }
        let deliveries = &mut store.deliveries;
        let created = deliveries.create_endpoint(self.app, self.endpoint.clone(), now);
        Ok(reply::json(StatusCode::CREATED, &created.with_metadata()))
    }
}

/// Enables or disables an endpoint. Svix changes other fields, too; here they are refused.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchEndpoint {
    disabled: Option<bool>,
}

impl PatchEndpoint {
    pub fn execute(self, store: &mut Store, app: &str, id: &str, now: SystemTime) -> Answer {
        let endpoint = find(store, app, id)?;
        endpoint.disable(self.disabled.unwrap_or(endpoint.new.disabled), now);
        let reply = reply::json(StatusCode::OK, &endpoint.with_metadata());
        store.deliveries.report("endpoint.updated", app, id);
        Ok(reply)
    }
}

pub(crate) fn find<'a>(
    store: &'a mut Store,
    app: &str,
    id: &str,
) -> Result<&'a mut Endpoint, Refusal> {
    let endpoint = store.deliveries.endpoint(app, id);
    endpoint.ok_or(Refusal::EntityNotFound)
}

pub(crate) fn get(store: &mut Store, app: &str, id: &str) -> Answer {
    let endpoint = find(store, app, id)?;
    Ok(reply::json(StatusCode::OK, &endpoint.with_metadata()))
}

pub(crate) fn delete(store: &mut Store, app: &str, id: &str) -> Answer {
    store.deliveries.report("endpoint.deleted", app, id);
    find(store, app, id)?.deleted = true;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

pub(crate) fn list(store: &Store, app: &str, paging: &Paging) -> Answer {
    store.application(app).ok_or(Refusal::EntityNotFound)?;
    let all = store.deliveries.endpoints.iter();
    let endpoints = all.filter(|endpoint| endpoint.app == app && !endpoint.deleted);
    Ok(paging.page(endpoints, None, Endpoint::with_metadata))
}
