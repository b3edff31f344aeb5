//! What a test can make the fake do, and see of what it did.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;

use crate::fake::FakeSvix;
use crate::fault::Fault;
use crate::message::{NewMessage, StoredMessage};
use crate::request::ReceivedRequest;
use crate::script::Scripts;
use crate::script::Target;
use crate::store::{EventIdScope, EventType};

/// Scripts, switches, inspection.
impl FakeSvix {
    /// Queues faults: each of the next requests to create or get a message meets one, in order.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.script_at(Target::Messages, faults);
    }

    /// Queues faults for requests of another kind.
    pub fn script_at(&self, target: Target, faults: impl IntoIterator<Item = Fault>) {
        self.state().scripts.of(target).push(None, faults);
    }

    /// The fault of every request of a kind for which none is queued.
    pub fn always_at(&self, target: Target, fault: Fault) {
        self.state().scripts.of(target).always(None, fault);
    }

    /// Queues faults for requests with this method; others pass them by.
    pub fn script_for(&self, method: &Method, faults: impl IntoIterator<Item = Fault>) {
        let mut state = self.state();
        let script = state.scripts.of(Target::Messages);
        script.push(Some(method), faults);
    }

    /// The fault of every request to create or get a message for which none is queued. [`Fault::None`] ends it.
    pub fn always(&self, fault: Fault) {
        self.always_at(Target::Messages, fault);
    }

    /// Like [`FakeSvix::always`], which it replaces, for requests with this method only.
    pub fn always_for(&self, method: &Method, fault: Fault) {
        let mut state = self.state();
        let script = state.scripts.of(Target::Messages);
        script.always(Some(method.clone()), fault);
    }

    /// Forgets all faults, queued and permanent.
    pub fn clear_faults(&self) {
        self.state().scripts = Scripts::default();
    }

    /// How many queued faults have not been met yet.
    #[must_use]
    pub fn queued_faults(&self) -> usize {
        self.state().scripts.len()
    }

    /// Answers everything this much later. The effect of a request is immediate.
    pub fn set_latency(&self, latency: Duration) {
        self.state().latency = latency;
    }

    /// While it is down, all connections are reset at once, the open ones as well.
    pub fn set_down(&self, down: bool) {
        self.shared.down.send_replace(down);
    }

    /// Answers 413 to bodies with more bytes than this; 2,000,000 at first.
    pub fn set_body_limit(&self, bytes: usize) {
        self.shared.body_limit.store(bytes, Ordering::Relaxed);
    }

    /// Within what an eventId is unique from now on.
    pub fn set_event_id_scope(&self, scope: EventIdScope) {
        self.state().store.event_id_scope = scope;
    }

    /// Whether requests are recorded. Benchmarks turn it off.
    pub fn keep_requests(&self, keep: bool) {
        self.state().keeps_requests = keep;
    }

    /// Every request to the API so far, in order, whether it met a fault or not.
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.state().requests.clone()
    }

    /// All messages stored, oldest first.
    #[must_use]
    pub fn messages(&self) -> Vec<StoredMessage> {
        self.state().store.messages().cloned().collect()
    }

    /// The messages of one application, oldest first.
    #[must_use]
    pub fn messages_for(&self, app: &str) -> Vec<StoredMessage> {
        let state = self.state();
        let messages = state.store.messages();
        messages
            .filter(|message| message.app == app)
            .cloned()
            .collect()
    }

    /// The uids of all applications, sorted.
    #[must_use]
    pub fn applications(&self) -> Vec<String> {
        self.state().store.applications()
    }

    /// All event types, archived or not, sorted.
    #[must_use]
    pub fn event_types(&self) -> Vec<EventType> {
        self.state().store.event_types.values().cloned().collect()
    }

    /// Creates an event type, or replaces it.
    pub fn put_event_type(&self, event_type: EventType) {
        let name = event_type.name.clone();
        self.state().store.event_types.insert(name, event_type);
    }

    /// Creates an application; no change if it exists.
    pub fn create_application(&self, uid: &str) {
        self.state().store.create_application(uid);
    }

    /// Deletes an application with its messages. What is kept under Idempotency-Keys is replayed
    /// all the same.
    pub fn delete_application(&self, uid: &str) {
        self.state().store.delete_application(uid);
    }

    /// Stores a message of somebody else's, unchecked, and returns its id.
    #[expect(clippy::must_use_candidate, reason = "the id seldom matters")]
    pub fn store_message(
        &self,
        app: &str,
        event_id: &str,
        event_type: &str,
        payload: &str,
    ) -> String {
        let message = NewMessage {
            event_id: Some(event_id.to_owned()),
            event_type: event_type.to_owned(),
            payload: payload.to_owned(),
            application: None,
        };
        let now = self.clock().now();
        self.state()
            .store
            .insert(app, &message, None, now)
            .id
            .clone()
    }
}
