//! The data of Svix: event types, applications with their messages, and kept replies. This module
//! enforces the rules that depend on stored data; it knows neither HTTP nor faults.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::application::Details;
use crate::delivery::Deliveries;
use crate::idempotency::KeptReplies;
use crate::message::{EXPIRED, NewMessage, StoredMessage, as_rfc3339};
use crate::portal::Link;

const EVENT_ID_UNIQUE_FOR: Duration = Duration::from_hours(24);

/// The scope in which an eventId is unique. Svix's documentation names both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventIdScope {
    #[default]
    Application,
    /// All applications together.
    Environment,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventType {
    pub name: String,
    /// The text that customers read.
    pub description: String,
    /// An archived event type is hidden from customers.
    pub archived: bool,
    #[serde(serialize_with = "as_rfc3339")]
    pub created_at: SystemTime,
}

#[derive(Debug, Default)]
pub(crate) struct Application {
    details: Details,
    /// The numbers of all messages, oldest first.
    messages: Vec<u64>,
    /// The newest message of each eventId.
    newest: HashMap<String, u64>,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub replies: KeptReplies,
    pub event_id_scope: EventIdScope,
    /// By name.
    pub event_types: BTreeMap<String, EventType>,
    pub deliveries: Deliveries,
    /// The links to portals, in the order in which they were made.
    pub links: Vec<Link>,
    created: SystemTime,
    stored: u64,
    messages: BTreeMap<u64, StoredMessage>,
    /// By uid.
    applications: BTreeMap<String, Application>,
    /// The newest message of each eventId in any application.
    newest: HashMap<String, u64>,
}

impl Store {
    pub fn new(now: SystemTime) -> Self {
        Self {
            replies: KeptReplies::default(),
            event_id_scope: EventIdScope::default(),
            event_types: BTreeMap::new(),
            deliveries: Deliveries::new(now),
            links: Vec::new(),
            created: now,
            stored: 0,
            messages: BTreeMap::new(),
            applications: BTreeMap::new(),
            newest: HashMap::new(),
        }
    }

    pub fn application(&self, uid: &str) -> Option<&Application> {
        self.applications.get(uid)
    }

    pub fn has_application(&self, uid: &str) -> bool {
        self.application(uid).is_some()
    }

    /// Creates an application unless it exists.
    pub fn create_application(&mut self, uid: &str) {
        if !self.has_application(uid) {
            let application = Application::default();
            self.applications.insert(uid.to_owned(), application);
        }
    }

    /// Deletes an application, its messages and its endpoints; the kept replies survive.
    pub fn delete_application(&mut self, uid: &str) {
        self.applications.remove(uid);
        self.deliveries.forget_application(uid);
        self.messages.retain(|_, message| message.app != uid);
    }

    pub fn applications(&self) -> Vec<String> {
        self.applications.keys().cloned().collect()
    }

    pub fn details(&mut self, app: &str) -> Option<&mut Details> {
        let application = self.applications.get_mut(app)?;
        Some(&mut application.details)
    }

    /// Whether this eventId was used within the last day. A post with it is a conflict then.
    pub fn is_taken(&self, app: &str, event_id: &str, now: SystemTime) -> bool {
        let newest = match self.event_id_scope {
            EventIdScope::Application => self.applications.get(app).map(|app| &app.newest),
            EventIdScope::Environment => Some(&self.newest),
        };
        newest
            .and_then(|newest| self.messages.get(newest.get(event_id)?))
            .is_some_and(|message| now < message.timestamp + EVENT_ID_UNIQUE_FOR)
    }

