//! One exchange with Svix: how long it may take, and what it is if there is no answer.

use std::time::Duration;

use spin_sdk::wasip3::http::types::ErrorCode;

use super::retry::parse_retry_after;
use super::{Answer, Cause, Error, Misconfiguration};
use crate::config::{Secret, Svix};
use crate::event::media_type::is_encoded;
use crate::host::client::{self, Call};
use crate::host::clock;
use crate::host::http::{Method, header};

/// Svix's answers leave the payload out. The largest are pages of 250 messages, and of 100 endpoints with descriptions
/// by their customers.
const MAX_ANSWER: usize = 2 * 1024 * 1024;

/// A request to Svix.
#[derive(Debug)]
pub struct Request<'a> {
    /// The path with its query.
    pub path: &'a str,
    /// The headers that not every request has.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Method and JSON. `None` for a GET.
    pub body: Option<(Method, Vec<u8>)>,
    /// The same for all attempts at one thing.
    pub id: &'a str,
}

/// Sends a request and waits for its answer, for as long as one may take and `remaining` lasts.
///
/// Fails with what every request has in common: no answer, or a status that means the same for all.
pub async fn send(
    config: &Svix,
    request: Request<'_>,
    remaining: Duration,
) -> Result<Answer, Error> {
    let token = config.token.expose();
    let mut headers = request.headers;
    headers.extend([
        header("authorization", &format!("Bearer {token}")),
        header("svix-req-id", request.id),
    ]);
    if request.body.is_some() {
        headers.push(header("content-type", "application/json"));
    }
    let call = Call { origin: &config.origin, path: request.path, headers, body: request.body };
    let time = config.timeout.min(remaining);
    match clock::timeout(time, client::fetch(call, MAX_ANSWER)).await {
        Some(Ok(answer)) => read(answer, &config.token).or_common_failure(),
        Some(Err(error)) => Err(unanswered(&error)),
        None => Err(Cause::Timeout.into()),
    }
}

/// The meaning of a host's error. If connecting failed, Svix has stored nothing.
fn unanswered(error: &ErrorCode) -> Error {
    let cause = match error {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            return Error::Misconfigured(Misconfiguration::OutboundDenied);
        }
        // Spin reports a missing local port as a `DnsError`, too.
        ErrorCode::DnsError(_)
        | ErrorCode::DnsTimeout
        | ErrorCode::DestinationNotFound
        | ErrorCode::ConnectionLimitReached
        | ErrorCode::ConfigurationError => Cause::NotSent(error.to_string()),
        ErrorCode::ConnectionRefused
        | ErrorCode::ConnectionTimeout
        | ErrorCode::DestinationUnavailable
        | ErrorCode::DestinationIpUnroutable
        // Hosts report a failed handshake so. TLS that fails later is a connection that broke.
        | ErrorCode::TlsProtocolError
        | ErrorCode::TlsCertificateError
        | ErrorCode::TlsAlertReceived(_) => Cause::Unreachable(error.to_string()),
        error => Cause::Connection(error.to_string()),
    };
    cause.into()
}

fn read(answer: client::Answer, token: &Secret) -> Answer {
    let headers = answer.headers;
    let encoded = headers.get_all("content-encoding").any(|it| is_encoded(&it));
    // A date is meant by the clock of the server that wrote it.
    let date = headers.get("date");
    let now = date.and_then(|date| httpdate::parse_http_date(&date).ok());
    let now = now.unwrap_or_else(clock::now);
    let retry_after = headers.get("retry-after");
    Answer {
        status: answer.status,
        retry_after: retry_after.and_then(|value| parse_retry_after(&value, now)),
        body: answer.body.filter(|_| !encoded),
        written_at: now,
        token: token.clone(),
    }
}

pub fn request_id(random: u64) -> String {
    format!("{random:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use spin_sdk::wasip3::http::types::TlsAlertReceivedPayload;

    fn may_be_stored(error: &ErrorCode) -> bool {
        match unanswered(error) {
            Error::Unavailable { cause, .. } => cause.leaves_unknown(),
            _ => false,
        }
    }

    #[test]
    fn a_request_that_found_no_connection_has_stored_nothing() {
        for error in [
            ErrorCode::DnsTimeout,
            ErrorCode::DestinationNotFound,
            ErrorCode::DestinationUnavailable,
            ErrorCode::DestinationIpProhibited,
            ErrorCode::DestinationIpUnroutable,
            ErrorCode::ConnectionRefused,
            ErrorCode::ConnectionTimeout,
            ErrorCode::ConnectionLimitReached,
            ErrorCode::TlsProtocolError,
            ErrorCode::TlsCertificateError,
            ErrorCode::TlsAlertReceived(TlsAlertReceivedPayload {
                alert_id: None,
                alert_message: None,
            }),
            ErrorCode::ConfigurationError,
            ErrorCode::HttpRequestDenied,
        ] {
            assert!(!may_be_stored(&error), "{error:?}");
        }
    }

    #[test]
    fn a_connection_that_broke_may_have_stored_the_message() {
        for error in [
            ErrorCode::ConnectionTerminated,
            ErrorCode::ConnectionReadTimeout,
            ErrorCode::ConnectionWriteTimeout,
            ErrorCode::HttpResponseIncomplete,
            ErrorCode::HttpProtocolError,
            ErrorCode::InternalError(None),
        ] {
            assert!(may_be_stored(&error), "{error:?}");
        }
    }
}
