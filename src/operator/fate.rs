//! The fate of an event, from its record to the answers of the customer's endpoints, and to send it there
//! once more.

use serde::Serialize;
use serde_json::value::RawValue;

use super::conversation::Conversation;
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::api::route::Name;
use crate::auth::Caller;
use crate::config::Config;
use crate::event;
use crate::host::clock::Stopwatch;
use crate::records::customer::for_customer;
use crate::records::{Record, storage};
use crate::svix::deliveries::{self, Attempt, Endpoint, LIMIT};
use crate::svix::message;
use crate::watch::entry::Entry;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fate {
    /// As the store has it, or as its customer may see it.
    record: Box<RawValue>,
    endpoints: Vec<Endpoint>,
    /// Newest first.
    attempts: Vec<Attempt>,
    /// Whether one of the lists is cut off.
    more: bool,
}

/// Shows what became of an event at each endpoint of its customer.
pub async fn show(
    config: &Config,
    name: &Name,
    caller: Caller,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let (bytes, record) = find(name, entry).await?;
    let shown = match caller {
        Caller::Project => for_customer(&bytes),
        Caller::Operator(_) | Caller::AnySender => bytes,
    };
    let shown = String::from_utf8(shown).ok();
    let shown = shown.and_then(|json| RawValue::from_string(json).ok());
    // Whether Svix has the message of an unknown record is open.
    let (message, is_sure) = match record {
        Record::Delivered(record) => (Some(record.svix_message_id), true),
        Record::Unknown(record) => (
            Some(message::event_id(&record.event_id).into_owned()),
            false,
        ),
        Record::DeadLettered(_) => (None, true),
    };
    let mut fate = Fate {
        record: shown.ok_or(Problem::NoRecord)?,
        endpoints: Vec::new(),
        attempts: Vec::new(),
        more: false,
    };
    if let Some(message) = message {
        let mut conversation = Conversation::new(config, stopwatch);
        let project = &name.project;
        let path = deliveries::attempts_path(project, &message);
        let attempts = deliveries::classify_list(&conversation.get(&path).await?)?;
        fate.attempts = match attempts {
            Some(attempts) => attempts,
            None if is_sure => return Err(Problem::NoMessage),
            None => Vec::new(),
        };
        let path = deliveries::endpoints_path(project);
        let endpoints = deliveries::classify_list(&conversation.get(&path).await?)?;
        let path = deliveries::destinations_path(project, &message);
        let tried = deliveries::classify_list(&conversation.get(&path).await?)?;
        let (endpoints, tried) = (endpoints.unwrap_or_default(), tried.unwrap_or_default());
        let lists = [fate.attempts.len(), endpoints.len(), tried.len()];
        fate.more = lists.contains(&LIMIT);
        fate.endpoints = joined(endpoints, tried);
    }
    Ok(Success::document("fate", &fate))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resent<'a> {
    endpoint_id: &'a str,
    svix_message_id: &'a str,
}

/// Has Svix send the message of an event to one endpoint again.
pub async fn resend(
    config: &Config,
    name: &Name,
    endpoint: &str,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let (_, Record::Delivered(record)) = find(name, entry).await? else {
        return Err(Problem::NoMessage);
    };
    let message = record.svix_message_id;
    // The endpoint becomes part of a path.
    if event::identifier(endpoint).is_err() || event::is_dot_segment(endpoint) {
        return Err(Problem::NoEndpoint);
    }
    let mut conversation = Conversation::new(config, stopwatch);
    let path = deliveries::endpoint_path(&name.project, endpoint);
    let known: Option<Endpoint> = conversation.get(&path).await?.found()?;
    // For a disabled endpoint Svix accepts a resend, and does nothing.
    if known.ok_or(Problem::NoEndpoint)?.disabled {
        return Err(Problem::EndpointDisabled);
    }
    let path = deliveries::resend_path(&name.project, &message, endpoint);
    let answer = conversation.post(&path, b"{}".to_vec()).await?;
    if !deliveries::classify_resend(&answer, config.svix.token.expose())? {
        return Err(Problem::NoMessage);
    }
    entry.svix_message_id(&message);
    entry.say(format!("resent to {endpoint}"));
    let resent = Resent {
        endpoint_id: endpoint,
        svix_message_id: &message,
    };
    Ok(Success::document("resent", &resent))
}

/// The record of an event, as the store has it and read.
async fn find(name: &Name, entry: &mut Entry) -> Result<(Vec<u8>, Record), Problem> {
    let Name { project, event_id } = name;
    entry.event(project, event_id);
    let found = storage::find(project, event_id).await?;
    found.ok_or(Problem::NoRecord)
}

/// All endpoints, each with what became of the message there.
fn joined(endpoints: Vec<Endpoint>, tried: Vec<Endpoint>) -> Vec<Endpoint> {
    let mut all = tried;
    for endpoint in endpoints {
        match all.iter_mut().find(|known| known.id == endpoint.id) {
            // Only the list of all endpoints knows their types.
            Some(known) => known.filter_types = endpoint.filter_types,
            None => all.push(Endpoint {
                status: None,
                next_attempt: None,
                ..endpoint
            }),
        }
    }
    all
}
