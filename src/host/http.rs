//! HTTP over WASI: reading a request, sending a reply, and one exchange with another server.
//!
//! Neither Spin nor wasmtime sets TCP_NODELAY, so a head that is written before its body waits for the
//! peer's delayed acknowledgement, some 40 ms. To avoid that, `content-length` is set, and the write of a
//! body is pending before its head is handed over. Both then leave in one segment, unless the host's
//! connection asks for the body before the host has fetched it from here. Spin's does, if it runs at the
//! same time on another thread. A blocking call, such as a read from SQLite, leads to that, so the relay
//! steps back first: Spin then runs one after the other.

use std::borrow::Cow;
use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use spin_sdk::wasip3::http::client;
pub use spin_sdk::wasip3::http::types::Method;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme, Trailers};
use spin_sdk::wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult};
use spin_sdk::wasip3::{self, wit_future, wit_stream};

use super::clock::{self, Stopwatch};
use super::origin::Origin;
use super::step_back;

/// The `User-Agent` of every request to another server.
pub const USER_AGENT: &str = concat!("svix-relay/", env!("CARGO_PKG_VERSION"));

/// How much is read at once where the length of a body is not announced.
const CHUNK: usize = 16 * 1024;

/// After this time a reply goes out at once: stepping back could cost more than a split reply does, since
/// another request may then block the instance.
const LATE: Duration = Duration::from_secs(1);

/// How much of a body that is not wanted is read all the same, and for how long at most.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;
const DISCARDING: Duration = Duration::from_secs(5);

/// The bytes of a body, and what follows them until that is read.
type Stream = (StreamReader<u8>, Option<FutureReader<Trailing>>);
type Trailing = Result<Option<Trailers>, ErrorCode>;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// More than so many bytes.
    TooLarge(usize),
    /// There is no room for a body of this size now.
    NoRoom,
    /// The body broke off.
    Incomplete,
    TooSlow,
}

/// The headers of a message, all fetched from the host at once.
#[derive(Debug)]
pub struct Headers(Vec<(String, Vec<u8>)>);

impl Headers {
    fn of(fields: &Fields) -> Self {
        Self(fields.copy_all())
    }

    /// The first value of a header. Bytes in it that are not UTF-8 are replaced.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get_all(name).next()
    }

    /// Every value of a header.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = Cow<'_, str>> {
        let named = move |(known, _): &(&str, _)| known.eq_ignore_ascii_case(name);
        self.all().filter(named).map(|(_, value)| value)
    }

    /// Every header and its value.
    pub fn all(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let headers = self.0.iter();
        headers.map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value)))
    }

    /// The `Content-Length` of a message.
    fn content_length(&self) -> Option<usize> {
        let length: u64 = self.get("content-length")?.parse().ok()?;
        Some(usize::try_from(length).unwrap_or(usize::MAX))
    }
}

