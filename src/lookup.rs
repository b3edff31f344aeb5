//! `GET /notifications/{project}/{eventId}` and `GET /records`: what is known of an event.

use crate::api::problem::Problem;
use crate::api::query::Name;
use crate::api::reply::Success;
use crate::api::table;
use crate::auth::{self, Caller};
use crate::config::load;
use crate::exchange::Exchange;
use crate::records::customer::for_customer;
use crate::records::storage;
use crate::violation::Violation;

/// The record of an event, as the store holds it, or as its customer may see it.
pub async fn look_up(
    name: Result<Name, Violation>,
    exchange: &mut Exchange,
) -> Result<Success, Problem> {
    let Exchange { headers, entry, .. } = exchange;
    let authorization = headers.get("authorization");
    let project = name.as_ref().ok().map(|name| &name.project[..]);
    let caller = auth::reader(load::config().await?, authorization.as_deref(), project)?;
    if let Some(caller) = caller {
        entry.set_caller(caller);
    }
    let Name { project, event_id } = name?;
    entry.set_event(&project, &event_id);
    let found = storage::read_with_bytes(&project, &event_id).await?;
    let (bytes, _) = found.ok_or(table::NO_RECORD)?;
    Ok(Success::Document {
        name: "found",
        json: match caller {
            Some(Caller::Project) => for_customer(&bytes),
            Some(Caller::Operator(_)) | None => bytes,
        },
    })
}
