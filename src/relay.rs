//! One request: route it, have it fulfilled, log it unless it is a routine success, answer it.

use spin_sdk::wasip3::http::types::{Method, Request, Response};

use crate::api::openapi;
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::api::route::Route;
use crate::health;
use crate::host;
use crate::host::clock::Stopwatch;
use crate::host::http::{Headers, Reply};
use crate::host::server::{self, Incoming};
use crate::intake;
use crate::lookup;
use crate::operator;
use crate::reports;
use crate::watch;
use crate::watch::entry::Entry;
use crate::watch::trace::Trace;

pub async fn handle(request: Request) -> Response {
    let stopwatch = Stopwatch::start();
    let mut entry = Entry::default();
    let path = request.get_path_with_query().unwrap_or_default();
    let method = request.get_method();
    let name = method_name(&method);
    let route = Route::of(name, &path).map_err(Problem::NoRoute);
    let is_routine = route.as_ref().is_ok_and(Route::is_routine);
    let (headers, mut incoming) = Incoming::of(request);
    let result = match route {
        Ok(route) => fulfil(route, name, &mut incoming, &headers, stopwatch, &mut entry).await,
        Err(problem) => {
            entry.set_asked(name, &path);
            Err(problem)
        }
    };
    if result.is_err() || !is_routine {
        entry.set_result(&result);
        watch::request(entry, stopwatch);
    }
    let reply = match result {
        Ok(success) => Reply::from(success),
        Err(problem) => Reply::from(&problem),
    };
    incoming.discard();
    server::respond(reply, name == "HEAD", stopwatch).await
}

async fn fulfil(
    route: Route,
    method: &str,
    incoming: &mut Incoming,
    headers: &Headers,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    match route {
        Route::Notify => {
            *entry = Entry::of_notification(trace_of(headers));
            intake::take(incoming, headers, stopwatch, entry).await
        }
        Route::Lookup(name) => lookup::look_up(Ok(name), headers, entry).await,
        Route::Find(query) => lookup::look_up(query.name(), headers, entry).await,
        Route::Report => reports::take(incoming, headers, stopwatch, entry).await,
        Route::Health => Ok(health::live()),
        Route::Ready => health::ready().await,
        Route::OpenApi => Ok(openapi::document()),
        Route::Console(part) => operator::console::part(part).await,
        Route::Operator(operation) => {
            operator::fulfil(operation, method, incoming, headers, stopwatch, entry).await
        }
    }
}

/// The trace that the request brings, or a new one. Of two `traceparent` headers, neither counts.
fn trace_of(headers: &Headers) -> Trace {
    let mut parents = headers.get_all("traceparent");
    let parent = parents.next().filter(|_| parents.next().is_none());
    let state: Vec<_> = headers.get_all("tracestate").collect();
    Trace::of(parent.as_deref(), &state.join(","), &mut host::random())
}

fn method_name(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => name,
    }
}
