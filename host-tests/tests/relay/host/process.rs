//! The process `serve` as its users start it: arguments, environment, signals, sockets and files. These
//! tests run in real time, with as little of it as possible.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

use fake_svix::Fault;
use rig::ports;

use crate::serve::{
    Serve, bare_command, command_before, event, status_of, svix, url_of, without_variables,
};
use crate::support::{self, TOKEN, assert_contains, full, root};

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

#[tokio::test]
async fn records_and_what_the_relay_writes_after_a_reply_outlive_the_process() {
    let (svix, directory) = (svix(), directory());
    let serve = Serve::with(&svix, directory.path()).await;
    assert_eq!(status_of(serve.post(&event("evt_1")).await), "delivered");
    serve.signal("TERM");
    assert_eq!(serve.wait().code(), Some(0));

    let variables = ["admin_token=hush"];
    let serve = Serve::at(&url_of(&svix).await, directory.path(), &variables);
    let metrics = Request::get("/metrics").header("authorization", "Bearer hush");
    let metrics = metrics.body(full(Bytes::new())).expect("valid");
    let metrics = serve.send(metrics).await.expect("a reply").text();
    let counted = r#"svix_relay_outcomes_total{outcome="delivered"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    assert_eq!(status_of(serve.post(&event("evt_1")).await), "duplicate");
    assert_eq!(svix.messages().len(), 1);
}

