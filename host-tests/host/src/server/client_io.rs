//! The bytes of one connection. A client that doesn't read its reply breaks it after a while, and once the
//! connection is to close, it reads as ended while no request is at work.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{self, Sleep};

use super::connections::Peer;

/// How long a client may take to read anything of its reply.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct ClientIo<I> {
    io: I,
    peer: Arc<Peer>,
    /// Runs while the client reads nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<I> ClientIo<I> {
    pub fn new(io: I, peer: Arc<Peer>) -> Self {
        Self { io, peer, stalled: None }
    }

    /// The bytes as the client sends them, also after the end.
    pub fn into_inner(self) -> I {
        self.io
    }

    fn within_timeout<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(time::sleep(WRITE_TIMEOUT)));
        let timeout = || io::ErrorKind::TimedOut.into();
        stalled.as_mut().poll(cx).map(|()| Err(timeout()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for ClientIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.peer.has_ended() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for ClientIo<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.within_timeout(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.within_timeout(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.within_timeout(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = Pin::new(&mut self.io).poll_shutdown(cx);
        self.within_timeout(cx, shut_down)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::super::connections::Connections;
    use super::*;

    fn pair(connections: &Connections) -> (ClientIo<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(8);
        (ClientIo::new(ours, Arc::new(connections.open())), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_breaks_its_connection_after_a_while() {
        let (mut io, mut client) = pair(&Connections::new(1));
        let start = Instant::now();
        io.write_all(b"12345678").await.unwrap();
        let slow = async {
            time::sleep(WRITE_TIMEOUT / 2).await;
            client.read_exact(&mut [0; 8]).await.unwrap();
        };
        let (written, ()) = tokio::join!(io.write_all(b"12345678"), slow);
        written.unwrap();
        let error = io.write_all(b"9").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), WRITE_TIMEOUT / 2 + WRITE_TIMEOUT);
    }

    #[tokio::test]
    async fn a_connection_that_is_to_close_reads_as_ended_once_its_requests_have() {
        let connections = Connections::new(1);
        let (mut io, mut client) = pair(&connections);
        let request = io.peer.begin_request();
        assert!(connections.end().now_or_never().is_none());
        client.write_all(b"body").await.unwrap();
        let mut bytes = [0; 8];
        assert_eq!(io.read(&mut bytes).await.unwrap(), 4);
        drop(request);
        client.write_all(b"GET /").await.unwrap();
        assert_eq!(io.read(&mut bytes).await.unwrap(), 0);
    }
}
