//! The routes under `/_fake/`, for people with curl and for scripts. Requests to them need no
//! token, aren't recorded and meet no faults.

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::fake::FakeSvix;
use crate::fault::Fault;
use crate::refusal::Refusal;
use crate::reply::{self, Reply};
use crate::request::ReceivedRequest;
use crate::script::Target;

pub(crate) fn is_helper(path: &str) -> bool {
    path.starts_with("/_fake/")
}

pub(crate) fn answer(fake: &FakeSvix, request: &ReceivedRequest) -> Reply {
    let path = request.path.trim_end_matches('/');
    match (path, &request.method) {
        ("/_fake/messages", &Method::GET) => reply::json(StatusCode::OK, &fake.messages()),
        ("/_fake/applications", &Method::GET) => reply::json(StatusCode::OK, &fake.applications()),
        ("/_fake/event-types", &Method::GET) => reply::json(StatusCode::OK, &fake.event_types()),
        ("/_fake/faults", &Method::POST) => script(fake, Target::Messages, request),
        ("/_fake/faults/applications", &Method::POST) => {
            script(fake, Target::Applications, request)
        }
        ("/_fake/faults/portals", &Method::POST) => script(fake, Target::Portals, request),
        ("/_fake/faults/event-types", &Method::POST) => script(fake, Target::EventTypes, request),
        ("/_fake/faults/deliveries", &Method::POST) => script(fake, Target::Deliveries, request),
        ("/_fake/faults", &Method::DELETE) => {
            fake.clear_faults();
            queued(fake)
        }
        _ => Refusal::NoRoute.reply(),
    }
}

fn script(fake: &FakeSvix, target: Target, request: &ReceivedRequest) -> Reply {
    match parse_faults(&request.body) {
        Ok(faults) => {
            fake.script_at(target, faults);
            queued(fake)
        }
        Err(error) => {
            let detail = error.to_string();
            reply::error(StatusCode::UNPROCESSABLE_ENTITY, "invalid_fault", &detail)
        }
    }
}

fn queued(fake: &FakeSvix) -> Reply {
    reply::json(StatusCode::OK, &json!({ "queued": fake.queued_faults() }))
}

/// Reads one fault or a list of faults.
fn parse_faults(body: &[u8]) -> serde_json::Result<Vec<Fault>> {
    let value: serde_json::Value = serde_json::from_slice(body)?;
    if value.is_array() {
        Vec::deserialize(value)
    } else {
        Fault::deserialize(value).map(|fault| vec![fault])
    }
}
