//! How far the soak is, for whoever watches: a bar on a terminal, otherwise a line now and then.

use std::convert::Infallible;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time;

const REFRESH: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(10);
const BAR: &str = "{elapsed} {wide_bar} {pos}/{len} acknowledged, {prefix}\n{spinner} {wide_msg}";

/// The numbers. A clone is the same.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bar: ProgressBar,
    quiet: bool,
    kills: AtomicUsize,
    redeliveries: AtomicUsize,
    phase: Mutex<String>,
}

impl Progress {
    /// Of so many messages. `quiet`: nothing is shown.
    #[must_use]
    pub fn new(messages: usize, quiet: bool) -> Self {
        let bar = ProgressBar::with_draw_target(
            u64::try_from(messages).ok(),
            if quiet {
                ProgressDrawTarget::hidden()
            } else {
                // It hides itself where there is no terminal.
                ProgressDrawTarget::stderr()
            },
        );
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style);
        }
        Self(Arc::new(Inner {
            bar,
            quiet,
            kills: AtomicUsize::new(0),
            redeliveries: AtomicUsize::new(0),
            phase: Mutex::default(),
        }))
    }

    /// One more message is acknowledged.
    pub fn acknowledged(&self) {
        self.0.bar.inc(1);
    }

    /// A message was delivered that had been delivered before.
    pub fn redelivered(&self) {
        self.0.redeliveries.fetch_add(1, Ordering::Relaxed);
    }

    /// The relay was killed.
    pub fn killed(&self) {
        self.0.kills.fetch_add(1, Ordering::Relaxed);
    }

    /// A phase begins.
    pub fn phase(&self, name: String) {
        let phase = self.0.phase.lock();
        *phase.unwrap_or_else(PoisonError::into_inner) = name;
    }

    /// How many deliveries were not the first of their message.
    #[must_use]
    pub fn redeliveries(&self) -> usize {
        self.0.redeliveries.load(Ordering::Relaxed)
    }

    /// How often the relay was killed.
    #[must_use]
    pub fn kills(&self) -> usize {
        self.0.kills.load(Ordering::Relaxed)
    }

    /// Says something beside the progress.
    pub fn say(&self, line: &str) {
        if !self.0.quiet {
            // Whoever closed our stderr doesn't want to know.
            let write = || drop(writeln!(io::stderr(), "{line}"));
            self.0.bar.suspend(write);
        }
    }

    /// Shows it, for as long as it is polled.
    pub async fn show(&self) -> Infallible {
        let is_terminal = io::stderr().is_terminal();
        let mut shown = time::Instant::now();
        loop {
            time::sleep(REFRESH).await;
            let bar = &self.0.bar;
            let (kills, redeliveries) = (self.kills(), self.redeliveries());
            let numbers = format!("{kills} kills, {redeliveries} redeliveries");
            let phase = self.0.phase.lock();
            let phase = phase.unwrap_or_else(PoisonError::into_inner).clone();
            if !is_terminal && shown.elapsed() >= LINE_EVERY {
                shown = time::Instant::now();
                let (done, all) = (bar.position(), bar.length().unwrap_or_default());
                self.say(&format!("{done}/{all} acknowledged, {numbers}: {phase}"));
            }
            bar.set_prefix(numbers);
            bar.set_message(phase);
            bar.tick();
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.0.bar.finish_and_clear();
    }
}
