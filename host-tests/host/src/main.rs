//! `serve`: imitates `spin up` on one machine. See `serve --help`.

use std::process;

use clap::Parser as _;
use host::serve::{self, Options};

/// An instance of the component makes many small allocations. mimalloc serves a tenth more events
/// than libc's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    let options = Options::try_parse().unwrap_or_else(|error| serve::refuse(&error));
    let has_served = serve::run(options).await;
    // Exit instead of returning: the runtime would wait for its threads, and a thread never ends
    // that writes to a pipe without a reader.
    process::exit(i32::from(!has_served));
}
