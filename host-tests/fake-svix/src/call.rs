//! A request that was understood: first everything is checked that doesn't depend on what is
//! stored, then the call is executed on the store. Faults and connections are the concern of other
//! modules.
//!
//! A server checks in this order: the token, the Idempotency-Key, the query, the size, the body,
//! the path, the application, the eventId.

use std::time::SystemTime;

use http::StatusCode;
use serde_json::json;

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
use crate::refusal::{Refusal, Violation};
use crate::reply::{self, Reply};
use crate::request::ReceivedRequest;
use crate::route::Route;
use crate::store::Store;

/// The operation that a request asks for.
#[derive(Debug)]
pub(crate) enum Call<'a> {
    /// The request is refused independent of stored data.
    Refused(Refusal),
    Health {
        in_parts: bool,
    },
    CreateMessage(CreateMessage<'a>),
    GetMessage {
        app: &'a str,
        id: &'a str,
        with_content: bool,
    },
    ListMessages(ListMessages<'a>),
    ExpungeMessage {
        app: &'a str,
        id: &'a str,
    },
    CreateEndpoint(CreateEndpoint<'a>),
    ListEndpoints {
        app: &'a str,
        paging: Paging,
    },
    GetEndpoint {
        app: &'a str,
        id: &'a str,
    },
    PatchEndpoint {
        app: &'a str,
        id: &'a str,
        patch: PatchEndpoint,
    },
    DeleteEndpoint {
        app: &'a str,
        id: &'a str,
    },
    ListDestinations {
        app: &'a str,
        id: &'a str,
        paging: Paging,
    },
    ListAttempts(ListAttempts<'a>),
    Resend {
        app: &'a str,
        id: &'a str,
        endpoint: &'a str,
    },
    Recover(Recover<'a>),
    ReplayMissing(Recover<'a>),
    CreateApplication(CreateApplication),
    GetApplication {
        app: &'a str,
    },
    PatchApplication {
        app: &'a str,
        patch: PatchApplication,
    },
    DeleteApplication {
        app: &'a str,
    },
    OpenPortal(OpenPortal<'a>),
    RevokePortals(RevokePortals<'a>),
    CreateEventType(CreateEventType),
    GetEventType {
        name: &'a str,
    },
    DeleteEventType {
        name: &'a str,
        expunge: bool,
    },
    ListEventTypes,
}

#[derive(Debug)]
pub(crate) struct CreateMessage<'a> {
    app: &'a str,
    key: Option<&'a str>,
    message: NewMessage,
    with_content: bool,
}

impl<'a> Call<'a> {
    /// Reads a request. `too_large`: its body was above the limit and has not been kept.
    pub fn read(
        route: &Route<'a>,
        request: &'a ReceivedRequest,
        too_large: bool,
        authorization: &str,
    ) -> Self {
        let key = request.idempotency_key();
        let is_authentic = request.header("authorization") == Some(authorization);
        let call = match *route {
            Route::Health { in_parts } => Ok(Self::Health { in_parts }),
            Route::Unknown => Err(Refusal::NoRoute),
            Route::WrongMethod(allowed) => Err(Refusal::WrongMethod(allowed)),
            _ if !is_authentic => Err(Refusal::Unauthenticated),
            _ if key.is_some_and(|key| key.starts_with("auto_")) => Err(Refusal::KeyReserved),
            Route::CreateMessage { app } => {
                CreateMessage::read(app, request, too_large).map(Self::CreateMessage)
            }
            Route::GetMessage { app, id } => {
                request
                    .flag("with_content", true)
                    .map(|with_content| Self::GetMessage {
                        app,
                        id,
                        with_content,
                    })
            }
            Route::ListMessages { app } => ListMessages::read(app, request).map(Self::ListMessages),
            Route::ExpungeMessage { app, id } => Ok(Self::ExpungeMessage { app, id }),
            Route::CreateEndpoint { app } => {
                CreateEndpoint::read(app, request, too_large).map(Self::CreateEndpoint)
            }
            Route::ListEndpoints { app } => {
                Paging::read(request, "ep_").map(|paging| Self::ListEndpoints { app, paging })
            }
            Route::GetEndpoint { app, id } => Ok(Self::GetEndpoint { app, id }),
            Route::PatchEndpoint { app, id } => request
                .json(too_large)
                .map(|patch| Self::PatchEndpoint { app, id, patch }),
            Route::DeleteEndpoint { app, id } => Ok(Self::DeleteEndpoint { app, id }),
            Route::ListDestinations { app, id } => Paging::read(request, "ep_")
                .map(|paging| Self::ListDestinations { app, id, paging }),
            Route::ListAttempts { app, id } => {
                ListAttempts::read(app, id, request).map(Self::ListAttempts)
            }
            Route::Resend { app, id, endpoint } => Ok(Self::Resend { app, id, endpoint }),
            Route::Recover { app, endpoint } => {
                Recover::read(app, endpoint, request, too_large).map(Self::Recover)
            }
            Route::ReplayMissing { app, endpoint } => {
                Recover::read(app, endpoint, request, too_large).map(Self::ReplayMissing)
            }
            Route::CreateApplication => {
                CreateApplication::read(request, too_large).map(Self::CreateApplication)
            }
            Route::GetApplication { app } => Ok(Self::GetApplication { app }),
            Route::PatchApplication { app } => PatchApplication::read(request, too_large)
                .map(|patch| Self::PatchApplication { app, patch }),
            Route::DeleteApplication { app } => Ok(Self::DeleteApplication { app }),
            Route::OpenPortal { app } => {
                OpenPortal::read(app, request, too_large).map(Self::OpenPortal)
            }
            Route::RevokePortals { app } => {
                RevokePortals::read(app, request, too_large).map(Self::RevokePortals)
            }
            Route::CreateEventType => {
                CreateEventType::read(request, too_large).map(Self::CreateEventType)
            }
            Route::GetEventType { name } => Ok(Self::GetEventType { name }),
            Route::DeleteEventType { name } => request
                .flag("expunge", false)
                .map(|expunge| Self::DeleteEventType { name, expunge }),
            Route::ListEventTypes => Ok(Self::ListEventTypes),
        };
        call.unwrap_or_else(Self::Refused)
    }

    pub fn execute(&self, store: &mut Store, now: SystemTime) -> Reply {
        match self {
            Self::Refused(refusal) => refusal.reply(),
            Self::Health { in_parts: false } => reply::empty(StatusCode::NO_CONTENT),
            Self::Health { in_parts: true } => {
                let ok = json!({ "status": "ok" });
                let parts = json!({ "database": ok, "queue": ok, "cache": ok });
                reply::json(StatusCode::OK, &parts)
            }
            Self::CreateMessage(create) => create.execute(store, now),
            Self::GetMessage {
                app,
                id,
                with_content,
            } => match store.find(app, id) {
                Some(message) => {
                    reply::json(StatusCode::OK, &MessageOut::new(message, *with_content))
                }
                None if store.has_application(app) => Refusal::EntityNotFound.reply(),
                None => Refusal::ApplicationNotFound.reply(),
            },
            Self::ListMessages(list) => list.execute(store, now),
            Self::ExpungeMessage { app, id } => {
                if store.expunge(app, id) {
                    reply::empty(StatusCode::NO_CONTENT)
                } else {
                    Refusal::EntityNotFound.reply()
                }
            }
            Self::CreateEndpoint(create) => create.execute(store, now),
            Self::ListEndpoints { app, paging } => endpoint::list(store, app, paging),
            Self::GetEndpoint { app, id } => endpoint::get(store, app, id),
            Self::PatchEndpoint { app, id, patch } => patch.execute(store, app, id, now),
            Self::DeleteEndpoint { app, id } => endpoint::delete(store, app, id),
            Self::ListDestinations { app, id, paging } => {
                attempt::list_destinations(store, app, id, paging)
            }
            Self::ListAttempts(list) => list.execute(store, now),
            Self::Resend { app, id, endpoint } => delivery::resend(store, app, id, endpoint, now),
            Self::Recover(recover) => recover.failed(store, now),
            Self::ReplayMissing(recover) => recover.missing(store, now),
            Self::CreateApplication(create) => create.execute(store, now),
            Self::GetApplication { app } => application::get(store, app, now),
            Self::PatchApplication { app, patch } => patch.execute(store, app, now),
            Self::DeleteApplication { app } => application::delete(store, app),
            Self::OpenPortal(open) => open.execute(store, now),
            Self::RevokePortals(revoke) => revoke.execute(store, now),
            Self::CreateEventType(create) => create.execute(store, now),
            Self::GetEventType { name } => event_type::get(store, name),
            Self::DeleteEventType { name, expunge } => event_type::delete(store, name, *expunge),
            Self::ListEventTypes => event_type::list(store),
        }
    }
}

impl<'a> CreateMessage<'a> {
    fn read(app: &'a str, request: &'a ReceivedRequest, too_large: bool) -> Result<Self, Refusal> {
        let (message, with_content) = read_message(app, request, too_large)?;
        Ok(Self {
            app,
            key: request.header("idempotency-key"),
            message,
            with_content,
        })
    }

    fn execute(&self, store: &mut Store, now: SystemTime) -> Reply {
        let Self { message, .. } = self;
        if !store.has_application(self.app) {
            match check_new_application(self.app, message.application.as_ref()) {
                Ok(()) => store.create_application(self.app),
                Err(refusal) => return refusal.reply(),
            }
        }
        let event_id = message.event_id.as_deref();
        if event_id.is_some_and(|id| store.is_taken(self.app, id, now)) {
            return Refusal::Conflict.reply();
        }
        let stored = store.insert(self.app, message, self.key, now);
        reply::json(
            StatusCode::ACCEPTED,
            &MessageOut::new(stored, self.with_content),
        )
    }
}

fn read_message(
    app: &str,
    request: &ReceivedRequest,
    too_large: bool,
) -> Result<(NewMessage, bool), Refusal> {
    let with_content = request.flag("with_content", true)?;
    if too_large {
        return Err(Refusal::TooLarge);
    }
    let message = NewMessage::parse(&request.body).map_err(Refusal::Invalid)?;
    match check_app_uid(&["path", "app_id_or_uid"], app) {
        Some(violation) => Err(Refusal::Invalid(vec![violation])),
        None => Ok((message, with_content)),
    }
}

/// Whether a post may create its application `app`, which doesn't exist yet.
fn check_new_application(app: &str, new: Option<&NewApplication>) -> Result<(), Refusal> {
    let (msg, kind) = match new.map(|application| application.uid.as_deref()) {
        None => return Err(Refusal::ApplicationNotFound),
        Some(Some(uid)) if uid == app => return Ok(()),
        Some(Some(_)) => (
            "Application UID in the path and body must match",
            "application_uid_mismatch",
        ),
        Some(None) => ("Application UID not set in body", "application_uid_missing"),
    };
    Err(Refusal::Invalid(vec![Violation {
        loc: vec!["body", "application", "uid"],
        msg: msg.to_owned(),
        kind,
    }]))
}
