//! `conformance`: checks a host, its store and a Svix. See `conformance --help`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser as _;
use conformance::{Options, Report};
use tokio::signal;

#[tokio::main]
#[expect(
    clippy::print_stderr,
    reason = "the one message of a run that broke off"
)]
async fn main() -> ExitCode {
    match run().await {
        Ok(report) => {
            // If stdout is closed, the status still tells the result.
            drop(write!(io::stdout(), "{report}"));
            ExitCode::from(u8::from(report.has_failed()))
        }
        Err(error) => {
            eprintln!("conformance: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<Report> {
    let options = Options::parse();
    tokio::select! {
        report = conformance::run(&options) => report,
        // Ends the host: Ctrl-C doesn't reach its process group.
        _ = signal::ctrl_c() => bail!("interrupted"),
    }
}
