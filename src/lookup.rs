//! `GET /notifications/{project}/{eventId}` and `GET /records`: what is known of an event.

use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::api::route::Name;
use crate::auth;
use crate::config::load;
use crate::host::http::Headers;
use crate::records::storage;
use crate::violation::Violation;
use crate::watch::entry::Entry;

/// The record of an event, as the store holds it. `name` is read only for those who may ask.
pub async fn look_up(
    name: impl FnOnce() -> Result<Name, Violation>,
    headers: &Headers,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let authorization = headers.get("authorization");
    auth::reader(load::config().await?, authorization.as_deref())?;
    let Name { project, event_id } = name().map_err(Problem::InvalidQuery)?;
    entry.event(&project, &event_id);
    let found = storage::find(&project, &event_id).await?;
    let (bytes, _) = found.ok_or(Problem::NoRecord)?;
    Ok(Success::Document {
        name: "found",
        json: bytes,
    })
}
