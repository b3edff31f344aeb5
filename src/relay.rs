//! One request: route it, have it fulfilled, answer it, leave one line about it.

use spin_sdk::wasip3::http::types::{Method, Request, Response};

use crate::api::openapi;
use crate::api::problem::Problem;
use crate::api::reply::{Reply, Success};
use crate::api::route::Route;
use crate::host;
use crate::host::clock::Stopwatch;
use crate::host::http::{self, Headers};
use crate::intake;
use crate::lookup;
use crate::operator;
use crate::probes;
use crate::watch;
use crate::watch::entry::Entry;
use crate::watch::trace::Trace;

/// Handles one request. Every request gets a reply.
pub async fn handle(request: Request) -> Response {
    let stopwatch = Stopwatch::start();
    let mut entry = Entry::default();
    let result = fulfil(request, stopwatch, &mut entry).await;
    // Monitoring asks every few seconds; an answer without news leaves no line.
    if !result.as_ref().is_ok_and(Success::is_routine) {
        entry.result(&result);
        watch::request(entry, stopwatch);
    }
    let reply = match &result {
        Ok(success) => Reply::from(success),
        Err(problem) => Reply::from(problem),
    };
    http::respond(reply.status, reply.headers, reply.body)
}

async fn fulfil(
    request: Request,
    stopwatch: Stopwatch,
    entry: &mut Entry,
) -> Result<Success, Problem> {
    let path = request.get_path_with_query().unwrap_or_default();
    let route = Route::of(method(&request.get_method()), &path).map_err(Problem::NoRoute)?;
    let headers = Headers::of_request(&request);
    match route {
        Route::Notify => {
            let traceparent = headers.get("traceparent");
            let trace = Trace::of(traceparent.as_deref(), &mut host::random());
            *entry = Entry::of_notification(trace);
            intake::notify(request, &headers, stopwatch, entry).await
        }
        Route::Lookup { project, event_id } => {
            lookup::look_up(&project, &event_id, &headers, entry).await
        }
        Route::Health => Ok(probes::health()),
        Route::Ready => probes::ready().await,
        Route::OpenApi => Ok(openapi::document()),
        Route::Console(part) => operator::console::part(part).await,
        Route::Operator(operation) => {
            operator::fulfil(operation, request, &headers, stopwatch, entry).await
        }
    }
}

/// The name of a method that a route may know.
fn method(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Delete => "DELETE",
        _ => "",
    }
}
