//! The events that become messages, and what a message has beside its payload.

use super::check::{Check, whole_number};
use super::svix::Svix;
use crate::event;
use crate::event::field::Field;

/// The most tags of a message.
const MAX_TAGS: usize = 5;

/// The most channels of a message: Svix's own service takes more than its open-source server.
const MAX_CHANNELS_HOSTED: usize = 10;
const MAX_CHANNELS: usize = 5;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// The event types that are relayed. Empty for all.
    pub types: Vec<Pattern>,
    pub tags: Vec<Field>,
    pub channels: Vec<Field>,
    /// For how many days Svix keeps the payload. `None` for Svix's own default.
    pub retention_days: Option<u64>,
}

/// An event type, or the beginning of event types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    Exact(String),
    Prefix(String),
}

impl Messages {
    pub fn read(check: &mut Check<'_>, svix: Option<&Svix>) -> Option<Self> {
        // A list of white space alone would mean all types.
        let types = check.value("event_types", |value| {
            words(value)?.map(Pattern::parse).collect()
        });
        let tags = check.value("message_tags", |value| fields(value, MAX_TAGS));
        let is_hosted = svix.is_some_and(Svix::is_hosted);
        let most = if is_hosted {
            MAX_CHANNELS_HOSTED
        } else {
            MAX_CHANNELS
        };
        let channels = check.value("message_channels", |value| fields(value, most));
        let retention_days = check.value("payload_retention_days", |value| match value {
            "" => Ok(None),
            days => whole_number(days, 5..=90).map(Some),
        });
        Some(Self {
            types: types?,
            tags: tags?,
            channels: channels?,
            retention_days: retention_days?,
        })
    }

    /// Whether events of this type are relayed.
    pub fn relays(&self, event_type: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|pattern| pattern.matches(event_type))
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, is_prefix) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        if event::check_identifier(name).is_err() {
            return Err(
                "may hold only event types such as user.created, and beginnings such as user.*"
                    .to_owned(),
            );
        }
        let name = name.to_owned();
        Ok(if is_prefix {
            Self::Prefix(name)
        } else {
            Self::Exact(name)
        })
    }

    fn matches(&self, event_type: &str) -> bool {
        match self {
            Self::Exact(name) => name == event_type,
            Self::Prefix(prefix) => event_type.starts_with(&prefix[..]),
        }
    }
}

/// The words of a list. A list that isn't empty has some.
fn words(list: &str) -> Result<impl Iterator<Item = &str>, String> {
    if !list.is_empty() && list.trim().is_empty() {
        Err("must not be white space alone".to_owned())
    } else {
        Ok(list.split_whitespace())
    }
}

/// Reads the names of at most so many fields.
fn fields(names: &str, most: usize) -> Result<Vec<Field>, String> {
    let fields: Option<Vec<_>> = words(names)?.map(Field::parse).collect();
    fields.filter(|fields| fields.len() <= most).ok_or_else(|| {
        format!("may hold at most {most} names such as data.user.id, of at most three parts")
    })
}
