//! Processes as users start them: `serve`, and a fake Svix that it finds over TCP.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::SystemTime;

use bytes::Bytes;
use clock::Clock;
use fake_svix::FakeSvix;
use http::Request;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::support::{self, Reply, TOKEN, full, notification, root};

/// A running `serve`; killed when dropped.
pub struct Serve {
    child: Child,
    address: String,
    /// The rest of stderr, after the line with the address.
    lines: BufReader<std::process::ChildStderr>,
}

/// `serve` with a database in `directory`, on a free port, and no variable of this environment.
pub fn command(directory: &Path) -> Command {
    support::build_component();
    let mut command = bare_command();
    command
        .args(["--listen", "127.0.0.1:0", "--key-value"])
        .arg(format!("sqlite:{}", directory.join("records.db").display()));
    command
}

/// The same, before this Svix.
pub async fn command_before(svix: &FakeSvix, directory: &Path) -> Command {
    let url = format!("svix_url={}", url_of(svix).await);
    let mut command = command(directory);
    command.env("SPIN_VARIABLE_SVIX_TOKEN", TOKEN).args(["--variable", &url]);
    command
}

pub fn bare_command() -> Command {
    without_variables(Command::new(support::binary("serve")))
}

/// A command in the repository's root that no variable of this environment configures.
pub fn without_variables(mut command: Command) -> Command {
    command.current_dir(root()).stdout(Stdio::null()).stderr(Stdio::piped());
    rig::unset_variables(&mut command);
    command
}

impl Serve {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("serve starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            let read = lines.read_line(&mut line).expect("UTF-8");
            assert_ne!(read, 0, "serve ended before it listened");
            if let Some((_, rest)) = line.split_once("listening on http://") {
                break rest.split(' ').next().expect("an address").to_owned();
            }
        };
        Self { child, address, lines }
    }

    /// With a fake Svix that this test holds.
    pub async fn with(svix: &FakeSvix, directory: &Path) -> Self {
        Self::at(&url_of(svix).await, directory, &[])
    }

    /// With a Svix at `url`, and variables as `NAME=VALUE`.
    pub fn at(url: &str, directory: &Path, variables: &[&str]) -> Self {
        let mut command = command(directory);
        command
            .env("SPIN_VARIABLE_SVIX_TOKEN", TOKEN)
            .args(["--variable", &format!("svix_url={url}")]);
        for variable in variables {
            command.args(["--variable", variable]);
        }
        Self::start(command)
    }

    /// The address on which `serve` listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub async fn post(&self, event: &str) -> Option<Reply> {
        let body = full(Bytes::copy_from_slice(event.as_bytes()));
        send(&self.address, notification(body)).await
    }

    pub async fn send(&self, request: Request<support::Body>) -> Option<Reply> {
        send(&self.address, request).await
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("UTF-8");
        line
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.child.id())])
            .status()
            .expect("a shell");
        assert!(sent.success());
    }

    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("an end")
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The URL of a fake Svix that this test holds.
pub async fn url_of(svix: &FakeSvix) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(svix.clone().listen(listener));
    url
}

async fn send(address: &str, request: Request<support::Body>) -> Option<Reply> {
    let stream = TcpStream::connect(address).await.ok()?;
    support::send(stream, request).await
}

/// An event of this moment, by the system's clock.
pub fn event(id: &str) -> String {
    let now = clock::rfc3339(SystemTime::now());
    let event = support::event(id).replacen("2026-11-23T14:12:42Z", &now, 1);
    assert!(event.contains(&now));
    event
}

pub fn svix() -> FakeSvix {
    FakeSvix::new(TOKEN, Clock::system())
}

#[track_caller]
pub fn status_of(reply: Option<Reply>) -> Value {
    reply.expect("a reply").json()["status"].clone()
}
