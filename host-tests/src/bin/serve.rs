//! `serve`: imitates `spin up` on one machine. See `serve --help`.

use std::process::ExitCode;

use clap::Parser as _;
use host_tests::serve::{self, Options};

/// An instance of the component means many small allocations: a tenth more events than with libc's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
#[expect(clippy::print_stderr, reason = "the one message of a failed start")]
async fn main() -> ExitCode {
    match serve::run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("serve: {error:#}");
            ExitCode::FAILURE
        }
    }
}
