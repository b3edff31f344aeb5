//! Decides from a request's headers, before its body is read, who may ask for what. Pub/Sub's tokens are checked with
//! Google's keys. Only a webhook's signature covers the body, too.

mod flaw;
pub mod keys;
pub mod known_keys;
pub mod project_token;
mod token;
pub mod webhook;

use std::cell::RefCell;

pub use self::flaw::Flaw;
use self::known_keys::News;
use self::token::{Token, Verified};
use crate::config::{Config, Ingest, Operator, Secret};
use crate::host;
use crate::host::clock;
use crate::host::deadline::Deadline;
use crate::time;

/// The longest `Authorization` that is looked at, in bytes. Google's tokens have less than one kB.
const MAX_AUTHORIZATION: usize = 8 * 1024;

thread_local! {
    /// The tokens that this instance need not verify again.
    static VERIFIED: RefCell<Verified> = const { RefCell::new(Verified::none()) };
}

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// There is no `admin_token`, so the operator's routes don't exist.
    NoOperators,
    /// The token of an operator or of the project is missing or wrong.
    Operator,
    /// The operator may only read.
    ReadOnly,
    /// The sender may not post.
    Sender(Flaw),
    /// The report is not one that Svix has signed.
    Report(Flaw),
    /// The sender can't be verified: Google's keys are not known, and can't be fetched.
    KeysUnavailable(host::Error),
}

impl From<Flaw> for Denial {
    fn from(flaw: Flaw) -> Self {
        Self::Sender(flaw)
    }
}

/// Lets the sender of a notification in, if `ingest_auth` allows it. `tell` is called with changes of
/// Google's keys.
pub async fn notifier(
    config: &'static Config,
    authorization: Option<&str>,
    deadline: Deadline,
    tell: fn(News),
) -> Result<(), Denial> {
    let pubsub = match &config.ingest {
        Ingest::AnySender => return Ok(()),
        Ingest::Token(tokens) => return is_one_of(tokens, shown(authorization)?),
        Ingest::Pubsub(pubsub) => pubsub,
    };
    let shown = shown(authorization)?;
    let token = Token::parse(shown)?;
    let key = keys::find(&pubsub.jwks, &token.kid, deadline, tell).await?;
    let key = key.ok_or(Flaw::Key)?;
    let now = time::unix_seconds(clock::now());
    if VERIFIED.with_borrow(|verified| verified.holds(shown, &key, now)) {
        return Ok(());
    }
    let until = token.verify(&key, pubsub, now)?;
    VERIFIED.with_borrow_mut(|verified| verified.remember(shown, key, until));
    Ok(())
}

/// An operator or a dashboard that is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    Operator(&'static Operator),
    /// A dashboard with a token of the project that it asks about.
    Project,
}

impl Caller {
    pub fn operator(self) -> Result<&'static Operator, Denial> {
        match self {
            Self::Operator(operator) => Ok(operator),
            Self::Project => Err(Denial::Operator),
        }
    }
}

/// Lets in a reader of the record of an event in `project`: an operator, a dashboard, or any sender (`None`) if
/// neither operators nor senders need a token.
pub fn reader(
    config: &'static Config,
    authorization: Option<&str>,
    project: Option<&str>,
) -> Result<Option<Caller>, Denial> {
    if config.operators.is_empty() && config.ingest == Ingest::AnySender {
        Ok(None)
    } else {
        operator(config, authorization, project).map(Some)
    }
}

/// Lets in an operator, or a dashboard with a token of `project`.
pub fn operator(
    config: &'static Config,
    authorization: Option<&str>,
    project: Option<&str>,
) -> Result<Caller, Denial> {
    if config.operators.is_empty() {
        return Err(Denial::NoOperators);
    }
    let shown = shown(authorization).map_err(|_| Denial::Operator)?;
    // Every token is compared, so that no answer comes sooner than another.
    let operators = config.operators.iter();
    let known = operators.fold(None, |known, operator| {
        let is_this = operator.token.is(shown);
        known.or(is_this.then_some(operator))
    });
    if let Some(operator) = known {
        return Ok(Caller::Operator(operator));
    }
    let now = time::unix_seconds(clock::now());
    let secrets = &config.project_token_secrets;
    match project {
        Some(project) if project_token::opens(secrets, project, shown, now) => Ok(Caller::Project),
        _ => Err(Denial::Operator),
    }
}

/// The token that a request shows.
fn shown(authorization: Option<&str>) -> Result<&str, Flaw> {
    let authorization = authorization.ok_or(Flaw::Missing)?;
    if authorization.len() > MAX_AUTHORIZATION {
        return Err(Flaw::Length);
    }
    bearer(authorization).ok_or(Flaw::Scheme)
}

fn is_one_of(tokens: &[Secret], shown: &str) -> Result<(), Denial> {
    // Every token is compared, so that no answer comes sooner than another.
    let known = tokens.iter().fold(false, |known, token| known | token.is(shown));
    if known { Ok(()) } else { Err(Flaw::Token.into()) }
}

/// The token in an `Authorization` header (RFC 6750).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_bearer_token_as_it_is() {
        assert_eq!(shown(Some("Bearer abc")), Ok("abc"));
        assert_eq!(shown(Some("bEARER  abc ")), Ok(" abc "));
        assert_eq!(shown(Some("Bearer ")), Ok(""));
        assert_eq!(shown(None), Err(Flaw::Missing));
        for other in ["", "Bearer", "Bearerabc", "Basic abc", " Bearer abc", "Bearer\tabc"] {
            assert_eq!(shown(Some(other)), Err(Flaw::Scheme), "{other}");
        }
    }

    #[test]
    fn looks_at_no_more_than_8_kb() {
        let longest = format!("Bearer {}", "x".repeat(MAX_AUTHORIZATION - 7));
        assert!(shown(Some(&longest)).is_ok());
        assert_eq!(shown(Some(&format!("{longest}x"))), Err(Flaw::Length));
    }
}
