//! The replies of the host itself, as `application/problem+json`, if the component gave none. Their
//! cause goes to stderr, never to the client.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::TrapOrPanicError;

use crate::output::Output;

/// The manifest has no trigger for this path.
pub(super) fn no_route() -> Response<WasiBody> {
    problem(StatusCode::NOT_FOUND, "Not found")
}

/// `error` says why no instance could be made.
pub(super) fn no_instance(error: &wasmtime::Error, output: &Output) -> Response<WasiBody> {
    output.remark(&format!("no instance: {error:#}"));
    let mut reply = problem(StatusCode::SERVICE_UNAVAILABLE, "No instance available");
    reply
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
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
    let body = format!(
        r#"{{"type":"about:blank","title":"{title}","status":{}}}"#,
        status.as_u16()
    );
    let body = Full::new(Bytes::from(body))
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    let json = HeaderValue::from_static("application/problem+json");
    reply.headers_mut().insert(CONTENT_TYPE, json);
    reply
}
