//! Connections to the outside: TCP without Nagle's delay, and TLS if the scheme asks for it. In
//! tests, a function makes them.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::{Connected, Connection as ConnectionInfo};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::{task, time};
use tower_service::Service;
use wasmtime_wasi_http::Error;

tokio::task_local! {
    /// The request's own timeout for connecting, which hyper's client can't pass on. A request that
    /// gets a connection from the pool ignores it.
    static CONNECT_TIMEOUT: Duration;
}

/// Sends a request; `timeout` limits the time for connecting.
pub(super) async fn within<T>(timeout: Duration, request: impl Future<Output = T>) -> T {
    CONNECT_TIMEOUT.scope(timeout, request).await
}

/// How many connections are opened at once. The pool goes on connecting for a request that has got another connection
/// meanwhile, so a server that takes no new ones would use up the descriptors.
const MOST_CONNECTING: usize = 64;

/// The longest time for connecting, whatever the request says.
const LONGEST: Duration = Duration::from_secs(5);

/// The time for each address of a name but the last: a dead one must not take all of it.
const EACH_ADDRESS: Duration = Duration::from_millis(500);

/// How many names are looked up at once, and for how long. A lookup can't be cancelled, and takes one of the threads
/// that the store needs, too.
const MOST_LOOKUPS: usize = 32;
const LOOKUP: Duration = Duration::from_secs(2);

/// Opens connections for the pool.
#[derive(Clone)]
pub struct Connector {
    connect: Arc<dyn Fn(Uri) -> Connecting + Send + Sync>,
    permits: Arc<Semaphore>,
}

type Connecting = Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>;

impl Connector {
    /// Connects to the network. With `tcp_delay`, TCP may hold back small segments, as under Spin.
    pub fn network(tcp_delay: bool) -> Self {
        let https = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(Tcp {
                delay: tcp_delay,
                lookups: Arc::new(Semaphore::new(MOST_LOOKUPS)),
            });
        Self::of(move |uri| {
            let connecting = https.clone().call(uri);
            Box::pin(async move {
                match connecting.await {
                    Ok(connection) => Ok(Connection(Box::new(connection))),
                    // The error is a `ConnectError` if TCP failed, otherwise one of the TLS
                    // handshake.
                    Err(error) => Err(error.downcast().map_or_else(
                        |error| ConnectError::Tls(error.to_string()),
                        |failure| *failure,
                    )),
                }
            })
        })
    }

    fn of(connect: impl Fn(Uri) -> Connecting + Send + Sync + 'static) -> Self {
        Self { connect: Arc::new(connect), permits: Arc::new(Semaphore::new(MOST_CONNECTING)) }
    }

    /// Connects with a function of the request's URI, which may return one end of a
    /// `tokio::io::duplex`.
    pub fn new<F, C, I>(connect: F) -> Self
    where
        F: Fn(Uri) -> C + Send + Sync + 'static,
        C: Future<Output = io::Result<I>> + Send + 'static,
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self::of(move |uri| {
            let connecting = connect(uri);
            Box::pin(async move {
                let io = connecting.await.map_err(|error| ConnectError::from(&error))?;
                Ok(Connection(Box::new(TokioIo::new(io))))
            })
        })
    }
}

impl Service<Uri> for Connector {
    type Response = Connection;
    type Error = ConnectError;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        // Read the timeout here, within the request: the pool may go on connecting without it.
        let timeout = CONNECT_TIMEOUT.try_get().unwrap_or(LONGEST).min(LONGEST);
        let connecting = (self.connect)(uri);
        let permits = self.permits.clone();
        let permitted = async move {
            let _permit = permits.acquire_owned().await;
            connecting.await
        };
        let connecting = time::timeout(timeout, permitted);
        Box::pin(async move { connecting.await.unwrap_or(Err(ConnectError::TimedOut)) })
    }
}

/// Why connecting failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ConnectError {
    /// The name has no address.
    Dns,
    Refused,
    /// This machine has no descriptor or no memory for another connection.
    Exhausted,
    Unreachable,
    TimedOut,
    /// The TLS handshake failed, for this reason.
    Tls(String),
    /// The peer ended the connection.
    Terminated,
}

