//! Tells how far the soak is, every ten seconds.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time;

const LINE_EVERY: Duration = Duration::from_secs(10);

/// The numbers. Clones share them.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    messages: usize,
    quiet: bool,
    acknowledged: AtomicUsize,
    kills: AtomicUsize,
    redeliveries: AtomicUsize,
    phase: Mutex<String>,
}

impl Progress {
    /// `quiet`: nothing is shown.
    pub fn new(messages: usize, quiet: bool) -> Self {
        Self(Arc::new(Inner {
            messages,
            quiet,
            acknowledged: AtomicUsize::new(0),
            kills: AtomicUsize::new(0),
            redeliveries: AtomicUsize::new(0),
            phase: Mutex::default(),
        }))
    }

    pub fn acknowledged(&self) {
        self.0.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    pub fn redelivered(&self) {
        self.0.redeliveries.fetch_add(1, Ordering::Relaxed);
    }

    pub fn killed(&self) {
        self.0.kills.fetch_add(1, Ordering::Relaxed);
    }

    pub fn phase(&self, name: String) {
        let phase = self.0.phase.lock();
        *phase.unwrap_or_else(PoisonError::into_inner) = name;
    }

    /// The number of deliveries that were not the first of their message.
    pub fn redeliveries(&self) -> usize {
        self.0.redeliveries.load(Ordering::Relaxed)
    }

    pub fn kills(&self) -> usize {
        self.0.kills.load(Ordering::Relaxed)
    }

    pub fn say(&self, line: &str) {
        if !self.0.quiet {
            // If stderr is closed, the line is lost.
            drop(writeln!(io::stderr(), "{line}"));
        }
    }

    /// Shows the progress while this future is polled.
    pub async fn show(&self) -> Infallible {
        loop {
            time::sleep(LINE_EVERY).await;
            let (kills, redeliveries) = (self.kills(), self.redeliveries());
            let phase = self.0.phase.lock();
            let phase = phase.unwrap_or_else(PoisonError::into_inner).clone();
            let (done, all) = (self.0.acknowledged.load(Ordering::Relaxed), self.0.messages);
            self.say(&format!(
                "{done}/{all} acknowledged, {kills} kills, {redeliveries} redeliveries: {phase}"
            ));
        }
    }
}
