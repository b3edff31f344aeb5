//! `POST /svix/operational`: Svix reports what becomes of customers' endpoints.
//!
//! A report comes at least once, and in any order. So the relay asks Svix whether an endpoint is disabled. That an
//! event was given up at some time stays true.

use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::api::route::NoRoute;
use crate::auth::Denial;
use crate::auth::webhook::Claims;
use crate::config::{Config, load};
use crate::conversation::Conversation;
use crate::event;
use crate::exchange::Exchange;
use crate::host::body::read_bounded;
use crate::host::change::{WRITES, write_until_seen};
use crate::host::clock;
use crate::host::deadline::Deadline;
use crate::host::{self, store};
use crate::records::endpoints::{self, Effect, Endpoints, Reported};
use crate::records::{Record, storage};
use crate::svix::message;
use crate::svix::operational::{Message, Report, Subject};
use crate::time::{rfc3339, unix_seconds};
use crate::watch::counters;
use crate::watch::entry::Entry;

/// The largest report, in bytes. Svix's have less than one kB.
const MAX_BODY: usize = 16 * 1024;

pub async fn take(exchange: &mut Exchange) -> Result<Success, Problem> {
    let config = load::config().await?;
    let deadline = Deadline::new(exchange.since, config.retry.budget);
    let keys = &config.svix.webhook_keys;
    if keys.is_empty() {
        return Err(Problem::NoRoute(NoRoute::NotFound));
    }
    let now = unix_seconds(clock::now());
    let claims = Claims::read(|name| exchange.headers.get(name), now).map_err(Denial::Report)?;
    let body = read_bounded(&mut exchange.body, |_| MAX_BODY, deadline.remaining()).await?;
    let body = body.bytes;
    claims.verify(&body, keys).map_err(Denial::Report)?;
    let report = Report::read(&body);
    let invalid = || Problem::invalid("body", "must be an operational webhook of Svix");
    let report = report.ok_or_else(invalid)?;
    let id = endpoints::report_id(&claims.id);
    let known = endpoints::read().await?;
    let name = if known.has_seen(&id) {
        "reported-before"
    } else {
        let effect = effect_of(config, &report, &known, deadline, &mut exchange.entry).await?;
        // Reports that change nothing are not remembered.
        if let Some(effect) = &effect {
            endpoints::note(&id, effect).await?;
        }
        tell(&report, effect.as_ref(), &mut exchange.entry);
        counters::count(|counts| counts.reported(report.kind));
        "reported"
    };
    exchange.entry.reason = Some(report.kind);
    Ok(Success::status(name))
}

/// The effect of a report on what the relay knows of endpoints. The line names the subject, also if this fails.
async fn effect_of(
    config: &Config,
    report: &Report,
    known: &Endpoints,
    deadline: Deadline,
    entry: &mut Entry,
) -> Result<Option<Effect>, Problem> {
    let Some(subject) = &report.subject else {
        return Ok(None);
    };
    entry.project = Some(subject.project.clone());
    let Some(message) = &subject.message else {
        return of_endpoint(config, subject, known, deadline).await;
    };
    entry.svix_message_id = Some(message.id.clone());
    if let Some(event_id) = &message.event_id {
        entry.set_event(&subject.project, event_id);
    }
    if report.is_exhausted() { Ok(Some(of_exhausted(subject, message).await?)) } else { Ok(None) }
}

/// Writes into the line what came of a report.
fn tell(report: &Report, effect: Option<&Effect>, entry: &mut Entry) {
    let Some(subject) = &report.subject else {
        entry.message = "about nothing that the relay knows".into();
        return;
    };
    let endpoint = &subject.endpoint_id;
    match effect {
        Some(Effect::Disabled(_)) => entry.warn(format!("endpoint {endpoint} is disabled")),
        Some(Effect::Exhausted(_)) => {
            entry.warn(format!("endpoint {endpoint} never took the event"));
        }
        _ if subject.message.is_some() => entry.message = format!("endpoint {endpoint}"),
        _ => entry.message = format!("endpoint {endpoint} is not disabled"),
    }
}

async fn of_endpoint(
    config: &Config,
    subject: &Subject,
    known: &Endpoints,
    deadline: Deadline,
) -> Result<Option<Effect>, Problem> {
    let (project, endpoint_id) = (subject.project.clone(), subject.endpoint_id.clone());
    let mut conversation = Conversation::behind_the_gate(config, deadline);
    let endpoint = conversation.endpoint(&project, &endpoint_id).await?;
    if endpoint.is_some_and(|endpoint| endpoint.disabled) {
        return Ok(Some(Effect::Disabled(Reported {
            project,
            endpoint_id,
            event_id: None,
            failing_since: subject.failing_since.clone(),
            at: rfc3339(clock::now()),
        })));
    }
    // Most changes are of endpoints that were never disabled.
    let is_listed = known.lists_as_disabled(&project, &endpoint_id);
    Ok(is_listed.then_some(Effect::Enabled { project, endpoint_id }))
}

async fn of_exhausted(subject: &Subject, message: &Message) -> Result<Effect, Problem> {
    let (project, endpoint_id) = (subject.project.clone(), subject.endpoint_id.clone());
    if let Some(event_id) = &message.event_id {
        mark(&project, &endpoint_id, message, event_id).await?;
    }
    Ok(Effect::Exhausted(Reported {
        project,
        endpoint_id,
        event_id: message.event_id.clone(),
        failing_since: None,
        at: message.attempted_at.clone(),
    }))
}

/// Writes into the record of an event that Svix has given it up. A record of another message is left alone.
async fn mark(
    project: &str,
    endpoint_id: &str,
    message: &Message,
    event_id: &str,
) -> Result<(), host::Error> {
    if message::is_mapped(event_id) {
        return Ok(());
    }
    let name = Record::name(&event::key(project, event_id));
    // The endpoints of an event give it up at the same moment.
    write_until_seen("mark the record", WRITES, async || {
        let found = storage::read(&name).await?;
        let Some(Record::Delivered(mut record)) = found else {
            return Ok(Some(()));
        };
        let is_another = record.svix_message_id != message.id;
        if is_another || !record.give_up(endpoint_id, &message.attempted_at) {
            return Ok(Some(()));
        }
        let record = Record::Delivered(record);
        storage::write(name.clone(), &record, store::TIMEOUT).await?;
        Ok(None)
    })
    .await
}