    /// Stores a message; creates its application if that is missing.
    pub fn insert(
        &mut self,
        app: &str,
        message: &NewMessage,
        idempotency_key: Option<&str>,
        now: SystemTime,
    ) -> &StoredMessage {
        // The number between two messages is for a copy of the first.
        self.stored += 2;
        let number = self.stored;
        let application = self.applications.entry(app.to_owned()).or_default();
        application.messages.push(number);
        if let Some(event_id) = &message.event_id {
            application.newest.insert(event_id.clone(), number);
            self.newest.insert(event_id.clone(), number);
        }
        let id = self.message_id(number);
        let stored = self.messages.entry(number).or_insert(StoredMessage {
            app: app.to_owned(),
            id,
            event_id: message.event_id.clone(),
            event_type: message.event_type.clone(),
            channels: message.channels.clone(),
            payload: message.payload.clone(),
            timestamp: now,
            idempotency_key: idempotency_key.map(str::to_owned),
        });
        self.deliveries.send(stored, now);
        stored
    }

    /// Makes the attempts to deliver that were due until now.
    pub fn settle(&mut self, now: SystemTime) {
        let has_payload = |id: &str| {
            let message = number(id).and_then(|number| self.messages.get(&number));
            message.is_some_and(|message| !message.is_expired())
        };
        self.deliveries.settle(now, has_payload);
    }

    /// Finds a message of this application by Svix's id, or the newest one with this eventId.
    pub fn find(&self, app: &str, id: &str) -> Option<&StoredMessage> {
        let application = self.applications.get(app)?;
        let number = match id.strip_prefix("msg_") {
            Some(_) => number(id)?,
            None => *application.newest.get(id)?,
        };
        self.messages.get(&number).filter(|message| {
            message.app == app && (message.id == id || message.event_id.as_deref() == Some(id))
        })
    }

    /// The messages of an application, oldest first, from the first that `is_later` holds for. It holds for
    /// all messages after that one.
    pub fn messages_since(
        &self,
        app: &str,
        is_later: impl Fn(&StoredMessage) -> bool,
    ) -> impl DoubleEndedIterator<Item = &StoredMessage> {
        let application = self.applications.get(app);
        let numbers = application.map_or(&[][..], |application| &application.messages);
        let first = numbers.partition_point(|number| {
            let message = self.messages.get(number);
            !message.is_some_and(&is_later)
        });
        let later = numbers[first..].iter();
        later.filter_map(|number| self.messages.get(number))
    }

    /// Deletes the payload of a message. `None` if the message doesn't exist.
    pub fn expunge(&mut self, app: &str, id: &str) -> Option<()> {
        let number = number(&self.find(app, id)?.id)?;
        let message = self.messages.get_mut(&number)?;
        EXPIRED.clone_into(&mut message.payload);
        Some(())
    }

    pub fn forget_message(&mut self, id: &str) {
        let forgotten =
            number(id).and_then(|number| Some((number, self.messages.remove(&number)?)));
        if let Some((number, message)) = forgotten
            && let Some(application) = self.applications.get_mut(&message.app)
        {
            application.messages.retain(|it| *it != number);
        }
    }

    /// Stores a copy right after a message, if the message has none.
    pub fn store_again(&mut self, id: &str) {
        let Some((number, message)) =
            number(id).and_then(|number| Some((number, self.messages.get(&number)?)))
        else {
            return;
        };
        let copy = StoredMessage { id: self.message_id(number + 1), ..message.clone() };
        if let Some(application) = self.applications.get_mut(&copy.app) {
            let place = application.messages.partition_point(|it| *it <= number);
            application.messages.insert(place, number + 1);
        }
        self.messages.insert(number + 1, copy);
    }

    /// All messages, oldest first.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &StoredMessage> {
        self.messages.values()
    }

    fn message_id(&self, number: u64) -> String {
        id("msg_", self.created, number)
    }
}

/// An id with 27 characters after its prefix that begin with a time, as in Svix. Two fakes that run one
/// after the other have different ids.
pub(crate) fn id(prefix: &str, created: SystemTime, number: u64) -> String {
    let created = created.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = created.map_or(0, |since| since.as_secs());
    format!("{prefix}{seconds:011}{number:016}")
}

/// The number in an id. Messages are stored in the order of their numbers.
pub(crate) fn number(id: &str) -> Option<u64> {
    id.split_once('_')?.1.get(11..)?.parse().ok()
}
