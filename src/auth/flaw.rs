//! The checks before a sender is let in. The log names the flaw; the sender learns nothing of it.

/// A flaw in the proof that a sender shows: its `Authorization`, or the signature of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    Missing,
    Length,
    Scheme,
    Token,
    Form,
    Algorithm,
    Key,
    Signature,
    Issuer,
    Audience,
    Expiry,
    IssuedAt,
    NotBefore,
    Account,
    AccountVerified,
    Webhook,
    WebhookTime,
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
            Self::NotBefore => "nbf is in the future",
            Self::Account => "email is not pubsub_service_account",
            Self::AccountVerified => "email_verified is not true",
            Self::Webhook => "no id, time and signature of a webhook",
            Self::WebhookTime => "the webhook's time is 5 minutes off",
        }
    }
}
