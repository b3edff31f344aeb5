//! A real `redis-server` for tests, on a free port, with a directory of its own, and as durable as
//! a careful operator makes it. A test can end it as a process ends, and as a machine ends.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{self, Instant};

use crate::ports;
use crate::tls::Tls;

const PROGRAM: &str = "redis-server";

/// The limit for a start, even on a busy machine.
const START: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(2);

/// A running Redis, killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    directory: TempDir,
    address: SocketAddr,
    tls: Option<Tls>,
    child: Child,
}

impl RedisServer {
    pub fn is_installed() -> bool {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).any(|directory| directory.join(PROGRAM).is_file())
    }

    /// Starts a Redis for a test. `None` if this machine has no `redis-server`: then this prints a
    /// warning, and the test must return. If `CI` is set, that is an error, so that no test is left
    /// out unseen.
    pub async fn for_test() -> Result<Option<Self>> {
        if Self::is_installed() {
            return Self::start().await.map(Some);
        }
        let is_ci = env::var_os("CI").is_some_and(|value| value != OsStr::new(""));
        ensure!(!is_ci, "{PROGRAM} is missing: scripts/redis.sh installs it");
        let line =
            format!("\n*** NOT TESTED: {PROGRAM} is missing (scripts/redis.sh installs it) ***\n");
        // Write past the capture of the test's output, which cargo hides if the test passes.
        io::Write::write_all(&mut io::stderr(), line.as_bytes())?;
        Ok(None)
    }

    /// Starts an empty Redis.
    pub async fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("redis-").tempdir()?;
        let address = ports::free()?;
        let child = spawn(&directory, address, None)?;
        let mut server = Self { directory, address, tls: None, child };
        server.is_up().await?;
        Ok(server)
    }

    /// Starts an empty Redis that also listens with TLS, and there asks its clients for a certificate.
    /// `None` as in [`RedisServer::for_test`].
    pub async fn with_tls() -> Result<Option<(Self, Tls)>> {
        let Some(mut server) = Self::for_test().await? else {
            return Ok(None);
        };
        let tls = Tls::new(server.directory.path())?;
        server.kill()?;
        server.tls = Some(tls.clone());
        server.restart().await?;
        Ok(Some((server, tls)))
    }

    /// Stays the same after a restart.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.check()?;
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts Redis again with the data on its disk, and waits until it answers.
    pub async fn restart(&mut self) -> Result<()> {
        self.child = spawn(&self.directory, self.address, self.tls.as_ref())?;
        self.is_up().await
    }

    /// The names of all commands that Redis received since its last start.
    pub async fn commands(&self) -> Result<BTreeSet<String>> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut info = redis::cmd("INFO");
        let info = info.arg("commandstats");
        let stats: String = info.query_async(&mut connection).await?;
        let names = stats.lines().filter_map(|line| {
            let (name, _) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            Some(name.to_owned())
        });
        Ok(names.collect())
    }

    /// Sends a command, as an operator does.
    pub async fn order(&self, words: &[&str]) -> Result<()> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        Ok(command.query_async(&mut connection).await?)
    }

    /// The length of Redis' log of changes. One second later, so much is on the disk.
    pub fn written(&self) -> Result<u64> {
        Ok(fs::metadata(self.log())?.len())
    }

    /// Cuts the log to the length `written`, as if the machine had stopped then. Redis must be
    /// down.
    pub fn forget_after(&self, written: u64) -> Result<()> {
        let log = OpenOptions::new().write(true).open(self.log())?;
        log.set_len(written).context("can't cut Redis' log off")
    }

    /// The log. Its name never changes, because rewriting is off.
    fn log(&self) -> PathBuf {
        let directory = self.directory.path().join("appendonlydir");
        directory.join("appendonly.aof.1.incr.aof")
    }

    async fn is_up(&mut self) -> Result<()> {
        let patience = Instant::now() + START;
        while !is_ready(self.address).await {
            self.check()?;
            ensure!(Instant::now() < patience, "{PROGRAM} does not answer");
            time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Fails if Redis has ended by itself.
    fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(5).collect();
            bail!("{PROGRAM} ended by itself ({status}): {last:?}");
        }
        Ok(())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Errors mean that Redis has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(directory: &TempDir, address: SocketAddr, tls: Option<&Tls>) -> Result<Child> {
    let output = OpenOptions::new().create(true).append(true).open(directory.path().join("log"));
    let output: File = output?;
    let mut command = Command::new(PROGRAM);
    if let Some(tls) = tls {
        command
            .args(["--tls-port", &tls.address.port().to_string()])
            .arg("--tls-cert-file")
            .arg(&tls.server.certificate)
            .arg("--tls-key-file")
            .arg(&tls.server.key)
            .arg("--tls-ca-cert-file")
            .arg(&tls.authority);
    }
    command
        .args(["--port", &address.port().to_string()])
        .args(["--bind", &address.ip().to_string()])
        .arg("--dir")
        .arg(directory.path())
        .args(["--appendonly", "yes", "--appendfsync", "everysec"])
        .args(["--auto-aof-rewrite-percentage", "0", "--save", ""])
        .stdin(Stdio::null())
        .stderr(output.try_clone()?)
        .stdout(output)
        .spawn()
        .with_context(|| format!("can't start {PROGRAM}"))
}

/// Whether Redis answers. After its start it first reads its log.
async fn is_ready(address: SocketAddr) -> bool {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        io::Result::Ok(&answer == b"+PONG")
    };
    let answer = time::timeout(START, exchange).await;
    matches!(answer, Ok(Ok(true)))
}
