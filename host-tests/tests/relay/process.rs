//! The process `serve` as its users start it: arguments, environment, signals, sockets and files.
//! In real time, and with as little of it as shows the point.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Request;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

use host_tests::clock::{self, Clock};
use host_tests::fake_svix::{FakeSvix, Fault};

use crate::support::{self, Reply, TOKEN, full, notification, root};

/// A running `serve`; killed when dropped.
pub struct Serve {
    child: Child,
    address: String,
    /// What it prints on stderr after the line that says where it listens.
    lines: BufReader<std::process::ChildStderr>,
}

/// `serve` with a database in `directory`, on a free port, and no variable of this environment.
fn command(directory: &Path) -> Command {
    support::build_component();
    let mut command = bare_command();
    command
        .args(["--listen", "127.0.0.1:0", "--key-value"])
        .arg(format!("sqlite:{}", directory.join("records.db").display()));
    command
}

pub fn bare_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serve"));
    command
        .current_dir(root())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SPIN_VARIABLE_") {
            command.env_remove(name);
        }
    }
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
        Self {
            child,
            address,
            lines,
        }
    }

    /// With a fake Svix that this test holds.
    async fn with(svix: &FakeSvix, directory: &Path) -> Self {
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

    /// Where it listens.
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

    /// The next line on stderr.
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

    fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("an end")
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a fake Svix can be found that this test holds.
pub async fn url_of(svix: &FakeSvix) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(svix.clone().listen(listener));
    url
}

async fn send(address: &str, request: Request<support::Body>) -> Option<Reply> {
    let stream = TcpStream::connect(address).await.ok()?;
    support::send(stream, request).await
}

async fn get(address: &str, path: &str) -> Reply {
    let request = Request::get(path).body(full(Bytes::new())).expect("valid");
    send(address, request).await.expect("a reply")
}

/// An event of this moment, by the clock that `serve` goes by.
pub fn event(id: &str) -> String {
    let now = clock::rfc3339(SystemTime::now());
    let event = support::event(id).replacen("2026-11-23T14:12:42Z", &now, 1);
    assert!(event.contains(&now));
    event
}

