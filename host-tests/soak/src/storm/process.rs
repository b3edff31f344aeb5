//! A relay's process: `serve` as users start it, always on the same port and with the same store.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::options::ADMIN_TOKEN;
use anyhow::Result;
use rig::Process;

/// The relay's configuration, with short timeouts, so that a request that hangs doesn't take
/// seconds.
const VARIABLES: [(&str, &str); 5] = [
    ("svix_timeout_ms", "500"),
    ("retry_budget_ms", "2000"),
    ("retry_base_delay_ms", "20"),
    ("retry_max_delay_ms", "300"),
    ("admin_token", ADMIN_TOKEN),
];

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
    pub clock_ahead: Duration,
    /// Whether what Svix refuses becomes a dead letter. Otherwise Pub/Sub keeps the event, and the refusal passes.
    pub letters: bool,
}

/// Starts a relay on a free port and doesn't wait for it.
pub fn start(settings: Settings) -> Result<Process> {
    let log = settings.directory.join("serve.log");
    Process::start(log, move |address| command(&settings, address))
}

fn command(settings: &Settings, address: SocketAddr) -> Command {
    let mut command = Command::new(&settings.serve);
    rig::unset_variables(&mut command);
    command
        .env("SPIN_VARIABLE_SVIX_TOKEN", settings.token)
        .arg("--from")
        .arg(&settings.from)
        .args(["--listen", &address.to_string()])
        .args(["--key-value", &settings.key_value])
        .args(["--clock-ahead", &settings.clock_ahead.as_secs().to_string()])
        .args(["--variable", &format!("svix_url=http://{}", settings.svix)]);
    let letters = if settings.letters { "store" } else { "reject" };
    for (name, value) in VARIABLES.into_iter().chain([("dead_letters", letters)]) {
        command.args(["--variable", &format!("{name}={value}")]);
    }
    command
}