impl From<&ConnectError> for Error {
    fn from(failure: &ConnectError) -> Self {
        match failure {
            ConnectError::Dns => Self::DnsError {
                rcode: Some("address not available".to_owned()),
                info_code: Some(0),
            },
            ConnectError::Refused => Self::ConnectionRefused,
            ConnectError::Exhausted => Self::ConnectionLimitReached,
            ConnectError::Unreachable => Self::DestinationIpUnroutable,
            ConnectError::TimedOut => Self::ConnectionTimeout,
            ConnectError::Tls(_) => Self::TlsProtocolError,
            ConnectError::Terminated => Self::ConnectionTerminated,
        }
    }
}

impl From<&io::Error> for ConnectError {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            // As under Spin. No port of this machine is free, for example.
            io::ErrorKind::AddrNotAvailable => Self::Dns,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unreachable,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Self::Terminated,
            _ if is_exhausted(error) => Self::Exhausted,
            _ => Self::Refused,
        }
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    let errors = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|error| errors.contains(&error))
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "the name has no address",
            Self::Refused => "connection refused",
            Self::Exhausted => "this machine has no room for a connection",
            Self::Unreachable => "destination unreachable",
            Self::TimedOut => "connecting timed out",
            Self::Tls(reason) => return write!(f, "the TLS handshake failed: {reason}"),
            Self::Terminated => "the connection was terminated",
        })
    }
}

impl std::error::Error for ConnectError {}

/// TCP, with or without TLS above it.
#[derive(Clone)]
struct Tcp {
    delay: bool,
    lookups: Arc<Semaphore>,
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (delay, lookups) = (self.delay, self.lookups.clone());
        Box::pin(async move {
            let host = uri.host().unwrap_or_default();
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
            let port = uri.port_u16().unwrap_or(default_port);
            let addresses = time::timeout(LOOKUP, look_up(host, port, lookups)).await;
            let addresses = addresses.map_err(|_| ConnectError::Dns)?;
            let addresses = addresses.map_err(|error| match ConnectError::from(&error) {
                ConnectError::Exhausted => ConnectError::Exhausted,
                _ => ConnectError::Dns,
            })?;
            let connect = async {
                let stream = connect_to_one(&addresses).await?;
                stream.set_nodelay(!delay)?;
                Ok(TokioIo::new(stream))
            };
            connect.await.map_err(|error| ConnectError::from(&error))
        })
    }
}

/// The addresses of a host.
async fn look_up(host: &str, port: u16, lookups: Arc<Semaphore>) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let permit = lookups.acquire_owned().await;
    let name = (host.to_owned(), port);
    let lookup = task::spawn_blocking(move || {
        // Held to the end of the lookup, also if its request has given it up.
        let _permit = permit;
        Ok(name.to_socket_addrs()?.collect())
    });
    lookup.await?
}

/// Connects to the first address that answers.
async fn connect_to_one(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let no_address = || io::Error::from(io::ErrorKind::AddrNotAvailable);
    let (last, others) = addresses.split_last().ok_or_else(no_address)?;
    for address in others {
        let connecting = time::timeout(EACH_ADDRESS, TcpStream::connect(address)).await;
        if let Ok(Ok(stream)) = connecting {
            return Ok(stream);
        }
    }
    TcpStream::connect(last).await
}

/// A connection of any kind.
pub struct Connection(Box<dyn Io>);

trait Io: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Io for T {}

impl ConnectionInfo for Connection {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    // The next two let head and body leave in one segment.
    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_address_that_refuses_leaves_the_next_one() {
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(here).await.unwrap();
        let open = listener.local_addr().unwrap();
        let closed = TcpListener::bind(here).await.unwrap().local_addr().unwrap();
        let stream = connect_to_one(&[closed, open]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        assert!(connect_to_one(&[closed]).await.is_err());
        assert!(connect_to_one(&[]).await.is_err());
    }
}
