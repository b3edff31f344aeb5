//! The configuration: every variable of `spin.toml`, checked, with its bounds.
//!
//! An invalid value is reported by name and never replaced by a default: a relay that guesses its
//! configuration would deliver to the wrong place. Each variable is named once, where it is read.

pub mod check;
mod ingest;
pub mod load;
mod messages;
mod operators;
mod retry;
mod secret;
mod svix;

use std::time::Duration;

use self::check::{Check, Values, each, whole_number};
pub use self::ingest::{Ingest, Pubsub};
pub use self::messages::{Audience, Messages};
pub use self::operators::Operator;
pub use self::retry::Retry;
pub use self::secret::{Secret, SigningKey};
pub use self::svix::Svix;
use crate::identifier;
use crate::violation::Violation;

/// The largest event that can be allowed. Svix itself takes no more than 2 MB, and an instance may hold
/// several copies of sixteen events at once.
const MAX_EVENT: u64 = 2 * 1024 * 1024;

/// The longest `key_prefix`, in characters.
const MAX_PREFIX: usize = 32;

/// The shortest secret that signs tokens, in characters. The holder of one token could guess a shorter secret.
const MIN_SIGNING_SECRET: usize = 32;

/// A valid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub svix: Svix,
    pub retry: Retry,
    pub ingest: Ingest,
    pub messages: Messages,
    /// The largest event that is relayed, without what a push wraps around it.
    pub max_body_bytes: usize,
    /// Whether the relay keeps dead letters, or leaves their events to Pub/Sub.
    pub keep_dead_letters: bool,
    /// The beginning of every name in the key-value store, so that applications can share a database.
    pub key_prefix: String,
    /// The operators. If there are none, their routes don't exist.
    pub operators: Vec<Operator>,
    /// The secrets that verify tokens of projects; the first one also signs. If there are none, no project has a token.
    pub project_token_secrets: Vec<Secret>,
    /// How long a record is kept at least.
    pub record_retention: Duration,
    /// How long a letter waits for an operator. `None` for ever.
    pub letter_retention: Option<Duration>,
    /// For how long Pub/Sub keeps an event that is not acknowledged.
    pub pubsub_retention: Duration,
    /// The project that canaries go to. Without it there are none.
    pub canary_project: Option<String>,
}

impl Config {
    /// Checks the values of all variables. Fails with every violation there is.
    pub fn from_values(values: &Values) -> Result<Self, Vec<Violation>> {
        let mut check = Check::of(values);
        match Self::read(&mut check) {
            Some(config) if check.violations.is_empty() => Ok(config),
            _ => Err(check.violations),
        }
    }

    /// The values of all variables, as far as operators may see them.
    pub fn shown(values: &Values) -> Values {
        let mut check = Check::of(values);
        Self::read(&mut check);
        check.shown
    }

    /// The name of every variable.
    pub fn names() -> Vec<&'static str> {
        Self::shown(&Values::new()).into_keys().collect()
    }

    /// Reads every variable, even if others are invalid.
    fn read(check: &mut Check<'_>) -> Option<Self> {
        let svix = Svix::read(check);
        let retry = Retry::read(check);
        let ingest = Ingest::read(check);
        let messages = Messages::read(check, svix.as_ref());
        let max_body_bytes = check.number("max_body_bytes", 1..=MAX_EVENT);
        let keep_dead_letters = check.choice("dead_letters", ["store", "reject"]);
        let key_prefix = check.value("key_prefix", key_prefix);
        let operators = Operator::read(check);
        if let (Some(Ingest::Token(tokens)), Some(operators)) = (&ingest, &operators)
            && operators.iter().any(|one| tokens.contains(&one.token))
        {
            // A publisher could then erase and replay.
            check.refuse::<()>("ingest_token", "must not hold a token of admin_token");
        }
        let project_token_secrets = check.secret("project_token_secret", signing_secrets);
        let record_retention = check.days("record_retention_days", 1..=3_650);
        // A letter's end is announced a day before.
        let letter_retention = check.value("dead_letter_retention_days", |value| match value {
            "" => Ok(None),
            days => whole_number(days, 2..=3_650).map(|days| Some(Duration::from_hours(24 * days))),
        });
        let pubsub_retention = check.days("pubsub_retention_days", 1..=31);
        if record_retention.is_some() && record_retention < pubsub_retention {
            let reason = "must not be less than pubsub_retention_days";
            check.refuse::<()>("record_retention_days", reason);
        }
        let canary_project = check.value("canary_project", |value| match value {
            "" => Ok(None),
            value => identifier::check_project(value).map(|()| Some(value.to_owned())),
        });
        Some(Self {
            svix: svix?,
            retry: retry?,
            ingest: ingest?,
            messages: messages?,
            max_body_bytes: usize::try_from(max_body_bytes?).ok()?,
            keep_dead_letters: keep_dead_letters?,
            key_prefix: key_prefix?,
            operators: operators?,
            project_token_secrets: project_token_secrets?,
            record_retention: record_retention?,
            letter_retention: letter_retention?,
            pubsub_retention: pubsub_retention?,
            canary_project: canary_project?,
        })
    }
}

