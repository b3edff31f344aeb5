//! `fake-svix`: the fake Svix as a process, to try the relay out. See `fake-svix --help`.

use std::io::{self, Write as _};
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use clap::Parser;
use clock::Clock;
use fake_svix::{FakeSvix, send_reports};
use http::Uri;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A Svix that keeps messages in memory, fails on demand and only imagines deliveries.
#[derive(Debug, Parser)]
#[command(name = "fake-svix")]
struct Options {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9071")]
    listen: SocketAddr,

    /// The token that it accepts
    #[arg(long, value_name = "TOKEN", default_value = "testsk_fake.eu")]
    token: String,

    /// Where operational webhooks go
    #[arg(long, value_name = "URL", requires = "reports_secret")]
    reports_to: Option<Uri>,

    /// The secret that signs them
    #[arg(long, value_name = "whsec_…")]
    reports_secret: Option<String>,
    /// Offers what only the hosted Svix does
    #[arg(long)]
    hosted: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("can't listen on {} (--listen)", options.listen))?;
    let address = listener.local_addr()?;
    // If stderr is closed, the line is lost, and the fake serves all the same.
    drop(writeln!(
        io::stderr(),
        "fake-svix: listening on http://{address}; its messages are lost when it ends"
    ));
    let fake = FakeSvix::new(&options.token, Clock::system());
    if let (Some(url), Some(secret)) = (options.reports_to, options.reports_secret) {
        tokio::spawn(send_reports(fake.clone(), url, secret));
    }
    fake.set_hosted(options.hosted);
    tokio::select! {
        () = fake.listen(listener) => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
