//! Who may ask for what: decides from a request's headers alone, before its body is read.

use std::cell::RefCell;

use crate::check::Check;
use crate::config::{Config, Ingest, Pubsub, Secret};
use crate::host::{self, Stopwatch};
use crate::keys;
use crate::oidc::{Token, Verified};
use crate::problem::Problem;
use crate::route::NoRoute;

/// The longest `Authorization` that is looked at, in bytes. Google's tokens have less than one kB.
const MAX_AUTHORIZATION: usize = 8 * 1024;

thread_local! {
    /// The tokens that this instance need not verify again.
    static VERIFIED: RefCell<Verified> = const { RefCell::new(Verified::none()) };
}

/// Lets in who posts a notification, if `ingest_auth` allows it.
pub async fn notifier(
    config: &'static Config,
    authorization: Option<&str>,
    stopwatch: Stopwatch,
) -> Result<(), Problem> {
    match &config.ingest {
        Ingest::Anyone => Ok(()),
        Ingest::Token(tokens) => is_one_of(tokens, shown(authorization)?),
        Ingest::Pubsub(pubsub) => {
            let token = shown(authorization)?;
            is_of_pubsub(pubsub, token, config, stopwatch).await
        }
    }
}

/// Lets in who asks for the record of an event: the operator, or anyone if anyone may post.
pub fn reader(config: &Config, authorization: Option<&str>) -> Result<(), Problem> {
    match (&config.admin_token, &config.ingest) {
        (None, Ingest::Anyone) => Ok(()),
        _ => operator(config, authorization),
    }
}

/// Lets an operator in, who has shown `authorization`.
pub fn operator(config: &Config, authorization: Option<&str>) -> Result<(), Problem> {
    // Without a token there is nothing here, not even a locked door.
    let token = config.admin_token.as_ref();
    let token = token.ok_or(Problem::NoRoute(NoRoute::NotFound))?;
    match authorization.and_then(bearer) {
        Some(shown) if token.is(shown) => Ok(()),
        _ => Err(Problem::Unauthorized),
    }
}

/// The token that a sender shows.
fn shown(authorization: Option<&str>) -> Result<&str, Check> {
    let authorization = authorization.ok_or(Check::Missing)?;
    if authorization.len() > MAX_AUTHORIZATION {
        return Err(Check::Length);
    }
    bearer(authorization).ok_or(Check::Scheme)
}

fn is_one_of(tokens: &[Secret], shown: &str) -> Result<(), Problem> {
    // All of them, so that it takes no longer for one than for another.
    let known = tokens
        .iter()
        .fold(false, |known, token| known | token.is(shown));
    if known {
        Ok(())
    } else {
        Err(Check::Token.into())
    }
}

async fn is_of_pubsub(
    pubsub: &'static Pubsub,
    shown: &str,
    config: &Config,
    stopwatch: Stopwatch,
) -> Result<(), Problem> {
    let token = Token::parse(shown)?;
    let key = keys::find(&pubsub.jwks, &token.kid, stopwatch, config.retry.budget).await?;
    let key = key.ok_or(Check::Key)?;
    let now = keys::seconds(host::now());
    if VERIFIED.with_borrow(|verified| verified.holds(shown, &key, now)) {
        return Ok(());
    }
    let until = token.verify(&key, pubsub, now)?;
    VERIFIED.with_borrow_mut(|verified| verified.remember(shown, key, until));
    Ok(())
}

/// The token in an `Authorization` header (RFC 6750).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

impl From<Check> for Problem {
    fn from(check: Check) -> Self {
        Self::Unauthenticated(check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_bearer_token_as_it_is() {
        assert_eq!(shown(Some("Bearer abc")), Ok("abc"));
        assert_eq!(shown(Some("bEARER  abc ")), Ok(" abc "));
        assert_eq!(shown(Some("Bearer ")), Ok(""));
        assert_eq!(shown(None), Err(Check::Missing));
        for other in [
            "",
            "Bearer",
            "Bearerabc",
            "Basic abc",
            " Bearer abc",
            "Bearer\tabc",
        ] {
            assert_eq!(shown(Some(other)), Err(Check::Scheme), "{other}");
        }
    }

    #[test]
    fn looks_at_no_more_than_8_kb() {
        let longest = format!("Bearer {}", "x".repeat(MAX_AUTHORIZATION - 7));
        assert!(shown(Some(&longest)).is_ok());
        assert_eq!(shown(Some(&format!("{longest}x"))), Err(Check::Length));
    }
}
