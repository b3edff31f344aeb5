//! The body of a reply. If the instance that writes the body dies, the body fails: otherwise a reply that
//! was cut short could look complete.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::life::Lifeline;

pub(super) struct ReplyBody {
    body: WasiBody,
    life: Lifeline,
}

impl ReplyBody {
    pub(super) fn new(body: WasiBody, life: Lifeline) -> Self {
        Self { body, life }
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
