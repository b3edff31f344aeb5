//! The operators' requests, each of which must show an operator's token. For the fate of an event, a token of its
//! project will do.

mod application;
mod audit;
mod canary;
pub mod console;
mod erase;
mod fate;
mod hold;
mod letters;
mod portal;
mod project_token;
mod purge;
mod recovery;
mod request;
mod sample;
mod status;

use self::request::OperatorRequest;
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::api::route::{NoRoute, Operation};
use crate::auth::{self, Denial};
use crate::config::load;
use crate::exchange::Exchange;
use crate::host::deadline::Deadline;
use crate::violation::Violation;

pub async fn fulfil(operation: Operation, exchange: &mut Exchange) -> Result<Success, Problem> {
    let config = load::config().await?;
    let authorization = exchange.headers.get("authorization");
    let caller = auth::operator(config, authorization.as_deref(), operation.project())?;
    exchange.entry.set_caller(caller);
    if operation.acts(&exchange.method) && caller.operator()?.read_only {
        return Err(Denial::ReadOnly.into());
    }
    let request = &mut OperatorRequest {
        config,
        caller,
        deadline: Deadline::new(exchange.since, config.retry.budget),
        entry: &mut exchange.entry,
        headers: &exchange.headers,
        body: &mut exchange.body,
    };
    if operation.acts(&exchange.method) && !operation.takes_body() {
        request.check_no_body().await?;
    }
    match operation {
        Operation::List(query) => letters::list(request, &query).await,
        Operation::Show(number) => letters::show(number).await,
        Operation::Discard(number) => letters::discard(request, number).await,
        Operation::Replay(number) => letters::replay(request, number).await,
        Operation::ReplayAll(query) => letters::replay_all(request, &query).await,
        Operation::WrongMethod(allow) => Err(Problem::NoRoute(NoRoute::MethodNotAllowed(allow))),
        Operation::WrongQuery => Err(Violation::new("query", "must be empty").into()),
        Operation::Purge => purge::purge(request).await,
        Operation::Fate(name) => fate::show(request, &name).await,
        Operation::Resend(name, endpoint) => fate::resend(request, &name, &endpoint).await,
        Operation::Audit(query) => audit::audit(request, &query).await,
        Operation::Findings => audit::findings().await,
        Operation::Resolve(id) => audit::resolve(request, &id).await,
        Operation::Canary => canary::send(request).await,
        Operation::OpenGate => status::open_gate(request).await,
        Operation::Metrics => status::metrics(config).await,
        Operation::Status => status::status(request).await,
        Operation::Erase(name) => erase::event(request, &name).await,
        Operation::EraseProject(project, query) => erase::project(request, &project, &query).await,
        Operation::Hold(project) => hold::hold(request, &project, true).await,
        Operation::Release(project) => hold::hold(request, &project, false).await,
        Operation::Application(project) => application::put(request, &project).await,
        Operation::Portal(project) => portal::open(request, &project).await,
        Operation::RevokePortal(project) => portal::revoke(request, &project).await,
        Operation::Recover(project) => recovery::recover(request, &project).await,
        Operation::ProjectToken(project) => project_token::issue(request, &project).await,
        Operation::TestEvent(project) => sample::test_event(request, &project).await,
    }
}
