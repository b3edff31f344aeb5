//! The events that become messages, and what a message has beside its payload.

use super::check::{Check, whole_number};
use super::svix::Svix;
use crate::event::field::Field;
use crate::identifier;

/// The most tags of a message.
const MAX_TAGS: usize = 5;

/// The most channels of a message: Svix's own service takes more than its open-source server.
const MAX_CHANNELS_HOSTED: usize = 10;
const MAX_CHANNELS: usize = 5;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    pub types: Types,
    pub tags: Vec<Field>,
    pub channels: Vec<Field>,
    /// For how many days Svix keeps the payload. `None` for Svix's own default.
    pub retention_days: Option<u64>,
}

/// Which event types are for customers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types {
    /// Empty for all but the internal ones.
    public: Vec<Pattern>,
    internal: Vec<Pattern>,
}

/// For whom the events of a type are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    Customers,
    /// The platform itself.
    Internal,
    /// `event_types` names both kinds, and this type is of neither.
    Undecided,
}

/// An event type, or the beginning of event types.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    Prefix(String),
}

impl Messages {
    pub fn read(check: &mut Check<'_>, svix: Option<&Svix>) -> Option<Self> {
        // A list of white space alone would mean all types.
        let types = check.value("event_types", Types::parse);
        let tags = check.value("message_tags", |value| fields(value, MAX_TAGS));
        let is_hosted = svix.is_some_and(Svix::is_hosted);
        let most = if is_hosted { MAX_CHANNELS_HOSTED } else { MAX_CHANNELS };
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
}

impl Types {
    fn parse(list: &str) -> Result<Self, String> {
        // Taken for a type, such a word would let no event pass, and no answer to a sender would show that.
        if matches!(list.trim(), "none" | "all") {
            return Err("must be empty or * for all events".to_owned());
        }
        let mut types = Self::default();
        for word in words(list)? {
            match word.strip_prefix('!') {
                Some("" | "*") => return Err("must name a type after each !".to_owned()),
                Some(internal) => types.internal.push(Pattern::parse(internal)?),
                None => types.public.push(Pattern::parse(word)?),
            }
        }
        let is_void = |public: &Pattern| types.internal.iter().any(|it| it.covers(public));
        if types.public.iter().any(is_void) {
            return Err("must not name a type that ! excludes".to_owned());
        }
        Ok(types)
    }

    pub fn audience(&self, event_type: &str) -> Audience {
        let is_in = |patterns: &[Pattern]| patterns.iter().any(|it| it.matches(event_type));
        if is_in(&self.internal) {
            Audience::Internal
        } else if self.public.is_empty() || is_in(&self.public) {
            Audience::Customers
        } else if self.internal.is_empty() {
            Audience::Internal
        } else {
            Audience::Undecided
        }
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, is_prefix) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        // `.*` is a regular expression, and as a beginning it fits no event.
        if name.starts_with('.') || identifier::check(name).is_err() {
            return Err(
                "may hold only event types such as user.created, and beginnings such as user.*; ! before one excludes it"
                    .to_owned(),
            );
        }
        let name = name.to_owned();
        Ok(if is_prefix { Self::Prefix(name) } else { Self::Exact(name) })
    }

    /// Whether every type of `other` is one of this pattern.
    fn covers(&self, other: &Self) -> bool {
        match other {
            Self::Exact(name) => self.matches(name),
            Self::Prefix(prefix) => matches!(self, Self::Prefix(own) if prefix.starts_with(own)),
        }
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
        format!("may hold at most {most} names such as data.user.id, of at most three parts, with spaces between them")
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, with};
    use super::Audience;

    #[test]
    fn only_the_listed_event_types_are_taken() {
        let taken = |types, event_type: &str| {
            let config = with(&[("event_types", types)]);
            config.map(|config| config.messages.types.audience(event_type) == Audience::Customers)
        };
        let types = "user.created  subscription.*\nsim";
        for event_type in
            ["user.created", "subscription.activated", "subscription.plan.changed", "sim"]
        {
            assert_eq!(taken(types, event_type), Ok(true), "{event_type}");
            assert_eq!(taken("", event_type), Ok(true));
            assert_eq!(taken("*", event_type), Ok(true));
        }
        for event_type in ["user.deleted", "user.created.late", "subscription", "sim.created"] {
            assert_eq!(taken(types, event_type), Ok(false), "{event_type}");
        }
        for bad in [
            "user.*.created",
            "**",
            "*.created",
            "user created,",
            ".*",
            "none",
            "all",
            "a/b",
            &"a".repeat(257),
        ] {
            refused("event_types", bad);
        }
    }

    #[test]
    fn an_excluded_type_is_internal_and_one_that_nothing_names_is_undecided() {
        let audience = |types, event_type: &str| {
            let config = with(&[("event_types", types)]).expect("a valid list");
            config.messages.types.audience(event_type)
        };
        let types = "user.* sim !user.flagged !ledger.*";
        for (event_type, expected) in [
            ("user.created", Audience::Customers),
            ("sim", Audience::Customers),
            ("user.flagged", Audience::Internal),
            ("user.flagged.late", Audience::Customers),
            ("ledger.booked", Audience::Internal),
            ("port.failed", Audience::Undecided),
        ] {
            assert_eq!(audience(types, event_type), expected, "{event_type}");
        }
        assert_eq!(audience("!ledger.*", "port.failed"), Audience::Customers);
        assert_eq!(audience("!ledger.* *", "port.failed"), Audience::Customers);
        assert_eq!(audience("!ledger.*", "ledger.booked"), Audience::Internal);
        assert_eq!(audience("user.*", "port.failed"), Audience::Internal);
        for bad in [
            "!",
            "!*",
            "user.* ! ledger.*",
            "!!ledger",
            "!ledger.*.x",
            "-ledger!",
            "user.created !user.*",
            "sim !sim",
            "user.* !user.*",
            "user.a.* !user.*",
            "* user.created !user.created",
        ] {
            refused("event_types", bad);
        }
    }

    #[test]
    fn a_message_has_as_many_channels_as_its_svix_takes() {
        let ten = "a b c d e f g h i data.j.k";
        let channels = |url, names| {
            let config = with(&[("svix_url", url), ("message_channels", names)]);
            config.map(|config| config.messages.channels.len())
        };
        assert_eq!(channels("", ten), Ok(10));
        assert_eq!(channels("https://api.eu.svix.com", ten), Ok(10));
        assert_eq!(channels("http://127.0.0.1:9071", "a b c d e"), Ok(5));
        assert!(channels("http://127.0.0.1:9071", ten).is_err());
        assert_eq!(channels("https://api.eu.svix.com.:443", ten), Ok(10));
        assert!(channels("https://api.notsvix.com", ten).is_err());
        for bad in ["a b c d e f g h i j k", "data.a.b.c", "data..id"] {
            refused("message_channels", bad);
        }
        refused("message_tags", "a b c d e f");
    }

    #[test]
    fn a_payload_is_kept_for_as_long_as_both_servers_can() {
        let days = |value| {
            let config = with(&[("payload_retention_days", value)]);
            config.map(|config| config.messages.retention_days)
        };
        assert_eq!(days(""), Ok(None));
        assert_eq!(days("5"), Ok(Some(5)));
        for bad in ["4", "91", "5d", " "] {
            refused("payload_retention_days", bad);
        }
    }

    #[test]
    fn a_list_of_white_space_alone_is_no_list() {
        for name in ["event_types", "message_tags", "message_channels"] {
            for value in [" ", "\n", "\t "] {
                refused(name, value);
            }
            assert!(with(&[(name, " a\n")]).is_ok(), "{name}");
        }
    }
}
