//! `bench`: measures how fast the relay is, beside what can fairly be compared with it. See `bench --help`.
//!
//! Every server is a process of its own. The load, and a Svix that does next to nothing, are in this
//! process. All servers are measured in turn, several times over, and the medians count. So other work of
//! the machine affects all servers alike.
#![expect(clippy::cast_precision_loss, reason = "these are figures, of which three digits count")]

mod audit;
mod contender;
mod figures;
mod load;
mod median;
mod purge;
mod report;
mod server;
mod setting;
mod special;
mod svix;

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use contender::{Contender, Kind};
use load::Connections;
use report::{Cell, Report};
use svix::Svix;

/// How often the number of measurements is told.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Measures the relay beside a naive component, native programs and a proxy.
#[derive(Debug, Parser)]
pub struct Options {
    /// How often everything is measured; the medians count
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,

    /// How long each measurement takes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1_000)]
    time: u64,

    /// Only these: relay, relay-memory, floor, floor-memory, native, native-grouped, native-memory, …
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Only so many connections
    #[arg(long, value_name = "N", default_values_t = [1, 16, 64, 256])]
    connections: Vec<usize>,

    /// Leaves out what is measured beside the load
    #[arg(long)]
    load_only: bool,

    /// Measures nothing but the audit
    #[arg(long)]
    audit_only: bool,

    /// Where bench.json goes
    #[arg(long, value_name = "DIRECTORY", default_value = "target/bench")]
    out: PathBuf,
}

const LATENCIES: [Duration; 2] = [Duration::ZERO, Duration::from_millis(20)];

/// The load before each measurement.
const WARM_UP: Duration = Duration::from_millis(200);

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    fs::create_dir_all(&options.out)?;
    let directory = tempfile::tempdir_in(&options.out)?;
    let svix = Svix::default();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let svix_address = listener.local_addr()?;
    tokio::spawn(svix.clone().listen(listener));

    let setting = setting::Setting { svix: &svix, svix_address, directory: directory.path() };
    if options.audit_only {
        let auditing = audit::measure(&setting).await?;
        drop(writeln!(io::stdout(), "{auditing}"));
        return Ok(());
    }
    let mut contenders = Vec::new();
    for kind in Kind::ALL {
        if options.only.is_empty() || options.only.iter().any(|name| name == kind.name()) {
            contenders.push(Contender::start(kind, svix_address, directory.path()).await?);
        }
    }
    let mut report =
        Report { cells: rounds(&options, &svix, &contenders).await?, ..Report::default() };
    drop(contenders);
    // Write the report now, too, because the rest may fail.
    report.write(&options.out)?;
    if !options.load_only {
        report.special = Some(special::measure(&setting).await?);
    }
    report.write(&options.out)?;
    // If stdout is closed, the files still hold the report.
    drop(writeln!(io::stdout(), "{report}"));
    Ok(())
}

/// Measures every server under every load, in turn, `rounds` times.
async fn rounds(options: &Options, svix: &Svix, contenders: &[Contender]) -> Result<Vec<Cell>> {
    let time = Duration::from_millis(options.time);
    let mut cells = Vec::new();
    for latency in LATENCIES {
        for &connections in &options.connections {
            for (at, contender) in contenders.iter().enumerate() {
                if contender.kind.takes_part(connections, latency) {
                    cells.push((at, Cell::new(contender.kind.name(), connections, latency)));
                }
            }
        }
    }
    let (mut done, all) = (0, cells.len() * options.rounds);
    let mut shown = Instant::now();
    for _ in 0..options.rounds {
        for (at, cell) in &mut cells {
            svix.set_latency(cell.latency());
            let server = &contenders[*at].server;
            let mut connections = Connections::open(server.address, cell.connections).await?;
            connections.run(WARM_UP).await?;
            server.reset_peak();
            let (before, heard) = (server.usage()?, svix.messages());
            let begin = Instant::now();
            let load = connections.run(time).await?;
            let after = server.usage()?;
            let heard = svix.messages() - heard;
            ensure!(
                heard == load.events as u64,
                "{}: {} events became {heard} messages",
                cell.contender,
                load.events
            );
            cell.add(&load, before, after, server.peak_memory()?);
            drop(connections);
            done += 1;
            if shown.elapsed() >= LINE_EVERY {
                shown = Instant::now();
                // If stderr is closed, the line is lost.
                drop(writeln!(io::stderr(), "{done}/{all} loads measured"));
            }
            // Let the server end its work, so that it doesn't slow the next one down.
            sleep(Duration::from_millis(20).min(begin.elapsed())).await;
        }
    }
    Ok(cells.into_iter().map(|(_, cell)| cell).collect())
}
