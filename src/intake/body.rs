//! Reads a body of bounded size, in bounded time.

use spin_sdk::wasip3::http::types::Request;

use crate::api::problem::Problem;
use crate::config::Config;
use crate::host::clock::{self, Stopwatch};
use crate::host::http::{self, Headers, Unread};

/// The most bytes that Pub/Sub takes as one message.
const LARGEST_PUBSUB_MESSAGE: usize = 10_000_000;

/// Reads a body of at most `limit` bytes, for as long as the budget lasts.
pub async fn read(
    config: &Config,
    request: Request,
    headers: &Headers,
    limit: usize,
    stopwatch: Stopwatch,
) -> Result<Vec<u8>, Problem> {
    let remaining = stopwatch.remaining(config.retry.budget);
    let read = http::read_request(request, headers.content_length(), limit);
    match clock::timeout(remaining, read).await {
        Some(Ok(body)) => Ok(body),
        Some(Err(Unread::TooLarge)) => Err(Problem::BodyTooLarge(limit)),
        Some(Err(Unread::Incomplete)) => Err(Problem::IncompleteBody),
        None => Err(Problem::SlowBody),
    }
}

/// The largest notification that is read to its end, in bytes. Base64 makes an event a third larger, and
/// Pub/Sub's attributes and names come on top.
///
/// If dead letters are kept, a notification that may come from Pub/Sub is read even if its event is too
/// large. Only a dead letter keeps Pub/Sub from sending it again.
pub fn largest(config: &Config) -> usize {
    let event = if config.keep_dead_letters {
        config.max_body_bytes.max(LARGEST_PUBSUB_MESSAGE)
    } else {
        config.max_body_bytes
    };
    event + event / 3 + 64 * 1024
}
