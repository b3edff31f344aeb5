//! The fate of an event, from its record to the answers of the customer's endpoints. An operator may have Svix send the
//! event there once more.

use serde::Serialize;
use serde_json::value::RawValue;

use super::request::OperatorRequest;
use crate::api::problem::Problem;
use crate::api::query::Name;
use crate::api::reply::Success;
use crate::api::table;
use crate::auth::Caller;
use crate::conversation::Conversation;
use crate::identifier;
use crate::records::customer::for_customer;
use crate::records::{Record, storage};
use crate::svix::endpoints::{self, Attempt, Endpoint, FirstPage};
use crate::svix::{self, Cause, message};

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
    /// Why a list is missing.
    svix: Option<Box<RawValue>>,
}

/// Shows what became of an event at each endpoint of its customer.
pub async fn show(request: &mut OperatorRequest<'_>, name: &Name) -> Result<Success, Problem> {
    let (bytes, record) = find(request, name).await?;
    let is_customer = request.caller == Caller::Project;
    let shown = if is_customer { for_customer(&bytes) } else { bytes };
    let shown = String::from_utf8(shown).ok();
    let shown = shown.and_then(|json| RawValue::from_string(json).ok());
    // Whether Svix has the message of an unknown record is open.
    let (message, is_sure) = match record {
        Record::Delivered(record) => (Some(record.svix_message_id), true),
        Record::Unknown(record) => (Some(message::event_id(&record.event_id).into_owned()), false),
        Record::DeadLettered(_) => (None, true),
    };
    let mut fate = Fate {
        record: shown.ok_or(table::NO_RECORD)?,
        endpoints: Vec::new(),
        attempts: Vec::new(),
        more: false,
        svix: None,
    };
    if let Some(message) = message {
        // A dashboard may ask for every customer that looks at it.
        let mut conversation = if is_customer {
            Conversation::behind_the_gate(request.config, request.deadline)
        } else {
            request.conversation()
        };
        let project = &name.project;
        let asked = ask_svix(&mut conversation, project, &message, &mut fate).await;
        let missing = |known| {
            if known || !is_sure { Ok(()) } else { Err(table::NO_MESSAGE.into()) }
        };
        if let Err(problem) = asked.map_err(Problem::from).and_then(missing) {
            request.entry.message = problem.logged();
            // A customer learns nothing of the relay's configuration.
            fate.svix = Some(match problem {
                Problem::Plain(_) => problem.document(),
                _ if is_customer => Problem::from(svix::Error::from(Cause::Timeout)).document(),
                _ => problem.document(),
            });
        }
    }
    Ok(Success::document("fate", &fate))
}

/// Fills in what Svix tells, up to the first list that fails. `false` if Svix doesn't have the message.
async fn ask_svix(
    conversation: &mut Conversation<'_>,
    project: &str,
    message: &str,
    fate: &mut Fate,
) -> Result<bool, svix::Error> {
    let path = endpoints::attempts_path(project, message);
    let attempts = endpoints::classify_list(&conversation.get(&path).await?)?;
    let known = attempts.is_some();
    let attempts = attempts.unwrap_or_else(FirstPage::none);
    fate.more = attempts.is_cut();
    fate.attempts = attempts.data;
    let path = endpoints::endpoints_path(project);
    let endpoints = endpoints::classify_list(&conversation.get(&path).await?)?;
    let path = endpoints::destinations_path(project, message);
    let tried = endpoints::classify_list(&conversation.get(&path).await?)?;
    let endpoints = endpoints.unwrap_or_else(FirstPage::none);
    let tried = tried.unwrap_or_else(FirstPage::none);
    fate.more |= endpoints.is_cut() || tried.is_cut();
    fate.endpoints = joined(endpoints, tried.data);
    Ok(known)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resent<'a> {
    endpoint_id: &'a str,
    svix_message_id: &'a str,
}

/// Has Svix send the message of an event to one endpoint again.
pub async fn resend(
    request: &mut OperatorRequest<'_>,
    name: &Name,
    endpoint: &str,
) -> Result<Success, Problem> {
    let (_, Record::Delivered(record)) = find(request, name).await? else {
        return Err(table::NO_MESSAGE.into());
    };
    let message = record.svix_message_id;
    if identifier::check_path_segment(endpoint).is_err() {
        return Err(table::NO_ENDPOINT.into());
    }
    let mut conversation = request.keyed_conversation();
    check_endpoint(&mut conversation, &name.project, endpoint).await?;
    let path = endpoints::resend_path(&name.project, &message, endpoint);
    let answer = conversation.post(&path, b"{}".to_vec()).await?;
    if !endpoints::classify_resend(&answer)? {
        return Err(table::NO_MESSAGE.into());
    }
    request.entry.svix_message_id = Some(message.clone());
    request.entry.message = format!("resent to {endpoint}");
    let resent = Resent { endpoint_id: endpoint, svix_message_id: &message };
    Ok(Success::document("resent", &resent))
}

/// Fails unless Svix sends to the endpoint. For a disabled one, Svix accepts a resend or a recovery, and does
/// nothing.
pub async fn check_endpoint(
    conversation: &mut Conversation<'_>,
    project: &str,
    endpoint: &str,
) -> Result<(), Problem> {
    let known = conversation.endpoint(project, endpoint).await?;
    if known.ok_or(table::NO_ENDPOINT)?.disabled {
        Err(table::ENDPOINT_DISABLED.into())
    } else {
        Ok(())
    }
}

/// The record of an event, as the store has it and read.
async fn find(
    request: &mut OperatorRequest<'_>,
    name: &Name,
) -> Result<(Vec<u8>, Record), Problem> {
    let Name { project, event_id } = name;
    request.entry.set_event(project, event_id);
    let found = storage::read_with_bytes(project, event_id).await?;
    found.ok_or(table::NO_RECORD.into())
}

/// All endpoints, each with what became of the message there. The message still names those that were deleted.
fn joined(endpoints: FirstPage<Endpoint>, tried: Vec<Endpoint>) -> Vec<Endpoint> {
    let mut all = tried;
    if !endpoints.is_cut() {
        for endpoint in &mut all {
            if !endpoints.data.iter().any(|known| known.id == endpoint.id) {
                endpoint.deleted = true;
                endpoint.next_attempt = None;
            }
        }
    }
    for endpoint in endpoints.data {
        match all.iter_mut().find(|known| known.id == endpoint.id) {
            // Only the list of all endpoints knows their types and channels.
            Some(known) => {
                known.filter_types = endpoint.types();
                known.channels = endpoint.channels;
            }
            None => all.push(endpoint.untried()),
        }
    }
    all
}
