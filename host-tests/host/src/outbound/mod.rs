//! The component's requests to the outside: checked against `allowed_outbound_hosts`, and sent
//! through one pool of connections for all instances. Failures are translated into WASI's errors.
//!
//! A request that may have been sent is never sent again: hyper's client repeats only a request
//! that a closed connection gave back untouched.

mod connect;
#[cfg(test)]
mod tests;

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{self, Sleep};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use self::connect::ConnectError;
pub use self::connect::Connector;
use crate::life::Lifeline;
use crate::manifest::AllowedHosts;
use crate::output::Output;

/// Spin's timeout if the guest sets none.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(10);

/// The client of one host. Clones share its connections.
#[derive(Clone)]
pub(crate) struct Client {
    http: legacy::Client<Connector, WasiBody>,
    allowed: Arc<AllowedHosts>,
    output: Output,
}

/// The client of one instance, whose requests end with its life.
pub(crate) struct Outbound {
    client: Client,
    life: Lifeline,
}

type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl Client {
    pub(crate) fn new(connector: Connector, allowed: AllowedHosts, output: Output) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(connector);
        Self { http, allowed: Arc::new(allowed), output }
    }

    async fn send(
        self,
        request: Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<Response<WasiBody>, Error> {
        let uri = request.uri().clone();
        let origin = Origin(&uri);
        if !self.allowed.allow(&uri) {
            self.output.remark(&format!(
                "the component may not call {origin}: add it to allowed_outbound_hosts in the \
                 manifest"
            ));
            return Err(Error::HttpRequestDenied);
        }
        let connect_timeout = options.connect_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let response = connect::within(connect_timeout, self.http.request(request));
        let first_byte_timeout = options.first_byte_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let response = time::timeout(first_byte_timeout, response)
            .await
            .map_err(|_| Error::ConnectionReadTimeout)?
            .map_err(|error| {
                // WASI's error says only that TLS failed, not why.
                if let Some(error @ ConnectError::Tls(_)) = cause(&error) {
                    self.output.remark(&format!("{origin}: {error}"));
                }
                classify(&error, Error::ConnectionTerminated)
            })?;
        let timeout = options.between_bytes_timeout.unwrap_or(DEFAULT_TIMEOUT);
        Ok(response.map(|body| TimedBody { body, timeout, sleep: None }.boxed_unsync()))
    }
}

impl Outbound {
    pub(crate) fn new(client: Client, life: Lifeline) -> Self {
        Self { client, life }
    }
}

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let (client, life) = (self.client.clone(), self.life.clone());
        Box::new(async move {
            let response = life.guard(client.send(request, options.unwrap_or_default())).await?;
            // The pool drives the connection, so the guest gets a future that is done.
            Ok((response, Box::new(async { Ok(()) }) as _))
        })
    }
}

/// A response's body, which fails if a part takes longer than `timeout`.
struct TimedBody {
    body: Incoming,
    timeout: Duration,
    /// `None` until a part has to be waited for: most are there at once.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.sleep = None;
            let incomplete = |error: hyper::Error| classify(&error, Error::HttpResponseIncomplete);
            return Poll::Ready(frame.map(|frame| frame.map_err(incomplete)));
        }
        let timeout = self.timeout;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(time::sleep(timeout)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The first `E` among the causes of `error`.
fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}

/// Finds the failure among the causes of `error`; it is `cut` if the connection ended too early.
fn classify(error: &(dyn StdError + 'static), cut: Error) -> Error {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(failure) = error.downcast_ref::<ConnectError>() {
            return failure.into();
        }
        // The guest caused this failure: its request body is longer or shorter than announced.
        if let Some(Error::HttpRequestBodySize(size)) = error.downcast_ref() {
            return Error::HttpRequestBodySize(*size);
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && (error.is_incomplete_message() || error.is_closed() || error.is_canceled())
        {
            return cut;
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            let kind = error.kind();
            if [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof].contains(&kind) {
                return cut;
            }
        }
        cause = error.source();
    }
    Error::HttpProtocolError
}

/// Scheme, host and port of a URI. Its path may hold a customer's data and is not printed.
struct Origin<'a>(&'a Uri);

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        write!(f, "{scheme}://{}", self.0.host().unwrap_or_default())?;
        match self.0.port() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}
