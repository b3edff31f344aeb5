//! A server's process, always on the same port. A test ends it as an operating system ends a process, and
//! starts it again.

use std::env;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::net::TcpStream;
use tokio::time::{self, Instant};

use crate::ports;

/// The limit for a start, even on a busy machine. Spin compiles the component first.
const START: Duration = Duration::from_mins(2);

/// The limit for the end after SIGTERM: longer than the host's drain timeout.
const STOP: Duration = Duration::from_secs(15);

const POLL: Duration = Duration::from_millis(2);

/// The binary `serve`: the one that an option names, or the one beside this binary.
pub fn serve(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let this = env::current_exe().context("can't find serve: use --serve")?;
    Ok(this.with_file_name("serve"))
}

/// Lets no variable of this environment configure the relay that `command` starts.
pub fn unset_variables(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("SPIN_VARIABLE_") {
            command.env_remove(name);
        }
    }
}

/// A process; killed when dropped.
pub struct Process {
    command: Box<dyn Fn(SocketAddr) -> Command + Send + Sync>,
    /// Whether the process has a process group of its own, with its children.
    is_group: bool,
    /// Where its output goes.
    log: PathBuf,
    address: SocketAddr,
    child: Child,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Process");
        fields.field("address", &self.address).finish_non_exhaustive()
    }
}

impl Process {
    /// Starts the process on a free port and doesn't wait for it. `command` is given the address on which
    /// the process must listen.
    pub fn start(
        log: PathBuf,
        command: impl Fn(SocketAddr) -> Command + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::with(log, false, Box::new(command))
    }

    /// The same for a process that serves in a child, as `spin up` does. Signals go to both. A Ctrl-C in
    /// the terminal reaches neither.
    pub fn start_group(
        log: PathBuf,
        command: impl Fn(SocketAddr) -> Command + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::with(log, true, Box::new(command))
    }

    fn with(
        log: PathBuf,
        is_group: bool,
        command: Box<dyn Fn(SocketAddr) -> Command + Send + Sync>,
    ) -> Result<Self> {
        let address = ports::free()?;
        let child = spawn(command(address), is_group, &log)?;
        Ok(Self { command, is_group, log, address, child })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the process listens.
    pub async fn is_up(&mut self) -> Result<()> {
        let patience = Instant::now() + START;
        while TcpStream::connect(self.address).await.is_err() {
            self.check()?;
            ensure!(
                Instant::now() < patience,
                "the process does not listen on {} within {} s\n{}",
                self.address,
                START.as_secs(),
                self.last_lines()
            );
            time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Fails if the process has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the process ended by itself ({status})\n{}", self.last_lines());
        }
        Ok(())
    }

    /// The last lines of the log.
    fn last_lines(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// Sends SIGKILL.
    pub async fn kill(&mut self) -> Result<()> {
        self.check()?;
        self.signal("KILL")?;
        self.end().await?;
        // A child of the process may need a moment longer, and its socket with it.
        let patience = Instant::now() + STOP;
        while TcpStream::connect(self.address).await.is_ok() {
            ensure!(Instant::now() < patience, "the port is still taken");
            time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Sends SIGTERM, which lets the requests in flight end.
    pub async fn terminate(&mut self) -> Result<()> {
        // Wait for the start: before its end, SIGTERM would kill the process.
        self.is_up().await?;
        self.signal("TERM")?;
        let status = self.end().await?;
        ensure!(status.success(), "the process fails on SIGTERM: {status}");
        Ok(())
    }

    /// Starts the process again and doesn't wait for it.
    pub fn restart(&mut self) -> Result<()> {
        self.child = spawn((self.command)(self.address), self.is_group, &self.log)?;
        Ok(())
    }

    fn signal(&self, name: &str) -> Result<()> {
        let sign = if self.is_group { "-" } else { "" };
        let kill = format!("kill -s {name} -- {sign}{}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status();
        let sent = sent.context("can't run sh")?;
        ensure!(sent.success(), "can't send SIG{name}");
        Ok(())
    }

    async fn end(&mut self) -> Result<ExitStatus> {
        let patience = Instant::now() + STOP;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < patience, "the process does not end");
            time::sleep(POLL).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that the process has ended already.
        if let Ok(None) = self.child.try_wait() {
            let _ = self.signal("KILL");
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn spawn(mut command: Command, is_group: bool, log: &Path) -> Result<Child> {
    let program = command.get_program().to_owned();
    if is_group {
        command.process_group(0);
    }
    command.stdin(Stdio::null()).stdout(append(log)?).stderr(append(log)?);
    let child = command.spawn();
    child.with_context(|| format!("can't start {}", program.display()))
}

fn append(path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| format!("can't write {}", path.display()))
}
