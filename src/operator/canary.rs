//! The canary: an event of the relay's own, sent every minute, that shows that the whole path works.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::customer;
use super::request::OperatorRequest;
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::host::clock;
use crate::host::{self, store};
use crate::json;
use crate::svix;
use crate::svix::deliveries::{self, Attempt, Endpoint};
use crate::time::{parse_rfc3339, rfc3339};

/// The name of the last canary in the store.
const NAME: &str = "canary";

/// The type of the canary's events.
const TYPE: &str = "svix-relay.canary";

/// How much time Svix has to send a canary's webhook.
const SENT_WITHIN: Duration = Duration::from_secs(30);

/// A canary that Svix has.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// In RFC 3339, UTC.
    delivered_at: String,
    duration_ms: u64,
    project: String,
    event_id: String,
    svix_message_id: String,
    /// When Svix first tried to send an earlier canary to an endpoint, in RFC 3339. `None` if its project has none.
    #[serde(default)]
    webhook_at: Option<String>,
}

/// Whether Svix has tried to send a canary to an endpoint.
enum Webhook {
    /// Tried to send it, first at this time.
    SentAt(String),
    NotSent,
    NoEndpoint,
}

/// Sends a canary to its project, the way every other event goes. Fails, too, if Svix has not sent the webhook of the
/// canary before.
pub async fn send(request: &mut OperatorRequest<'_>) -> Result<Success, Problem> {
    let project = request.config.canary_project.as_deref();
    let project = project.ok_or(Problem::NoCanary)?;
    let success = customer::send_sample(request, project, TYPE).await?;
    let (Success::Delivered { record } | Success::Duplicate { record, .. }) = success else {
        return Ok(success);
    };
    let duration_ms = u64::try_from(request.stopwatch.elapsed().as_millis()).unwrap_or(u64::MAX);
    let now = clock::now();
    let before = last().await?;
    let earlier = before.as_ref().filter(|canary| canary.is_due(now));
    let webhook = match earlier {
        Some(canary) => webhook_of(request, canary).await.map(Some),
        None => Ok(None),
    };
    let canary = Canary {
        delivered_at: rfc3339(now),
        duration_ms,
        project: record.project,
        event_id: record.event_id,
        svix_message_id: record.svix_message_id,
        webhook_at: match &webhook {
            Ok(Some(Webhook::SentAt(at))) => Some(at.clone()),
            Ok(Some(Webhook::NoEndpoint)) => None,
            _ => before.and_then(|canary| canary.webhook_at),
        },
    };
    store::set(NAME, &json::encode(&canary), store::TIMEOUT).await?;
    match webhook? {
        Some(Webhook::NotSent) => Err(Problem::CanaryNotSent),
        _ => Ok(Success::document("canary", &canary)),
    }
}

impl Canary {
    /// Whether Svix has had the time to send the webhook.
    fn is_due(&self, now: SystemTime) -> bool {
        let delivered = parse_rfc3339(&self.delivered_at);
        let age = delivered.and_then(|at| now.duration_since(at).ok());
        age.is_some_and(|age| age >= SENT_WITHIN)
    }
}

async fn webhook_of(
    request: &OperatorRequest<'_>,
    canary: &Canary,
) -> Result<Webhook, svix::Error> {
    let token = request.config.svix.token.expose();
    let mut conversation = request.conversation();
    let path = deliveries::attempts_path(&canary.project, &canary.svix_message_id);
    let attempts = deliveries::classify_list::<Attempt>(&conversation.get(&path).await?, token)?;
    // Newest first.
    if let Some(first) = attempts.and_then(|mut page| page.data.pop()) {
        return Ok(Webhook::SentAt(first.timestamp));
    }
    let path = deliveries::endpoints_path(&canary.project);
    let endpoints = deliveries::classify_list::<Endpoint>(&conversation.get(&path).await?, token)?;
    if endpoints.is_none_or(|page| page.data.is_empty()) {
        Ok(Webhook::NoEndpoint)
    } else {
        Ok(Webhook::NotSent)
    }
}

/// The last canary that Svix has. An unreadable one is treated as absent.
pub async fn last() -> Result<Option<Canary>, host::Error> {
    let bytes = store::get(NAME, store::TIMEOUT).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// When the last canary arrived: in Svix, or at an endpoint if its project has one.
pub async fn last_at() -> Result<Option<SystemTime>, host::Error> {
    let canary = last().await?;
    Ok(canary.and_then(|it| parse_rfc3339(it.webhook_at.as_ref().unwrap_or(&it.delivered_at))))
}
