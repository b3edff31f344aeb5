//! The run of the binary `serve`: read the manifest, start everything, say where it listens, serve, end.
//! The other modules know of each other only through the values that this one passes on.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::panic;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use clock::Clock;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time;

use crate::component::{Program, Reuse};
use crate::descriptors;
use crate::manifest::{Manifest, from_environment};
use crate::output::Output;
use crate::server::{ENTRANCES, Host, MAX_CONNECTIONS};
use crate::store::Location;

/// How long the process waits for its instances to end, and for the readers of each of its streams.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// The status of a process that ends at a second Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Serves a Spin application's HTTP component on this machine, as `spin up` does.
#[derive(Clone, Debug, Parser)]
#[command(name = "serve")]
pub struct Options {
    /// The application's manifest
    #[arg(long, value_name = "FILE", default_value = "spin.toml")]
    from: PathBuf,

    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,

    /// Where the records are: sqlite:PATH, redis://HOST:PORT/DATABASE or memory
    /// [default: sqlite:.spin/sqlite_key_value.db beside the manifest]
    #[arg(long, value_name = "STORE")]
    key_value: Option<Location>,

    /// A variable's value; it takes precedence over `SPIN_VARIABLE_NAME`
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = parse_variable)]
    variables: Vec<Variable>,

    /// How many requests one instance takes in all
    #[arg(long, value_name = "N", default_value_t = Reuse::default().max_requests)]
    max_instance_reuse_count: usize,

    /// How many requests one instance takes at once
    #[arg(long, value_name = "N", default_value_t = Reuse::default().max_concurrent)]
    max_instance_concurrent_reuse_count: usize,

    /// How many requests may enter an instance at the same moment; the others wait. 0 is Spin's
    /// behaviour: no limit. With 4, a crowd shares the existing instances. Measured at 256
    /// connections: a third more events. Measured with 3,000 notifications in flight: 190
    /// instances instead of 1,000
    #[arg(long, value_name = "N", default_value_t = ENTRANCES)]
    entrances: usize,

    /// Doesn't serve: makes N instances one after the other, and prints the median of their times
    /// in milliseconds
    #[arg(long, value_name = "N")]
    time_instances: Option<usize>,

    /// Lets TCP hold back small segments (no TCP_NODELAY), as Spin does
    #[arg(long)]
    tcp_delay: bool,

    /// How many seconds the component's clock is ahead of the system's
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    clock_ahead: u64,
}

/// A variable from the command line. Its value may be a secret, so `Debug` leaves it out.
#[derive(Clone)]
struct Variable {
    name: String,
    value: String,
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Variable").field(&self.name).finish()
    }
}

impl Options {
    /// A variable's value from the command line, else from the environment.
    fn given(&self, name: &str) -> Option<String> {
        let mut given = self.variables.iter().rev();
        given
            .find(|variable| variable.name == name)
            .map(|variable| variable.value.clone())
            .or_else(|| from_environment(name))
    }

    /// Fails if a variable has no value that the manifest requires: like Spin, `serve` does not
    /// start then.
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

/// Serves until Ctrl-C or SIGTERM. An error says why it could not start.
pub async fn run(options: Options) -> Result<()> {
    let output = Output::inherited();
    let remarks = output.clone();
    // A panic ends one task. Its message must not wait for a reader either.
    panic::set_hook(Box::new(move |panic| remarks.remark(&panic.to_string())));
    let result = serve(options, &output).await;
    // A reader that has stalled must not keep the process from ending.
    output.flush(LAST_WAIT);
    result
}

async fn serve(options: Options, output: &Output) -> Result<()> {
    let start = Instant::now();
    let descriptors = descriptors::raise_limit();
    let max_connections = descriptors
        .map_or(MAX_CONNECTIONS, descriptors::connections_below)
        .min(MAX_CONNECTIONS);
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
    let clock = Clock::real();
    clock.advance(Duration::from_secs(options.clock_ahead));
    let mut host = Host::builder(&program, &manifest)
        .environment()
        .key_value(key_value)
        .output(output.clone())
        .reuse(reuse)
        .entrances(options.entrances)
        .max_connections(max_connections)
        .clock(clock)
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
    output.say(&format!(
        "{}: listening on http://{address} after {} ms",
        manifest.name,
        start.elapsed().as_millis()
    ));
    output.say(&format!("  records: {records}"));
    if let Some(who) = who_may_post {
        output.say(&format!("  notifications: {who}"));
    }
    if operated {
        output.say(&format!("  console: http://{address}/console"));
    }
    let descriptors = descriptors.map_or("any number of".to_owned(), |limit| limit.to_string());
    output.say(&format!(
        "  connections: at most {max_connections} at once, with {descriptors} file descriptors"
    ));
    // Like Spin, serve even while the store can't be reached.
    let remarks = output.clone();
    tokio::spawn(async move {
        if let Err(error) = records.check().await {
            remarks.say(&format!("  {records} can't be reached now: {error}"));
        }
    });
    let all_ended = host
        .listen(listener, async {
            signals.next().await;
            output.say("stopping: requests in flight may end; Ctrl-C again to stop at once");
            // A second signal must end the process while requests are still in flight.
            tokio::spawn(async move {
                signals.next().await;
                process::exit(INTERRUPTED)
            });
        })
        .await;
    if !all_ended {
        output.say("stopped before all requests had ended");
    }
    // End the instances here: if the runtime did, they would report a failure. An instance that
    // never yields is left to the end of the process.
    drop(time::timeout(LAST_WAIT, host.drop_instances()).await);
    Ok(())
}

/// Prints how long an instance takes, without the first one, which has already been made.
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

/// The senders that may post; `None` if the application has no variable for that.
fn who_may_post(options: &Options, manifest: &Manifest) -> Option<String> {
    let name = "ingest_auth";
    let declaration = manifest.variables.get(name)?;
    let value = options
        .given(name)
        .or_else(|| declaration.default.clone())?;
    let who = match value.as_str() {
        "none" => "from any sender",
        "token" => "from senders with a token",
        "pubsub" => "from Pub/Sub's service account",
        // An invalid value may be a secret in the wrong variable: don't print it.
        _ => return Some(format!("refused ({name} is invalid)")),
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
        assert_eq!(who(&[]).unwrap(), "from any sender (ingest_auth=none)");
        assert_eq!(
            who(&["--variable", "ingest_auth=token"]).unwrap(),
            "from senders with a token (ingest_auth=token)"
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
