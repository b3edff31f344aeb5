//! Checks that a host with its store, and a Svix, behave as the relay's guarantee needs. The same checks
//! run on real ones and on `serve` and the fake Svix.
//!
//! - `options` say which ones are checked.
//! - `check` is one check, and its outcome; `report` is the table of all.
//! - `client` sends requests.
//! - `svix` holds the checks of a Svix: one file each for messages, repetitions, lists, customers, errors.
//! - `host` holds the checks of a host, which ask a relay under it: one file each for forms, answers,
//!   crashes, dead letters, limits, operators.

mod check;
mod client;
mod host;
mod options;
mod report;
mod svix;

use std::net::SocketAddr;
use std::pin::pin;

use anyhow::{Context as _, Result, bail};
use clock::Clock;
use fake_svix::FakeSvix;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use check::Outcome;
pub use options::{Options, Part};
pub use report::Report;

/// The token that the fake Svix accepts, unless another one is given.
const TOKEN: &str = "testsk_fake.eu";

/// Runs the checks, unless `interrupted` is ready before. An error says why not all of them were run.
pub async fn run(
    options: &Options,
    interrupted: impl Future<Output = ()>,
    report: &mut Report,
) -> Result<()> {
    let mut interrupted = pin!(interrupted);
    if options.checks(Part::Svix) {
        svix::check(options, interrupted.as_mut(), report).await?;
    }
    if options.checks(Part::Host) {
        tokio::select! {
            ended = host::check(options, report) => ended?,
            () = interrupted => bail!("interrupted"),
        }
    }
    Ok(())
}

/// All checks, without running them: the name of each, and what its failure means.
pub fn list() -> Vec<(&'static str, &'static str)> {
    let svix = svix::CHECKS.iter().map(|check| (check.name, check.otherwise));
    let host = host::CHECKS.iter().map(|check| (check.name, check.otherwise));
    svix.chain(host).collect()
}

/// A fake Svix that listens while `tasks` lives, and its address.
async fn fake_svix(
    address: &str,
    token: &str,
    tasks: &mut JoinSet<()>,
) -> Result<(FakeSvix, SocketAddr)> {
    let svix = FakeSvix::new(token, Clock::system());
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("can't listen on {address} (FAKE)"))?;
    let address = listener.local_addr()?;
    tasks.spawn(svix.clone().listen(listener));
    Ok((svix, address))
}
