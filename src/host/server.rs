//! The relay as a server: reads a request, sends a reply.

use std::mem;
use std::time::Duration;

use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Method, Request, Response};
use spin_sdk::wasip3::wit_bindgen::{FutureWriter, StreamResult};
use spin_sdk::wasip3::{self, wit_future};

use super::clock::{self, Stopwatch};
use super::http::{CHUNK, Headers, Reply, Stream, Unread, begin_body, read_stream};
use super::step_back;

/// After this time a reply goes out at once: stepping back could cost more than a split reply does, since
/// another request may then block the instance.
const LATE: Duration = Duration::from_secs(1);

/// How much of a body that is not wanted is read all the same, and for how long at most.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;
const DISCARDING: Duration = Duration::from_secs(5);

/// The body of a request.
pub struct Incoming {
    state: State,
    length: Option<usize>,
    /// Whether a body may come.
    may_come: bool,
}

enum State {
    Untouched(Request),
    /// The rest of a body, and what tells the host at its end that the relay is done with it.
    Rest(Stream, FutureWriter<Result<(), ErrorCode>>),
    Read,
}

impl Incoming {
    /// The headers of a request, and its body.
    pub fn of(request: Request) -> (Headers, Self) {
        let headers = Headers::of(&request.get_headers());
        let length = headers.content_length();
        // No header announces a body that comes in chunks, or over HTTP/2.
        let brings_body = !matches!(request.get_method(), Method::Get | Method::Head);
        let incoming = Self {
            length,
            may_come: length.map_or(brings_body, |length| length > 0),
            state: State::Untouched(request),
        };
        (headers, incoming)
    }

    fn open(&mut self) -> Option<(Stream, FutureWriter<Result<(), ErrorCode>>)> {
        match mem::replace(&mut self.state, State::Read) {
            State::Untouched(request) => {
                let (done, end) = wit_future::new(|| Ok(()));
                let (stream, trailers) = Request::consume_body(request, end);
                Some(((stream, Some(trailers)), done))
            }
            State::Rest(body, done) => Some((body, done)),
            State::Read => None,
        }
    }

    /// Reads the body as [`read_stream`] does. If `admit` refuses it, its rest is left to [`Incoming::discard`].
    pub async fn read_or_leave(
        &mut self,
        admit: impl Fn(&[u8], Option<usize>) -> Result<usize, Unread>,
    ) -> Result<Vec<u8>, Unread> {
        let Some((mut body, done)) = self.open() else {
            return Err(Unread::Incomplete);
        };
        let bytes = read_stream(&mut body, self.length, admit).await;
        match bytes {
            // Over HTTP/2, Spin reports a proper end also for a body that was reset with NO_ERROR.
            Ok(bytes) if self.length.is_some_and(|length| bytes.len() < length) => {
                Err(Unread::Incomplete)
            }
            Err(Unread::TooLarge(_) | Unread::NoRoom) => {
                self.state = State::Rest(body, done);
                bytes
            }
            bytes => bytes,
        }
    }

    /// Reads what is left of the body and forgets it, in the background: a bounded amount, for a bounded time. If the
    /// server closed the connection while the client still sends, the client might see a reset instead of the answer.
    pub fn discard(mut self) {
        if !self.may_come {
            return;
        }
        let Some(((mut stream, _trailers), done)) = self.open() else {
            return;
        };
        wasip3::spawn(async move {
            let _done = done;
            let rest = async {
                let (mut left, mut chunk) = (MAX_DISCARDED, Vec::with_capacity(CHUNK));
                loop {
                    let result;
                    (result, chunk) = stream.read(chunk).await;
                    left = left.saturating_sub(chunk.len());
                    chunk.clear();
                    if left == 0 || !matches!(result, StreamResult::Complete(_)) {
                        break;
                    }
                }
            };
            clock::timeout(DISCARDING, rest).await;
        });
    }
}

/// Hands the reply over to the host. The request came in at `stopwatch`. The answer to HEAD has no body: HTTP/2 forbids
/// one, and the host would send it.
pub async fn respond(reply: Reply, is_head: bool, stopwatch: Stopwatch) -> Response {
    if stopwatch.elapsed() < LATE {
        step_back().await;
    }
    let length = ("content-length", reply.body.len().to_string());
    let headers = reply.headers.into_iter().chain([length]);
    let headers: Vec<_> =
        headers.map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
    // These names and values are the relay's own, and valid.
    let headers = Fields::from_list(&headers).unwrap_or_else(|_| Fields::new());
    let ((contents, trailers), rest) = begin_body(reply.body);
    let (response, _sent) = Response::new(headers, (!is_head).then_some(contents), trailers);
    // Only an impossible status code would be refused.
    let _ = response.set_status_code(reply.status);
    if let Some(rest) = rest {
        wasip3::spawn(rest);
    }
    response
}
