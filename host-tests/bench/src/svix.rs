//! A Svix that costs as little as possible. It counts messages, and replies like the real one after a
//! latency that can be changed at any time.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bytes::Bytes;
use clock::{parse_rfc3339, rfc3339};
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
    asked: AtomicU64,
}

/// The messages that lists and look-ups show: of the events that `evt_{number:026}` names, each
/// [`Past::EVERY`] later than the one before.
pub struct Past;

impl Past {
    pub const MESSAGES: u64 = 1_000_000;
    pub const EVERY: Duration = Duration::from_millis(10);

    /// Yesterday at six.
    pub fn begin() -> SystemTime {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let days = now.map_or(0, |now| now.as_secs() / 86_400);
        UNIX_EPOCH + Duration::from_hours(24 * days - 18)
    }

    pub fn time(number: u64) -> SystemTime {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        Self::begin() + Self::EVERY * number
    }

    /// How many messages are older.
    fn before(time: SystemTime) -> u64 {
        let since = time.duration_since(Self::begin()).unwrap_or_default();
        let number = since.as_micros().div_ceil(Self::EVERY.as_micros());
        u64::try_from(number).map_or(Self::MESSAGES, |number| number.min(Self::MESSAGES))
    }

    /// A page of the list that this query asks for.
    fn page(query: &str) -> String {
        let value = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let time = |name| value(name).and_then(parse_rfc3339).map_or(0, Self::before);
        let iterator = value("iterator").and_then(|id| id.strip_prefix("msg_")?.parse().ok());
        let end = iterator.unwrap_or(u64::MAX).min(time("before"));
        let begin = end.saturating_sub(250).max(time("after"));
        let data: Vec<_> = (begin..end)
            .rev()
            .map(|number| {
                let timestamp = rfc3339(Self::time(number));
                format!(r#"{{"id":"msg_{number:027}","eventId":"evt_{number:026}","eventType":"user.created","timestamp":"{timestamp}","channels":null,"payload":{{}}}}"#)
            })
            .collect();
        let done = begin <= time("after");
        let data = data.join(",");
        format!(
            r#"{{"data":[{data}],"iterator":"msg_{begin:027}","prevIterator":null,"done":{done}}}"#
        )
    }
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

    /// How many lists and look-ups there were.
    pub fn asked(&self) -> u64 {
        self.0.asked.load(Ordering::Relaxed)
    }

    async fn wait(&self) {
        let latency = self.0.latency_micros.load(Ordering::Relaxed);
        if latency > 0 {
            time::sleep(Duration::from_micros(latency)).await;
        }
    }

    async fn reply(&self, request: http::Request<Incoming>) -> Response<Full<Bytes>> {
        // Every event type is known.
        if request.uri().path().starts_with("/api/v1/event-type/") {
            return status(StatusCode::OK, "{}".to_owned());
        }
        if request.method() == http::Method::GET {
            self.0.asked.fetch_add(1, Ordering::Relaxed);
            self.wait().await;
            let uri = request.uri();
            return match (uri.path().rsplit('/').nth(1), uri.query()) {
                (Some("msg"), Some(query)) => status(StatusCode::OK, Past::page(query)),
                (Some(id), _) => status(StatusCode::OK, format!(r#"{{"id":"{id}"}}"#)),
                _ => status(StatusCode::NOT_FOUND, String::new()),
            };
        }
        let Ok(body) = request.into_body().collect().await else {
            return status(StatusCode::BAD_REQUEST, String::new());
        };
        let number = self.0.messages.fetch_add(1, Ordering::Relaxed);
        self.wait().await;
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
