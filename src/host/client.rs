//! The relay as a client: one exchange with another server.

use std::future::poll_fn;
use std::pin::pin;

use serde_json::value::RawValue;
use spin_sdk::wasip3::http::client;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use spin_sdk::wasip3::wit_future;

use super::http::{Headers, Unread, begin_body, header, read_stream};
use super::origin::Origin;
use super::step_back;

/// A request to another server.
#[derive(Debug)]
pub struct Call<'a> {
    pub origin: &'a Origin,
    /// The path with its query.
    pub path: &'a str,
    /// Every header but those that all requests have.
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
    headers.extend([
        header("accept", "application/json"),
        // The relay decodes nothing, and servers between may compress unless they are told not to.
        header("accept-encoding", "identity"),
        header("user-agent", concat!("svix-relay/", env!("CARGO_PKG_VERSION"))),
    ]);
    if let Some(bytes) = &bytes {
        headers.push(header("content-length", &bytes.len().to_string()));
    }
    let headers = Fields::from_list(&headers)
        .map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
    let ((contents, trailers), mut rest) = begin_body(bytes.unwrap_or_default());
    let (request, _sent) = Request::new(headers, Some(contents), trailers, None);
    let scheme = if call.origin.https { Scheme::Https } else { Scheme::Http };
    let refused = |()| ErrorCode::HttpRequestUriInvalid;
    request.set_method(&method.unwrap_or(Method::Get)).map_err(refused)?;
    request.set_scheme(Some(&scheme)).map_err(refused)?;
    request.set_authority(Some(&call.origin.authority)).map_err(refused)?;
    request.set_path_with_query(Some(call.path)).map_err(refused)?;

    let receive = async {
        let response = client::send(request).await?;
        let status = response.get_status_code();
        let headers = Headers::of(&response.get_headers());
        let (_done, done) = wit_future::new(|| Ok(()));
        let (stream, trailers) = Response::consume_body(response, done);
        let mut body = (stream, Some(trailers));
        let admit = |begin: &[u8], most: usize| {
            let fits = begin.len() <= most;
            fits.then_some(most).ok_or(Unread::TooLarge(limit))
        };
        let length = headers.content_length().filter(|length| *length <= limit);
        let mut bytes = read_stream(&mut body, length, |begin, _| admit(begin, limit)).await;
        // Some proxies send an answer in chunks, and leave a length there that is wrong. HTTP ignores that length, and
        // hosts hide that there are chunks. So the length counts only if the JSON is whole there.
        let has_ended = body.1.is_none();
        if let Ok(begin) = &mut bytes
            && !has_ended
            && serde_json::from_slice::<&RawValue>(begin).is_err()
        {
            let left = limit - begin.len();
            match read_stream(&mut body, None, |rest, _| admit(rest, left)).await {
                Ok(rest) => begin.extend(rest),
                Err(unread) => bytes = Err(unread),
            }
        }
        Ok(Answer { status, headers, body: bytes.ok() })
    };
    let mut receive = pin!(receive);
    poll_fn(|context| {
        // A future that is ready must not be polled again.
        rest.take_if(|rest| rest.as_mut().poll(context).is_ready());
        receive.as_mut().poll(context)
    })
    .await
}
