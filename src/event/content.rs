//! The content of a notification: the text of an event, valid or not, or bytes that hold no event.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::Event;
use super::rejection::Rejection;
use crate::json;

#[derive(Debug)]
pub enum Content<'a> {
    /// The text of the event, and its fields by the names of [`Event::FIELDS`].
    Event(Cow<'a, str>, [Option<Cow<'a, RawValue>>; 4]),
    /// Why there is no event, and the bytes that are the same in every delivery.
    Rejected(Rejection, Cow<'a, [u8]>),
}

impl<'a> Content<'a> {
    pub fn of_body(text: &'a str, fields: [Option<&'a RawValue>; 4]) -> Self {
        Self::Event(text.into(), fields.map(|field| field.map(Cow::Borrowed)))
    }

    /// Reads the text that was inside a wrapper.
    pub fn of_wrapper(text: String) -> Self {
        let copy = |field: Option<&RawValue>| field.map(|raw| Cow::Owned(raw.to_owned()));
        match json::pick(&text, Event::FIELDS).map(|fields| fields.map(copy)) {
            Ok(fields) => Self::Event(text.into(), fields),
            Err(error) => Self::Rejected(error.into(), text.into_bytes().into()),
        }
    }

    /// The bytes that are the same in every delivery of the event, valid or not.
    pub fn identity(&self) -> &[u8] {
        match self {
            Self::Event(text, _) => text.as_bytes(),
            Self::Rejected(_, identity) => identity,
        }
    }

    /// The text of the event. Rejected content has an empty one.
    pub fn text(&self) -> &str {
        match self {
            Self::Event(text, _) => text,
            Self::Rejected(..) => "",
        }
    }

    pub fn fields(&self) -> Result<[Option<&RawValue>; 4], &Rejection> {
        match self {
            Self::Event(_, fields) => Ok(fields.each_ref().map(Option::as_deref)),
            Self::Rejected(rejection, _) => Err(rejection),
        }
    }
}
