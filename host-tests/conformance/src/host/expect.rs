//! Checks of an answer of the relay.

use anyhow::{Context as _, Result, ensure};

use crate::client::Reply;

/// Fails unless the answer is a 200 with this status.
pub fn status(reply: &Reply, status: &str) -> Result<()> {
    let is = reply.status == 200 && reply.json()["status"] == status;
    ensure!(is, "{} instead of {status}", reply.shown());
    Ok(())
}

/// Fails unless the answer is this problem. Returns its `Retry-After`.
pub fn problem(reply: &Reply, status: u16, name: &str) -> Result<Option<u64>> {
    let document = reply.expect(status)?.json();
    let is = document["type"] == format!("urn:svix-relay:problem:{name}");
    let content_type = reply.header("content-type");
    ensure!(
        is && content_type == Some("application/problem+json"),
        "{} instead of {name}",
        reply.shown()
    );
    let wait = reply.header("retry-after").map(str::parse);
    let wait = wait.transpose().context("a Retry-After that is no number")?;
    ensure!(wait.is_some() == (document["retryable"] == true), "{name}: Retry-After is {wait:?}");
    Ok(wait)
}
