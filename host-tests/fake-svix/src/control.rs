//! The switches and views that tests use. Those of an endpoint panic if the application doesn't have the endpoint.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use http::Method;

use crate::endpoint::{self, Endpoint, NewEndpoint};
use crate::fake::{FakeSvix, Limit, State};
use crate::fault::Fault;
use crate::message::{NewMessage, StoredMessage};
use crate::report::Report;
use crate::request::ReceivedRequest;
use crate::script::{Scripts, Target};
use crate::store::{EventIdScope, EventType};

impl FakeSvix {
    /// Queues faults. Each of the next requests to create or get a message meets one, in order.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.script_at(Target::Messages, faults);
    }

    /// Queues faults for requests to `target`.
    pub fn script_at(&self, target: Target, faults: impl IntoIterator<Item = Fault>) {
        self.state().scripts.of(target).push(None, faults);
    }

    /// Sets the fault of every request to `target` that meets no queued one.
    pub fn always_at(&self, target: Target, fault: Fault) {
        self.state().scripts.of(target).always(None, fault);
    }

    /// Queues faults for requests about messages with this method only.
    pub fn script_for(&self, method: &Method, faults: impl IntoIterator<Item = Fault>) {
        let mut state = self.state();
        let script = state.scripts.of(Target::Messages);
        script.push(Some(method), faults);
    }

    /// Sets the fault of every request to create or get a message that meets no queued one.
    /// [`Fault::None`] ends it.
    pub fn always(&self, fault: Fault) {
        self.always_at(Target::Messages, fault);
    }

    /// Like [`FakeSvix::always`], which this replaces, for requests with this method only.
    pub fn always_for(&self, method: &Method, fault: Fault) {
        let mut state = self.state();
        let script = state.scripts.of(Target::Messages);
        script.always(Some(method.clone()), fault);
    }

    /// Removes all faults, queued and permanent.
    pub fn clear_faults(&self) {
        self.state().scripts = Scripts::default();
    }

    /// How many queued faults have not been met yet.
    pub fn queued_faults(&self) -> usize {
        self.state().scripts.len()
    }

    /// Delays every reply by this much. The effect of a request is immediate.
    pub fn set_latency(&self, latency: Duration) {
        self.state().latency = latency;
    }

    /// Answers 429, without `Retry-After`, to requests beyond so many in one second of the clock.
    pub fn set_limit(&self, per_second: u32) {
        self.state().limit = Some(Limit::new(per_second));
    }

    /// While Svix is down, every connection is reset at once, open ones included.
    pub fn set_down(&self, down: bool) {
        self.shared.down.send_replace(down);
    }

    /// Answers 413 to bodies of more bytes than this. The default is 2 MiB.
    pub fn set_body_limit(&self, bytes: usize) {
        self.shared.body_limit.store(bytes, Ordering::Relaxed);
    }

    /// Whether the fake has the routes that only the hosted Svix has. It doesn't by default.
    pub fn set_hosted(&self, hosted: bool) {
        self.state().is_hosted = hosted;
    }

    /// How long after its request a message is sent again. The real server does so from a queue.
    pub fn delay_resends(&self, delay: Duration) {
        self.state().store.deliveries.manual_delay = delay;
    }

    pub fn set_event_id_scope(&self, scope: EventIdScope) {
        self.state().store.event_id_scope = scope;
    }

    /// Whether requests are recorded. The soak turns this off.
    pub fn keep_requests(&self, keep: bool) {
        self.state().keeps_requests = keep;
    }

    /// Every request to the API so far, in order, with those that met a fault.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.state().requests.clone()
    }

    /// All messages, oldest first.
    pub fn messages(&self) -> Vec<StoredMessage> {
        self.state().store.messages().cloned().collect()
    }

    /// The messages of one application, oldest first.
    pub fn messages_for(&self, app: &str) -> Vec<StoredMessage> {
        let state = self.state();
        let messages = state.store.messages();
        messages.filter(|message| message.app == app).cloned().collect()
    }

    /// The uids of all applications, sorted.
    pub fn applications(&self) -> Vec<String> {
        self.state().store.applications()
    }

    /// All event types, archived or not, sorted.
    pub fn event_types(&self) -> Vec<EventType> {
        self.state().store.event_types.values().cloned().collect()
    }

    pub fn put_event_type(&self, event_type: EventType) {
        let name = event_type.name.clone();
        self.state().store.event_types.insert(name, event_type);
    }

    /// The tokens behind the links to an application's portal that are valid now, oldest first.
    pub fn portal_tokens(&self, app: &str) -> Vec<String> {
        let now = self.clock().now();
        let state = self.state();
        let links = state.store.links.iter();
        let valid = links.filter(|link| link.app == app && now < link.expires);
        valid.map(|link| link.token.clone()).collect()
    }

    pub fn create_application(&self, uid: &str) {
        self.state().store.create_application(uid);
    }

    /// Deletes an application with its messages. The replies kept under Idempotency-Keys stay.
    pub fn delete_application(&self, uid: &str) {
        self.state().store.delete_application(uid);
    }

    /// Creates an endpoint that takes every event type, and returns its id.
    pub fn create_endpoint(&self, app: &str, url: &str) -> String {
        let now = self.clock().now();
        let mut state = self.state();
        state.store.create_application(app);
        let deliveries = &mut state.store.deliveries;
        let endpoint = deliveries.create_endpoint(app, NewEndpoint::at(url), now);
        endpoint.id.clone()
    }

    /// Sets the statuses with which an endpoint answers the next attempts, and keeps the last one for all
    /// further attempts. 0 stands for no answer.
    pub fn answer_of_endpoint(
        &self,
        app: &str,
        endpoint: &str,
        statuses: impl IntoIterator<Item = u16>,
    ) {
        let answers = statuses.into_iter().collect();
        self.change_endpoint(app, endpoint, |endpoint| endpoint.answers = answers);
    }

    /// Sets the time that an endpoint takes to answer.
    pub fn duration_of_endpoint(&self, app: &str, endpoint: &str, duration: Duration) {
        self.change_endpoint(app, endpoint, |endpoint| endpoint.duration = duration);
    }

    /// Limits an endpoint to messages of these channels.
    pub fn channels_of_endpoint(
        &self,
        app: &str,
        endpoint: &str,
        channels: impl IntoIterator<Item = &'static str>,
    ) {
        let channels = channels.into_iter().map(str::to_owned).collect();
        self.change_endpoint(app, endpoint, |endpoint| {
            endpoint.new.channels = Some(channels);
        });
    }

    /// Disables or enables an endpoint.
    pub fn disable_endpoint(&self, app: &str, endpoint: &str, disabled: bool) {
        let now = self.clock().now();
        self.change_endpoint(app, endpoint, |endpoint| endpoint.disable(disabled, now));
        let mut state = self.state();
        state.store.deliveries.report("endpoint.updated", app, endpoint);
    }

    /// How many posts have taken effect, and wait for their delayed answers.
    pub fn waiting_posts(&self) -> usize {
        Arc::strong_count(&self.shared.waiting_posts) - 1
    }

    /// Stores further messages and never sends them, as if Svix died before it queued them.
    pub fn stop_sending(&self, stopped: bool) {
        self.state().store.deliveries.is_stopped = stopped;
    }

    /// Deletes an endpoint, as its customer would.
    pub fn delete_endpoint(&self, app: &str, id: &str) {
        let mut state = self.settled();
        // As for a customer, a missing endpoint changes nothing.
        let _ = endpoint::delete(&mut state.store, app, id);
    }

    /// The state, after the attempts that were due until now.
    fn settled(&self) -> MutexGuard<'_, State> {
        let now = self.clock().now();
        let mut state = self.state();
        state.store.settle(now);
        state
    }

    /// Changes an endpoint, after the attempts that were due until now.
    fn change_endpoint(&self, app: &str, id: &str, change: impl FnOnce(&mut Endpoint)) {
        let mut state = self.settled();
        let endpoint = endpoint::find(&mut state.store, app, id);
        change(endpoint.expect("an endpoint with this id"));
    }

    /// The operational webhooks that Svix would have sent since the last call, oldest first.
    pub fn take_reports(&self) -> Vec<Report> {
        let mut state = self.settled();
        std::mem::take(&mut state.store.deliveries.reports)
    }

    /// Loses a message. The reply kept under its Idempotency-Key stays.
    pub fn forget_message(&self, id: &str) {
        self.state().store.forget_message(id);
    }

    /// Stores a message a second time, at the same time under another id.
    pub fn store_again(&self, id: &str) {
        self.state().store.store_again(id);
    }

    /// Stores a message of another sender, unchecked, and returns its id.
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
            channels: None,
            payload: payload.to_owned(),
            application: None,
        };
        let now = self.clock().now();
        self.state().store.insert(app, &message, None, now).id.clone()
    }
}
