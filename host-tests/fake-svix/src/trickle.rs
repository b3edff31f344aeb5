//! The body of a reply that comes in pieces, evenly spread over a given time.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

const PIECES: u32 = 8;

/// Announces its whole length at once, so that a client only sees a body that takes long.
pub(crate) struct Trickle {
    rest: Bytes,
    piece: usize,
    pause: Duration,
    timer: Pin<Box<Sleep>>,
}

impl Trickle {
    /// The last piece comes after `over`.
    pub fn new(body: Bytes, over: Duration) -> Self {
        let pause = over / PIECES;
        Self {
            piece: body.len().div_ceil(PIECES as usize).max(1),
            rest: body,
            pause,
            timer: Box::pin(sleep(pause)),
        }
    }
}

impl Body for Trickle {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        std::task::ready!(this.timer.as_mut().poll(cx));
        this.timer = Box::pin(sleep(this.pause));
        let length = this.piece.min(this.rest.len());
        let piece = this.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
