//! The command line of `serve`, with the environment that completes it.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process;

#[cfg(not(feature = "compiler"))]
use anyhow::bail;
use anyhow::{Result, ensure};
use clap::Parser;
use tokio::sync::Semaphore;

use super::LAST_WAIT;
use crate::component::Program;
use crate::manifest::{Manifest, from_environment};
use crate::output::{Format, Output, Severity};
use crate::server::ENTRANCES;
use crate::store::{KeyValue, Location, RedisFiles, Url};

const DEFAULT_PORT: u16 = 3000;

/// Serves a Spin application's HTTP component on this machine, as `spin up` does.
#[derive(Clone, Debug, Parser)]
#[command(name = "serve")]
pub struct Options {
    /// The application's manifest
    #[arg(long, value_name = "FILE", default_value = "spin.toml")]
    pub(super) from: PathBuf,

    /// Where to listen [default: the port of PORT on all addresses, without PORT 127.0.0.1:3000]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,

    /// The port to listen on, in a container. `--listen` takes precedence
    #[arg(long, env, hide = true)]
    port: Option<u16>,

    /// Where to answer `GET /metrics` with this process's own metrics, without a token
    /// [default: nowhere]
    #[arg(long, value_name = "ADDR", env = "SERVE_METRICS_LISTEN")]
    pub(super) metrics_listen: Option<SocketAddr>,

    /// Where the records are: sqlite:PATH, redis://HOST:PORT/DATABASE, the same with rediss://, or memory
    /// [default: sqlite:.spin/sqlite_key_value.db beside the manifest]
    #[arg(long, value_name = "STORE", env = "SERVE_KEY_VALUE", hide_env_values = true)]
    key_value: Option<Url>,

    #[command(flatten)]
    redis: RedisFiles,

    /// Doesn't start with records that would end with the container: in memory, or in SQLite outside
    /// of a volume
    #[arg(long)]
    durable: bool,

    /// The form of the lines about the start, the end and failures of this process
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        env = "SERVE_LOG_FORMAT",
        default_value = "text"
    )]
    pub(super) log_format: Format,

    /// Runs the component's machine code that `--compile` has written, instead of compiling the
    /// manifest's. The file must be as trustworthy as this program
    #[arg(long, value_name = "FILE")]
    compiled: Option<PathBuf>,

    /// Doesn't serve: compiles the component for the machines of TARGET (such as
    /// x86_64-unknown-linux-gnu), and writes the machine code to FILE
    #[cfg(feature = "compiler")]
    #[arg(long, num_args = 2, value_names = ["TARGET", "FILE"])]
    pub(super) compile: Vec<String>,

    /// A variable's value; it takes precedence over `SPIN_VARIABLE_NAME`
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub(super) variables: Vec<Variable>,

    /// How many requests may enter an instance at the same moment; the others wait. 0 is Spin's
    /// behaviour: no limit. With 4, a crowd shares the existing instances. Measured at 256
    /// connections: a third more events. Measured with 3,000 notifications in flight: 190
    /// instances instead of 1,000
    #[arg(long, value_name = "N", default_value_t = ENTRANCES, value_parser = entrances)]
    pub(super) entrances: usize,

    /// Doesn't serve: makes N instances one after the other, and prints the median of their times
    /// in milliseconds
    #[arg(long, value_name = "N")]
    pub(super) time_instances: Option<usize>,

    /// Lets TCP hold back small segments (no TCP_NODELAY), as Spin does
    #[arg(long)]
    pub(super) tcp_delay: bool,

    /// How many seconds the component's clock is ahead of the system's
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(super) clock_ahead: u64,
}

/// A variable from the command line. Its value may be a secret, so `Debug` leaves it out.
#[derive(Clone)]
pub(super) struct Variable {
    pub name: String,
    pub value: String,
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Variable").field(&self.name).finish()
    }
}

impl Options {
    pub(super) fn address(&self) -> SocketAddr {
        let all = |port| (Ipv4Addr::UNSPECIFIED, port).into();
        let local = (Ipv4Addr::LOCALHOST, DEFAULT_PORT).into();
        self.listen.unwrap_or(self.port.map_or(local, all))
    }

