//! The host's own decisions, without a component.

use wasmtime_wasi_http::handler::TrapOrPanicError;

use http::Request;
use http::header::HOST;
use http_body_util::BodyExt as _;

use super::host::absolute;
use super::refusal;
use crate::output::Output;

#[tokio::test]
async fn a_failed_component_is_a_problem_that_tells_the_client_nothing() {
    let output = Output::captured();
    let trap = refusal::failed(&TrapOrPanicError.into(), &output);
    assert_eq!(trap.status(), 500);
    assert_eq!(trap.headers()["content-type"], "application/problem+json");
    assert_eq!(output.stderr_lines(), [""; 0], "its worker has said so");

    let secret = wasmtime::format_err!("secret\nof two lines");
    let other = refusal::failed(&secret, &output);
    let body = other.into_body().collect().await.unwrap().to_bytes();
    assert!(!String::from_utf8_lossy(&body).contains("secret"));
    assert_eq!(output.stderr_lines().len(), 1);

    let none = refusal::no_instance(&secret, &output);
    assert_eq!(none.status(), 503);
    assert_eq!(none.headers()["retry-after"], "1");
}

#[test]
fn the_component_sees_the_host_that_the_client_asked_for() {
    let request = Request::get("/a?b").header(HOST, "relay.test:3000");
    let request = absolute(request.body(()).unwrap());
    assert_eq!(*request.uri(), "http://relay.test:3000/a?b");
    let request = absolute(Request::get("/a").body(()).unwrap());
    assert_eq!(*request.uri(), "http://localhost/a");
}
