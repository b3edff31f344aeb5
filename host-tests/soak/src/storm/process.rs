//! A relay's process: `serve` as its users start it, always on the same port and with the same
//! store, and ended in the two ways in which an operating system ends a process.

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

/// How long a start may take, on a machine that has other things to do.
const START: Duration = Duration::from_secs(30);

/// How long the end may take after SIGTERM: longer than the host lets requests end.
const STOP: Duration = Duration::from_secs(15);

/// The relay's configuration: impatient, so that a request that hangs does not take seconds.
const VARIABLES: [(&str, &str); 5] = [
    ("svix_timeout_ms", "500"),
    ("retry_budget_ms", "2000"),
    ("retry_base_delay_ms", "20"),
    ("retry_max_delay_ms", "300"),
    // Svix's final refusals are a fault here that passes, so Pub/Sub has to keep the event.
    ("dead_letters", "reject"),
];

const POLL: Duration = Duration::from_millis(2);

/// How to start it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The binary.
    pub serve: PathBuf,
    /// The application's manifest.
    pub from: PathBuf,
    /// Where its log goes.
    pub directory: PathBuf,
    /// Its store.
    pub key_value: String,
    /// The fake Svix.
    pub svix: SocketAddr,
    /// The token that the fake Svix accepts.
    pub token: &'static str,
}

/// A process, killed when dropped.
#[derive(Debug)]
pub struct Process {
    settings: Settings,
    address: SocketAddr,
    child: Child,
}

impl Process {
    /// Starts it on a port of its own.
    pub fn start(settings: Settings) -> Result<Self> {
        let address = ports::free()?;
        let child = spawn(&settings, address)?;
        Ok(Self {
            settings,
            address,
            child,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it listens.
    pub async fn is_up(&mut self) -> Result<()> {
        let patience = Instant::now() + START;
        while TcpStream::connect(self.address).await.is_err() {
            self.check()?;
            ensure!(Instant::now() < patience, "serve does not listen");
            time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Fails if it has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = fs::read_to_string(stderr(&self.settings.directory)).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(5).collect();
            bail!("serve ended by itself ({status}): {last:?}");
        }
        Ok(())
    }

    /// Kills it with SIGKILL.
    pub async fn kill(&mut self) -> Result<()> {
        self.check()?;
        self.child.kill()?;
        self.end().await.map(drop)
    }

    /// Ends it with SIGTERM, which lets it finish what it has begun.
    pub async fn terminate(&mut self) -> Result<()> {
        // A process that is only starting knows no SIGTERM yet, and would be killed by it.
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

    /// Starts it again, and doesn't wait for it.
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
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(settings: &Settings, address: SocketAddr) -> Result<Child> {
    let mut command = Command::new(&settings.serve);
    // Nothing of this environment may configure it.
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
