//! Decides from a request's headers alone, before its body is read, who may ask for what.

mod flaw;
pub mod keys;
pub mod known_keys;
mod token;
pub mod webhook;

use std::cell::RefCell;

pub use self::flaw::Flaw;
use self::known_keys::News;
use self::token::{Token, Verified};
use crate::config::{Config, Ingest, Secret};
use crate::host;
use crate::host::clock::{self, Stopwatch};
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
    /// The operator's token is missing or wrong.
    Operator,
    /// The sender may not post.
    Sender(Flaw),
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
    stopwatch: Stopwatch,
    tell: fn(News),
) -> Result<(), Denial> {
    let pubsub = match &config.ingest {
        Ingest::AnySender => return Ok(()),
        Ingest::Token(tokens) => return is_one_of(tokens, shown(authorization)?),
        Ingest::Pubsub(pubsub) => pubsub,
    };
    let shown = shown(authorization)?;
    let token = Token::parse(shown)?;
    let budget = config.retry.budget;
    let key = keys::find(&pubsub.jwks, &token.kid, stopwatch, budget, tell).await?;
    let key = key.ok_or(Flaw::Key)?;
    let now = time::unix_seconds(clock::now());
    if VERIFIED.with_borrow(|verified| verified.holds(shown, &key, now)) {
        return Ok(());
    }
    let until = token.verify(&key, pubsub, now)?;
    VERIFIED.with_borrow_mut(|verified| verified.remember(shown, key, until));
    Ok(())
}

/// Lets in a reader of an event's record: the operator, or any sender if neither
/// operators nor senders need a token.
pub fn reader(config: &Config, authorization: Option<&str>) -> Result<(), Denial> {
    match (&config.admin_token, &config.ingest) {
        (None, Ingest::AnySender) => Ok(()),
        _ => operator(config, authorization),
    }
}

pub fn operator(config: &Config, authorization: Option<&str>) -> Result<(), Denial> {
    let token = config.admin_token.as_ref().ok_or(Denial::NoOperators)?;
    match authorization.and_then(bearer) {
        Some(shown) if token.is(shown) => Ok(()),
        _ => Err(Denial::Operator),
    }
}

/// The token that a sender shows.
fn shown(authorization: Option<&str>) -> Result<&str, Flaw> {
    let authorization = authorization.ok_or(Flaw::Missing)?;
    if authorization.len() > MAX_AUTHORIZATION {
        return Err(Flaw::Length);
    }
    bearer(authorization).ok_or(Flaw::Scheme)
}

fn is_one_of(tokens: &[Secret], shown: &str) -> Result<(), Denial> {
    // Every token is compared, so that no answer comes sooner than another.
    let known = tokens
        .iter()
        .fold(false, |known, token| known | token.is(shown));
    if known {
        Ok(())
    } else {
        Err(Flaw::Token.into())
    }
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
        for other in [
            "",
            "Bearer",
            "Bearerabc",
            "Basic abc",
            " Bearer abc",
            "Bearer\tabc",
        ] {
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
