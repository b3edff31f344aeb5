//! Requests over a connection of their own each, so that no check meets what another one left behind.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time;

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same if the request comes in pieces.
const RAW_PATIENCE: Duration = Duration::from_secs(5);

/// A server, and the headers that every request to it has.
pub struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    headers: Vec<(&'static str, String)>,
    calls: AtomicUsize,
}

pub type Headers<'a> = &'a [(&'a str, &'a str)];

impl Client {
    pub fn new(base: &str, headers: Vec<(&'static str, String)>) -> Self {
        let connector = HttpsConnectorBuilder::new().with_webpki_roots();
        let connector = connector.https_or_http().enable_http1().build();
        Self {
            pool: Pool::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .retry_canceled_requests(false)
                .build(connector),
            base: base.trim_end_matches('/').to_owned(),
            headers,
            calls: AtomicUsize::new(0),
        }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// The number of requests so far.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Sends a request. `headers` replace those that every request has.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: Headers<'_>,
        body: impl Into<Bytes>,
    ) -> Result<Reply> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let uri = format!("{}{path}", self.base);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in &self.headers {
            if !headers.iter().any(|(other, _)| other == name) {
                request = request.header(*name, value);
            }
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into()))?;
        let exchange = async {
            let (head, body) = self.pool.request(request).await?.into_parts();
            anyhow::Ok(Reply {
                request: format!("{method} {path}"),
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.collect().await?.to_bytes(),
            })
        };
        let reply = time::timeout(PATIENCE, exchange).await;
        let reply = reply.context("no answer within 30 s").flatten();
        reply.with_context(|| format!("{method} {path}"))
    }

    /// Sends a request without a body.
    pub async fn ask(&self, method: &str, path: &str) -> Result<Reply> {
        self.send(method, path, &[], "").await
    }

    pub async fn get(&self, path: &str) -> Result<Reply> {
        self.ask("GET", path).await
    }

    /// Sends these bytes, and returns the first line of the answer as soon as it is there. `None` if the
    /// connection ends without one.
    pub async fn send_raw(&self, bytes: &[u8], then_close: bool) -> Result<Option<String>> {
        let uri: Uri = self.base.parse()?;
        let host = uri.host().context("a URL without a host")?;
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await?;
        let (mut read, mut write) = stream.into_split();
        let mut head = Vec::new();
        let answer = async {
            let mut buffer = [0; 4_096];
            while !head.contains(&b'\n') {
                match read.read(&mut buffer).await {
                    Ok(0) | Err(_) => return None,
                    Ok(length) => head.extend_from_slice(&buffer[..length]),
                }
            }
            let head = String::from_utf8_lossy(&head);
            head.lines().next().map(str::to_owned)
        };
        let send = async {
            // The server may have heard enough.
            let _ = write.write_all(bytes).await;
            if then_close {
                let _ = write.shutdown().await;
            }
            futures::future::pending().await
        };
        tokio::select! {
            answer = time::timeout(RAW_PATIENCE, answer) => answer.context("no answer within 5 s"),
            never = send => never,
        }
    }
}

#[derive(Debug)]
pub struct Reply {
    /// The method and the path.
    request: String,
    pub status: u16,
    headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, or null if it isn't JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Fails unless the answer has this status.
    pub fn expect(&self, status: u16) -> Result<&Self> {
        ensure!(self.status == status, "{} instead of {status}", self.shown());
        Ok(self)
    }

    /// The request and the answer, shortened.
    pub fn shown(&self) -> String {
        let text: String = self.text().chars().take(200).collect();
        format!("{}: {} {text}", self.request, self.status)
    }
}
