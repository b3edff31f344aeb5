//! The operators' requests, answered once they have shown their token.

mod application;
mod audit;
mod canary;
pub mod console;
pub mod conversation;
mod customer;
mod erase;
mod fate;
mod hold;
mod letters;
mod portal;
mod project_token;
mod purge;
mod recovery;
mod request;
mod status;

use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::api::route::{NoRoute, Operation};
use crate::auth;
use crate::config::load;
use crate::host::clock::Stopwatch;
use crate::host::http::{Headers, Incoming};
use crate::watch::entry::Entry;

pub async fn fulfil(
    operation: Operation,
    incoming: &mut Incoming,
    headers: &Headers,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let config = load::config().await?;
    let authorization = headers.get("authorization");
    let caller = auth::operator(config, authorization.as_deref(), operation.project())?;
    entry.caller(caller);
    if operation.acts() {
        caller.may_act()?;
    }
    match operation {
        Operation::List(query) => letters::list(config, &query, stopwatch).await,
        Operation::Show(number) => letters::show(number).await,
        Operation::Discard(number) => letters::discard(number, entry).await,
        Operation::Replay(number) => letters::replay(config, number, stopwatch, entry).await,
        Operation::ReplayAll(query) => letters::replay_all(config, &query, stopwatch, entry).await,
        Operation::None(allow) => Err(Problem::NoRoute(NoRoute::MethodNotAllowed(allow))),
        Operation::Purge => purge::purge(config, stopwatch, entry).await,
        Operation::Fate(name) => fate::show(config, &name, caller, stopwatch, entry).await,
        Operation::Resend(name, endpoint) => {
            fate::resend(config, &name, &endpoint, stopwatch, entry).await
        }
        Operation::Audit(query) => audit::audit(config, &query, stopwatch, entry).await,
        Operation::Findings => audit::findings().await,
        Operation::Resolve(id) => audit::resolve(&id, entry).await,
        Operation::Canary => canary::send(config, stopwatch, entry).await,
        Operation::OpenGate => status::open_gate(entry).await,
        Operation::Metrics => status::metrics(config).await,
        Operation::Status => status::status(config, caller).await,
        Operation::Erase(name) => erase::event(config, &name, stopwatch, entry).await,
        Operation::EraseProject(project, query) => {
            erase::project(config, &project, &query, stopwatch, entry).await
        }
        Operation::Hold(project) => hold::hold(&project, true, entry).await,
        Operation::Release(project) => hold::hold(&project, false, entry).await,
        Operation::Application(project) => {
            let body = request::read_body(config, incoming, headers, stopwatch).await?;
            application::put(config, &project, &body, stopwatch, entry).await
        }
        Operation::Portal(project) => {
            let body = request::read_body(config, incoming, headers, stopwatch).await?;
            portal::open(config, &project, &body, stopwatch, entry).await
        }
        Operation::RevokePortal(project) => {
            let body = request::read_body(config, incoming, headers, stopwatch).await?;
            portal::revoke(config, &project, &body, stopwatch, entry).await
        }
        Operation::Recover(project) => {
            let body = request::read_body(config, incoming, headers, stopwatch).await?;
            recovery::recover(config, &project, &body, stopwatch, entry).await
        }
        Operation::ProjectToken(project) => {
            let body = request::read_body(config, incoming, headers, stopwatch).await?;
            project_token::issue(config, &project, &body, entry)
        }
        Operation::TestEvent(project) => {
            let body = request::read_body(config, incoming, headers, stopwatch).await?;
            customer::test_event(config, &project, &body, stopwatch, entry).await
        }
    }
}