    pub(super) fn store(&self) -> Result<KeyValue> {
        let location = match &self.key_value {
            Some(url) => url.location()?,
            None => Location::Sqlite(default_store(&self.from)),
        };
        if self.durable {
            location.check_durable()?;
        }
        location.open_with(self.redis.clone())
    }

    pub(super) fn program(&self, manifest: &Manifest) -> Result<Program> {
        if let Some(file) = &self.compiled {
            return Program::precompiled(file);
        }
        #[cfg(feature = "compiler")]
        return Program::load(manifest);
        #[cfg(not(feature = "compiler"))]
        bail!("this serve has no compiler: it needs --compiled for {}", manifest.name);
    }

    /// A variable's value from the command line, else from the environment.
    pub(super) fn given(&self, name: &str) -> Option<String> {
        let mut given = self.variables.iter().rev();
        given
            .find(|variable| variable.name == name)
            .map(|variable| variable.value.clone())
            .or_else(|| from_environment(name))
    }

    /// Fails if a variable has no value that the manifest requires: like Spin, `serve` does not
    /// start then.
    pub(super) fn check_required(&self, manifest: &Manifest) -> Result<()> {
        for (name, declaration) in &manifest.variables {
            ensure!(
                !declaration.required || self.given(name).is_some(),
                "the variable {name} is required: set SPIN_VARIABLE_{}, or use --variable {name}=…",
                name.to_uppercase()
            );
        }
        Ok(())
    }
}

fn entrances(text: &str) -> Result<usize, String> {
    let number = text.parse().ok();
    let number = number.filter(|number| *number <= Semaphore::MAX_PERMITS);
    number.ok_or_else(|| format!("it must be a number up to {}", Semaphore::MAX_PERMITS))
}

fn parse_variable(text: &str) -> Result<Variable, &'static str> {
    let (name, value) = text.split_once('=').ok_or("it must be NAME=VALUE")?;
    Ok(Variable { name: name.to_owned(), value: value.to_owned() })
}

/// Ends the process because of its options, whose variables a collector's operator may have set. Only the variable
/// decides on the form of the line, because no option was read.
pub fn refuse(error: &clap::Error) -> ! {
    let is_json = env::var("SERVE_LOG_FORMAT").is_ok_and(|format| format == "json");
    if !is_json || !error.use_stderr() {
        error.exit();
    }
    let output = Output::inherited(Format::Json);
    let text = error.to_string();
    // Usage follows after an empty line.
    let problem = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = problem.split_whitespace().collect();
    output.say(Severity::Error, &format!("serve: {}", words.join(" ")));
    output.flush(LAST_WAIT);
    process::exit(error.exit_code())
}

fn default_store(manifest: &Path) -> PathBuf {
    let directory = manifest.parent().unwrap_or(Path::new(""));
    directory.join(".spin").join("sqlite_key_value.db")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["serve"], arguments].concat())
    }

    #[test]
    fn the_defaults_are_spins() {
        let options = options(&[]).unwrap();
        assert_eq!(options.from, Path::new("spin.toml"));
        let options = Options { port: None, ..options };
        assert_eq!(options.address().to_string(), "127.0.0.1:3000");
        assert_eq!(default_store(&options.from), Path::new(".spin/sqlite_key_value.db"));
    }

    #[test]
    fn listens_on_all_addresses_for_a_container_unless_told_otherwise() {
        let all = options(&["--port", "8080"]).unwrap();
        assert_eq!(all.address().to_string(), "0.0.0.0:8080");
        let told = options(&["--port", "8080", "--listen", "127.0.0.1:1"]).unwrap();
        assert_eq!(told.address().to_string(), "127.0.0.1:1");
    }

    #[test]
    fn variables_are_names_and_values_which_are_not_shown() {
        let options = options(&["--variable", "a=1", "--variable", "a=b=c"]).unwrap();
        assert_eq!(options.given("a").unwrap(), "b=c");
        let shown = format!("{options:?}");
        assert!(shown.contains("\"a\"") && !shown.contains("b=c"), "{shown}");
    }

    #[test]
    fn wrong_options_are_refused() {
        for wrong in [
            ["--variable", "name"],
            ["--metrics-listen", "9090"],
            ["--listen", "3000"],
            ["--entrances", "18446744073709551615"],
            ["--entrances", "-1"],
        ] {
            options(&wrong).unwrap_err();
        }
    }
}
