//! Loaded with `LD_PRELOAD`: appends one byte to the file `FSYNCS` for every fsync of the process,
//! so that the file's length is their number. Each fsync takes `FSYNC_DELAY` milliseconds longer, as on a
//! slower disk.
#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "it stands in for functions of libc")]

use std::env;
use std::ffi::{c_int, c_long};
use std::fs::File;
use std::io::Write as _;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

static COUNTER: OnceLock<Option<File>> = OnceLock::new();
static DELAY: OnceLock<Duration> = OnceLock::new();

fn count(call: c_long, fd: c_int) -> c_int {
    let open = || File::options().append(true).open(env::var_os("FSYNCS")?).ok();
    if let Some(mut file) = COUNTER.get_or_init(open).as_ref() {
        // Ignore errors: the process must go on, and a wrong count shows in the table.
        let _ = file.write_all(b".");
    }
    let delay = || {
        let millis = env::var("FSYNC_DELAY").ok()?.parse().ok()?;
        Some(Duration::from_millis(millis))
    };
    thread::sleep(*DELAY.get_or_init(|| delay().unwrap_or_default()));
    // SAFETY: fsync and fdatasync take a file descriptor and touch no memory of ours.
    let result = unsafe { libc::syscall(call, fd) };
    c_int::try_from(result).unwrap_or(-1)
}

/// Replaces libc's function.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    count(libc::SYS_fsync, fd)
}

/// Replaces libc's function.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    count(libc::SYS_fdatasync, fd)
}
