//! The canary: an event of the relay's own, sent every minute, that shows that the whole path works.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::value::RawValue;

use super::customer;
use super::request::OperatorRequest;
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::host::clock;
use crate::host::{self, store};
use crate::json;
use crate::time::{parse_rfc3339, rfc3339};

/// The name of the last canary in the store.
const NAME: &str = "canary";

/// The type of the canary's events.
const TYPE: &str = "svix-relay.canary";

/// A canary that arrived.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Canary {
    /// In RFC 3339, UTC.
    delivered_at: String,
    duration_ms: u64,
    project: String,
    event_id: String,
    svix_message_id: String,
}

/// Sends a canary to its project, the way every other event goes.
pub async fn send(request: &mut OperatorRequest<'_>) -> Result<Success, Problem> {
    let project = request.config.canary_project.as_deref();
    let project = project.ok_or(Problem::NoCanary)?;
    let success = customer::send_sample(request, project, TYPE).await?;
    let (Success::Delivered { record } | Success::Duplicate { record, .. }) = success else {
        return Ok(success);
    };
    let duration_ms = u64::try_from(request.stopwatch.elapsed().as_millis()).unwrap_or(u64::MAX);
    let canary = Canary {
        delivered_at: rfc3339(clock::now()),
        duration_ms,
        project: record.project,
        event_id: record.event_id,
        svix_message_id: record.svix_message_id,
    };
    store::set(NAME, &json::encode(&canary), store::TIMEOUT).await?;
    Ok(Success::document("canary", &canary))
}

/// The last canary that arrived, as JSON.
pub async fn last() -> Result<Option<Box<RawValue>>, host::Error> {
    let bytes = store::get(NAME, store::TIMEOUT).await?;
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(text.and_then(|text| RawValue::from_string(text).ok()))
}

/// When the last canary arrived.
pub async fn last_at() -> Result<Option<SystemTime>, host::Error> {
    let canary = last().await?;
    let at = canary
        .and_then(|canary| json::Stored::read(canary.get().as_bytes())?.string("deliveredAt"));
    Ok(at.as_deref().and_then(parse_rfc3339))
}
