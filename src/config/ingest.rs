//! The senders that may post notifications.

use super::check::{Check, each};
use super::secret::Secret;
use crate::host::origin::{Address, Origin};

/// `ingest_auth`, with the variables that its value requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ingest {
    /// `none`: every sender that reaches the relay.
    AnySender,
    /// `token`: a sender that shows one of `ingest_token`.
    Token(Vec<Secret>),
    /// `pubsub`: Pub/Sub, by Google's OIDC tokens.
    Pubsub(Pubsub),
}

/// The claims that Google's tokens must hold, and the address of Google's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pubsub {
    /// The audience of the push subscription.
    pub audience: String,
    /// The email address of the account that pushes.
    pub service_account: String,
    /// The address of the keys that sign the tokens.
    pub jwks: Address,
}

impl Ingest {
    /// The value of `ingest_auth`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AnySender => "none",
            Self::Token(_) => "token",
            Self::Pubsub(_) => "pubsub",
        }
    }

    /// `ingest_auth` decides which of the other variables are required. All that are set must be
    /// valid.
    pub fn read(check: &mut Check<'_>) -> Option<Self> {
        let auth = check.value("ingest_auth", |value| match value {
            "none" | "token" | "pubsub" => Ok(value.to_owned()),
            _ => Err("must be 'none', 'token' or 'pubsub'".to_owned()),
        });
        let tokens = check.secret("ingest_token", |value| each(value, Secret::parse));
        let audience = check.value("pubsub_audience", plain);
        let service_account = check.value("pubsub_service_account", plain);
        let jwks = check.value("pubsub_jwks_url", |url| {
            Address::parse(url).ok_or_else(|| {
                "must be a URL such as 'https://www.googleapis.com/oauth2/v3/certs'".to_owned()
            })
        });
        let jwks_origin = check.value("pubsub_jwks_origin", |url| {
            Origin::parse(url).ok_or_else(|| {
                "must be an origin such as 'https://www.googleapis.com', without a path".to_owned()
            })
        });
        if let (Some(jwks), Some(origin)) = (&jwks, jwks_origin)
            && jwks.origin != origin
        {
            let reason = "must be the origin of pubsub_jwks_url";
            check.refuse::<()>("pubsub_jwks_origin", reason);
        }
        let (tokens, audience, service_account) = (tokens?, audience?, service_account?);
        let required = "is required by this ingest_auth";
        match auth?.as_str() {
            "token" if tokens.is_empty() => check.refuse("ingest_token", required),
            "token" => Some(Self::Token(tokens)),
            "pubsub" if audience.is_empty() => check.refuse("pubsub_audience", required),
            "pubsub" if service_account.is_empty() => {
                check.refuse("pubsub_service_account", required)
            }
            "pubsub" if service_account.contains(':') => {
                let reason = "must be an email address, without 'serviceAccount:'";
                check.refuse("pubsub_service_account", reason)
            }
            "pubsub" => Some(Self::Pubsub(Pubsub { audience, service_account, jwks: jwks? })),
            // If one of them is set, the operator doesn't mean every sender.
            _ if !(tokens.is_empty() && audience.is_empty() && service_account.is_empty()) => {
                let reason = "must not be 'none' while ingest_token, pubsub_audience or pubsub_service_account is set";
                check.refuse("ingest_auth", reason)
            }
            _ => Some(Self::AnySender),
        }
    }
}

/// A text that is compared with what comes from outside.
fn plain(value: &str) -> Result<String, String> {
    if value.trim() == value && !value.contains(['"', '\'']) && !value.contains(char::is_control) {
        Ok(value.to_owned())
    } else {
        Err("must not begin or end with a space, or hold quotation marks or control characters"
            .to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, with};
    use super::*;

    #[test]
    fn ingest_tokens_can_be_rotated() {
        let config = with(&[("ingest_auth", "token"), ("ingest_token", "old, new")]);
        let Ok(Ingest::Token(tokens)) = config.map(|config| config.ingest) else {
            panic!("tokens");
        };
        assert!(tokens[0].is("old") && tokens[1].is("new") && tokens.len() == 2);
        refused("ingest_token", "old,,new");
        refused("ingest_token", "two words");
    }

    #[test]
    fn pubsub_needs_its_audience_its_account_and_the_keys() {
        let pubsub = |changes: &[(&'static str, &str)]| {
            let all = [
                ("ingest_auth", "pubsub"),
                ("pubsub_audience", "https://relay.example/notifications"),
                ("pubsub_service_account", "push@p.iam.gserviceaccount.com"),
            ];
            with(&[&all[..], changes].concat())
        };
        let Ok(Ingest::Pubsub(keys)) = pubsub(&[]).map(|config| config.ingest) else {
            panic!("valid");
        };
        assert_eq!(keys.jwks.origin.authority, "www.googleapis.com");
        assert_eq!(keys.jwks.to_string(), "https://www.googleapis.com/oauth2/v3/certs");
        for (name, value) in [
            ("pubsub_audience", ""),
            ("pubsub_service_account", ""),
            ("pubsub_audience", " spaced "),
            ("pubsub_audience", "\"https://relay.example/notifications\""),
            ("pubsub_service_account", "serviceAccount:push@p.iam.gserviceaccount.com"),
            ("pubsub_jwks_url", ""),
            ("pubsub_jwks_url", "https://www.googleapis.com"),
            ("pubsub_jwks_url", "https://a@www.googleapis.com/certs"),
            ("pubsub_jwks_url", "https://www.googleapis.com/with space"),
            ("pubsub_jwks_url", "https://www.googleapis.com/certs#x"),
            ("pubsub_jwks_url", "https://www.googleapis.com/<certs>"),
            ("pubsub_jwks_url", "https://www.googleapis.com/\u{e7}erts"),
            ("pubsub_jwks_origin", "https://elsewhere.example"),
        ] {
            let violations = pubsub(&[(name, value)]).expect_err(value);
            let last = violations.last().map(|violation| violation.field);
            let field = if value.contains("elsewhere") { "pubsub_jwks_origin" } else { name };
            assert_eq!(last, Some(field), "{name}={value}");
        }
    }

    #[test]
    fn a_relay_that_is_told_how_to_know_senders_does_not_take_any_sender() {
        for name in ["ingest_token", "pubsub_audience", "pubsub_service_account"] {
            let violations = with(&[(name, "a")]).expect_err(name);
            assert_eq!(violations[0].field, "ingest_auth", "{name}");
        }
        let both = [("ingest_auth", "token"), ("ingest_token", "a")];
        assert!(with(&[&both[..], &[("pubsub_audience", "a")]].concat()).is_ok());
    }
}
