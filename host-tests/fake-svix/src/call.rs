//! A request that was understood: first everything is checked that doesn't depend on what is
//! stored, then the call is executed on the store. Faults and connections are the concern of other
//! modules.
//!
//! A server checks in this order: the token, the query, the size, the body, the path, the application,
//! the eventId.

use std::time::SystemTime;

use http::StatusCode;

use crate::application::{self, CreateApplication, PatchApplication};
use crate::attempt::{self, ListAttempts};
use crate::delivery;
use crate::endpoint::{self, CreateEndpoint, PatchEndpoint};
use crate::event_type::{self, CreateEventType};
use crate::list::ListMessages;
use crate::message::{MessageOut, NewApplication, NewMessage, check_app_uid};
use crate::page::Paging;
use crate::portal::{OpenPortal, RevokePortals};
use crate::recovery::Recover;
use crate::refusal::{Answer, Refusal, Violation};
use crate::reply;
use crate::request::ReceivedRequest;
use crate::route::Route;
use crate::store::Store;

/// The operation that a request asks for.
pub(crate) type Call<'a> = dyn Fn(&mut Store, SystemTime) -> Answer + 'a;

struct CreateMessage<'a> {
    app: &'a str,
    key: Option<&'a str>,
    message: NewMessage,
    with_content: bool,
}

/// Reads a request. A refusal is independent of stored data.
pub(crate) fn read<'a>(
    route: &Route<'a>,
    request: &'a ReceivedRequest,
    authorization: &str,
) -> Result<Box<Call<'a>>, Refusal> {
    let is_authentic = request.header("authorization") == Some(authorization);
    Ok(match *route {
        Route::Unknown => return Err(Refusal::NoRoute),
        _ if !is_authentic => return Err(Refusal::Unauthenticated),
        Route::CreateMessage(app) => {
            let create = CreateMessage::read(app, request)?;
            Box::new(move |store, now| create.execute(store, now))
        }
        Route::GetMessage(app, id) => {
            let with_content = request.flag("with_content", true)?;
            Box::new(move |store, _| get_message(store, app, id, with_content))
        }
        Route::ListMessages(app) => {
            let list = ListMessages::read(app, request)?;
            Box::new(move |store, now| list.execute(store, now))
        }
        Route::ExpungeMessage(app, id) => Box::new(move |store, _| expunge(store, app, id)),
        Route::CreateEndpoint(app) => {
            let create = CreateEndpoint::read(app, request)?;
            Box::new(move |store, now| create.execute(store, now))
        }
        Route::ListEndpoints(app) => {
            let paging = Paging::read(request, "ep_")?;
            Box::new(move |store, _| endpoint::list(store, app, &paging))
        }
        Route::GetEndpoint(app, id) => Box::new(move |store, _| endpoint::get(store, app, id)),
        Route::PatchEndpoint(app, id) => {
            let patch: PatchEndpoint = request.json()?;
            Box::new(move |store, now| patch.execute(store, app, id, now))
        }
        Route::DeleteEndpoint(app, id) => {
            Box::new(move |store, _| endpoint::delete(store, app, id))
        }
        Route::ListDestinations(app, id) => {
            let paging = Paging::read(request, "ep_")?;
            Box::new(move |store, _| attempt::list_destinations(store, app, id, &paging))
        }
        Route::ListAttempts(app, id) => {
            let list = ListAttempts::read(app, id, request)?;
            Box::new(move |store, now| list.execute(store, now))
        }
        Route::Resend(app, id, endpoint) => {
            Box::new(move |store, now| delivery::resend(store, app, id, endpoint, now))
        }
        Route::Recover(app, endpoint) => {
            let recover = Recover::read(app, endpoint, request)?;
            Box::new(move |store, now| recover.failed(store, now))
        }
        Route::ReplayMissing(app, endpoint) => {
            let recover = Recover::read(app, endpoint, request)?;
            Box::new(move |store, now| recover.missing(store, now))
        }
        Route::CreateApplication => {
            let create = CreateApplication::read(request)?;
            Box::new(move |store, now| create.execute(store, now))
        }
        Route::GetApplication(app) => Box::new(move |store, now| application::get(store, app, now)),
        Route::PatchApplication(app) => {
            let patch = PatchApplication::read(request)?;
            Box::new(move |store, now| patch.execute(store, app, now))
        }
        Route::DeleteApplication(app) => Box::new(move |store, _| application::delete(store, app)),
        Route::OpenPortal(app) => {
            let open = OpenPortal::read(app, request)?;
            Box::new(move |store, now| open.execute(store, now))
        }
        Route::RevokePortals(app) => {
            let revoke = RevokePortals::read(app, request)?;
            Box::new(move |store, now| revoke.execute(store, now))
        }
        Route::CreateEventType => {
            let create = CreateEventType::read(request)?;
            Box::new(move |store, now| create.execute(store, now))
        }
        Route::GetEventType(name) => Box::new(move |store, _| event_type::get(store, name)),
        Route::DeleteEventType(name) => {
            let expunge = request.flag("expunge", false)?;
            Box::new(move |store, _| event_type::delete(store, name, expunge))
        }
    })
}

fn get_message(store: &Store, app: &str, id: &str, with_content: bool) -> Answer {
    store.application(app).ok_or(Refusal::ApplicationNotFound)?;
    let message = store.find(app, id).ok_or(Refusal::EntityNotFound)?;
    let shown = MessageOut::new(message, with_content);
    Ok(reply::json(StatusCode::OK, &shown))
}

fn expunge(store: &mut Store, app: &str, id: &str) -> Answer {
    store.expunge(app, id).ok_or(Refusal::EntityNotFound)?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

impl<'a> CreateMessage<'a> {
    fn read(app: &'a str, request: &'a ReceivedRequest) -> Result<Self, Refusal> {
        let with_content = request.flag("with_content", true)?;
        if request.too_large {
            return Err(Refusal::TooLarge);
        }
        let message = NewMessage::parse(&request.body).map_err(Refusal::Invalid)?;
        let violation = check_app_uid(&["path", "app_id_or_uid"], app);
        Refusal::of(violation.into_iter().collect())?;
        Ok(Self { app, key: request.header("idempotency-key"), message, with_content })
    }

    fn execute(&self, store: &mut Store, now: SystemTime) -> Answer {
        let Self { message, .. } = self;
        if !store.has_application(self.app) {
            check_new_application(self.app, message.application.as_ref())?;
            store.create_application(self.app);
        }
        let event_id = message.event_id.as_deref();
        if event_id.is_some_and(|id| store.is_taken(self.app, id, now)) {
            return Err(Refusal::Conflict);
        }
        let stored = store.insert(self.app, message, self.key, now);
        let shown = MessageOut::new(stored, self.with_content);
        Ok(reply::json(StatusCode::ACCEPTED, &shown))
    }
}

/// Whether a post may create its application `app`, which doesn't exist yet.
fn check_new_application(app: &str, new: Option<&NewApplication>) -> Result<(), Refusal> {
    let (msg, kind) = match new.map(|application| application.uid.as_deref()) {
        None => return Err(Refusal::ApplicationNotFound),
        Some(Some(uid)) if uid == app => return Ok(()),
        Some(Some(_)) => {
            ("Application UID in the path and body must match", "application_uid_mismatch")
        }
        Some(None) => ("Application UID not set in body", "application_uid_missing"),
    };
    Err(Refusal::Invalid(vec![Violation {
        loc: vec!["body", "application", "uid"],
        msg: msg.to_owned(),
        kind,
    }]))
}
