//! A publisher that behaves like a push subscription of Pub/Sub: it delivers a message until the
//! relay acknowledges it, and sometimes again after that. The history of each message holds what
//! the publisher has seen itself; nothing comes from the relay's log or store.

mod agenda;
pub mod backoff;
pub mod endpoint;
pub mod event;
pub mod history;
pub mod message;
mod ordering_keys;
pub mod outcome;
mod window;

use std::future::{self, Future};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

use self::agenda::{Agenda, Delivery};
use self::backoff::{PushBackoff, Waits};
use self::endpoint::Endpoint;
use self::message::{Duplicate, Message};
use self::ordering_keys::OrderingKeys;
use self::outcome::Outcome;
use self::window::Window;
use crate::progress::Progress;

/// A later duplicate comes within this time after the acknowledgement.
const LATER: Duration = Duration::from_secs(3);

/// A duplicate after a restart comes within this time, when the relay may not listen yet.
const AFTER_RESTART: Duration = Duration::from_secs(1);

/// An instruction to the publisher.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Publish so many further messages.
    Publish(usize),
    Restarted,
}

#[derive(Debug)]
pub struct Publisher {
    messages: Vec<Message>,
    published: usize,
    /// Acknowledged messages that are delivered again after the next restart.
    held: Vec<usize>,
    ordering_keys: OrderingKeys,
    agenda: Agenda,
    window: Window,
    waits: Waits,
    backoff: PushBackoff,
    under_way: JoinSet<Delivered>,
    endpoint: Endpoint,
    random: Rng,
    peak: usize,
    start: Instant,
    progress: Progress,
}

/// A delivery that has ended.
#[derive(Debug)]
struct Delivered {
    delivery: Delivery,
    sent: Instant,
    outcome: Outcome,
}

impl Publisher {
    /// `concurrency`: how many deliveries may be in flight at once.
    pub fn new(
        messages: Vec<Message>,
        endpoint: Endpoint,
        concurrency: usize,
        waits: Waits,
        random: Rng,
        progress: Progress,
    ) -> Self {
        Self {
            messages,
            published: 0,
            held: Vec::new(),
            ordering_keys: OrderingKeys::default(),
            agenda: Agenda::default(),
            window: Window::new(concurrency),
            waits,
            backoff: PushBackoff::new(waits),
            under_way: JoinSet::new(),
            endpoint,
            random,
            peak: 0,
            start: Instant::now(),
            progress,
        }
    }

    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The most deliveries that were in flight at once.
    pub fn peak(&self) -> usize {
        self.peak
    }

    /// The start, from which the times in the histories count.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Delivers as ordered, until the last order has come and every delivery is acknowledged.
    pub async fn run(&mut self, mut orders: UnboundedReceiver<Order>) {
        let mut more_orders = true;
        loop {
            let now = Instant::now();
            if !more_orders {
                self.release_held();
            }
            self.deliver_due(now);
            let wake_up = self.wake_up(now);
            if !more_orders && self.under_way.is_empty() && self.agenda.is_empty() {
                return;
            }
            tokio::select! {
                Some(Ok(delivered)) = self.under_way.join_next() => self.settle(&delivered),
                order = orders.recv(), if more_orders => match order {
                    Some(order) => self.obey(order),
                    None => more_orders = false,
                },
                () = wake_up => {}
            }
        }
    }

    /// Delivers these messages once more, until all are acknowledged.
    pub async fn deliver_again(&mut self, messages: impl IntoIterator<Item = usize>) {
        for message in messages {
            self.add(message, Duration::ZERO);
        }
        let (_, no_orders) = tokio::sync::mpsc::unbounded_channel();
        self.run(no_orders).await;
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Publish(count) => {
                let end = self.messages.len().min(self.published + count);
                for message in self.published..end {
                    let key = self.messages[message].event.ordering_key.as_deref();
                    if key.is_none_or(|key| self.ordering_keys.publish(key, message)) {
                        self.begin(message);
                    }
                }
                self.published = end;
            }
            Order::Restarted => self.release_held(),
        }
    }

    /// Adds the first delivery of a message, or its first two.
    fn begin(&mut self, message: usize) {
        self.add(message, Duration::ZERO);
        if self.messages[message].duplicate == Some(Duplicate::AtOnce) {
            self.add(message, Duration::ZERO);
        }
    }

    fn release_held(&mut self) {
        for message in std::mem::take(&mut self.held) {
            let within = self.within(AFTER_RESTART);
            self.add(message, within);
        }
    }

    /// Adds a delivery that isn't the redelivery of a refused one.
    fn add(&mut self, message: usize, wait: Duration) {
        let delivery = Delivery { message, nacks: 0 };
        self.agenda.add(Instant::now() + wait, delivery);
    }

    fn within(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.random.f64())
    }

    /// Sends the deliveries that are due, within the limits of window and backoff.
    fn deliver_due(&mut self, now: Instant) {
        while self.under_way.len() < self.window.size()
            && self.backoff.paused_until(now).is_none()
            && let Some(delivery) = self.agenda.take_due(now)
        {
            let body = self.messages[delivery.message].wrapped();
            let endpoint = self.endpoint.clone();
            self.under_way.spawn(async move {
                let sent = Instant::now();
                let outcome = endpoint.push(body).await;
                Delivered { delivery, sent, outcome }
            });
        }
        self.peak = self.peak.max(self.under_way.len());
    }

    /// Returns when a delivery becomes due or the pause ends. A full window is opened by `settle`
    /// instead.
    fn wake_up(&self, now: Instant) -> impl Future<Output = ()> + use<> {
        let due = self.agenda.next();
        let has_room = self.under_way.len() < self.window.size();
        let next = due.filter(|_| has_room).max(self.backoff.paused_until(now));
        async move {
            match next {
                Some(at) => time::sleep_until(at).await,
                None => future::pending().await,
            }
        }
    }

    fn settle(&mut self, delivered: &Delivered) {
        let Delivered { delivery, sent, outcome } = *delivered;
        let now = Instant::now();
        let message = &mut self.messages[delivery.message];
        let acknowledged_before = message.history.acknowledged().is_some();
        if !message.history.steps().is_empty() {
            self.progress.redelivered();
        }
        message.history.note(sent - self.start, now - sent, outcome);
        if !outcome.is_ack() {
            self.window.on_nack(sent, now);
            self.backoff.on_nack(now);
            let nacks = delivery.nacks + 1;
            let wait = backoff::redelivery(&self.waits, nacks, &mut self.random);
            self.agenda.add(now + wait, Delivery { nacks, ..delivery });
            return;
        }
        self.window.on_ack(now - sent);
        self.backoff.on_ack();
        if acknowledged_before {
            return;
        }
        self.progress.acknowledged();
        let key = message.event.ordering_key.as_deref();
        let next = key.and_then(|key| self.ordering_keys.acknowledge(key));
        let duplicate = message.duplicate;
        if let Some(next) = next {
            self.begin(next);
        }
        match duplicate {
            Some(Duplicate::Later) => {
                let within = self.within(LATER);
                self.add(delivery.message, within);
            }
            Some(Duplicate::AfterRestart) => self.held.push(delivery.message),
            Some(Duplicate::AtOnce) | None => {}
        }
    }
}
