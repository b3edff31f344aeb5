//! Delivery: the queue of the attempts to come, as the worker of Svix's open-source server works it
//! off (`worker.rs`), without its jitter of 20 %.
//!
//! The queue is worked off when a request comes, at the times that have passed since. No task runs
//! and no request leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde_json::json;

use crate::attempt::Attempt;
use crate::endpoint::{self, Endpoint, NewEndpoint};
use crate::message::{EXPIRED, StoredMessage};
use crate::refusal::{Answer, Refusal};
use crate::reply;
use crate::report::{FAILING_AFTER, Report};
use crate::store::{Store, id};

/// The time from each failed attempt to the next, in seconds.
pub(crate) const SCHEDULE: [u64; 7] = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];

#[derive(Debug)]
struct Task {
    message: String,
    event_id: Option<String>,
    event_type: String,
    channels: Option<BTreeSet<String>>,
    /// The id of the endpoint.
    endpoint: String,
    /// How many scheduled attempts came before.
    attempts: usize,
    is_manual: bool,
}

#[derive(Debug)]
pub(crate) struct Deliveries {
    created: SystemTime,
    /// The last number that an id or an entry of the queue was given.
    last: u64,
    /// Oldest first, with those that were deleted.
    pub endpoints: Vec<Endpoint>,
    /// By the message's id, oldest first.
    attempts: BTreeMap<String, Vec<Attempt>>,
    queue: BTreeMap<(SystemTime, u64), Task>,
    /// The operational webhooks to come, oldest first.
    pub reports: Vec<Report>,
    /// How long a manual attempt waits in the queue.
    pub manual_delay: Duration,
    /// Whether new messages never come into the queue.
    pub is_stopped: bool,
}

