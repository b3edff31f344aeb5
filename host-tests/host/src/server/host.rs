//! HTTP in front of the component. The host decides whether the component gets a request, and what
//! the client sees if the component gave no reply.

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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{self, Instant};
use wasmtime_wasi_http::handler::{InstantiationError, ProxyHandler};
use wasmtime_wasi_http::{Error, WasiBody};

use super::body::{ReplyBody, RequestBody};
use super::connection;
use super::connections::{Busy, Connections, Count};
use super::refusal;
use super::room::Rooms;
use crate::component::{Entrance, Instances};
use crate::output::Output;

/// The pause after a failed accept, for example if file descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a request waits for an instance, and the pause between two attempts.
const INSTANCE_PATIENCE: Duration = Duration::from_secs(1);
const INSTANCE_PAUSE: Duration = Duration::from_millis(10);

/// A running application. Clones share it.
#[derive(Clone)]
pub struct Host(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub handler: ProxyHandler<Instances>,
    pub connections: Connections,
    pub rooms: Rooms,
    pub requests: Semaphore,
    /// `None`: any number of requests may enter at once, as in Spin.
    pub entrances: Option<Arc<Semaphore>>,
    /// Each request that waits for an entrance holds a clone.
    pub waiting: Arc<()>,
    pub drain_timeout: Duration,
    pub tcp_delay: bool,
}

/// How many requests may be on their way into an instance at once, unless `serve` is told otherwise.
///
/// `ProxyHandler` makes a new instance whenever none has room at that moment. In a crowd that is
/// often, and soon each request has an instance of its own. Four at a time find room in the
/// existing instances. At 256 connections this gives a third more events, since fewer memories fit
/// better into the caches. For 3,000 notifications in flight it takes 190 instances instead of
/// 1,000.
pub(crate) const ENTRANCES: usize = 4;

/// How long a request waits for an entrance. The request before it may be stuck in its store.
const ENTRANCE_PATIENCE: Duration = Duration::from_secs(1);

/// For this request the process died: its reply is missing or incomplete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cut;

impl Host {
    /// Makes an instance and drops it. An error says why the component can't run.
    pub async fn try_instance(&self) -> anyhow::Result<()> {
        Ok(self.instances().try_one().await?)
    }

    /// Sends one request without a connection and collects the reply.
    pub async fn handle(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Cut> {
        let (head, body) = self.respond(request, None).await?.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    /// Serves one connection until either side closes it.
    pub async fn serve_connection<I>(&self, io: I)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let peer = self.0.connections.open();
        connection::serve(self.clone(), io, peer).await;
    }

    /// Serves all connections to `listener` until `shutdown`, then lets the requests in flight end, and what
    /// their instances write after the replies. Returns whether all requests ended within the drain timeout.
    pub async fn listen(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> bool {
        let mut shutdown = pin!(shutdown);
        let accept = async || {
            let (stream, _) = listener.accept().await?;
            self.0.connections.room().await;
            io::Result::Ok(stream)
        };
        loop {
            tokio::select! {
                accepted = accept() => match accepted {
                    Ok(stream) => {
                        // If TCP_NODELAY can't be set, bodies wait for the acknowledgement of their
                        // heads: slower, not wrong.
                        drop(stream.set_nodelay(!self.0.tcp_delay));
                        let peer = self.0.connections.open();
                        tokio::spawn(connection::serve(self.clone(), stream, peer));
                    }
                    Err(error) => {
                        self.output().remark(&format!("can't accept a connection: {error}"));
                        time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                () = &mut shutdown => break,
            }
        }
        drop(listener);
        let deadline = Instant::now() + self.0.drain_timeout;
        let ended = time::timeout_at(deadline, self.0.connections.end()).await;
        drop(time::timeout_at(deadline, self.instances().settle()).await);
        ended.is_ok()
    }

    /// Answers a request that comes over no connection, so also one that HTTP/1.1 can't carry. `None` if the instance
    /// dies.
    pub async fn answer<B>(
        &self,
        request: Request<B>,
    ) -> Option<Response<impl Body<Data = Bytes, Error = Error>>>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Error>,
    {
        self.respond(request, None).await.ok()
    }

    /// Answers one request. `busy` is dropped after its body and the reply's.
    pub(super) async fn respond<B>(
        &self,
        request: Request<B>,
        busy: Option<Arc<Busy>>,
    ) -> Result<Response<ReplyBody>, Cut>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Error>,
    {
        let life = self.instances().life();
        let room = self.0.rooms.none_yet();
        let length = request.body().size_hint().lower();
        let request = request.map(|body| RequestBody::new(body, room.clone(), busy.clone()));
        let reply = async {
            if !room.grow_to(length) {
                return refusal::overloaded(self.output());
            }
            let reply = self.reply(request).await;
            if room.was_refused() {
                return refusal::overloaded(self.output());
            }
            reply
        };
        let reply = tokio::select! {
            biased;
            () = life.clone().ended() => return Err(Cut),
            reply = reply => reply,
        };
        room.release();
        Ok(reply.map(|body| ReplyBody::new(body, life, busy)))
    }

    async fn reply<B>(&self, request: Request<B>) -> Response<WasiBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Error>,
    {
        // Limit the requests here, because `ProxyHandler` takes any number. Acquiring fails only if
        // the semaphore is closed, which never happens.
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
                // In a burst, requests ask for more instances than they need. If all slots are
                // taken, wait: the existing instances will soon have room.
                Ok(mut refused) if Instant::now() < patience => {
                    drop(refused.request_data.take());
                    time::sleep(INSTANCE_PAUSE).await;
                    request = refused.request.into_inner().unwrap_or_else(PoisonError::into_inner);
                }
                Ok(refused) => return refusal::no_instance(&refused.error, self.output()),
                Err(error) => return refusal::failed(&error, self.output()),
            }
        }
    }

    /// Waits for a place among the requests that are on their way into an instance.
    async fn entrance(&self) -> Entrance {
        let _waiting = self.0.waiting.clone();
        let entrance = self.0.entrances.clone()?.acquire_owned();
        let entrance = time::timeout(ENTRANCE_PATIENCE, entrance).await;
        entrance.ok()?.ok()
    }

    /// Lets the process die: all instances are dropped wherever they are, and their requests get no
    /// reply. The store stays, and this host makes new instances for the next request.
    pub async fn drop_instances(&self) {
        self.instances().end_all().await;
    }

    pub(crate) fn connections(&self) -> Count {
        self.0.connections.count()
    }

    /// How many requests wait for their entrance into an instance.
    pub fn requests_waiting(&self) -> usize {
        Arc::strong_count(&self.0.waiting) - 1
    }

    pub fn instances_created(&self) -> u64 {
        self.instances().created()
    }

    pub fn instances_living(&self) -> usize {
        self.instances().living()
    }

    /// The output of the component, with the host's remarks.
    pub fn output(&self) -> &Output {
        &self.instances().environment().output
    }

    fn instances(&self) -> &Instances {
        self.0.handler.state()
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("instances", &self.instances_living()).finish()
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

/// Makes the URI absolute, as Spin does, with the host that the client asked for.
pub(super) fn absolute<B>(mut request: Request<B>) -> Request<B> {
    let path = request.uri().path_and_query().cloned();
    let asked_for = request.headers().get(HOST).and_then(|host| host.to_str().ok());
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
