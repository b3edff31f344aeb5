//! A Svix that costs as little as possible. It counts messages, and replies like the real one after a
//! latency that can be changed at any time.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time;

/// Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Svix(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    latency_micros: AtomicU64,
    messages: AtomicU64,
}

impl Svix {
    pub fn set_latency(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.latency_micros.store(micros, Ordering::Relaxed);
    }

    pub fn messages(&self) -> u64 {
        self.0.messages.load(Ordering::Relaxed)
    }

    pub async fn listen(self, listener: TcpListener) -> Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let svix = self.clone();
            let service = service_fn(move |request| {
                let svix = svix.clone();
                async move { Ok::<_, Infallible>(svix.reply(request).await) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    }

    async fn reply(&self, request: http::Request<Incoming>) -> Response<Full<Bytes>> {
        // Every event type is known.
        if request.uri().path().starts_with("/api/v1/event-type/") {
            return status(StatusCode::OK, "{}".to_owned());
        }
        let Ok(body) = request.into_body().collect().await else {
            return status(StatusCode::BAD_REQUEST, String::new());
        };
        let number = self.0.messages.fetch_add(1, Ordering::Relaxed);
        let latency = self.0.latency_micros.load(Ordering::Relaxed);
        if latency > 0 {
            time::sleep(Duration::from_micros(latency)).await;
        }
        // A message without an eventId gets null back, as from the real one.
        let event_id = event_id(&body.to_bytes()).unwrap_or_else(|| "null".to_owned());
        let reply = format!(
            r#"{{"id":"msg_{number:027}","eventId":{event_id},"eventType":"subscription.activated","payload":{{}},"channels":null,"tags":null,"timestamp":"2026-11-23T14:12:42.000000Z"}}"#
        );
        status(StatusCode::ACCEPTED, reply)
    }
}

/// The JSON string after `"eventId":`, which the relay writes near the beginning.
fn event_id(body: &[u8]) -> Option<String> {
    let start = str::from_utf8(body.get(..400.min(body.len()))?).ok()?;
    let (_, rest) = start.split_once(r#""eventId":""#)?;
    let (id, _) = rest.split_once('"')?;
    Some(format!(r#""{id}""#))
}

fn status(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