/// The body of a request.
///
/// If a server answers and closes before the client has sent its body, the client may see a reset
/// connection instead of the answer. So [`Incoming::discard`] reads on after the answer.
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
        let chunked = headers.get("transfer-encoding").is_some();
        // HTTP ignores the length of a chunked body.
        let length = headers.content_length().filter(|_| !chunked);
        // Over HTTP/2, a body may come without a header that announces it.
        let is_read = matches!(request.get_method(), Method::Get | Method::Head);
        let incoming = Self {
            length,
            may_come: length.map_or(chunked || !is_read, |length| length > 0),
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

    /// Reads the body. `admit` is asked before more is read: with the beginning of the body, and with its
    /// length if that is known. Its answer is the number of bytes that are read at most.
    pub async fn read(
        &mut self,
        admit: impl Fn(&[u8], Option<usize>) -> Result<usize, Unread>,
    ) -> Result<Vec<u8>, Unread> {
        let Some((mut body, done)) = self.open() else {
            return Err(Unread::Incomplete);
        };
        let bytes = read(&mut body, self.length, admit).await;
        if let Err(Unread::TooLarge(_) | Unread::NoRoom) = bytes {
            self.state = State::Rest(body, done);
        }
        bytes
    }

    /// Reads what is left of the body and forgets it, in the background: a bounded amount, for a bounded
    /// time.
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

async fn read(
    (stream, trailers): &mut Stream,
    length: Option<usize>,
    admit: impl Fn(&[u8], Option<usize>) -> Result<usize, Unread>,
) -> Result<Vec<u8>, Unread> {
    let mut limit = admit(&[], length)?;
    let mut body = Vec::with_capacity(length.unwrap_or(CHUNK).min(CHUNK));
    // HTTP ends a body of known length there: asking for more would only cost time.
    while length != Some(body.len()) {
        if body.len() == body.capacity() {
            let more = body.len().max(CHUNK).min(limit + 1 - body.len());
            body.reserve_exact(length.map_or(more, |length| length - body.len()));
        }
        let result;
        (result, body) = stream.read(body).await;
        limit = admit(&body, length)?;
        match result {
            StreamResult::Complete(_) => {}
            StreamResult::Dropped | StreamResult::Cancelled => {
                // Only the trailers tell whether the body ended or broke off.
                let trailers = trailers.take().ok_or(Unread::Incomplete)?;
                return trailers.await.map(|_| body).map_err(|_| Unread::Incomplete);
            }
        }
    }
    Ok(body)
}

/// A body and what writes it.
fn body(
    bytes: Vec<u8>,
) -> (
    (StreamReader<u8>, FutureReader<Trailing>),
    impl Future<Output = ()>,
) {
    let (mut stream, contents) = wit_stream::new();
    let (end, trailers) = wit_future::new(|| Ok(None));
    let write = async move {
        // Ignore the result: the peer may hang up early.
        let _ = stream.write_all(bytes).await;
        drop(stream);
        let _ = end.write(Ok(None)).await;
    };
    ((contents, trailers), write)
}

/// Hands the reply to a request that came in at `stopwatch` over to the host; `headers` are all but
/// `content-length`. The answer to HEAD has no body: HTTP/2 forbids one, and the host would send it.
pub async fn respond(
    status: u16,
    headers: Vec<(&'static str, String)>,
    bytes: Vec<u8>,
    is_head: bool,
    stopwatch: Stopwatch,
) -> Response {
    if stopwatch.elapsed() < LATE {
        step_back().await;
    }
    let length = ("content-length", bytes.len().to_string());
    let headers: Vec<_> = headers
        .into_iter()
        .chain([length])
        .map(|(name, value)| (name.to_owned(), value.into_bytes()))
        .collect();
    // These names and values are the relay's own, and valid.
    let headers = Fields::from_list(&headers).unwrap_or_else(|_| Fields::new());
    let ((contents, trailers), write) = body(bytes);
    let mut write = Box::pin(write);
    let pending = write.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let (response, _sent) = Response::new(headers, (!is_head).then_some(contents), trailers);
    // Only an impossible status code would be refused.
    let _ = response.set_status_code(status);
    if pending.is_pending() {
        wasip3::spawn(write);
    }
    response
}

/// A request to another server.
#[derive(Debug)]
pub struct Call<'a> {
    pub origin: &'a Origin,
    /// The path with its query.
    pub path: &'a str,
    /// Every header but `content-length`.
    pub headers: Vec<(String, Vec<u8>)>,
    /// A request with this method and body, or a GET.
    pub body: Option<(Method, Vec<u8>)>,
}

/// The answer of another server.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Headers,
    /// The body, or `None` if it could not be read to its end or was too large.
    pub body: Option<Vec<u8>>,
}

/// Sends a request and reads the answer, no more than `limit` bytes of its body.
///
/// Dropping the future abandons the exchange.
pub async fn fetch(call: Call<'_>, limit: usize) -> Result<Answer, ErrorCode> {
    step_back().await;
    let (method, bytes) = call.body.unzip();
    let mut headers = call.headers;
    if let Some(bytes) = &bytes {
        headers.push(header("content-length", &bytes.len().to_string()));
    }
    let headers = Fields::from_list(&headers)
        .map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
    let ((contents, trailers), write) = body(bytes.unwrap_or_default());
    let mut write = pin!(write);
    let mut written = write
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_ready();

    let (request, _sent) = Request::new(headers, Some(contents), trailers, None);
    let scheme = if call.origin.https {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let refused = |()| ErrorCode::HttpRequestUriInvalid;
    request
        .set_method(&method.unwrap_or(Method::Get))
        .map_err(refused)?;
    request.set_scheme(Some(&scheme)).map_err(refused)?;
    request
        .set_authority(Some(&call.origin.authority))
        .map_err(refused)?;
    request
        .set_path_with_query(Some(call.path))
        .map_err(refused)?;

    let receive = async {
        let response = client::send(request).await?;
        let status = response.get_status_code();
        let headers = Headers::of(&response.get_headers());
        let length = headers.content_length();
        let (_done, done) = wit_future::new(|| Ok(()));
        let (stream, trailers) = Response::consume_body(response, done);
        let mut body = (stream, Some(trailers));
        let admit = |begin: &[u8], length: Option<usize>| {
            let fits = length.unwrap_or(begin.len()) <= limit;
            fits.then_some(limit).ok_or(Unread::TooLarge(limit))
        };
        let body = read(&mut body, length, admit).await;
        Ok(Answer {
            status,
            headers,
            body: body.ok(),
        })
    };
    let mut receive = pin!(receive);
    poll_fn(|context| {
        if !written {
            written = write.as_mut().poll(context).is_ready();
        }
        receive.as_mut().poll(context)
    })
    .await
}

/// A header as the host takes it.
pub fn header(name: &str, value: &str) -> (String, Vec<u8>) {
    (name.to_owned(), value.as_bytes().to_vec())
}
