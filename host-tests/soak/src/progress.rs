//! Shows how far the soak is: as a bar on a terminal, otherwise as a line every ten seconds.

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

/// The numbers. Clones share them.
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
    /// `quiet`: nothing is shown.
    pub fn new(messages: usize, quiet: bool) -> Self {
        let bar = ProgressBar::with_draw_target(
            u64::try_from(messages).ok(),
            if quiet {
                ProgressDrawTarget::hidden()
            } else {
                // The bar hides itself if stderr isn't a terminal.
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

    pub fn acknowledged(&self) {
        self.0.bar.inc(1);
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

    /// Prints a line above the progress.
    pub fn say(&self, line: &str) {
        if !self.0.quiet {
            // If stderr is closed, the line is lost.
            let write = || drop(writeln!(io::stderr(), "{line}"));
            self.0.bar.suspend(write);
        }
    }

    /// Shows the progress while this future is polled.
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

    pub fn clear(&self) {
        self.0.bar.finish_and_clear();
    }
}