pub fn svix() -> FakeSvix {
    FakeSvix::new(TOKEN, Clock::system())
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

#[track_caller]
pub fn status_of(reply: Option<Reply>) -> Value {
    reply.expect("a reply").json()["status"].clone()
}

#[tokio::test]
async fn records_outlive_the_process() {
    let (svix, directory) = (svix(), directory());
    let serve = Serve::with(&svix, directory.path()).await;
    assert_eq!(status_of(serve.post(&event("evt_1")).await), "delivered");
    serve.signal("TERM");
    assert_eq!(serve.wait().code(), Some(0));

    let serve = Serve::with(&svix, directory.path()).await;
    assert_eq!(status_of(serve.post(&event("evt_1")).await), "duplicate");
    assert_eq!(svix.messages().len(), 1);
}

#[tokio::test]
async fn a_process_killed_before_the_record_leaves_one_message() {
    let (svix, directory) = (svix(), directory());
    svix.script([Fault::HangAfterStoring]);
    let mut serve = Serve::with(&svix, directory.path()).await;
    let event = event("evt_1");
    let killed = async {
        while svix.messages().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        serve.signal("KILL");
    };
    let (reply, ()) = tokio::join!(serve.post(&event), killed);
    assert!(reply.is_none());
    assert_eq!(serve.child.wait().expect("an end").code(), None);

    let serve = Serve::with(&svix, directory.path()).await;
    assert_eq!(status_of(serve.post(&event).await), "delivered");
    assert_eq!(svix.messages().len(), 1);
}

#[tokio::test]
async fn ctrl_c_lets_requests_in_flight_end_and_takes_no_more() {
    let (svix, directory) = (svix(), directory());
    svix.script([Fault::Delay { millis: 500 }]);
    let serve = Serve::with(&svix, directory.path()).await;
    let event = event("evt_1");
    let interrupted = async {
        while svix.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        serve.signal("INT");
        while TcpStream::connect(&serve.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let (reply, ()) = tokio::join!(serve.post(&event), interrupted);
    assert_eq!(status_of(reply), "delivered");
    assert_eq!(serve.wait().code(), Some(0));
}

#[tokio::test]
async fn what_it_prints_to_try_first_works() {
    let directory = directory();
    let mut command = command(directory.path());
    // Set, but to nothing: not given.
    command
        .env("SPIN_VARIABLE_SVIX_TOKEN", "")
        .env("SPIN_VARIABLE_SVIX_URL", "")
        .args(["--fake-svix", "127.0.0.1:0"])
        .args(["--variable", "admin_token=hush"]);
    let mut serve = Serve::start(command);
    let (mut curls, mut lines) = (Vec::new(), String::new());
    while curls.len() < 2 {
        let line = serve.line();
        assert_ne!(line, "", "{lines}");
        lines.push_str(&line);
        curls.extend(line.trim().strip_prefix("curl ").map(str::to_owned));
    }
    let url = |curl: &str| {
        let rest = curl.split_once("http://").expect("a URL").1;
        rest.split(' ')
            .next()
            .expect("a URL")
            .split_once('/')
            .map(|(address, path)| (address.to_owned(), format!("/{path}")))
    };
    let (relay, path) = url(&curls[0]).expect("a path");
    assert_eq!(
        (relay.as_str(), path.as_str()),
        (serve.address.as_str(), "/notifications")
    );
    let file = curls[0].split_once("--data-binary '@").expect("a file").1;
    let sample = std::fs::read_to_string(file.trim_end_matches('\'')).expect("a sample");
    assert_eq!(status_of(serve.post(&sample).await), "delivered");
    assert_eq!(status_of(serve.post(&sample).await), "duplicate");

    let console = format!("console: http://{}/console\n", serve.address);
    assert!(lines.contains(&console), "{lines}");
    assert!(!lines.contains("hush"), "{lines}");
    assert_eq!(get(&serve.address, "/console").await.status, 200);

    let (fake, path) = url(&curls[1]).expect("a path");
    let messages = get(&fake, &path).await.json();
    let messages = messages.as_array().expect("a list");
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["eventType"], "user.created");
}

#[tokio::test]
async fn an_event_does_not_fail_because_its_line_can_not_be_written() {
    let (svix, directory) = (svix(), directory());
    let url = format!("svix_url={}", url_of(&svix).await);
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let mut command = command(directory.path());
    command
        .env("SPIN_VARIABLE_SVIX_TOKEN", TOKEN)
        .args(["--variable", &url])
        .stdout(full);
    let serve = Serve::start(command);
    assert_eq!(status_of(serve.post(&event("evt_1")).await), "delivered");
    assert_eq!(status_of(serve.post(&event("evt_1")).await), "duplicate");
}

#[test]
fn a_start_that_fails_says_why() {
    support::build_component();
    let directory = directory();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let unbuilt = directory.path().join("spin.toml");
    let manifest = std::fs::read_to_string(root().join("spin.toml")).expect("spin.toml");
    std::fs::write(&unbuilt, manifest).expect("a manifest");
    for (arguments, expected) in [
        (["--listen", &address], address.as_str()),
        (["--from", unbuilt.to_str().expect("UTF-8")], "make build"),
        (["--from", "nowhere.toml"], "nowhere.toml"),
        (["--variable", "no_such_variable=1"], "no_such_variable"),
        (["--variable", "svix_url=hush-a-secret"], "{{ svix_url }}"),
        // Nothing but the required variable is missing.
        (["--listen", "127.0.0.1:0"], "SPIN_VARIABLE_SVIX_TOKEN"),
    ] {
        let mut command = bare_command();
        if expected != "SPIN_VARIABLE_SVIX_TOKEN" {
            command.env("SPIN_VARIABLE_SVIX_TOKEN", TOKEN);
        }
        command.args(["--key-value", "memory"]);
        let output = command.args(arguments).output().expect("serve starts");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains("hush-a-secret"), "{said}");
        assert_eq!(said.trim().lines().count(), 1, "one clear message: {said}");
    }
}
