//! `serve`: imitates `spin up` on one machine. See `serve --help`.

use std::process;

use clap::Parser as _;
use host::serve::{self, Options};

/// An instance of the component means many small allocations: a tenth more events than with libc's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
#[expect(clippy::print_stderr, reason = "the one message of a failed start")]
async fn main() {
    let result = serve::run(Options::parse()).await;
    if let Err(error) = &result {
        eprintln!("serve: {error:#}");
    }
    // Not by returning: the runtime would wait for its threads, and one that writes to a pipe which
    // nobody reads never comes back.
    process::exit(i32::from(result.is_err()));
}
