//! HTTP over WASI: reading a request, sending a reply, and one exchange with another server.
//!
//! Neither Spin nor wasmtime sets TCP_NODELAY, so a head that is written before its body waits for the
//! peer's delayed acknowledgement, some 40 ms. To avoid that, `content-length` is set, and the write of a
//! body is pending before its head is handed over. Both then leave in one segment. A request may still be
//! split, if the host's connection asks for the body before the host has fetched it from here.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Waker};

use spin_sdk::wasip3::http::client;
use spin_sdk::wasip3::http::types::{
    ErrorCode, Fields, Method, Request, Response, Scheme, Trailers,
};
use spin_sdk::wasip3::wit_bindgen::{FutureReader, StreamReader, StreamResult};
use spin_sdk::wasip3::{self, wit_future, wit_stream};

use super::origin::Origin;

/// The `User-Agent` of every request to another server.
pub const USER_AGENT: &str = concat!("svix-relay/", env!("CARGO_PKG_VERSION"));

/// How much is read at once where the length of a body is not announced.
const CHUNK: usize = 16 * 1024;

type Body = (StreamReader<u8>, FutureReader<Trailing>);
type Trailing = Result<Option<Trailers>, ErrorCode>;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    TooLarge,
    Incomplete,
}

/// The headers of a message, all fetched from the host at once.
#[derive(Debug)]
pub struct Headers(Vec<(String, Vec<u8>)>);

impl Headers {
    fn of(fields: &Fields) -> Self {
        Self(fields.copy_all())
    }

    pub fn of_request(request: &Request) -> Self {
        Self::of(&request.get_headers())
    }

    /// The first value of a header. Bytes in it that are not UTF-8 are replaced.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut headers = self.0.iter();
        let header = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        header.map(|(_, value)| String::from_utf8_lossy(value))
    }

    pub fn content_length(&self) -> Option<usize> {
        self.get("content-length")?.parse().ok()
    }
}

/// Reads the body of a request, of `length` if that is known; no more than `limit` bytes of it.
pub async fn read_request(
    request: Request,
    length: Option<usize>,
    limit: usize,
) -> Result<Vec<u8>, Unread> {
    // Kept until the body is read: dropping it tells the host that the relay is done.
    let (_done, done) = wit_future::new(|| Ok(()));
    read(Request::consume_body(request, done), length, limit).await
}

async fn read(
    (mut stream, trailers): Body,
    length: Option<usize>,
    limit: usize,
) -> Result<Vec<u8>, Unread> {
    if length.is_some_and(|length| length > limit) {
        return Err(Unread::TooLarge);
    }
    let mut body = Vec::with_capacity(length.unwrap_or(CHUNK));
    // HTTP ends a body of known length there: asking for more would only cost time.
    while length != Some(body.len()) {
        if body.len() == body.capacity() {
            body.reserve(body.len().max(CHUNK));
        }
        let result;
        (result, body) = stream.read(body).await;
        if body.len() > limit {
            return Err(Unread::TooLarge);
        }
        match result {
            StreamResult::Complete(_) => {}
            StreamResult::Dropped | StreamResult::Cancelled => {
                // Only the trailers tell whether the body ended or broke off.
                return match trailers.await {
                    Ok(_) => Ok(body),
                    Err(_) => Err(Unread::Incomplete),
                };
            }
        }
    }
    Ok(body)
}

/// A body and what writes it.
fn body(bytes: Vec<u8>) -> (Body, impl Future<Output = ()>) {
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

/// Hands a reply over to the host; `headers` are all but `content-length`.
pub fn respond(status: u16, headers: Vec<(&'static str, String)>, bytes: Vec<u8>) -> Response {
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
    let (response, _sent) = Response::new(headers, Some(contents), trailers);
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
    /// A POST with this body, or a GET.
    pub body: Option<Vec<u8>>,
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
    let method = match call.body {
        Some(_) => Method::Post,
        None => Method::Get,
    };
    let mut headers = call.headers;
    if let Some(bytes) = &call.body {
        headers.push(header("content-length", &bytes.len().to_string()));
    }
    let headers = Fields::from_list(&headers)
        .map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
    let ((contents, trailers), write) = body(call.body.unwrap_or_default());
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
    request.set_method(&method).map_err(refused)?;
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
        let body = read(Response::consume_body(response, done), length, limit).await;
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
