//! `conformance`: checks a host, its store and a Svix. See `conformance --help`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use conformance::{Options, Report};
use futures::future::select_all;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
#[expect(clippy::print_stderr, reason = "the one message of a run that broke off")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let mut report = Report::default();
    let ended = run(&options, &mut report).await;
    // If stdout is closed, the status still tells the result.
    drop(write!(io::stdout(), "{report}"));
    if let Err(error) = &ended {
        eprintln!("conformance: {error:#}");
    }
    ExitCode::from(u8::from(ended.is_err() || report.has_failed()))
}

/// Without the signals' handlers, the host would go on: it has a process group of its own.
async fn run(options: &Options, report: &mut Report) -> Result<()> {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let mut signals = kinds.map(signal).into_iter().collect::<Result<Vec<_>, _>>()?;
    let interrupted = select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv())));
    conformance::run(options, async { drop(interrupted.await) }, report).await
}