#[tokio::test]
async fn ctrl_c_or_two_sigterms_let_requests_in_flight_end_and_take_no_more() {
    for signals in [&["INT"][..], &["TERM", "TERM"]] {
        let (svix, directory) = (svix(), directory());
        svix.script([Fault::Delay { millis: 500 }]);
        let serve = Serve::with(&svix, directory.path()).await;
        let event = event("evt_1");
        let stopped = async {
            while svix.requests().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            for signal in signals {
                serve.signal(signal);
                while TcpStream::connect(serve.address()).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        };
        let (reply, ()) = tokio::join!(serve.post(&event), stopped);
        assert_eq!(status_of(reply), "delivered", "{signals:?}");
        assert_eq!(serve.wait().code(), Some(0), "{signals:?}");
    }
}

#[test]
fn a_variable_that_the_manifest_lacks_is_told_of() {
    let mut command = bare_command();
    let command = command
        .args(["--variable", "svix_token=testsk_x", "--listen", "127.0.0.1:0"])
        .args(["--key-value", "memory", "--time-instances", "0"])
        .env("SPIN_VARIABLE_INGEST_AUHT", "hush");
    let output = command.output().expect("serve");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_contains(&told, "SPIN_VARIABLE_INGEST_AUHT is ignored");
    assert!(!told.contains("hush"), "{told}");
}

/// `make run` on free ports, its processes built before.
fn run() -> (Command, [String; 2]) {
    support::build_component();
    support::binary("serve");
    let [listen, fake] = [(); 2].map(|()| ports::free().expect("a port").to_string());
    let mut command = without_variables(Command::new("scripts/run.sh"));
    command.env("LISTEN", &listen).env("FAKE", &fake);
    (command, [listen, fake])
}

#[tokio::test]
async fn make_run_prints_commands_that_work() {
    let (mut command, [listen, fake]) = run();
    // An empty value counts as no value.
    command.env("SPIN_VARIABLE_SVIX_TOKEN", "").env("SPIN_VARIABLE_ADMIN_TOKEN", "hush");
    let mut run = Serve::start(command);
    let (mut curls, mut lines) = (Vec::new(), String::new());
    while !lines.contains("The token of the console") {
        let line = run.line();
        assert_ne!(line, "", "{lines}");
        curls.extend(line.trim().starts_with("curl ").then(|| line.clone()));
        lines.push_str(&line);
    }
    let console = format!("console: http://{listen}/console\n");
    assert!(lines.contains(&console), "{lines}");
    assert!(!lines.contains("hush"), "{lines}");

    let curl = |number: usize| {
        let output = Command::new("sh").args(["-c", &curls[number]]).output();
        String::from_utf8(output.expect("a shell").stdout).expect("UTF-8")
    };
    assert!(curl(0).contains(r#""status":"delivered""#), "{lines}");
    assert!(curl(0).contains(r#""status":"duplicate""#), "{lines}");
    let messages: Value = serde_json::from_str(&curl(1)).expect("JSON");
    assert_eq!(messages.as_array().expect("a list").len(), 1);
    assert_eq!(messages[0]["eventType"], "user.created");

    run.signal(interrupt());
    assert_eq!(run.wait().code(), Some(0));
    for address in [listen, fake] {
        assert!(TcpStream::connect(&address).await.is_err(), "{address}");
    }
}

/// Ctrl-C, unless this process ignores that, as one that runs in the background may: then its shells can't trap it.
fn interrupt() -> &'static str {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal 2 is the second bit.
    if ignored.unwrap_or_default() & 2 == 0 { "INT" } else { "TERM" }
}

#[tokio::test]
async fn make_run_fails_and_ends_both_processes_if_one_can_not_start() {
    for taken in [0, 1] {
        let (mut command, addresses) = run();
        let _taken = TcpListener::bind(&addresses[taken]).expect("a free port");
        let output = command.output().expect("run.sh starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&addresses[taken]), "{said}");
        let other = &addresses[1 - taken];
        assert!(TcpStream::connect(other).await.is_err(), "{other}: {said}");
    }
}

#[tokio::test]
async fn an_event_does_not_fail_because_its_line_can_not_be_written() {
    let (svix, directory) = (svix(), directory());
    let full = std::fs::File::options().write(true).open("/dev/full");
    let full = full.expect("/dev/full");
    let mut command = command_before(&svix, directory.path()).await;
    command.stdout(full);
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
        (["--compiled", "spin.toml"], "compiled component spin.toml"),
        (["--variable", "no_such_variable=1"], "no_such_variable"),
        (["--variable", "svix_url=hush-a-secret"], "{{ svix_url }}"),
        // Only the required variable is missing.
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

#[test]
fn wrong_options_are_one_structured_line_for_a_collector() {
    for (name, value, option) in
        [("PORT", "x", "--port"), ("SERVE_METRICS_LISTEN", "x", "--metrics-listen")]
    {
        let mut command = bare_command();
        command.env("SERVE_LOG_FORMAT", "json").env(name, value);
        let output = command.output().expect("serve starts");
        assert_eq!(output.status.code(), Some(2));
        let line: Value = serde_json::from_slice(&output.stderr).expect("one JSON line");
        assert_eq!(line["severity"], "ERROR");
        let message = line["message"].as_str().expect("text");
        assert!(message.contains(option), "{message}");
    }
}

#[test]
fn a_store_that_is_not_known_is_refused_without_its_password() {
    support::build_component();
    for store in ["valkey://:hush@h:1/0", " redis://:hush@h:1/0", "REDIS://:hush@h"] {
        let mut command = bare_command();
        command.env("SPIN_VARIABLE_SVIX_TOKEN", TOKEN).env("SERVE_KEY_VALUE", store);
        let output = command.output().expect("serve starts");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("SERVE_KEY_VALUE"), "{said}");
        assert!(!said.contains("hush"), "{said}");
    }
}

#[test]
fn a_password_that_crosses_the_network_in_clear_is_warned_of_at_the_start() {
    support::build_component();
    let mut command = bare_command();
    command.env("SPIN_VARIABLE_SVIX_TOKEN", TOKEN).args([
        "--listen",
        "127.0.0.1:0",
        "--key-value",
        "redis://:hush@192.0.2.1:6379",
    ]);
    let mut serve = Serve::start(command);
    let said: String = (0..5).map(|_| serve.line()).collect();
    assert_contains(&said, "password crosses the network unencrypted");
    assert!(!said.contains("hush"), "{said}");
}
