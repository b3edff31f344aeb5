//! A server under load: a process of its own, and its use of processor, memory and disk.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rig::ports;
use tokio::net::TcpStream;
use tokio::time;

/// The limit for a start. A cold start compiles WebAssembly.
const START: Duration = Duration::from_mins(1);

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// The time from the start to listening.
    pub started_in: Duration,
    fsyncs: PathBuf,
}

#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub cpu: Duration,
    /// Calls of fsync and fdatasync.
    pub fsyncs: u64,
}

impl Server {
    /// Starts `command` with `--listen ADDRESS`, in a directory of its own.
    pub async fn start(mut command: Command, directory: &Path) -> Result<Self> {
        let address = ports::free()?;
        // Keep the counter off the disk whose fsyncs are counted.
        let memory = Path::new("/dev/shm");
        let counters = if memory.is_dir() { memory } else { directory };
        let fsyncs = counters.join(format!("svix-relay-fsyncs.{}", address.port()));
        fs::write(&fsyncs, "")?;
        command
            .args(["--listen", &address.to_string()])
            .env("LD_PRELOAD", beside("libfsyncs.so")?)
            .env("FSYNCS", &fsyncs)
            // Backtraces would take time that doesn't count.
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let begin = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("can't start {}", command.get_program().display()))?;
        while TcpStream::connect(address).await.is_err() {
            let status = child.try_wait()?;
            ensure!(status.is_none(), "{} ended: {status:?}", command.get_program().display());
            ensure!(begin.elapsed() < START, "the server does not listen");
            time::sleep(Duration::from_millis(1)).await;
        }
        Ok(Self { child, address, started_in: begin.elapsed(), fsyncs })
    }

    pub fn usage(&self) -> Result<Usage> {
        // Each thread tells its time to the nanosecond. The time of ended threads is missing.
        let mut cpu = Duration::ZERO;
        for thread in fs::read_dir(self.proc("task"))? {
            let schedstat = fs::read_to_string(thread?.path().join("schedstat"));
            let nanos =
                schedstat.ok().and_then(|fields| fields.split_whitespace().next()?.parse().ok());
            cpu += Duration::from_nanos(nanos.unwrap_or(0));
        }
        Ok(Usage { cpu, fsyncs: fs::metadata(&self.fsyncs)?.len() })
    }

    /// Starts a new measurement of the peak memory.
    pub fn reset_peak(&self) {
        // If this fails, the peak since the start counts.
        let _ = fs::write(self.proc("clear_refs"), "5");
    }

    /// In bytes.
    pub fn peak_memory(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// In bytes.
    pub fn memory_now(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    fn memory(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(self.proc("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kilobytes.context("an odd /proc/…/status")? * 1_024)
    }

    fn proc(&self, file: &str) -> PathBuf {
        format!("/proc/{}/{file}", self.child.id()).into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors mean that the server has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.fsyncs);
    }
}

/// A file in the directory of this program.
pub fn beside(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let path = program.parent().context("no directory")?.join(name);
    ensure!(path.is_file(), "{} is missing; use `make bench`", path.display());
    Ok(path)
}
