//! A relay's process: `serve` as users start it, always on the same port and with the same store. It is
//! ended in the two ways in which an operating system ends a process.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::net::TcpStream;
use tokio::time::{self, Instant};

use rig::ports;

/// The limit for a start, even on a busy machine.
const START: Duration = Duration::from_secs(30);

/// The limit for the end after SIGTERM: longer than the host's drain timeout.
const STOP: Duration = Duration::from_secs(15);

/// The relay's configuration, with short timeouts, so that a request that hangs doesn't take
/// seconds.
const VARIABLES: [(&str, &str); 5] = [
    ("svix_timeout_ms", "500"),
    ("retry_budget_ms", "2000"),
    ("retry_base_delay_ms", "20"),
    ("retry_max_delay_ms", "300"),
    // Here Svix's final refusals are faults that pass, so Pub/Sub must keep the event.
    ("dead_letters", "reject"),
];

const POLL: Duration = Duration::from_millis(2);

#[derive(Clone, Debug)]
pub struct Settings {
    pub serve: PathBuf,
    pub from: PathBuf,
    /// The directory of its log.
    pub directory: PathBuf,
    pub key_value: String,
    pub svix: SocketAddr,
    /// The token that the fake Svix accepts.
    pub token: &'static str,
}

/// A relay's process, killed when dropped.
#[derive(Debug)]
pub struct Process {
    settings: Settings,
    address: SocketAddr,
    child: Child,
}

impl Process {
    /// Starts the process on a free port and doesn't wait for it.
    pub fn start(settings: Settings) -> Result<Self> {
        let address = ports::free()?;
        let child = spawn(&settings, address)?;
        Ok(Self {
            settings,
            address,
            child,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the relay listens.
    pub async fn is_up(&mut self) -> Result<()> {
        let patience = Instant::now() + START;
        while TcpStream::connect(self.address).await.is_err() {
            self.check()?;
            ensure!(Instant::now() < patience, "serve does not listen");
            time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Fails if the process has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = fs::read_to_string(stderr(&self.settings.directory)).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(5).collect();
            bail!("serve ended by itself ({status}): {last:?}");
        }
        Ok(())
    }

    /// Sends SIGKILL.
    pub async fn kill(&mut self) -> Result<()> {
        self.check()?;
        self.child.kill()?;
        self.end().await.map(drop)
    }

    /// Sends SIGTERM, which lets the requests in flight end.
    pub async fn terminate(&mut self) -> Result<()> {
        // Wait for the start: before its end, SIGTERM would kill the process.
        self.is_up().await?;
        let signalled = Command::new("sh")
            .args(["-c", &format!("kill -TERM {}", self.child.id())])
            .status()
            .context("can't run sh")?;
        ensure!(signalled.success(), "can't send SIGTERM to serve");
        let status = self.end().await?;
        ensure!(status.success(), "serve fails on SIGTERM: {status}");
        Ok(())
    }

    /// Starts the process again and doesn't wait for it.
    pub fn restart(&mut self) -> Result<()> {
        self.child = spawn(&self.settings, self.address)?;
        Ok(())
    }

    async fn end(&mut self) -> Result<ExitStatus> {
        let patience = Instant::now() + STOP;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < patience, "serve does not end");
            time::sleep(POLL).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(settings: &Settings, address: SocketAddr) -> Result<Child> {
    let mut command = Command::new(&settings.serve);
    // The environment must not configure the relay.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("SPIN_VARIABLE_") {
            command.env_remove(name);
        }
    }
    command
        .env("SPIN_VARIABLE_SVIX_TOKEN", settings.token)
        .arg("--from")
        .arg(&settings.from)
        .args(["--listen", &address.to_string()])
        .args(["--key-value", &settings.key_value])
        .args(["--variable", &format!("svix_url=http://{}", settings.svix)]);
    for (name, value) in VARIABLES {
        command.args(["--variable", &format!("{name}={value}")]);
    }
    command
        .stdin(Stdio::null())
        .stdout(append(&stdout(&settings.directory))?)
        .stderr(append(&stderr(&settings.directory))?)
        .spawn()
        .with_context(|| format!("can't start {}", settings.serve.display()))
}

fn append(path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| format!("can't write {}", path.display()))
}

fn stdout(directory: &Path) -> PathBuf {
    directory.join("serve.log")
}

fn stderr(directory: &Path) -> PathBuf {
    directory.join("serve.stderr")
}
