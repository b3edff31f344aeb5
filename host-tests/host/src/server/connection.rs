//! One connection from a client: HTTP/1.1 by hyper, and an end that lets the client read the last reply.

use std::future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time;

use super::client_io::ClientIo;
use super::connections::Peer;
use super::host::Host;

/// How long a connection may be idle, also with half a head. Google's load balancers keep theirs for 600 s. A shorter
/// time would end a connection just when one of them sends a request. A new client needs no such end to find room.
const IDLE_TIMEOUT: Duration = Duration::from_secs(620);

/// Pub/Sub allows 100 attributes, and sends each as a header if it pushes without wrapper.
const MAX_HEADERS: usize = 256;

/// The largest head of a request, in bytes: 100 attributes of Pub/Sub as headers have 128 kB. A connection keeps a
/// buffer of this size for as long as it is open, if a request has filled it.
const MAX_HEAD: usize = 192 << 10;

/// How much is read, and for how long, after a reply to a request whose body was not read. A client that is
/// still sending would otherwise see a broken connection instead of the reply. The largest push has 14 MB.
const LINGER_BYTES: u64 = 16 << 20;
const LINGER_TIME: Duration = Duration::from_secs(5);

/// The year 10000, in seconds since 1970.
const YEAR_10000: u64 = 253_402_300_800;

/// Serves one connection until either side closes it.
pub(super) async fn serve<I>(host: Host, io: I, peer: Peer)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let peer = Arc::new(peer);
    let io = ClientIo::new(io, peer.clone());
    let service = service_fn(|request| {
        let (host, busy) = (host.clone(), Arc::new(peer.begin_request()));
        async move { host.respond(request, Some(busy)).await }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .half_close(true)
        .serve_connection(TokioIo::new(io), service);
    let mut closing = pin!(peer.closing());
    let mut is_closing = false;
    let end = future::poll_fn(|cx| {
        if !is_closing && closing.as_mut().poll(cx).is_ready() {
            is_closing = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        // hyper panics if it can't write the date.
        if !is_an_http_date(SystemTime::now()) {
            host.output()
                .remark("a connection is closed: the system's clock is before 1970 or after 9999");
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut connection).poll(cx)
    })
    .await;
    // An error means that the client broke the connection, as it may.
    if end.is_ok() && peer.has_unread() {
        let io = connection.into_parts().io.into_inner().into_inner();
        let lingering = time::timeout(LINGER_TIME, linger(io.take(LINGER_BYTES)));
        tokio::select! {
            _ = lingering => {}
            () = &mut closing, if !is_closing => {}
        }
    }
}

async fn linger(mut io: impl AsyncRead + Unpin) {
    let mut ignored = vec![0; 16 << 10];
    while io.read(&mut ignored).await.is_ok_and(|length| length > 0) {}
}

fn is_an_http_date(time: SystemTime) -> bool {
    let since = time.duration_since(UNIX_EPOCH);
    since.is_ok_and(|since| since.as_secs() < YEAR_10000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_date_is_from_1970_to_9999() {
        let second = Duration::from_secs(1);
        let end = UNIX_EPOCH + Duration::from_secs(YEAR_10000);
        assert!(is_an_http_date(UNIX_EPOCH) && is_an_http_date(end - second));
        assert!(!is_an_http_date(UNIX_EPOCH - second) && !is_an_http_date(end));
    }
}
