//! What the binary `serve` does: read the manifest, start everything, say where, serve, end. The
//! parts know nothing of each other but what is passed here.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time;

use crate::component::{Program, Reuse};
use crate::manifest::{Manifest, from_environment};
use crate::output::Output;
use crate::server::{ENTRANCES, Host};
use crate::store::Location;

/// How long instances have to vanish at the end.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// The status of a process that a second Ctrl-C has ended.
const INTERRUPTED: i32 = 130;

/// Serves a Spin application's HTTP component on this machine, as `spin up` does.
#[derive(Clone, Debug, Parser)]
#[command(name = "serve")]
pub struct Options {
    /// The application's manifest
    #[arg(long, value_name = "FILE", default_value = "spin.toml")]
    pub from: PathBuf,

    /// Where to serve it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,

    /// Where its records are: sqlite:PATH, redis://HOST:PORT/DATABASE or memory
    /// [default: sqlite:.spin/sqlite_key_value.db beside the manifest]
    #[arg(long, value_name = "STORE")]
    pub key_value: Option<Location>,

    /// A variable's value, before that of `SPIN_VARIABLE_NAME`
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub variables: Vec<Variable>,

    /// How many requests one instance takes in all
    #[arg(long, value_name = "N", default_value_t = Reuse::default().max_requests)]
    pub max_instance_reuse_count: usize,

    /// How many requests one instance takes at once
    #[arg(long, value_name = "N", default_value_t = Reuse::default().max_concurrent)]
    pub max_instance_concurrent_reuse_count: usize,

    /// How many requests may enter an instance at the same moment; the others wait. Spin has no such
    /// limit (0). With it a crowd shares the instances there are: a third more events at 256
    /// connections, and 190 instances instead of 1,000 for 3,000 notifications in flight
    #[arg(long, value_name = "N", default_value_t = ENTRANCES)]
    pub entrances: usize,

    /// Serves nothing: makes N instances one after the other, and prints how many milliseconds one
    /// takes (the median)
    #[arg(long, value_name = "N")]
    pub time_instances: Option<usize>,

    /// Lets TCP hold back small segments (no TCP_NODELAY), as Spin does
    #[arg(long)]
    pub tcp_delay: bool,
}

/// A variable from the command line. Its value may be a secret, so it is not printed.
#[derive(Clone)]
pub struct Variable {
    name: String,
    value: String,
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Variable").field(&self.name).finish()
    }
}

impl Options {
    /// A variable's value from the command line or the environment.
    fn given(&self, name: &str) -> Option<String> {
        let mut given = self.variables.iter().rev();
        given
            .find(|variable| variable.name == name)
            .map(|variable| variable.value.clone())
            .or_else(|| from_environment(name))
    }

