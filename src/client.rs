//! One exchange with Svix: who asks, how long it may take, and what it is if there is no reply. What
//! is asked, and what a reply means, is decided in [`crate::svix`].

use std::time::Duration;

use spin_sdk::wasip3::http::types::ErrorCode;

use crate::config::Config;
use crate::host;
use crate::problem::Problem;
use crate::svix::{self, Failure, Misconfiguration};
use crate::wire::{self, Call};

/// Svix's replies are small, as its payload is left out of them.
const MAX_REPLY: usize = 64 * 1024;

/// A request to Svix.
#[derive(Debug)]
pub struct Request<'a> {
    /// The path with its query.
    pub path: &'a str,
    /// What it carries beside the headers that every request has.
    pub headers: Vec<(String, Vec<u8>)>,
    /// A POST with this JSON, or a GET.
    pub body: Option<Vec<u8>>,
    /// The same for all attempts at one thing.
    pub id: &'a str,
}

/// Sends a request, and waits for its reply for as long as one may take and `remaining` lasts.
///
/// Fails only if the host lets nothing out to Svix.
pub async fn send(
    config: &Config,
    request: Request<'_>,
    remaining: Duration,
) -> Result<Result<svix::Reply, Failure>, Problem> {
    let call = Call {
        origin: &config.origin,
        path: request.path,
        headers: headers(config, request.id, request.headers, request.body.is_some()),
        body: request.body,
    };
    let time = config.timeout.min(remaining);
    let exchange = wire::exchange(call, MAX_REPLY);
    let failure = match wire::timeout(host::nanoseconds(time), exchange).await {
        Some(Ok(reply)) => return Ok(Ok(reply)),
        Some(Err(ErrorCode::HttpRequestDenied)) => {
            return Err(Problem::Misconfigured(Misconfiguration::OutboundDenied));
        }
        Some(Err(
            error @ (ErrorCode::ConnectionRefused
            | ErrorCode::DestinationNotFound
            | ErrorCode::DnsError(_)
            | ErrorCode::DnsTimeout),
        )) => Failure::Unreachable(error.to_string()),
        Some(Err(error)) => Failure::Connection(error.to_string()),
        None => Failure::Timeout,
    };
    Ok(Err(failure))
}

/// An id for the attempts at one thing, from a random number.
pub fn request_id(random: u64) -> String {
    format!("{random:016x}")
}

fn headers(
    config: &Config,
    id: &str,
    own: Vec<(String, Vec<u8>)>,
    posts: bool,
) -> Vec<(String, Vec<u8>)> {
    let token = config.token.expose();
    let mut headers = own;
    headers.extend([
        header("authorization", &format!("Bearer {token}")),
        header("accept", "application/json"),
        header("user-agent", wire::USER_AGENT),
        header("svix-req-id", id),
    ]);
    if posts {
        headers.push(header("content-type", "application/json"));
    }
    headers
}

/// A header as the host takes it.
pub fn header(name: &str, value: &str) -> (String, Vec<u8>) {
    (name.to_owned(), value.as_bytes().to_vec())
}
