//! Pub/Sub's side of a push request: one POST over kept-alive connections, which ends within the
//! ack deadline. The endpoint never sends a request again by itself. With several relays, requests
//! go to each in turn, as from a simple load balancer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time;

use super::outcome::Outcome;

/// Pub/Sub's default.
const ACK_DEADLINE: Duration = Duration::from_secs(10);

/// The relays to which messages are pushed. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Endpoint {
    client: Client<HttpConnector, Full<Bytes>>,
    relays: Arc<[SocketAddr]>,
    turn: Arc<AtomicUsize>,
}

impl Endpoint {
    /// There must be at least one address.
    pub fn new(relays: impl IntoIterator<Item = SocketAddr>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // A second attempt is a redelivery. The publisher decides on it and counts it.
            .retry_canceled_requests(false)
            .build(connector);
        Self { client, relays: relays.into_iter().collect(), turn: Arc::default() }
    }

    pub fn addresses(&self) -> &[SocketAddr] {
        &self.relays
    }

    pub async fn push(&self, body: Bytes) -> Outcome {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.relays.len();
        *request.uri_mut() = uri(self.relays[turn], "/notifications");
        for (name, value) in
            [(CONTENT_TYPE, "application/json"), (USER_AGENT, "CloudPubSub-Google")]
        {
            let value = http::HeaderValue::from_static(value);
            request.headers_mut().insert(name, value);
        }
        self.exchange(request).await
    }

    pub async fn is_ready(&self, relay: SocketAddr) -> Outcome {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri(relay, "/readyz");
        self.exchange(request).await
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Outcome {
        let answered = time::timeout(ACK_DEADLINE, self.send(request));
        answered.await.unwrap_or(Outcome::Late)
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Outcome {
        let reply = match self.client.request(request).await {
            Ok(reply) => reply,
            Err(error) => return broken(&error),
        };
        let status = reply.status().as_u16();
        match reply.into_body().collect().await {
            Ok(body) => Outcome::of_reply(status, &body.to_bytes()),
            Err(_) => Outcome::Broken,
        }
    }
}

fn uri(relay: SocketAddr, path: &'static str) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(http::uri::Scheme::HTTP);
    parts.authority = relay.to_string().parse().ok();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static(path));
    // The default is never used, because an address is a valid authority.
    Uri::from_parts(parts).unwrap_or_default()
}

fn broken(error: &Error) -> Outcome {
    if error.is_connect() { Outcome::Unreachable } else { Outcome::Broken }
}
