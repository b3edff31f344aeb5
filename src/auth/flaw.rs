//! The checks before a sender is let in. The log names the flaw; the sender learns nothing of it.

/// A flaw in the `Authorization` that a sender shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The header `Authorization` is missing.
    Missing,
    /// The header is too long to be looked at.
    Length,
    /// The scheme is not `Bearer`.
    Scheme,
    /// The token is not one of `ingest_token`.
    Token,
    /// The token is not a JWT of Google's form.
    Form,
    /// `alg` is not RS256.
    Algorithm,
    /// `kid` names no known key.
    Key,
    /// The key has not signed the token.
    Signature,
    /// `iss` is not Google.
    Issuer,
    /// `aud` is not the relay.
    Audience,
    /// `exp` is over, or unreadable.
    Expiry,
    /// `iat` is in the future, or unreadable.
    IssuedAt,
    /// `email` is not the subscription's service account.
    Account,
    /// `email_verified` is not true.
    AccountVerified,
}

impl Flaw {
    pub fn logged(self) -> &'static str {
        match self {
            Self::Missing => "no authorization",
            Self::Length => "authorization too long",
            Self::Scheme => "authorization is not Bearer",
            Self::Token => "not an ingest_token",
            Self::Form => "not a JWT of Google's form",
            Self::Algorithm => "alg is not RS256",
            Self::Key => "kid names no known key",
            Self::Signature => "wrong signature",
            Self::Issuer => "iss is not Google",
            Self::Audience => "aud is not pubsub_audience",
            Self::Expiry => "exp is over",
            Self::IssuedAt => "iat is in the future",
            Self::Account => "email is not pubsub_service_account",
            Self::AccountVerified => "email_verified is not true",
        }
    }
}
