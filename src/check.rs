//! What is looked at before a sender is let in. It is logged; the sender itself learns nothing of it.

/// What a sender failed to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// There is no `Authorization`.
    Missing,
    /// It is too long to be looked at.
    Length,
    /// It is not of the scheme `Bearer`.
    Scheme,
    /// It is none of the tokens.
    Token,
    /// It is not a JWT, or not one that can be understood.
    Form,
    /// It is not signed with RS256.
    Algorithm,
    /// No key has the name of the one that is said to have signed it.
    Key,
    /// The key has not signed it.
    Signature,
    /// `iss` is not Google.
    Issuer,
    /// `aud` is not the relay.
    Audience,
    /// `exp` is over, or no time.
    Expiry,
    /// `iat` is in the future, or no time.
    IssuedAt,
    /// `email` is not the subscription's service account.
    Account,
    /// `email_verified` is not true.
    AccountVerified,
}

impl Check {
    /// What the log says.
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
