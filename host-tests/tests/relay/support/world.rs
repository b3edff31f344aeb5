//! A world for one test: the relay in its host, a fake Svix, a store, and a clock. All waiting is in
//! simulated time.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use bytes::Bytes;
use futures::StreamExt as _;
use http::Request;
use http::uri::Authority;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpListener;

use clock::Clock;
use fake_svix::{FakeSvix, StoredMessage};
use host::{Connector, Faults, Host, KeyValue, Manifest, Reuse};

use super::{Body, Reply, full, notification, program, root, send, wrapped};
use crate::operate::contract;

/// When every test begins: 2026-11-23T14:12:42Z.
pub fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_443_162)
}

/// The token that the fake Svix knows.
pub const TOKEN: &str = "testsk_fake";

pub struct World {
    host: Host,
    pub svix: FakeSvix,
    pub clock: Clock,
    pub store: KeyValue,
    pub faults: Faults,
}

/// The differences from one world to another.
pub struct Setup {
    pub variables: BTreeMap<&'static str, &'static str>,
    /// The text of `spin.toml`.
    pub manifest: String,
    pub reuse: Reuse,
    /// The server at another authority than Svix's.
    pub elsewhere: Option<(&'static str, Serve)>,
}

/// An authority that no host finds.
pub const NOWHERE: &str = "nowhere.test";

/// Serves one connection.
pub type Serve = Arc<dyn Fn(DuplexStream) + Send + Sync>;

impl Setup {
    pub fn new() -> Self {
        Self {
            variables: [
                ("svix_token", TOKEN),
                ("svix_url", "http://svix.test"),
                // Most tests count an event's requests to Svix and calls to the store. The registration of
                // types would add to them; `event_types` tests it.
                ("register_event_types", "false"),
            ]
            .into(),
            manifest: fs::read_to_string(root().join("spin.toml")).expect("spin.toml"),
            reuse: Reuse::default(),
            elsewhere: None,
        }
    }

    /// With an operator, whose token is [`ADMIN`].
    pub fn operated() -> Self {
        let mut setup = Self::new();
        setup.variables.insert("admin_token", "hush");
        setup
    }
}

impl World {
    pub fn new() -> Self {
        Self::build(&Setup::new())
    }

    /// A world where these variables have another value.
    pub fn with(variables: &[(&'static str, &'static str)]) -> Self {
        let mut setup = Setup::new();
        setup.variables.extend(variables.iter().copied());
        Self::build(&setup)
    }

    pub fn build(setup: &Setup) -> Self {
        Self::with_svix_clock(setup, start())
    }

    /// A world whose Svix has a clock of its own, which begins at `its_start`.
    pub fn with_svix_clock(setup: &Setup, its_start: SystemTime) -> Self {
        let clock = Clock::starting_at(start());
        let svix = FakeSvix::new(TOKEN, clock.beside(its_start));
        Self::with_host(setup, 1, svix, clock, KeyValue::memory(), Faults::default())
    }

    /// Another node: a host of its own, on the same store and before the same Svix.
    pub fn node(&self, setup: &Setup) -> Self {
        let (svix, clock) = (self.svix.clone(), self.clock.clone());
        let (store, faults) = (self.store.clone(), self.faults.clone());
        Self::with_host(setup, 2, svix, clock, store, faults)
    }

    fn with_host(
        setup: &Setup,
        seed: u64,
        svix: FakeSvix,
        clock: Clock,
        store: KeyValue,
        faults: Faults,
    ) -> Self {
        let manifest = Manifest::parse(&setup.manifest, &root()).expect("a valid manifest");
        let served = svix.clone();
        let elsewhere = setup.elsewhere.clone();
        let mut host = Host::builder(&program().0, &manifest)
            .key_value(store.clone())
            .faults(faults.clone())
            .clock(clock.clone())
            .seed(seed)
            .reuse(setup.reuse)
            // Spin doesn't bound bodies, so the component alone does here.
            .body_room(1 << 30)
            .connector(Connector::new(move |uri| {
                let (ours, theirs) = tokio::io::duplex(64 * 1024);
                let authority = uri.authority().map(Authority::as_str);
                let found = authority != Some(NOWHERE);
                match &elsewhere {
                    Some((name, serve)) if authority == Some(*name) => serve(theirs),
                    _ => {
                        let svix = served.clone();
                        tokio::spawn(async move { svix.serve_connection(theirs).await });
                    }
                }
                async move {
                    let missing = || io::Error::from(io::ErrorKind::AddrNotAvailable);
                    found.then_some(ours).ok_or_else(missing)
                }
            }));
        for (name, value) in &setup.variables {
            host = host.variable(*name, *value);
        }
        Self { host: host.build().expect("a host"), svix, clock, store, faults }
    }

