//! The metrics of this process, on a port of their own: what it holds and where its limits are. The component's
//! `GET /metrics` instead counts for all nodes together, and behind a load balancer any node may answer it.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time;

use crate::server::Host;

/// How many clients may ask at once, and for how long.
const CLIENTS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(2);

/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where the numbers come from.
#[derive(Clone)]
pub(crate) struct Metrics {
    host: Host,
    /// This process's limit of file descriptors. `None`: unlimited.
    descriptors: Option<usize>,
    started: SystemTime,
}

impl Metrics {
    pub fn new(host: Host, descriptors: Option<usize>) -> Self {
        Self { host, descriptors, started: SystemTime::now() }
    }

    /// Answers `GET /metrics` until the process ends. Every client may ask: no number is a secret.
    pub async fn serve(self, listener: TcpListener) {
        let clients = Arc::new(Semaphore::new(CLIENTS));
        loop {
            let Ok(place) = clients.clone().acquire_owned().await else {
                return;
            };
            let Ok((stream, _)) = listener.accept().await else {
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let metrics = self.clone();
            tokio::spawn(async move {
                let _place = place;
                let answer = service_fn(|request| {
                    let reply = metrics.reply(&request);
                    async move { Ok::<_, std::convert::Infallible>(reply) }
                });
                let mut http = http1::Builder::new();
                let connection = http.keep_alive(false);
                let connection = connection.serve_connection(TokioIo::new(stream), answer);
                drop(time::timeout(PATIENCE, connection).await);
            });
        }
    }

    fn reply(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let is_known = matches!(*request.method(), Method::GET | Method::HEAD)
            && request.uri().path() == "/metrics";
        let text = if is_known { self.text() } else { String::new() };
        let mut reply = Response::new(Full::new(text.into()));
        if is_known {
            let text = HeaderValue::from_static("text/plain; version=0.0.4");
            reply.headers_mut().insert(CONTENT_TYPE, text);
        } else {
            *reply.status_mut() = StatusCode::NOT_FOUND;
        }
        reply
    }

    /// Prometheus' text format. A number that this system doesn't tell is left out.
    fn text(&self) -> String {
        let (host, connections) = (&self.host, self.host.connections());
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = |count: usize| u64::try_from(count).ok();
        let mut text = String::new();
        for (name, kind, value) in [
            ("connections", "gauge", number(connections.open)),
            ("connections_busy", "gauge", number(connections.busy)),
            ("connections_limit", "gauge", number(connections.limit)),
            ("requests_waiting", "gauge", number(host.requests_waiting())),
            ("instances", "gauge", number(host.instances_living())),
            ("instances_created_total", "counter", Some(host.instances_created())),
            ("log_lines_dropped_total", "counter", Some(host.output().dropped())),
        ] {
            add(&mut text, &format!("svix_relay_host_{name}"), kind, value);
        }
        // The names that Prometheus' own clients use.
        for (name, value) in [
            ("process_resident_memory_bytes", resident_bytes()),
            ("process_open_fds", open_descriptors()),
            ("process_max_fds", self.descriptors.and_then(number)),
            ("process_start_time_seconds", Some(started.as_secs())),
        ] {
            add(&mut text, name, "gauge", value);
        }
        text
    }
}

fn add(text: &mut String, name: &str, kind: &str, value: Option<u64>) {
    if let Some(value) = value {
        // Writing to a `String` can't fail.
        let _ = write!(text, "# TYPE {name} {kind}\n{name} {value}\n");
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Without the descriptor with which the folder itself is read.
fn open_descriptors() -> Option<u64> {
    let folder = fs::read_dir("/proc/self/fd").ok()?;
    u64::try_from(folder.count().saturating_sub(1)).ok()
}