fn signing_secrets(value: &str) -> Result<Vec<Secret>, String> {
    each(value, |part| {
        let secret = Secret::parse(part)?;
        if secret.expose().len() < MIN_SIGNING_SECRET {
            return Err(format!(
                "must have at least {MIN_SIGNING_SECRET} characters, several separated by commas"
            ));
        }
        Ok(secret)
    })
}

fn key_prefix(value: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
    if value.len() <= MAX_PREFIX && value.bytes().all(plain) {
        Ok(value.to_owned())
    } else {
        Err(format!(
            "may hold only letters, digits, '-', '_', '.', ':' and '/', at most {MAX_PREFIX}"
        ))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The defaults with these changes.
    fn values(changes: &[(&'static str, &str)]) -> Values {
        let mut values = Values::from(
            [
                ("svix_token", "testsk_abc.eu"),
                ("svix_url", ""),
                ("svix_timeout_ms", "3000"),
                ("retry_max_attempts", "4"),
                ("retry_budget_ms", "8000"),
                ("retry_base_delay_ms", "100"),
                ("retry_max_delay_ms", "2000"),
                ("max_body_bytes", "1048576"),
                ("create_applications", "true"),
                ("dead_letters", "store"),
                ("admin_token", ""),
                ("project_token_secret", ""),
                ("register_event_types", "true"),
                ("svix_webhook_secret", ""),
                ("record_retention_days", "30"),
                ("pubsub_retention_days", "7"),
                ("dead_letter_retention_days", ""),
                ("canary_project", ""),
                ("event_types", ""),
                ("message_tags", ""),
                ("message_channels", ""),
                ("payload_retention_days", ""),
                ("ingest_auth", "none"),
                ("ingest_token", ""),
                ("pubsub_audience", ""),
                ("pubsub_service_account", ""),
                ("pubsub_jwks_url", "https://www.googleapis.com/oauth2/v3/certs"),
                ("pubsub_jwks_origin", "https://www.googleapis.com"),
                ("key_prefix", ""),
            ]
            .map(|(name, value)| (name, value.to_owned())),
        );
        for (name, value) in changes {
            assert!(values.insert(name, (*value).to_owned()).is_some());
        }
        values
    }

    /// The configuration of the defaults with these changes.
    pub fn with(changes: &[(&'static str, &str)]) -> Result<Config, Vec<Violation>> {
        let values = values(changes);
        assert!(values.keys().all(|name| Config::names().contains(name)));
        Config::from_values(&values)
    }

    /// The violations of this value. No other variable has any.
    pub fn refused(name: &'static str, value: &str) -> Vec<Violation> {
        let violations = with(&[(name, value)]).expect_err(value);
        assert!(violations.iter().all(|violation| violation.field == name), "{violations:?}");
        violations
    }

    #[test]
    fn reads_the_defaults() {
        let config = with(&[]).expect("valid");
        assert_eq!(config.svix.timeout, Duration::from_secs(3));
        assert_eq!(config.retry.max_attempts, 4);
        assert_eq!(config.retry.budget, Duration::from_secs(8));
        assert_eq!(config.max_body_bytes, 1_048_576);
        assert!(config.svix.create_applications);
        assert!(config.keep_dead_letters);
        assert_eq!(config.key_prefix, "");
        assert_eq!(config.operators, []);
        assert_eq!(config.project_token_secrets, []);
        assert!(config.svix.register_event_types);
        assert_eq!(config.record_retention, Duration::from_hours(30 * 24));
        assert_eq!(config.ingest, Ingest::AnySender);
    }

    #[test]
    fn a_key_prefix_is_short_and_plain() {
        let prefix = with(&[("key_prefix", "svix-relay/")]).map(|config| config.key_prefix);
        assert_eq!(prefix.as_deref(), Ok("svix-relay/"));
        for bad in ["a b", "\u{e4}", "a*", &"a".repeat(33)] {
            refused("key_prefix", bad);
        }
    }

    #[test]
    fn no_token_opens_both_ways_in() {
        let with = |operators| {
            with(&[
                ("ingest_auth", "token"),
                ("ingest_token", "one,two"),
                ("admin_token", operators),
            ])
        };
        assert!(with("alice:three").is_ok());
        let violations = with("alice:three,bob:ro:two").expect_err("a publisher's token");
        let fields: Vec<_> = violations.iter().map(|it| it.field).collect();
        assert_eq!(fields, ["ingest_token"]);
    }

    #[test]
    fn secrets_of_project_tokens_are_long_and_can_be_rotated() {
        let (new, old) = ("n".repeat(32), "o".repeat(32));
        let both = format!("{new}, {old}");
        let config = with(&[("project_token_secret", &both)]).expect("valid");
        let secrets = config.project_token_secrets;
        assert!(secrets[0].is(&new) && secrets[1].is(&old) && secrets.len() == 2);
        for bad in [&new[1..], &format!("{new},"), &format!("{new},{}", &old[1..])] {
            refused("project_token_secret", bad);
        }
    }

    #[test]
    fn records_outlive_events_that_pubsub_may_send_again() {
        let kept_for = |records, pubsub| {
            with(&[("record_retention_days", records), ("pubsub_retention_days", pubsub)])
        };
        let violations = kept_for("30", "31").expect_err("shorter");
        assert_eq!(violations[0].field, "record_retention_days");
        assert!(kept_for("31", "31").is_ok());
        assert!(kept_for("1", "1").is_ok());
        for bad in ["1", "0", "3651", "x"] {
            refused("dead_letter_retention_days", bad);
        }
        refused("record_retention_days", "6");
        refused("record_retention_days", "0");
        refused("pubsub_retention_days", "32");
    }

    #[test]
    fn refuses_a_value_that_is_no_number_or_out_of_range() {
        for (name, values) in [
            ("svix_timeout_ms", ["+5", "60001", "3s"]),
            ("retry_max_attempts", ["0", "21", "-1"]),
            ("retry_budget_ms", ["999", "600001", "1.5"]),
            ("max_body_bytes", ["0", "2097153", ""]),
        ] {
            for value in values {
                assert_eq!(refused(name, value).len(), 1, "{name}={value}");
            }
        }
        refused("create_applications", "yes");
        refused("register_event_types", "1");
        refused("ingest_auth", "basic");
        refused("dead_letters", "");
        refused("admin_token", "two words");
        for quoted in ["\"testsk_a.eu\"", "'testsk_a.eu'", "testsk_a.eu\"", "'testsk_a.eu", "\""] {
            refused("svix_token", quoted);
            refused("admin_token", quoted);
        }
        refused("admin_token", "alice:rw:a");
        refused("retry_max_delay_ms", "99");
    }

    #[test]
    fn names_every_invalid_variable_and_never_its_value() {
        let mut values =
            values(&[("svix_token", "secret with spaces\n"), ("svix_timeout_ms", "hush")]);
        values.remove("create_applications");
        let violations = Config::from_values(&values).expect_err("three are invalid");
        let fields: Vec<_> = violations.iter().map(|violation| violation.field).collect();
        assert_eq!(fields, ["svix_token", "svix_timeout_ms", "create_applications"]);
        let shown = format!("{violations:?}");
        assert!(!shown.contains("secret") && !shown.contains("hush"), "{shown}");
    }
}
