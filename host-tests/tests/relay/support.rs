//! A world for one test: the relay in its host, a fake Svix, a store, and a clock. All waiting is in
//! simulated time.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Once, OnceLock};
use std::time::{Duration, SystemTime};
use std::{env, fs, io};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpListener;

use clock::Clock;
use fake_svix::{FakeSvix, Fault, StoredMessage};
use host::Connector;
use host::Host;
use host::Manifest;
use host::Program;
use host::Reuse;
use host::{Faults, KeyValue};

use crate::operate::contract;

/// When every test begins: 2026-11-23T14:12:42Z.
const START: Duration = Duration::from_secs(1_795_443_162);

/// The label of the component's store.
const STORE: &str = "default";

/// The token that the fake Svix knows.
pub const TOKEN: &str = "testsk_fake";

/// The operator's token in a [`world`].
pub const ADMIN: (&str, &str) = ("authorization", "Bearer hush");

pub const JSON: (&str, &str) = ("content-type", "application/json");

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
        let clock = Clock::starting_at(SystemTime::UNIX_EPOCH + START);
        let svix = FakeSvix::new(TOKEN, clock.clone());
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
        Self {
            host: host.build().expect("a host"),
            svix,
            clock,
            store,
            faults,
        }
    }

    pub async fn post(&self, body: &str) -> Reply {
        self.post_bytes(body.as_bytes()).await
    }

    pub async fn post_bytes(&self, body: &[u8]) -> Reply {
        let body = full(Bytes::copy_from_slice(body));
        self.send(notification(body)).await.expect("a reply")
    }

    /// Posts without a `Content-Length`.
    pub async fn post_chunked(&self, body: &str) -> Reply {
        let chunks: Vec<_> = body
            .as_bytes()
            .chunks(1_000)
            .map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk))))
            .collect();
        let body = StreamBody::new(futures::stream::iter(chunks));
        self.send(notification(body.boxed_unsync()))
            .await
            .expect("a reply")
    }

    /// Posts half of the body, and the other half so many seconds later.
    pub async fn post_slowly(&self, body: &str, seconds: u64) -> Option<Reply> {
        let (one, other) = body.split_at(body.len() / 2);
        let halves = [(0, one.to_owned()), (seconds, other.to_owned())];
        let body = futures::stream::iter(halves).then(|(wait, half)| async move {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            Ok(Frame::data(Bytes::from(half)))
        });
        self.send(notification(StreamBody::new(body).boxed_unsync()))
            .await
    }

    /// Posts, and breaks off the connection instead of ending the body.
    pub async fn post_cut_off(&self, body: &str) -> Option<Reply> {
        let chunks = [
            Ok(Frame::data(Bytes::copy_from_slice(body.as_bytes()))),
            Err("cut off".into()),
        ];
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
        body: &str,
    ) -> Reply {
        self.request_bytes(method, path, headers, body.as_bytes())
            .await
    }

    pub async fn request_bytes(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
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
        self.send(request.body(body).expect("a valid request"))
            .await
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
        self.store.keys(STORE).await.expect("keys")
    }

    /// The value under this name in the store.
    pub async fn stored(&self, name: &str) -> Option<Vec<u8>> {
        self.store.get(STORE, name).await.expect("a get")
    }

    /// Checks that neither Svix nor the store was called.
    #[track_caller]
    pub fn assert_untouched(&self) {
        assert_eq!(self.svix.requests().len(), 0);
        assert_eq!(self.faults.count(host::Op::Set), 0);
    }

    /// The names of all records.
    pub async fn records(&self) -> Vec<String> {
        let mut keys = self.store.keys(STORE).await.expect("keys");
        keys.retain(|key| key.starts_with("record/"));
        keys
    }

    pub async fn put(&self, name: &str, bytes: &[u8]) {
        self.store.set(STORE, name, bytes).await.expect("a set");
    }

    pub async fn remove(&self, name: &str) {
        self.store.delete(STORE, name).await.expect("a delete");
    }

    pub fn stdout(&self) -> Vec<String> {
        self.host.output().stdout_lines()
    }

    /// The lines of the log.
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.stdout().into_iter();
        lines
            .map(|line| serde_json::from_str(&line).expect("JSON"))
            .collect()
    }

    #[track_caller]
    pub fn last_line(&self) -> Value {
        self.lines().pop().expect("a line")
    }

    pub fn stderr(&self) -> Vec<String> {
        self.host.output().stderr_lines()
    }
}

/// Sends one request over `io`; `None` if the connection breaks before the end of the reply.
pub async fn send<I>(io: I, mut request: Request<Body>) -> Option<Reply>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let host = HeaderValue::from_static("relay.test");
    request.headers_mut().entry(HOST).or_insert(host);
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.ok()?;
    tokio::spawn(connection);
    Reply::read(sender.send_request(request).await.ok()?).await
}

pub type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

pub fn full(bytes: Bytes) -> Body {
    let never = |never: Infallible| match never {};
    Full::new(bytes).map_err(never).boxed_unsync()
}

pub fn notification(body: Body) -> Request<Body> {
    Request::post("/notifications")
        .header("content-type", "application/json")
        .body(body)
        .expect("a valid request")
}

