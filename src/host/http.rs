//! HTTP over WASI, as [`super::server`] and [`super::client`] share it: headers, and the streams of bodies.
//!
//! The head of a message should leave in one TCP segment with its body. Neither Spin nor wasmtime sets TCP_NODELAY,
//! so a body that comes later waits some 40 ms for the peer's delayed acknowledgement. Three things help:
//!
//! - `content-length` is set.
//! - The write of a body begins before its head is handed over.
//! - The relay steps back before that. After a blocking call, such as a read from SQLite, Spin's connection runs on
//!   another thread, and may write the head before the body is fetched from here.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Waker};

pub use spin_sdk::wasip3::http::types::Method;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Trailers};
use spin_sdk::wasip3::wit_bindgen::{FutureReader, StreamReader, StreamResult};
use spin_sdk::wasip3::{wit_future, wit_stream};

/// How much is read at once where the length of a body is not announced.
pub(super) const CHUNK: usize = 16 * 1024;

/// The bytes of a body, and what follows them.
type Contents = (StreamReader<u8>, FutureReader<Trailing>);

/// The same of a body that is read. The end is taken once.
pub(super) type Stream = (StreamReader<u8>, Option<FutureReader<Trailing>>);
pub(super) type Trailing = Result<Option<Trailers>, ErrorCode>;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The body is larger than so many bytes.
    TooLarge(usize),
    /// There is no room for a body of this size now.
    NoRoom,
    /// The body broke off.
    Incomplete,
    TooSlow,
}

/// A reply, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// Everything but `content-length`.
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// The headers of a message, all fetched from the host at once.
#[derive(Debug)]
pub struct Headers(Vec<(String, Vec<u8>)>);

impl Headers {
    pub(super) fn of(fields: &Fields) -> Self {
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
    pub(super) fn content_length(&self) -> Option<usize> {
        let length: u64 = self.get("content-length")?.parse().ok()?;
        Some(usize::try_from(length).unwrap_or(usize::MAX))
    }
}

/// A header as the host takes it.
pub fn header(name: &str, value: &str) -> (String, Vec<u8>) {
    (name.to_owned(), value.as_bytes().to_vec())
}

/// Reads a body to its length or, if that is unknown, to its end.
///
/// At first and after each chunk, `admit` says how many bytes the body may have, or why no more are read. Its arguments
/// are the bytes that have come so far, and the length if that is known. It is asked again and again, because the first
/// bytes tell the form of a body, and a body without a length must be counted as it comes.
pub(super) async fn read_stream(
    (stream, trailers): &mut Stream,
    length: Option<usize>,
    admit: impl Fn(&[u8], Option<usize>) -> Result<usize, Unread>,
) -> Result<Vec<u8>, Unread> {
    let mut limit = admit(&[], length)?;
    let mut body = Vec::with_capacity(length.unwrap_or(CHUNK).min(CHUNK));
    // A body of known length should end there: asking for more would only cost time.
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
                // The trailers tell whether the body ended or broke off; over HTTP/2 not always, see
                // [`super::server::Incoming::read_or_leave`].
                let trailers = trailers.take().ok_or(Unread::Incomplete)?;
                return trailers.await.map(|_| body).map_err(|_| Unread::Incomplete);
            }
        }
    }
    Ok(body)
}

/// Begins to write a body. Returns the body, and what writes the rest of it, if there is one.
pub(super) fn begin_body(bytes: Vec<u8>) -> (Contents, Option<Pin<Box<impl Future<Output = ()>>>>) {
    let (mut stream, contents) = wit_stream::new();
    let (end, trailers) = wit_future::new(|| Ok(None));
    let mut write = Box::pin(async move {
        // Ignore the result: the peer may hang up early.
        let _ = stream.write_all(bytes).await;
        drop(stream);
        let _ = end.write(Ok(None)).await;
    });
    let begun = write.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    ((contents, trailers), begun.is_pending().then_some(write))
}
