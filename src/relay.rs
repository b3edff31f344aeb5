//! One request: route it, have it fulfilled, log it unless it is a routine success, answer it.

use spin_sdk::wasip3::http::types::{Request, Response};

use crate::api::openapi;
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::api::route::Route;
use crate::exchange::Exchange;
use crate::health;
use crate::host;
use crate::host::http::{Headers, Reply};
use crate::host::server;
use crate::intake;
use crate::lookup;
use crate::operator;
use crate::reports;
use crate::watch;
use crate::watch::entry::Entry;
use crate::watch::trace::Trace;

pub async fn handle(request: Request) -> Response {
    let path = request.get_path_with_query().unwrap_or_default();
    let mut exchange = Exchange::of(request);
    let route = Route::of(&exchange.method, &path).map_err(Problem::NoRoute);
    let is_routine = route.as_ref().is_ok_and(Route::is_routine);
    let result = match route {
        Ok(route) => fulfil(route, &mut exchange).await,
        Err(problem) => {
            exchange.entry.set_asked(&exchange.method, &path);
            Err(problem)
        }
    };
    let Exchange { method, body, since, mut entry, .. } = exchange;
    if result.is_err() || !is_routine {
        entry.set_result(&result);
        watch::request(entry, since);
    }
    let reply = match result {
        Ok(success) => Reply::from(success),
        Err(problem) => Reply::from(&problem),
    };
    body.discard();
    server::respond(reply, method == "HEAD", since).await
}

async fn fulfil(route: Route, exchange: &mut Exchange) -> Result<Success, Problem> {
    match route {
        Route::Notify => {
            exchange.entry = Entry::of_notification(trace_of(&exchange.headers));
            intake::take(exchange).await
        }
        Route::Lookup(name) => lookup::look_up(Ok(name), exchange).await,
        Route::Find(query) => lookup::look_up(query.name(), exchange).await,
        Route::Report => reports::take(exchange).await,
        Route::Health => Ok(health::live()),
        Route::Ready => health::ready().await,
        Route::OpenApi => Ok(openapi::document()),
        Route::Console(part) => operator::console::part(part).await,
        Route::Operator(operation) => operator::fulfil(operation, exchange).await,
    }
}

/// The trace that the request brings, or a new one. Of two `traceparent` headers, neither counts.
fn trace_of(headers: &Headers) -> Trace {
    let mut parents = headers.get_all("traceparent");
    let parent = parents.next().filter(|_| parents.next().is_none());
    let state: Vec<_> = headers.get_all("tracestate").collect();
    Trace::of(parent.as_deref(), &state.join(","), &mut host::random())
}
