//! Pub/Sub's side of a push request: one POST over kept-alive connections, which ends one way or
//! another within the ack deadline. It never sends anything twice by itself.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
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

/// Where messages are pushed to. A clone shares its connections.
#[derive(Clone, Debug)]
pub struct Endpoint {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
}

impl Endpoint {
    /// The relay at this address.
    pub fn new(relay: SocketAddr) -> Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // A second try is a redelivery, which is for the publisher to decide and to count.
            .retry_canceled_requests(false)
            .build(connector);
        Ok(Self {
            client,
            uri: format!("http://{relay}/notifications").parse()?,
        })
    }

    /// Delivers once.
    pub async fn push(&self, body: Bytes) -> Outcome {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        for (name, value) in [
            (CONTENT_TYPE, "application/json"),
            (USER_AGENT, "CloudPubSub-Google"),
        ] {
            let value = http::HeaderValue::from_static(value);
            request.headers_mut().insert(name, value);
        }
        let answered = time::timeout(ACK_DEADLINE, self.exchange(request));
        answered.await.unwrap_or(Outcome::Late)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Outcome {
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

fn broken(error: &Error) -> Outcome {
    if error.is_connect() {
        Outcome::Unreachable
    } else {
        Outcome::Broken
    }
}
