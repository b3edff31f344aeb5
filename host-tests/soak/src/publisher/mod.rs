//! A publisher that behaves like a push subscription of Pub/Sub: it delivers until it is
//! acknowledged, and now and then although it was. It believes nobody but its own eyes: what it
//! has seen is in the history of each message.

mod agenda;
mod backoff;
pub mod endpoint;
pub mod event;
pub mod history;
pub mod message;
pub mod outcome;
mod window;

use std::future::{self, Future};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

use self::agenda::{Agenda, Delivery};
use self::backoff::PushBackoff;
use self::endpoint::Endpoint;
use self::message::{Duplicate, Message};
use self::outcome::Outcome;
use self::window::Window;
use crate::progress::Progress;

/// Within what time a duplicate comes that is due.
const LATER: Duration = Duration::from_secs(3);

/// The same after a restart, while the relay may not listen yet.
const AFTER_RESTART: Duration = Duration::from_secs(1);

/// What the publisher is told to do.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// The next so many messages have been published.
    Publish(usize),
    /// The relay has been started again.
    Restarted,
}

/// The publisher.
#[derive(Debug)]
pub struct Publisher {
    messages: Vec<Message>,
    published: usize,
    /// Acknowledged messages that come again after the next restart.
    held: Vec<usize>,
    agenda: Agenda,
    window: Window,
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
    /// A publisher of these messages, none of which is published yet. `concurrency`: how many
    /// deliveries may be under way at once.
    #[must_use]
    pub fn new(
        messages: Vec<Message>,
        endpoint: Endpoint,
        concurrency: usize,
        random: Rng,
        progress: Progress,
    ) -> Self {
        Self {
            messages,
            published: 0,
            held: Vec::new(),
            agenda: Agenda::default(),
            window: Window::new(concurrency),
            backoff: PushBackoff::default(),
            under_way: JoinSet::new(),
            endpoint,
            random,
            peak: 0,
            start: Instant::now(),
            progress,
        }
    }

    /// All messages, with their histories.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// How many deliveries were under way at once, at most.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.peak
    }

    /// Since when it runs; the histories' times are since then.
    #[must_use]
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Delivers as it is told, until the last order has come and every delivery is acknowledged.
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
                    self.add(message, Duration::ZERO);
                    if self.messages[message].duplicate == Some(Duplicate::AtOnce) {
                        self.add(message, Duration::ZERO);
                    }
                }
                self.published = end;
            }
            Order::Restarted => self.release_held(),
        }
    }

    fn release_held(&mut self) {
        for message in std::mem::take(&mut self.held) {
            let within = self.within(AFTER_RESTART);
            self.add(message, within);
        }
    }

    /// One more delivery, unlike the redelivery of one that was not acknowledged.
    fn add(&mut self, message: usize, wait: Duration) {
        let delivery = Delivery { message, nacks: 0 };
        self.agenda.add(Instant::now() + wait, delivery);
    }

    fn within(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.random.f64())
    }

    /// Sends what is due, as far as the window and the backoff let it.
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
                Delivered {
                    delivery,
                    sent,
                    outcome,
                }
            });
        }
        self.peak = self.peak.max(self.under_way.len());
    }

    /// Ends when something may be sent that may not be sent now, except for the window's sake.
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
        let Delivered {
            delivery,
            sent,
            outcome,
        } = *delivered;
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
            let wait = backoff::redelivery(nacks, &mut self.random);
            self.agenda.add(now + wait, Delivery { nacks, ..delivery });
            return;
        }
        self.window.on_ack(now - sent);
        self.backoff.on_ack();
        if acknowledged_before {
            return;
        }
        self.progress.acknowledged();
        match message.duplicate {
            Some(Duplicate::Later) => {
                let within = self.within(LATER);
                self.add(delivery.message, within);
            }
            Some(Duplicate::AfterRestart) => self.held.push(delivery.message),
            Some(Duplicate::AtOnce) | None => {}
        }
    }
}
