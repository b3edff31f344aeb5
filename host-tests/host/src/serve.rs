//! The run of the binary `serve`: read the manifest, start everything, say where it listens, serve, end.
//! The other modules know of each other only through the values that this one passes on.

use std::env;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::panic;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

#[cfg(not(feature = "compiler"))]
use anyhow::bail;
use anyhow::{Context, Result, ensure};
use clap::Parser;
use clock::Clock;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time;

#[cfg(feature = "compiler")]
use crate::component;
use crate::component::{Program, Reuse};
use crate::descriptors;
use crate::manifest::{Manifest, from_environment};
use crate::metrics::Metrics;
use crate::output::{Format, Output, Severity};
use crate::server::{ENTRANCES, Host, MAX_CONNECTIONS};
use crate::store::{KeyValue, Location, RedisFiles, Url};

/// How long the process waits for its instances to end, and for the readers of each of its streams.
const LAST_WAIT: Duration = Duration::from_millis(500);

const DEFAULT_PORT: u16 = 3000;

/// With fewer connections than this, the start warns. So many requests Cloud Run sends at once in our module.
const FEW_CONNECTIONS: usize = 500;

/// The status of a process that ends at a second Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Serves a Spin application's HTTP component on this machine, as `spin up` does.
#[derive(Clone, Debug, Parser)]
#[command(name = "serve")]
pub struct Options {
    /// The application's manifest
    #[arg(long, value_name = "FILE", default_value = "spin.toml")]
    from: PathBuf,

    /// Where to listen [default: the port of PORT on all addresses, without PORT 127.0.0.1:3000]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,

    /// The port to listen on, in a container. `--listen` takes precedence
    #[arg(long, env, hide = true)]
    port: Option<u16>,

    /// Where to answer `GET /metrics` with this process's own metrics, without a token
    /// [default: nowhere]
    #[arg(long, value_name = "ADDR", env = "SERVE_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,

    /// Where the records are: sqlite:PATH, redis://HOST:PORT/DATABASE, the same with rediss://, or memory
    /// [default: sqlite:.spin/sqlite_key_value.db beside the manifest]
    #[arg(
        long,
        value_name = "STORE",
        env = "SERVE_KEY_VALUE",
        hide_env_values = true
    )]
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
    log_format: Format,

    /// Runs the component's machine code that `--compile` has written, instead of compiling the
    /// manifest's. The file must be as trustworthy as this program
    #[arg(long, value_name = "FILE")]
    compiled: Option<PathBuf>,

    /// Doesn't serve: compiles the component for the machines of TARGET (such as
    /// x86_64-unknown-linux-gnu), and writes the machine code to FILE
    #[cfg(feature = "compiler")]
    #[arg(long, num_args = 2, value_names = ["TARGET", "FILE"])]
    compile: Vec<String>,

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
    fn address(&self) -> SocketAddr {
        let all = |port| (Ipv4Addr::UNSPECIFIED, port).into();
        let local = (Ipv4Addr::LOCALHOST, DEFAULT_PORT).into();
        self.listen.unwrap_or(self.port.map_or(local, all))
    }

    fn store(&self) -> Result<KeyValue> {
        let location = match &self.key_value {
            Some(url) => url.location()?,
            None => Location::Sqlite(default_store(&self.from)),
        };
        if self.durable {
            location.check_durable()?;
        }
        location.open_with(self.redis.clone())
    }

    fn program(&self, manifest: &Manifest) -> Result<Program> {
        if let Some(file) = &self.compiled {
            return Program::precompiled(file);
        }
        #[cfg(feature = "compiler")]
        return Program::load(manifest);
        #[cfg(not(feature = "compiler"))]
        bail!(
            "this serve has no compiler: it needs --compiled for {}",
            manifest.name
        );
    }

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

/// Serves until Ctrl-C or SIGTERM. `false` if it could not start; it has said why.
pub async fn run(options: Options) -> bool {
    let output = Output::inherited(options.log_format);
    let remarks = output.clone();
    // A panic ends one task. Its message must not wait for a reader either.
    panic::set_hook(Box::new(move |panic| remarks.remark(&panic.to_string())));
    let result = serve(options, &output).await;
    if let Err(error) = &result {
        output.say(Severity::Error, &format!("serve: {error:#}"));
    }
    // A reader that has stalled must not keep the process from ending.
    output.flush(LAST_WAIT);
    result.is_ok()
}

