//! The host: HTTP in front of the component. It decides nothing about a request but whether the
//! component gets it; and what the client sees where the component gave no answer.

mod body;
mod builder;
mod refusal;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{self, Instant};
use wasmtime_wasi_http::handler::{InstantiationError, ProxyHandler};
use wasmtime_wasi_http::{Error, WasiBody};

use self::body::ReplyBody;
pub use self::builder::HostBuilder;
use crate::component::{Entrance, Instances, Program};
use crate::manifest::{Manifest, Route};
use crate::output::Output;

/// How long a client may take to send a request's head.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Pub/Sub allows 100 attributes, and sends each of them as a header when it doesn't wrap.
const MAX_HEADERS: usize = 256;

/// How long to leave a listener alone that can't accept, for want of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a request waits for an instance, and how often it asks again.
const INSTANCE_PATIENCE: Duration = Duration::from_secs(1);
const INSTANCE_PAUSE: Duration = Duration::from_millis(10);

/// A running application. A clone is the same.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    handler: ProxyHandler<Instances>,
    route: Route,
    requests: Semaphore,
    /// `None`: as many requests as come may enter at once, as in Spin.
    entrances: Option<Arc<Semaphore>>,
    drain_timeout: Duration,
    tcp_delay: bool,
}

/// How many requests may be on their way into an instance at once, unless `serve` is told otherwise.
///
/// `ProxyHandler` makes a new instance whenever none has room at that moment. In a crowd that is
/// often, and soon each request has an instance of its own. Four at a time find room in the instances
/// there are. Measured: a third more events at 256 connections, since fewer memories fit better into
/// the caches, and 190 instances instead of 1,000 for 3,000 notifications in flight.
pub(crate) const ENTRANCES: usize = 4;

/// How long a request waits for an entrance. The request before it may be stuck in its store.
const ENTRANCE_PATIENCE: Duration = Duration::from_secs(1);

/// The process died, as far as this request could see: there is no reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cut;

impl Host {
    /// A host for `program`, configured by `manifest` and by what is set on the builder.
    pub fn builder<'a>(program: &'a Program, manifest: &'a Manifest) -> HostBuilder<'a> {
        HostBuilder::new(program, manifest)
    }

    /// Makes an instance and drops it, to see whether the component can run at all.
    pub async fn try_instance(&self) -> anyhow::Result<()> {
        Ok(self.instances().try_one().await?)
    }

    /// Sends one request, without a connection, and collects the reply.
    pub async fn handle(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Cut> {
        let (head, body) = self.respond(request).await?.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    /// Serves one connection until either side closes it.
    pub async fn serve_connection<I>(&self, io: I)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        // Clients break connections as they like; that concerns nobody here.
        drop(self.connection(io).await);
    }

    /// Serves all connections to `listener` until `shutdown`. Then it takes no more requests and
    /// lets those end that it has, within bounds. True if all of them did.
    pub async fn listen(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> bool {
        let graceful = GracefulShutdown::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.accept(stream, &graceful),
                    Err(error) => {
                        self.output().remark(&format!("can't accept a connection: {error}"));
                        time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                () = &mut shutdown => break,
            }
        }
        drop(listener);
        time::timeout(self.0.drain_timeout, graceful.shutdown())
            .await
            .is_ok()
    }

    fn accept(&self, stream: TcpStream, graceful: &GracefulShutdown) {
        // Without it, a body waits for the peer to acknowledge the head. Slower, but not wrong.
        drop(stream.set_nodelay(!self.0.tcp_delay));
        let connection = graceful.watch(self.connection(stream));
        tokio::spawn(async move { drop(connection.await) });
    }

    fn connection<I>(&self, io: I) -> impl GracefulConnection<Error = hyper::Error> + Send + 'static
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let host = self.clone();
        let service = service_fn(move |request| {
            let host = host.clone();
            async move { host.respond(request).await }
        });
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_READ_TIMEOUT)
            .max_headers(MAX_HEADERS)
            .half_close(true)
            .serve_connection(TokioIo::new(io), service)
    }

    async fn respond<B>(&self, request: Request<B>) -> Result<Response<ReplyBody>, Cut>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Error>,
    {
        let life = self.instances().life();
        let reply = tokio::select! {
            biased;
            () = life.clone().ended() => return Err(Cut),
            reply = self.reply(request) => reply,
        };
        Ok(reply.map(|body| ReplyBody::new(body, life)))
    }

    async fn reply<B>(&self, request: Request<B>) -> Response<WasiBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Error>,
    {
        if !self.0.route.matches(request.uri().path()) {
            return refusal::no_route();
        }
        // `ProxyHandler` takes whatever it is given: so it is given only so much.
        // It fails only once the semaphore is closed, which nobody does.
        let _permit = self.0.requests.acquire().await;
        let mut request = absolute(request).map(|body| body.map_err(Into::into).boxed_unsync());
        let patience = Instant::now() + INSTANCE_PATIENCE;
        loop {
            let entrance = self.entrance().await;
            let error = match self.0.handler.handle(entrance, request).await {
                Ok(reply) => return reply,
                Err(error) => error,
            };
            match error.downcast::<InstantiationError<Entrance>>() {
                // In a burst, requests ask for more instances than they need: when all slots are
                // taken, the instances there are will soon have room.
                Ok(mut refused) if Instant::now() < patience => {
                    drop(refused.request_data.take());
                    time::sleep(INSTANCE_PAUSE).await;
                    request = refused
                        .request
                        .into_inner()
                        .unwrap_or_else(PoisonError::into_inner);
                }
                Ok(refused) => return refusal::no_instance(&refused.error, self.output()),
                Err(error) => return refusal::failed(&error, self.output()),
            }
        }
    }

    /// A place among the requests that are on their way into an instance; `None` if there is no limit,
    /// or if the request has waited too long.
    async fn entrance(&self) -> Entrance {
        let entrance = self.0.entrances.clone()?.acquire_owned();
        let entrance = time::timeout(ENTRANCE_PATIENCE, entrance).await;
        entrance.ok()?.ok()
    }

    /// The process dies here: all instances are dropped wherever they are, and their requests get
    /// no reply. What outlives a process stays: the store, and this host, which begins anew with
    /// the next request.
    pub async fn drop_instances(&self) {
        self.instances().end_all().await;
    }

    /// How many instances there have been so far.
    #[must_use]
    pub fn instances_created(&self) -> u64 {
        self.instances().created()
    }

    /// How many instances there are now.
    #[must_use]
    pub fn instances_living(&self) -> usize {
        self.instances().living()
    }

    /// What the component, and the host itself, have printed.
    #[must_use]
    pub fn output(&self) -> &Output {
        &self.instances().environment().output
    }

    fn instances(&self) -> &Instances {
        self.0.handler.state()
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("instances", &self.instances_living())
            .finish()
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the process died before the reply was out")
    }
}

impl std::error::Error for Cut {}

impl From<Cut> for io::Error {
    fn from(cut: Cut) -> Self {
        Self::other(cut)
    }
}

/// Spin gives the component absolute URIs, with the host that the client asked for.
fn absolute<B>(mut request: Request<B>) -> Request<B> {
    let path = request.uri().path_and_query().cloned();
    let asked_for = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let asked_for = asked_for.and_then(|host| host.parse::<Authority>().ok());
    let authority = request.uri().authority().cloned().or(asked_for);
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority.unwrap_or(Authority::from_static("localhost")));
    parts.path_and_query = Some(path.unwrap_or(PathAndQuery::from_static("/")));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}
