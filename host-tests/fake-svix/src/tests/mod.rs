//! Tests of the fake through a real HTTP client: they see what the relay would see.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, duplex};
use tokio::net::TcpStream;

use super::FakeSvix;
use clock::Clock;

mod checks;
mod customers;
mod deliveries;
mod endpoints;
mod faults;
mod helper_routes;
mod lists;
mod once;
mod reports;
mod switches;
mod tcp;

const TOKEN: &str = "testsk_abc.eu";
const HOUR: Duration = Duration::from_hours(1);

fn fake() -> (FakeSvix, Clock) {
    let clock = Clock::system();
    (FakeSvix::new(TOKEN, clock.clone()), clock)
}

/// A fake and a connection to it.
async fn connected() -> (FakeSvix, Client) {
    let (fake, _) = fake();
    let client = Client::connect(&fake).await;
    (fake, client)
}

/// A message for the application `dev`, which it creates.
fn message(event_id: &str) -> Value {
    json!({
        "eventType": "user.created",
        "eventId": event_id,
        "payload": { "id": event_id },
        "application": { "uid": "dev", "name": "dev" },
    })
}

#[derive(Debug)]
struct ReceivedReply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl ReceivedReply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    fn id(&self) -> String {
        self.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Checks that the request is refused as invalid.
    #[track_caller]
    fn assert_invalid(&self, request: &Value) {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        assert_eq!(self.status, status, "{request}");
    }

    /// Checks that there is no such path, as a server answers that doesn't offer it.
    #[track_caller]
    fn assert_not_offered(&self) {
        let answer = (self.status, self.body.len());
        assert_eq!(answer, (StatusCode::NOT_FOUND, 0));
    }
}

/// Checks that these fields have these values, among others.
#[track_caller]
fn assert_fields(value: &Value, expected: &Value) {
    for (name, expected) in expected.as_object().expect("fields") {
        assert_eq!(value[name], *expected, "{name} of {value}");
    }
}

/// One connection to the fake.
struct Client(SendRequest<Full<Bytes>>);

impl Client {
    async fn connect(fake: &FakeSvix) -> Self {
        let (near, far) = duplex(64 * 1024);
        let fake = fake.clone();
        tokio::spawn(async move { fake.serve_connection(far).await });
        Self::over(near).await
    }

    async fn tcp(stream: TcpStream) -> Self {
        Self::over(stream).await
    }

    async fn over(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = handshake(TokioIo::new(io)).await.expect("handshake");
        // The requests fail when the connection ends, so its result is ignored.
        tokio::spawn(async move { connection.await.ok() });
        Self(sender)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<ReceivedReply> {
        self.0.ready().await?;
        let (parts, body) = self.0.send_request(request).await?.into_parts();
        Ok(ReceivedReply {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    async fn post(&mut self, message: &Value) -> anyhow::Result<ReceivedReply> {
        self.send(post("dev", &message.to_string(), None)).await
    }

    async fn post_with_key(&mut self, message: &Value, key: &str) -> anyhow::Result<ReceivedReply> {
        self.send(post("dev", &message.to_string(), Some(key))).await
    }

    async fn get(&mut self, id: &str) -> anyhow::Result<ReceivedReply> {
        let path = format!("/api/v1/app/dev/msg/{id}/?with_content=false");
        self.send(request(Method::GET, &path, "")).await
    }
}

/// A post of a message, as the relay makes it.
fn post(app: &str, body: &str, key: Option<&str>) -> Request<Full<Bytes>> {
    let path = format!("/api/v1/app/{app}/msg/?with_content=false");
    let mut request = request(Method::POST, &path, body);
    if let Some(key) = key {
        let key = key.parse().expect("a header value");
        request.headers_mut().insert("idempotency-key", key);
    }
    request
}

/// An authenticated request.
fn request(method: Method, path: &str, body: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "svix")
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", "application/json")
        .body(Full::from(body.to_owned()))
        .expect("a request")
}
