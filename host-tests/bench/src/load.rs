//! The load: a number of connections, each of which sends one event after the other.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use clock::rfc3339;
use http::Request;
use http::header::{CONTENT_TYPE, HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

const EVENT_BYTES: usize = 2_300;

/// The number of the next event, unique over all runs.
static NEXT: AtomicU64 = AtomicU64::new(1);

#[derive(Clone, Debug)]
pub struct Load {
    pub events: usize,
    pub elapsed: Duration,
    /// The latency of each event, sorted.
    pub latencies: Vec<Duration>,
}

impl Load {
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that `percent` of the events didn't exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(last * percent / 100).copied().unwrap_or_default()
    }
}

#[derive(Debug)]
pub struct Connections(Vec<SendRequest<Full<Bytes>>>);

impl Connections {
    pub async fn open(server: SocketAddr, number: usize) -> Result<Self> {
        let mut connections = Vec::with_capacity(number);
        for _ in 0..number {
            let stream = TcpStream::connect(server).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            connections.push(sender);
        }
        Ok(Self(connections))
    }

    /// Sends over all connections for `time`, at least one event each. An event that isn't
    /// acknowledged is an error.
    pub async fn run(&mut self, time: Duration) -> Result<Load> {
        let start = Instant::now();
        let end = start + time;
        let mut tasks = JoinSet::new();
        for mut sender in self.0.drain(..) {
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                loop {
                    let sent = Instant::now();
                    post(&mut sender).await?;
                    latencies.push(sent.elapsed());
                    if Instant::now() >= end {
                        break anyhow::Ok((sender, latencies));
                    }
                }
            });
        }
        let mut all = Vec::new();
        while let Some(done) = tasks.join_next().await {
            let (sender, latencies) = done??;
            self.0.push(sender);
            all.extend(latencies);
        }
        all.sort_unstable();
        Ok(Load { events: all.len(), elapsed: start.elapsed(), latencies: all })
    }

    /// Sends one event over each connection, all at once.
    pub async fn once(&mut self) -> Result<Load> {
        self.run(Duration::ZERO).await
    }
}

async fn post(sender: &mut SendRequest<Full<Bytes>>) -> Result<()> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let request = Request::post(format!("/notifications?{number}"))
        .header(HOST, "relay.test")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(event(number)?))?;
    sender.ready().await?;
    let reply = sender.send_request(request).await?;
    let status = reply.status();
    let body = reply.into_body().collect().await?.to_bytes();
    ensure!(
        status.is_success(),
        "an event is answered with {status}: {}",
        String::from_utf8_lossy(&body)
    );
    Ok(())
}

/// An event of realistic form and size, with the present time.
fn event(number: u64) -> Result<Bytes> {
    static TEMPLATE: std::sync::OnceLock<Option<(String, String)>> = std::sync::OnceLock::new();
    let template = TEMPLATE.get_or_init(|| template().ok()).as_ref();
    let (start, end) = template.context("no event")?;
    Ok(format!("{start}{number:012}{end}").into())
}

fn template() -> Result<(String, String)> {
    let sample = include_str!("../../samples/subscription.activated.json");
    let mut event: Value = serde_json::from_str(sample)?;
    event["id"] = "evt_0SNlurA049MEWV_NUMBER".into();
    event["time"] = rfc3339(SystemTime::now()).into();
    let length = event.to_string().len();
    let padding = EVENT_BYTES.checked_sub(length + r#","x":"""#.len() + 6);
    event["x"] = "x".repeat(padding.unwrap_or(0)).into();
    let event = event.to_string();
    let (start, end) = event.split_once("NUMBER").context("no place for the id")?;
    Ok((start.to_owned(), end.to_owned()))
}
