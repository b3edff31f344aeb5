//! Event types, among which customers choose. Svix stores messages of unknown types, too.

use std::time::SystemTime;

use http::StatusCode;
use serde::Deserialize;

use crate::message::check_id;
use crate::refusal::{Answer, Refusal, Violation};
use crate::reply;
use crate::request::ReceivedRequest;
use crate::store::{EventType, Store};

#[derive(Debug, Deserialize)]
pub(crate) struct CreateEventType {
    name: String,
    description: String,
}

impl CreateEventType {
    pub fn read(request: &ReceivedRequest) -> Result<Self, Refusal> {
        let event_type: Self = request.json()?;
        let mut violations = Vec::new();
        violations.extend(check_id(&["body", "name"], &event_type.name, None));
        if event_type.description.contains(char::is_control) {
            violations
                .push(Violation::value(&["body", "description"], "Control characters not allowed"));
        }
        Refusal::of(violations)?;
        Ok(event_type)
    }

    /// An archived event type becomes active again, with the new description.
    pub fn execute(&self, store: &mut Store, now: SystemTime) -> Answer {
        let existing = store.event_types.get(&self.name);
        if existing.is_some_and(|existing| !existing.archived) {
            return Err(Refusal::EventTypeExists);
        }
        let event_type = EventType {
            name: self.name.clone(),
            description: self.description.clone(),
            archived: false,
            created_at: existing.map_or(now, |existing| existing.created_at),
        };
        let reply = reply::json(StatusCode::CREATED, &event_type);
        store.event_types.insert(self.name.clone(), event_type);
        Ok(reply)
    }
}

/// The reply with one event type, archived or not.
pub(crate) fn get(store: &Store, name: &str) -> Answer {
    let event_type = store.event_types.get(name).ok_or(Refusal::EntityNotFound)?;
    Ok(reply::json(StatusCode::OK, event_type))
}

/// Archives an event type, or forgets it.
pub(crate) fn delete(store: &mut Store, name: &str, expunge: bool) -> Answer {
    let event_type = store.event_types.get_mut(name).ok_or(Refusal::EntityNotFound)?;
    event_type.archived = true;
    if expunge {
        store.event_types.remove(name);
    }
    Ok(reply::empty(StatusCode::NO_CONTENT))
}