impl Deliveries {
    pub fn new(now: SystemTime) -> Self {
        Self {
            created: now,
            last: 0,
            endpoints: Vec::new(),
            attempts: BTreeMap::new(),
            queue: BTreeMap::new(),
            reports: Vec::new(),
            manual_delay: Duration::ZERO,
            is_stopped: false,
        }
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub fn new_id(&mut self, prefix: &str) -> String {
        id(prefix, self.created, self.number())
    }

    pub fn create_endpoint(&mut self, app: &str, new: NewEndpoint, now: SystemTime) -> &Endpoint {
        let id = self.new_id("ep_");
        self.endpoints.push(Endpoint::new(app, id.clone(), new, now));
        self.report("endpoint.created", app, &id);
        self.endpoints.last().expect("the one just created")
    }

    /// Finds an endpoint, unless it is deleted.
    pub fn endpoint(&mut self, app: &str, id: &str) -> Option<&mut Endpoint> {
        let mut all = self.endpoints.iter_mut();
        all.find(|endpoint| endpoint.id == id && endpoint.app == app && !endpoint.deleted)
    }

    /// Has Svix report something about an endpoint.
    pub fn report(&mut self, kind: &str, app: &str, endpoint: &str) {
        let id = self.new_id("msg_");
        if let Some(endpoint) = self.endpoint(app, endpoint) {
            let report = Report::of_endpoint(id, kind, endpoint);
            self.reports.push(report);
        }
    }

    /// The attempts to bring a message to any endpoint, oldest first.
    pub fn attempts(&self, message: &str) -> &[Attempt] {
        self.attempts.get(message).map_or(&[], Vec::as_slice)
    }

    pub fn forget_application(&mut self, app: &str) {
        self.endpoints.retain(|endpoint| endpoint.app != app);
    }

    /// Queues a new message for all endpoints of its application.
    pub fn send(&mut self, message: &StoredMessage, now: SystemTime) {
        if self.is_stopped {
            return;
        }
        let endpoints = self.endpoints.iter().filter(|it| it.app == message.app);
        let tasks: Vec<_> = endpoints
            .map(|endpoint| Task {
                message: message.id.clone(),
                event_id: message.event_id.clone(),
                event_type: message.event_type.clone(),
                channels: message.channels.clone(),
                endpoint: endpoint.id.clone(),
                attempts: 0,
                is_manual: false,
            })
            .collect();
        for task in tasks {
            self.push(now, task);
        }
    }

    /// Queues a manual attempt.
    pub fn resend(&mut self, message: &str, endpoint: &str, now: SystemTime) {
        let task = Task {
            message: message.to_owned(),
            event_id: None,
            event_type: String::new(),
            channels: None,
            endpoint: endpoint.to_owned(),
            attempts: 0,
            is_manual: true,
        };
        self.push(now + self.manual_delay, task);
    }

    fn push(&mut self, at: SystemTime, task: Task) {
        let number = self.number();
        self.queue.insert((at, number), task);
    }

    /// Makes the attempts that were due until now. A message without a payload gets no further one.
    pub fn settle(&mut self, now: SystemTime, has_payload: impl Fn(&str) -> bool) {
        while let Some(next) = self.queue.first_entry().filter(|next| next.key().0 <= now) {
            let ((at, _), task) = next.remove_entry();
            if has_payload(&task.message) {
                self.attempt(at, task);
            }
        }
    }

    /// Makes an attempt if the endpoint takes it. A retry is dropped without a trace if the endpoint is
    /// disabled or deleted, or if a manual attempt came after the attempt that the retry follows.
    fn attempt(&mut self, at: SystemTime, task: Task) {
        let [id, report_id, disabled_id] =
            ["atmpt_", "msg_", "msg_"].map(|prefix| self.new_id(prefix));
        let made = self.attempts.entry(task.message.clone()).or_default();
        let mut latest = made.iter().rev();
        let latest = latest.find(|attempt| attempt.endpoint == task.endpoint);
        let is_over = task.attempts > 0 && latest.is_some_and(|latest| latest.next.is_none());
        let mut endpoints = self.endpoints.iter_mut();
        let endpoint = endpoints.find(|endpoint| {
            let takes = task.is_manual
                || endpoint.takes(&task.event_type, task.channels.as_ref()) && !is_over;
            endpoint.id == task.endpoint && endpoint.is_active() && takes
        });
        let Some(endpoint) = endpoint else {
            return;
        };
        let ended = at + endpoint.duration;
        let mut attempt = Attempt {
            id,
            message: task.message.clone(),
            endpoint: task.endpoint.clone(),
            url: endpoint.new.url.clone(),
            at,
            duration: endpoint.duration,
            status: endpoint.answer(),
            is_manual: task.is_manual,
            next: None,
        };
        let mut reported = None;
        let mut failing_since = None;
        if attempt.is_success() {
            endpoint.succeeded();
            // A manual attempt is never among these.
            reported = (task.attempts >= FAILING_AFTER).then_some("message.attempt.recovered");
        } else if !task.is_manual {
            let delay = SCHEDULE.get(task.attempts).copied();
            attempt.next = delay.map(|delay| ended + Duration::from_secs(delay));
            if attempt.next.is_none() {
                reported = Some("message.attempt.exhausted");
                failing_since = endpoint.exhausted(ended);
            } else if task.attempts == FAILING_AFTER - 1 {
                reported = Some("message.attempt.failing");
            }
        }
        if let Some(kind) = reported {
            let event_id = task.event_id.as_deref();
            let report = Report::of_attempt(report_id, kind, &endpoint.app, event_id, &attempt);
            self.reports.push(report);
        }
        if let Some(since) = failing_since {
            self.reports.push(Report::of_disabled(disabled_id, endpoint, since));
        }
        let next = attempt.next;
        made.push(attempt);
        if let Some(next) = next {
            let attempts = task.attempts + 1;
            self.push(next, Task { attempts, ..task });
        }
    }

    /// The messages that have a failed attempt to the endpoint in this time and no successful one.
    pub fn failed(&self, endpoint: &str, since: SystemTime, until: SystemTime) -> Vec<String> {
        let failed = self.attempts.iter().filter(|(_, attempts)| {
            let in_time =
                |it: &&Attempt| it.endpoint == endpoint && it.at >= since && it.at < until;
            let mut attempts = attempts.iter().filter(in_time).peekable();
            attempts.peek().is_some() && !attempts.any(Attempt::is_success)
        });
        failed.map(|(message, _)| message.clone()).collect()
    }
}

/// The messages from this time that were never sent to the endpoint, though it takes their types.
pub(crate) fn missing(
    store: &mut Store,
    app: &str,
    endpoint: &str,
    since: SystemTime,
    until: SystemTime,
) -> Vec<String> {
    let messages: Vec<_> = store
        .messages_since(app, |message| message.timestamp >= since)
        .filter(|message| message.timestamp < until)
        .cloned()
        .collect();
    let deliveries = &mut store.deliveries;
    let is_missing = |message: &StoredMessage| {
        let known = deliveries.attempts(&message.id).iter();
        let mut endpoints = deliveries.endpoints.iter();
        let channels = message.channels.as_ref();
        let takes =
            endpoints.any(|it| it.id == endpoint && it.takes(&message.event_type, channels));
        takes && !known.clone().any(|attempt| attempt.endpoint == endpoint)
    };
    let missing = messages.into_iter().filter(is_missing);
    missing.map(|message| message.id).collect()
}

/// Resends a message to an endpoint. The reply is the same for a disabled endpoint, which gets nothing.
pub(crate) fn resend(
    store: &mut Store,
    app: &str,
    message: &str,
    endpoint: &str,
    now: SystemTime,
) -> Answer {
    let message = match store.find(app, message) {
        None => return Err(Refusal::EntityNotFound),
        Some(message) if message.content() == EXPIRED => return Err(Refusal::PayloadMissing),
        Some(message) => message.id.clone(),
    };
    let endpoint = endpoint::find(store, app, endpoint)?.id.clone();
    store.deliveries.resend(&message, &endpoint, now);
    Ok(reply::json(StatusCode::ACCEPTED, &json!({})))
}