async fn serve(options: Options, output: &Output) -> Result<()> {
    let start = Instant::now();
    let descriptors = descriptors::raise_limit();
    let max_connections = descriptors
        .map_or(MAX_CONNECTIONS, descriptors::connections_below)
        .min(MAX_CONNECTIONS);
    let manifest = Manifest::read(&options.from)?;
    #[cfg(feature = "compiler")]
    if let [target, file] = &options.compile[..] {
        return component::compile(&manifest, target, file.as_ref());
    }
    let program = options.program(&manifest)?;
    let key_value = options.store()?;
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
    let address = options.address();
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
    let listener = bind(address, "--listen").await?;
    let address = listener.local_addr()?;
    let mut metrics = None;
    if let Some(address) = options.metrics_listen {
        let listener = bind(address, "--metrics-listen").await?;
        metrics = Some(listener.local_addr()?);
        tokio::spawn(Metrics::new(host.clone(), descriptors).serve(listener));
    }
    let announcement = Announcement {
        application: &manifest.name,
        address,
        took: start.elapsed(),
        records: &records.to_string(),
        shows_password: records.shows_password(),
        who_may_post: who_may_post.as_deref(),
        operated,
        max_connections,
        descriptors,
        metrics,
    };
    announcement.tell(output);
    // Like Spin, serve even while the store can't be reached.
    let remarks = output.clone();
    tokio::spawn(async move {
        if let Err(error) = records.check().await {
            remarks.say(
                Severity::Warning,
                &format!("  {records} can't be reached now: {error}"),
            );
        }
    });
    let all_ended = host
        .listen(listener, async {
            signals.next().await;
            let line = "stopping: requests in flight may end; Ctrl-C again to stop at once";
            output.say(Severity::Info, line);
            // A second signal must end the process while requests are still in flight.
            tokio::spawn(async move {
                signals.next().await;
                process::exit(INTERRUPTED)
            });
        })
        .await;
    if !all_ended {
        output.say(Severity::Warning, "stopped before all requests had ended");
    }
    // End the instances here: if the runtime did, they would report a failure. An instance that
    // never yields is left to the end of the process.
    drop(time::timeout(LAST_WAIT, host.drop_instances()).await);
    Ok(())
}

/// The lines about the start, once this process listens.
struct Announcement<'a> {
    application: &'a str,
    address: SocketAddr,
    took: Duration,
    records: &'a str,
    shows_password: bool,
    who_may_post: Option<&'a str>,
    operated: bool,
    max_connections: usize,
    descriptors: Option<usize>,
    metrics: Option<SocketAddr>,
}

impl Announcement<'_> {
    fn tell(&self, output: &Output) {
        output.tell(&self.lines(), "listening", self.fields());
        if self.max_connections < FEW_CONNECTIONS {
            let line = format!(
                "  connections: only {} at once, so probes may wait behind events; raise the limit of file descriptors",
                self.max_connections
            );
            output.say(Severity::Warning, &line);
        }
        if self.shows_password {
            let line =
                "  Redis' password crosses the network unencrypted; rediss:// would encrypt it";
            output.say(Severity::Warning, line);
        }
    }

    fn lines(&self) -> Vec<String> {
        let (address, took) = (self.address, self.took.as_millis());
        let first = format!(
            "{}: listening on http://{address} after {took} ms",
            self.application
        );
        let mut lines = vec![first, format!("  records: {}", self.records)];
        if let Some(who) = self.who_may_post {
            lines.push(format!("  notifications: {who}"));
        }
        if self.operated {
            lines.push(format!("  console: http://{address}/console"));
        }
        let descriptors = self.descriptors.map(|limit| limit.to_string());
        lines.push(format!(
            "  connections: at most {} at once, with {} file descriptors",
            self.max_connections,
            descriptors.as_deref().unwrap_or("any number of")
        ));
        if let Some(address) = self.metrics {
            lines.push(format!("  metrics: http://{address}/metrics"));
        }
        lines
    }

    fn fields(&self) -> Map<String, Value> {
        let fields = json!({
            "application": self.application,
            "address": self.address.to_string(),
            "startMs": u64::try_from(self.took.as_millis()).ok(),
            "records": self.records,
            "notifications": self.who_may_post,
            "console": self.operated,
            "maxConnections": self.max_connections,
            "fileDescriptors": self.descriptors,
            "metrics": self.metrics.map(|address| address.to_string()),
        });
        fields.as_object().cloned().unwrap_or_default()
    }
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
        let options = Options {
            port: None,
            ..options
        };
        assert_eq!(options.address().to_string(), "127.0.0.1:3000");
        assert_eq!(
            default_store(&options.from),
            Path::new(".spin/sqlite_key_value.db")
        );
        assert_eq!(options.max_instance_reuse_count, 128);
        assert_eq!(options.max_instance_concurrent_reuse_count, 16);
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
            ["--metrics-listen", "9090"],
            ["--listen", "3000"],
        ] {
            options(&wrong).unwrap_err();
        }
    }
}