/// The relay's reply.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    async fn read(reply: Response<Incoming>) -> Option<Self> {
        let (head, body) = reply.into_parts();
        Some(Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await.ok()?.to_bytes(),
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("UTF-8")
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The same reply, which must be 200.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text());
        self
    }

    /// Checks what became of the event.
    #[track_caller]
    pub fn assert_became(&self, status: &str) {
        assert_eq!(self.json()["status"], status, "{}", self.text());
    }

    /// Checks that the reply is a problem that no retry mends.
    #[track_caller]
    pub fn assert_final_problem(&self, status: u16, name: &str) {
        self.assert_problem(status, name, false);
        assert_eq!(self.header("retry-after"), None);
    }

    /// Checks that the reply is a problem that passes. Returns the seconds of its `Retry-After`.
    #[track_caller]
    pub fn assert_retryable_problem(&self, status: u16, name: &str) -> u64 {
        self.assert_problem(status, name, true);
        let wait = self.header("retry-after").expect("a Retry-After");
        wait.parse().expect("whole seconds")
    }

    #[track_caller]
    fn assert_problem(&self, status: u16, name: &str, retryable: bool) {
        let text = self.text();
        assert_eq!(self.status, status, "{text}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(
            self.header("content-length"),
            Some(self.body.len().to_string().as_str())
        );
        let document = self.json();
        assert_eq!(
            document["type"],
            format!("urn:svix-relay:problem:{name}"),
            "{text}"
        );
        assert_eq!(document["status"], status, "{text}");
        assert_eq!(document["retryable"], retryable, "{text}");
        for told in ["title", "detail"] {
            assert!(
                document[told].as_str().is_some_and(|told| !told.is_empty()),
                "{text}"
            );
        }
    }
}

/// A world with an operator, whose token is [`ADMIN`].
pub fn world() -> World {
    World::build(&Setup::operated())
}

/// An operator's request.
pub async fn ask(world: &World, method: &str, path: &str) -> Reply {
    world.request(method, path, &[ADMIN], "").await
}

/// A request with this token.
pub async fn ask_as(world: &World, token: &str, method: &str, path: &str) -> Reply {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", &authorization[..])];
    world.request(method, path, &headers, "").await
}

/// Has an event delivered.
pub async fn post(world: &World, id: &str) {
    world.post(&event(id)).await.assert_became("delivered");
}

/// Has an event of Pub/Sub become a dead letter, because Svix refuses it.
pub async fn refuse(world: &World, id: &str) {
    // Svix may be asked first whether it has the event.
    world.svix.script_for(&Method::POST, [Fault::status(422)]);
    let reply = world.post(&wrapped(event(id).as_bytes())).await;
    reply.assert_became("dead-lettered");
}

/// Waits until the counts and the journal are written, which the relay does in the background.
pub async fn settle() {
    tokio::time::sleep(Duration::from_secs(10)).await;
}

/// An event of the platform's shape, with this id.
pub fn event(id: &str) -> String {
    let sample = include_str!("../../samples/user.created.json");
    let mut event = sample.replacen("evt_0SNlurA049MEWV5gNTcQ5A07h3Ol", id, 1);
    event.truncate(event.trim_end().len());
    event
}

/// An identifier of a message that only the same bytes have.
fn message_id(event: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    event.hash(&mut hasher);
    hasher.finish().to_string()
}

/// Lets time pass without a turn for the other tasks, as a call does that waits for Spin's SQLite.
pub fn hold_up() {
    let _ = tokio::time::advance(Duration::from_millis(3)).now_or_never();
}

/// Pub/Sub's push of these bytes, in its default form.
pub fn wrapped(event: &[u8]) -> String {
    let message_id = message_id(event);
    json!({
        "message": {
            "data": BASE64_STANDARD.encode(event),
            "attributes": {"k": "v"},
            "messageId": message_id,
            "message_id": message_id,
            "publishTime": "2026-11-23T14:12:42.123Z",
            "publish_time": "2026-11-23T14:12:42.123Z",
            "orderingKey": "k",
        },
        "subscription": "projects/p/subscriptions/s",
        "deliveryAttempt": 5,
    })
    .to_string()
}

/// The headers of Pub/Sub's push without wrapper.
pub const UNWRAPPED: [(&str, &str); 4] = [
    (
        "x-goog-pubsub-subscription-name",
        "projects/p/subscriptions/s",
    ),
    ("x-goog-pubsub-message-id", "136969346945"),
    ("x-goog-pubsub-publish-time", "2026-11-23T14:12:42.123Z"),
    ("content-type", "application/octet-stream"),
];

/// The headers of an unwrapped push with an identifier that only the same bytes have, as in [`wrapped`].
pub fn unwrapped(event: &[u8]) -> [(&'static str, &'static str); 4] {
    let id = message_id(event).leak();
    UNWRAPPED.map(|(name, value)| match name {
        "x-goog-pubsub-message-id" => (name, &*id),
        _ => (name, value),
    })
}

/// The folder of `spin.toml`.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

/// `spin.toml` as it is.
pub fn manifest() -> Manifest {
    Manifest::read(&root().join("spin.toml")).expect("a valid manifest")
}

/// The component as it is now, built and compiled once for all tests, and its manifest.
pub fn program() -> &'static (Program, Manifest) {
    static PROGRAM: OnceLock<(Program, Manifest)> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        build_component();
        let manifest = manifest();
        (Program::load(&manifest).expect("a component"), manifest)
    })
}

/// Builds the component once for all tests, so that none can run on a stale one.
pub fn build_component() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let mut script = Command::new(root().join("scripts/component.sh"));
        // Build where spin.toml looks for it, even if the environment names another directory.
        run(script.env("CARGO_TARGET_DIR", root().join("target")));
    });
}

/// `serve` or `fake-svix`, built as `make run` builds them, so that no test can run on a stale one.
pub fn binary(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
        let target = target.expect("cargo's target directory");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root()).env("CARGO_TARGET_DIR", target);
        run(cargo.args(["build", "--package", "host", "--package", "fake-svix"]));
        target.join("debug")
    });
    directory.join(name)
}

fn run(build: &mut Command) {
    let status = build.env("CARGO_TERM_QUIET", "true").status();
    assert!(status.expect("a build").success(), "the build fails");
}
