//! The bodies of a request and of its reply, which keep the connection busy.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::{Error, WasiBody};

use super::connections::Busy;
use super::room::Room;
use crate::life::Lifeline;

/// The body of a request. It fails if there is no room for it.
pub(super) struct RequestBody<B: Body> {
    body: B,
    read: u64,
    has_ended: bool,
    room: Arc<Room>,
    busy: Option<Arc<Busy>>,
}

impl<B: Body> RequestBody<B> {
    pub(super) fn new(body: B, room: Arc<Room>, busy: Option<Arc<Busy>>) -> Self {
        Self { body, read: 0, has_ended: false, room, busy }
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let frame = match polled {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Pending => return Poll::Pending,
            Poll::Ready(end) => {
                self.has_ended = true;
                return Poll::Ready(end.map(|error| error.map_err(Into::into)));
            }
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        self.read += u64::try_from(length).unwrap_or(u64::MAX);
        Poll::Ready(Some(if self.room.grow_to(self.read) {
            Ok(frame)
        } else {
            Err(Error::ConnectionLimitReached)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Body> Drop for RequestBody<B> {
    fn drop(&mut self) {
        if let Some(busy) = &self.busy
            && !self.has_ended
            && !self.body.is_end_stream()
        {
            busy.leave_unread();
        }
    }
}

/// The body of a reply. If the instance that writes the body dies, the body fails: otherwise a reply that was
/// cut short could look complete.
pub(super) struct ReplyBody {
    body: WasiBody,
    life: Lifeline,
    _busy: Option<Arc<Busy>>,
}

impl ReplyBody {
    pub(super) fn new(body: WasiBody, life: Lifeline, busy: Option<Arc<Busy>>) -> Self {
        Self { body, life, _busy: busy }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.life.has_ended() {
            return Poll::Ready(Some(Err(Error::ConnectionTerminated)));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
