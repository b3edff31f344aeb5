//! `soak`: tries hard to make the relay lose an event or send one twice. See `soak --help`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use soak::Options;

#[tokio::main]
#[expect(clippy::print_stderr, reason = "the one message of a soak that broke off")]
async fn main() -> ExitCode {
    let report = match soak::run(Options::parse()).await {
        Ok(report) => report,
        Err(error) => {
            eprintln!("soak: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let mut lines = report.details();
    lines.push(report.to_string());
    // If stdout is closed, the status still tells the result.
    drop(writeln!(io::stdout(), "{}", lines.join("\n")));
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
