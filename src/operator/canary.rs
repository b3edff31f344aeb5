//! The canary: an event of the relay's own, sent every minute, that shows that the whole path works.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::request::OperatorRequest;
use super::sample;
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::api::table;
use crate::host::clock;
use crate::host::{self, store};
use crate::json;
use crate::svix;
use crate::svix::endpoints::{self, Attempt, Endpoint};
use crate::time::{age, as_millis, parse_rfc3339, rfc3339};

/// The name of the last canary in the store.
const NAME: &str = "canary";

/// The type of the canary's events.
const TYPE: &str = "svix-relay.canary";

/// How much time Svix has to send a canary's webhook.
const SENT_WITHIN: Duration = Duration::from_secs(30);

/// The last canary that Svix has.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// In RFC 3339, UTC.
    delivered_at: String,
    duration_ms: u64,
    project: String,
    event_id: String,
    svix_message_id: String,
    /// When Svix first tried to send an earlier canary to an endpoint, in RFC 3339.
    #[serde(default)]
    webhook_at: Option<String>,
    /// Since when Svix hasn't shown that it sends canaries, in RFC 3339. `None` if it has, or if there is no endpoint.
    #[serde(default)]
    webhook_missing_since: Option<String>,
    /// The canary whose webhook is looked for next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    awaited: Option<Awaited>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Awaited {
    delivered_at: String,
    project: String,
    svix_message_id: String,
}

/// Whether Svix has tried to send a canary to an endpoint.
enum Webhook {
    /// First at this time.
    SentAt(String),
    NotSent,
    NoEndpoint,
}

/// Sends a canary to its project, the way every other event goes. Fails, too, if Svix doesn't send the webhook of an
/// earlier one.
pub async fn send(request: &mut OperatorRequest<'_>) -> Result<Success, Problem> {
    let project = request.config.canary_project.as_deref();
    let project = project.ok_or(table::NO_CANARY)?;
    let success = sample::send_sample(request, project, TYPE).await?;
    let (Success::Delivered { record, .. } | Success::Duplicate { record, .. }) = success else {
        return Ok(success);
    };
    let duration_ms = as_millis(request.deadline.since.elapsed());
    let now = clock::now();
    let delivered_at = rfc3339(now);
    let this = Awaited {
        delivered_at: delivered_at.clone(),
        project: record.project.clone(),
        svix_message_id: record.svix_message_id.clone(),
    };
    let is_past = |at: &str| age(at, now).is_some();
    let (mut awaited, mut webhook_at, mut webhook_missing_since) = match last().await? {
        // A time later than now comes from another clock. It would hide missing webhooks until then.
        Some(before) => (
            before.awaited.filter(|it| is_past(&it.delivered_at)),
            before.webhook_at,
            before.webhook_missing_since.filter(|at| is_past(at)),
        ),
        None => (None, None, None),
    };
    let due = awaited.as_ref().filter(|awaited| awaited.is_due(now));
    let mut failure = None;
    if let Some(due) = due {
        match webhook_of(request, due).await {
            Ok(webhook) => {
                (webhook_at, webhook_missing_since) = match webhook {
                    Webhook::SentAt(at) => (Some(at), None),
                    Webhook::NoEndpoint => (None, None),
                    Webhook::NotSent => {
                        (None, webhook_missing_since.or(Some(delivered_at.clone())))
                    }
                };
                // The endpoint may be younger than the awaited canary, so this one is looked for next.
                awaited = None;
            }
            Err(error) => {
                webhook_missing_since.get_or_insert_with(|| delivered_at.clone());
                failure = Some(error);
            }
        }
    }
    let mut canary = Canary {
        delivered_at,
        duration_ms,
        project: record.project,
        event_id: record.event_id,
        svix_message_id: record.svix_message_id,
        webhook_at,
        webhook_missing_since,
        awaited: awaited.or(Some(this)),
    };
    store::set(NAME, &json::encode(&canary), store::TIMEOUT).await?;
    canary.awaited = None;
    match failure {
        Some(error) => Err(error.into()),
        None if canary.webhook_missing_since.is_some() => Err(table::CANARY_NOT_SENT.into()),
        None => Ok(Success::document("canary", &canary)),
    }
}

impl Awaited {
    /// Whether Svix has had the time to send the webhook.
    fn is_due(&self, now: SystemTime) -> bool {
        age(&self.delivered_at, now).is_some_and(|age| age >= SENT_WITHIN)
    }
}

async fn webhook_of(
    request: &OperatorRequest<'_>,
    canary: &Awaited,
) -> Result<Webhook, svix::Error> {
    let mut conversation = request.conversation();
    let path = endpoints::attempts_path(&canary.project, &canary.svix_message_id);
    let attempts = endpoints::classify_list::<Attempt>(&conversation.get(&path).await?)?;
    // Newest first.
    if let Some(first) = attempts.and_then(|mut page| page.data.pop()) {
        return Ok(Webhook::SentAt(first.timestamp));
    }
    let path = endpoints::endpoints_path(&canary.project);
    let endpoints = endpoints::classify_list::<Endpoint>(&conversation.get(&path).await?)?;
    if endpoints.is_none_or(|page| page.data.is_empty()) {
        Ok(Webhook::NoEndpoint)
    } else {
        Ok(Webhook::NotSent)
    }
}

/// An unreadable canary is treated as absent.
async fn last() -> Result<Option<Canary>, host::Error> {
    let bytes = store::get(NAME, store::TIMEOUT).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The last canary that Svix has, for operators.
pub async fn shown() -> Result<Option<Canary>, host::Error> {
    let canary = last().await?;
    Ok(canary.map(|canary| Canary {
        awaited: None,
        ..canary
    }))
}

/// When the last canary arrived in Svix or, while Svix sends no webhooks of canaries, since when it sends none. `None`
/// before the first canary.
pub async fn last_at() -> Result<Option<SystemTime>, host::Error> {
    let canary = last().await?;
    Ok(canary.and_then(|it| {
        let at = it.webhook_missing_since.as_ref();
        parse_rfc3339(at.unwrap_or(&it.delivered_at))
    }))
}
