//! The canary: an event of the relay's own that shows that the whole path works. The relay sends one for each
//! `POST /maintenance/canary`, which a scheduler is to send every minute.

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
use crate::records::Delivered;
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

/// Whether Svix has tried to send the awaited canary to an endpoint.
enum Webhook {
    /// First at this time.
    SentAt(String),
    NotSent,
    NoEndpoint,
    /// Svix has not had the time, or no canary is awaited.
    NotDue,
    /// Svix gave no clear answer.
    Unknown,
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
    let took = request.deadline.since.elapsed();
    let now = clock::now();
    let before = last().await?;
    let asked = match before.as_ref().and_then(|before| before.due(now)) {
        Some(due) => webhook_of(request, due).await,
        None => Ok(Webhook::NotDue),
    };
    let (webhook, failure) = match asked {
        Ok(webhook) => (webhook, None),
        Err(error) => (Webhook::Unknown, Some(error)),
    };
    let canary = Canary::new(record, took, now).after(before, webhook, now);
    store::set(NAME, &json::encode(&canary), store::TIMEOUT).await?;
    match failure {
        Some(error) => Err(error.into()),
        None if canary.webhook_missing_since.is_some() => Err(table::CANARY_NOT_SENT.into()),
        None => Ok(Success::document("canary", &canary.shown())),
    }
}

impl Canary {
    fn new(record: Delivered, took: Duration, now: SystemTime) -> Self {
        let delivered_at = rfc3339(now);
        Self {
            awaited: Some(Awaited {
                delivered_at: delivered_at.clone(),
                project: record.project.clone(),
                svix_message_id: record.svix_message_id.clone(),
            }),
            delivered_at,
            duration_ms: as_millis(took),
            project: record.project,
            event_id: record.event_id,
            svix_message_id: record.svix_message_id,
            webhook_at: None,
            webhook_missing_since: None,
        }
    }

    /// The awaited canary, once Svix has had the time to send its webhook.
    fn due(&self, now: SystemTime) -> Option<&Awaited> {
        let age = |awaited: &&Awaited| age(&awaited.delivered_at, now);
        let awaited = self.awaited.as_ref();
        awaited.filter(|awaited| age(awaited).is_some_and(|age| age >= SENT_WITHIN))
    }

    /// This canary, with what is known of webhooks by now. `before` is the last canary, and `webhook` tells of the one
    /// that `before` awaits.
    fn after(self, before: Option<Self>, webhook: Webhook, now: SystemTime) -> Self {
        let Some(before) = before else {
            return self;
        };
        // A time later than now comes from another clock. It would hide missing webhooks until then.
        let is_past = |at: &String| age(at, now).is_some();
        let missing_since = before.webhook_missing_since.filter(is_past);
        let awaited = before.awaited.filter(|it| is_past(&it.delivered_at));
        let still_missing = || missing_since.clone().or(Some(self.delivered_at.clone()));
        // The endpoint may be younger than the awaited canary. So once Svix has answered, this one is looked for next.
        let (webhook_at, webhook_missing_since, awaited) = match webhook {
            Webhook::SentAt(at) => (Some(at), None, None),
            Webhook::NoEndpoint => (None, None, None),
            Webhook::NotSent => (None, still_missing(), None),
            Webhook::NotDue => (before.webhook_at, missing_since, awaited),
            Webhook::Unknown => (before.webhook_at, still_missing(), awaited),
        };
        Self { webhook_at, webhook_missing_since, awaited: awaited.or(self.awaited), ..self }
    }

    /// The canary for operators.
    pub fn shown(self) -> Self {
        Self { awaited: None, ..self }
    }

    /// When the canary arrived in Svix or, while Svix sends no webhooks of canaries, since when it sends none.
    pub fn last_seen(&self) -> Option<SystemTime> {
        let at = self.webhook_missing_since.as_ref();
        parse_rfc3339(at.unwrap_or(&self.delivered_at))
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

/// The last canary that Svix has. An unreadable canary is treated as absent.
pub async fn last() -> Result<Option<Canary>, host::Error> {
    let bytes = store::get(NAME, store::TIMEOUT).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::event;
    use std::time::UNIX_EPOCH;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_443_162 + seconds)
    }

    /// A canary that was delivered then.
    fn canary(seconds: u64) -> Canary {
        let message_id = format!("msg_{seconds}");
        let record = Delivered::of(&event("{}"), message_id, 1, at(seconds));
        Canary::new(record, Duration::ZERO, at(seconds))
    }

    /// When the last webhook was sent, since when webhooks are missing, and which message is awaited.
    fn known(canary: &Canary) -> (Option<&str>, Option<&str>, Option<&str>) {
        let awaited = canary.awaited.as_ref();
        (
            canary.webhook_at.as_deref(),
            canary.webhook_missing_since.as_deref(),
            awaited.map(|awaited| &awaited.svix_message_id[..]),
        )
    }

    #[test]
    fn a_webhook_is_looked_for_half_a_minute_after_its_canary() {
        let first = canary(0);
        assert!(first.due(at(29)).is_none());
        assert!(first.due(at(30)).is_some());
        let second = canary(29).after(Some(first), Webhook::NotDue, at(29));
        assert_eq!(known(&second), (None, None, Some("msg_0")));
    }

    #[test]
    fn webhooks_are_missing_from_the_first_that_is_not_sent_until_one_is() {
        let after = |seconds, before, webhook| canary(seconds).after(before, webhook, at(seconds));
        let first = after(0, None, Webhook::NotDue);
        assert_eq!(known(&first), (None, None, Some("msg_0")));
        let since = rfc3339(at(60));
        let unclear = after(60, Some(first), Webhook::Unknown);
        assert_eq!(known(&unclear), (None, Some(&since[..]), Some("msg_0")));
        assert_eq!(unclear.last_seen(), Some(at(60)));
        let missing = after(120, Some(unclear), Webhook::NotSent);
        assert_eq!(known(&missing), (None, Some(&since[..]), Some("msg_120")));
        let sent = Webhook::SentAt(rfc3339(at(121)));
        let sent = after(180, Some(missing), sent);
        let sent_at = rfc3339(at(121));
        assert_eq!(known(&sent), (Some(&sent_at[..]), None, Some("msg_180")));
        assert_eq!(sent.last_seen(), Some(at(180)));
        let gone = after(240, Some(sent), Webhook::NoEndpoint);
        assert_eq!(known(&gone), (None, None, Some("msg_240")));
    }

    #[test]
    fn times_of_a_clock_that_was_ahead_are_forgotten() {
        let ahead = canary(7_200).after(Some(canary(0)), Webhook::NotSent, at(7_200));
        let next = canary(60).after(Some(ahead), Webhook::NotDue, at(60));
        assert_eq!(known(&next), (None, None, Some("msg_60")));
    }
}