    /// Like Spin, does not begin without the variables that the manifest requires.
    fn check_required(&self, manifest: &Manifest) -> Result<()> {
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

fn parse_variable(text: &str) -> Result<Variable, &'static str> {
    let (name, value) = text.split_once('=').ok_or("it must be NAME=VALUE")?;
    Ok(Variable {
        name: name.to_owned(),
        value: value.to_owned(),
    })
}

/// Serves until Ctrl-C or SIGTERM; an error is why it could not begin.
pub async fn run(options: Options) -> Result<()> {
    let start = Instant::now();
    let manifest = Manifest::read(&options.from)?;
    let program = Program::load(&manifest)?;
    let location = options.key_value.clone();
    let location = location.unwrap_or_else(|| Location::Sqlite(default_store(&options.from)));
    let key_value = location.open()?;
    let records = key_value.clone();
    let reuse = Reuse {
        max_requests: options.max_instance_reuse_count,
        max_concurrent: options.max_instance_concurrent_reuse_count,
        ..Reuse::default()
    };
    options.check_required(&manifest)?;
    let who_may_post = who_may_post(&options, &manifest);
    let operated = options
        .given("admin_token")
        .is_some_and(|token| !token.is_empty());
    let mut host = Host::builder(&program, &manifest)
        .environment()
        .key_value(key_value)
        .output(Output::inherited())
        .reuse(reuse)
        .entrances(options.entrances)
        .tcp_delay(options.tcp_delay);
    for Variable { name, value } in options.variables {
        host = host.variable(name, value);
    }
    let host = host.build()?;
    host.try_instance()
        .await
        .context("can't start the component")?;
    if let Some(number) = options.time_instances {
        return time_instances(&host, number).await;
    }
    let mut signals = Signals::new()?;
    let listener = bind(options.listen, "--listen").await?;
    let address = listener.local_addr()?;
    say(&format!(
        "{}: listening on http://{address} after {} ms",
        manifest.name,
        start.elapsed().as_millis()
    ));
    say(&format!("  records: {records}"));
    if let Some(who) = who_may_post {
        say(&format!("  notifications: {who}"));
    }
    if operated {
        say(&format!("  console: http://{address}/console"));
    }
    // Like Spin, it begins without its store, too.
    tokio::spawn(async move {
        if let Err(error) = records.check().await {
            say(&format!("  {records} can't be reached now: {error}"));
        }
    });
    let all_ended = host
        .listen(listener, async {
            signals.next().await;
            say("stopping: requests in flight may end; Ctrl-C again to stop at once");
            // Impatience is not to wait for the requests.
            tokio::spawn(async move {
                signals.next().await;
                process::exit(INTERRUPTED)
            });
        })
        .await;
    if !all_ended {
        say("stopped before all requests had ended");
    }
    // Otherwise the runtime ends them, which looks like a failure of theirs. One that is busy
    // forever is left to the end of the process.
    drop(time::timeout(LAST_WAIT, host.drop_instances()).await);
    Ok(())
}

/// The first instance has been made already: what only it has to do doesn't count.
async fn time_instances(host: &Host, number: usize) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..number {
        let begin = Instant::now();
        host.try_instance().await?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let median = times.get(number / 2).copied().unwrap_or_default();
    writeln!(io::stdout(), "{:.6}", median.as_secs_f64() * 1_000.0)?;
    Ok(())
}

/// Who may post to an application that has a variable for it.
fn who_may_post(options: &Options, manifest: &Manifest) -> Option<String> {
    let name = "ingest_auth";
    let declaration = manifest.variables.get(name)?;
    let value = options
        .given(name)
        .or_else(|| declaration.default.clone())?;
    let who = match value.as_str() {
        "none" => "from anyone",
        "token" => "from whoever shows a token",
        "pubsub" => "from Pub/Sub's service account",
        // What is no choice may be a secret in the wrong variable.
        _ => return Some(format!("from nobody ({name} is invalid)")),
    };
    Some(format!("{who} ({name}={value})"))
}

fn default_store(manifest: &Path) -> PathBuf {
    let directory = manifest.parent().unwrap_or(Path::new(""));
    directory.join(".spin").join("sqlite_key_value.db")
}

async fn bind(address: SocketAddr, option: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("can't listen on {address} ({option})"))
}

fn say(line: &str) {
    // Whoever closed our stderr doesn't want to know.
    drop(writeln!(io::stderr(), "{line}"));
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
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
        assert_eq!(options.listen, "127.0.0.1:3000".parse().unwrap());
        assert_eq!(
            default_store(&options.from),
            Path::new(".spin/sqlite_key_value.db")
        );
        assert_eq!(options.max_instance_reuse_count, 128);
        assert_eq!(options.max_instance_concurrent_reuse_count, 16);
    }

    #[test]
    fn variables_are_names_and_values_which_are_not_shown() {
        let options = options(&["--variable", "a=1", "--variable", "a=b=c"]).unwrap();
        assert_eq!(options.given("a").unwrap(), "b=c");
        let shown = format!("{options:?}");
        assert!(shown.contains("\"a\"") && !shown.contains("b=c"), "{shown}");
    }

    #[test]
    fn says_who_may_post() {
        let manifest = |default: &str| {
            let text = format!(
                r#"
                spin_manifest_version = 2
                application = {{ name = "relay" }}
                trigger = {{ http = [{{ route = "/...", component = "relay" }}] }}
                component = {{ relay = {{ source = "relay.wasm" }} }}
                variables = {{ {default} }}
                "#
            );
            Manifest::parse(&text, Path::new("")).unwrap()
        };
        let declared = manifest(r#"ingest_auth = { default = "none" }"#);
        let who = |arguments: &[&str]| who_may_post(&options(arguments).unwrap(), &declared);
        assert_eq!(who(&[]).unwrap(), "from anyone (ingest_auth=none)");
        assert_eq!(
            who(&["--variable", "ingest_auth=token"]).unwrap(),
            "from whoever shows a token (ingest_auth=token)"
        );
        assert_eq!(who_may_post(&options(&[]).unwrap(), &manifest("")), None);
    }

    #[test]
    fn wrong_options_are_refused() {
        for wrong in [
            ["--variable", "name"],
            ["--key-value", "redis:localhost"],
            ["--listen", "3000"],
        ] {
            options(&wrong).unwrap_err();
        }
    }
}
