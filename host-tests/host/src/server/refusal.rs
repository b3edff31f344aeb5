//! The replies of the host itself, as `application/problem+json`, if the component gave none. Their
//! cause goes to stderr, never to the client.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::TrapOrPanicError;

use crate::output::Output;

/// Other large bodies take all the room. The document is the component's own, since the component also
/// refuses bodies for lack of room.
pub(super) fn overloaded(output: &Output) -> Response<WasiBody> {
    output.remark("no room for a large body");
    let mut reply = document(
        StatusCode::SERVICE_UNAVAILABLE,
        r#"{"type":"urn:svix-relay:problem:overloaded","title":"No room for a body of this size","status":503,"detail":"other large bodies are being read; come again","retryable":true}"#
            .to_owned(),
    );
    let headers = reply.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The rest of the body stays unread.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}

/// `error` says why no instance could be made.
pub(super) fn no_instance(error: &wasmtime::Error, output: &Output) -> Response<WasiBody> {
    output.remark(&format!("no instance: {error:#}"));
    let mut reply = problem(StatusCode::SERVICE_UNAVAILABLE, "No instance available");
    reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    reply
}

pub(super) fn failed(error: &wasmtime::Error, output: &Output) -> Response<WasiBody> {
    // After a trap, the worker of the instance has already told the cause.
    if !error.is::<TrapOrPanicError>() {
        output.remark(&format!("the component gave no reply: {error:#}"));
    }
    problem(StatusCode::INTERNAL_SERVER_ERROR, "The component failed")
}

fn problem(status: StatusCode, title: &str) -> Response<WasiBody> {
    let body =
        format!(r#"{{"type":"about:blank","title":"{title}","status":{}}}"#, status.as_u16());
    document(status, body)
}

fn document(status: StatusCode, body: String) -> Response<WasiBody> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    let json = HeaderValue::from_static("application/problem+json");
    reply.headers_mut().insert(CONTENT_TYPE, json);
    reply
}
