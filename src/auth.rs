//! Who may ask for what: decides from a request's headers alone, before its body is read.

use crate::config::Config;
use crate::problem::Problem;
use crate::route::NoRoute;

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

/// The token in an `Authorization` header (RFC 6750).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}
