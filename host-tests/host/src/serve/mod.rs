//! The run of the binary `serve`: read the manifest, start everything, say where it listens, serve, end.
//! The other modules know of each other only through the values that this one passes on.

mod announcement;
mod options;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::panic;
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clock::Clock;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time;

use self::announcement::{Announcement, who_may_post};
use self::options::Variable;
pub use self::options::{Options, refuse};
#[cfg(feature = "compiler")]
use crate::component;
use crate::descriptors;
use crate::manifest::{Manifest, unknown_in_environment};
use crate::metrics::Metrics;
use crate::output::{Output, Severity};
use crate::server::{Host, MAX_CONNECTIONS};

/// How long the process waits for its instances to end, and for the readers of each of its streams.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// The status of a process that ends at a second Ctrl-C.
const INTERRUPTED: i32 = 130;

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
    let max_connections =
        descriptors.map_or(MAX_CONNECTIONS, descriptors::connections_below).min(MAX_CONNECTIONS);
    let manifest = Manifest::read(&options.from)?;
    #[cfg(feature = "compiler")]
    if let [target, file] = &options.compile[..] {
        return component::compile(&manifest, target, file.as_ref());
    }
    let program = options.program(&manifest)?;
    let key_value = options.store()?;
    let records = key_value.clone();
    warn_of_unknown(&manifest, output);
    options.check_required(&manifest)?;
    let who_may_post = who_may_post(&options, &manifest);
    let operated = options.given("admin_token").is_some_and(|token| !token.is_empty());
    let clock = Clock::real();
    clock.advance(Duration::from_secs(options.clock_ahead));
    let mut host = Host::builder(&program, &manifest)
        .environment()
        .key_value(key_value)
        .output(output.clone())
        .entrances(options.entrances)
        .max_connections(max_connections)
        .clock(clock)
        .tcp_delay(options.tcp_delay);
    let address = options.address();
    for Variable { name, value } in options.variables {
        host = host.variable(name, value);
    }
    let host = host.build()?;
    host.try_instance().await.context("can't start the component")?;
    if let Some(number) = options.time_instances {
        return time_instances(&host, number).await;
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
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
            remarks.say(Severity::Warning, &format!("  {records} can't be reached now: {error}"));
        }
    });
    let all_ended = host
        .listen(listener, async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            let line = "stopping: requests in flight may end; Ctrl-C again to stop at once";
            output.say(Severity::Info, line);
            // A second Ctrl-C must end the process while requests are still in flight. A second SIGTERM must not:
            // some supervisors send it to the process and to its group.
            tokio::spawn(async move {
                interrupt.recv().await;
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

/// Warns of variables of the environment that give no value, such as misspelt ones.
fn warn_of_unknown(manifest: &Manifest, output: &Output) {
    for name in unknown_in_environment(manifest) {
        let line = format!("serve: {name} is ignored: the manifest has no such variable");
        output.say(Severity::Warning, &line);
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

async fn bind(address: SocketAddr, option: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("can't listen on {address} ({option})"))
}
