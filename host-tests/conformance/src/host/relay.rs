//! The relay's process: `spin up`, or `serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use rig::Process;

use crate::TOKEN;
use crate::options::Options;

/// Starts a relay with a store in `directory`, and the Svix at `svix`.
pub fn start(options: &Options, directory: &Path, svix: SocketAddr) -> Result<Process> {
    let serve = rig::serve(options.serve.as_deref())?;
    let (options, store) = (options.clone(), directory.to_owned());
    let command = move |listen: SocketAddr| {
        let mut command = if let Some(spin) = &options.spin {
            up(spin, &options, &store)
        } else {
            let mut command = Command::new(&serve);
            let records = format!("sqlite:{}", store.join("records.db").display());
            command.args(["--key-value", &records]);
            command
        };
        rig::unset_variables(&mut command);
        command
            .arg("--from")
            .arg(&options.from)
            .args(["--listen", &listen.to_string()])
            // A backtrace would hide the reason for which the host ends.
            .env_remove("RUST_BACKTRACE")
            .env("SPIN_VARIABLE_SVIX_URL", format!("http://{svix}"))
            .env("SPIN_VARIABLE_SVIX_TOKEN", TOKEN)
            .env("SPIN_VARIABLE_ADMIN_TOKEN", "admin");
        command
    };
    Process::start_group(log(directory), command)
}

/// `spin up` serves in a second process.
fn up(spin: &Path, options: &Options, directory: &Path) -> Command {
    let mut command = Command::new(spin);
    command.arg("up").arg("--state-dir").arg(directory);
    if let Some(file) = &options.runtime_config {
        command.arg("--runtime-config-file").arg(file);
    }
    command
}

pub fn log(directory: &Path) -> PathBuf {
    directory.join("host.log")
}

pub fn name(options: &Options) -> String {
    if let Some(url) = &options.relay_url {
        return url.clone();
    }
    match (&options.spin, &options.runtime_config) {
        (None, _) => "serve".to_owned(),
        (Some(spin), None) => spin.display().to_string(),
        (Some(spin), Some(file)) => format!("{} with {}", spin.display(), file.display()),
    }
}