    pub async fn post(&self, body: &str) -> Reply {
        self.post_bytes(body.as_bytes()).await
    }

    pub async fn post_bytes(&self, body: &[u8]) -> Reply {
        let body = full(Bytes::copy_from_slice(body));
        self.send(notification(body)).await.expect("a reply")
    }

    /// Posts with these headers.
    pub async fn post_with(&self, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
        self.request("POST", "/notifications", headers, body).await
    }

    /// Posts these bytes as a push of Pub/Sub, in its default form.
    pub async fn push(&self, event: impl AsRef<[u8]>) -> Reply {
        self.post(&wrapped(event)).await
    }

    /// Posts without a `Content-Length`.
    pub async fn post_chunked(&self, body: &str) -> Reply {
        let chunks: Vec<_> = body
            .as_bytes()
            .chunks(1_000)
            .map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk))))
            .collect();
        let body = StreamBody::new(futures::stream::iter(chunks));
        self.send(notification(body.boxed_unsync())).await.expect("a reply")
    }

    /// Posts half of the body, and the other half so many seconds later.
    pub async fn post_slowly(&self, body: &str, seconds: u64) -> Option<Reply> {
        let (one, other) = body.split_at(body.len() / 2);
        let halves = [(0, one.to_owned()), (seconds, other.to_owned())];
        let body = futures::stream::iter(halves).then(|(wait, half)| async move {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            Ok(Frame::data(Bytes::from(half)))
        });
        self.send(notification(StreamBody::new(body).boxed_unsync())).await
    }

    /// Posts, and breaks off the connection instead of ending the body.
    pub async fn post_cut_off(&self, body: &str) -> Option<Reply> {
        let chunks =
            [Ok(Frame::data(Bytes::copy_from_slice(body.as_bytes()))), Err("cut off".into())];
        let chunks = futures::stream::iter(chunks).then(|chunk| async {
            // Wait until the first half is sent.
            tokio::time::sleep(Duration::from_millis(10)).await;
            chunk
        });
        let body = StreamBody::new(chunks);
        let reply = self.send(notification(body.boxed_unsync())).await;
        // Wait until the relay has ended its work on the request.
        tokio::time::sleep(Duration::from_mins(1)).await;
        reply
    }

    /// Posts half of the body over HTTP/2, and resets the stream with NO_ERROR. Spin lets the body end there.
    pub async fn post_and_reset(&self, body: &str) -> Reply {
        let half = Bytes::copy_from_slice(&body.as_bytes()[..body.len() / 2]);
        let request = Request::post("/notifications")
            .header("content-length", body.len())
            .body(Full::new(half))
            .expect("a valid request");
        let reply = self.host.answer(request).await.expect("a reply");
        Reply::read(reply).await.expect("a reply")
    }

    /// Posts, and lets the process die as soon as `when` holds. Returns the status of the reply, if any.
    pub async fn post_and_crash_when(
        &self,
        body: &str,
        when: impl Fn(&Self) -> bool,
    ) -> Option<u16> {
        let crash = async {
            for _ in 0..60_000 {
                if when(self) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert!(when(self), "the moment to crash never came");
            self.crash().await;
        };
        let body = full(Bytes::copy_from_slice(body.as_bytes()));
        let (reply, ()) = tokio::join!(self.send(notification(body)), crash);
        reply.map(|reply| reply.status)
    }

    /// The process dies; its store remains.
    pub async fn crash(&self) {
        self.host.drop_instances().await;
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.request("GET", path, &[], "").await
    }

    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Reply {
        let body = body.as_ref();
        let reply = self.request_or_die(method, path, headers, body).await;
        reply.expect("a reply")
    }

    /// Sends a request whose process may die before the reply.
    pub async fn request_or_die(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Reply> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = full(Bytes::copy_from_slice(body));
        self.send(request.body(body).expect("a valid request")).await
    }

    /// Sends these bytes over a connection of its own, and reads until it is closed.
    pub async fn send_raw(&self, bytes: &[u8]) -> String {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let host = self.host.clone();
        tokio::spawn(async move { host.serve_connection(theirs).await });
        let (mut read, mut write) = tokio::io::split(ours);
        let mut reply = Vec::new();
        // A server that has heard enough need not read the rest, nor end the connection properly.
        let _ = tokio::join!(write.write_all(bytes), read.read_to_end(&mut reply));
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// Sends one request over a connection of its own; `None` if the connection breaks. Checks that the
    /// contract allows the reply.
    async fn send(&self, request: Request<Body>) -> Option<Reply> {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let host = self.host.clone();
        tokio::spawn(async move { host.serve_connection(theirs).await });
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let reply = send(ours, request).await?;
        if let Err(violation) = contract::check(method.as_str(), uri.path(), &reply) {
            panic!("the contract doesn't allow it: {violation}");
        }
        Some(reply)
    }

    /// Serves the relay over TCP, in real time only, and returns the address.
    pub async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let host = self.host.clone();
        tokio::spawn(async move { host.listen(listener, pending()).await });
        address
    }

    /// How long something took, in simulated time.
    pub async fn timed<T>(&self, work: impl Future<Output = T>) -> (T, Duration) {
        let start = tokio::time::Instant::now();
        let output = work.await;
        (output, start.elapsed())
    }

    /// The one message that Svix holds.
    #[track_caller]
    pub fn only_message(&self) -> StoredMessage {
        let mut messages = self.svix.messages();
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }

    /// The one message of an event.
    #[track_caller]
    pub fn message(&self, event_id: &str) -> StoredMessage {
        let mut messages = self.svix.messages();
        messages.retain(|message| message.event_id.as_deref() == Some(event_id));
        assert_eq!(messages.len(), 1, "of {event_id}: {messages:?}");
        messages.remove(0)
    }

    /// The names of everything in the store.
    pub async fn names(&self) -> Vec<String> {
        self.store.keys().await.expect("keys")
    }

    /// The value under this name in the store.
    pub async fn stored(&self, name: &str) -> Option<Vec<u8>> {
        self.store.get(name).await.expect("a get")
    }

    /// Checks that neither Svix nor the store was called.
    #[track_caller]
    pub fn assert_untouched(&self) {
        assert_eq!(self.svix.requests().len(), 0);
        assert_eq!(self.faults.count(host::Op::Set), 0);
    }

    /// The names of all records.
    pub async fn records(&self) -> Vec<String> {
        let mut keys = self.store.keys().await.expect("keys");
        keys.retain(|key| key.starts_with("record/"));
        keys
    }

    pub async fn put(&self, name: &str, bytes: &[u8]) {
        self.store.set(name, bytes).await.expect("a set");
    }

    pub async fn remove(&self, name: &str) {
        self.store.delete(name).await.expect("a delete");
    }

    pub fn stdout(&self) -> Vec<String> {
        self.host.output().stdout_lines()
    }

    /// The lines of the log.
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.stdout().into_iter();
        lines.map(|line| serde_json::from_str(&line).expect("JSON")).collect()
    }

    /// The lines of the log that contain this text.
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        let mut lines = self.stdout();
        lines.retain(|line| line.contains(text));
        lines
    }

    #[track_caller]
    pub fn last_line(&self) -> Value {
        self.lines().pop().expect("a line")
    }

    pub fn stderr(&self) -> Vec<String> {
        self.host.output().stderr_lines()
    }
}
