//! The address of Svix, and how the relay talks to it.

use std::time::Duration;

use super::check::{Check, each};
use super::secret::{Secret, SigningKey};
use crate::host::origin::Origin;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Svix {
    pub token: Secret,
    /// `svix_url`, or the origin of the region that the token names.
    pub origin: Origin,
    /// The longest that one request to Svix may take.
    pub timeout: Duration,
    /// Whether Svix creates a project's application with its first event.
    pub create_applications: bool,
    /// Whether the relay makes event types known to Svix.
    pub register_event_types: bool,
    /// The keys that may sign operational webhooks: several while one is rotated. Without a key the relay takes none.
    pub webhook_keys: Vec<SigningKey>,
}

impl Svix {
    pub fn read(check: &mut Check<'_>) -> Option<Self> {
        let token = check.secret("svix_token", Secret::parse);
        let region = token.as_ref().map_or("", |token| region(token.expose()));
        let origin = check.value("svix_url", |url| match url {
            "" => Ok(origin_of_region(region)),
            url => match Origin::parse(url) {
                None => Err(
                    "must be an origin such as 'https://api.eu.svix.com', without a path"
                        .to_owned(),
                ),
                Some(origin) if !origin.https && is_hosted(&origin) => Err(
                    "must begin with https://, or token and events cross the internet in the clear"
                        .to_owned(),
                ),
                Some(origin) => Ok(origin),
            },
        });
        let timeout = check.milliseconds("svix_timeout_ms", 1..=60_000);
        let create_applications = check.choice("create_applications", ["true", "false"]);
        let register_event_types = check.choice("register_event_types", ["true", "false"]);
        let webhook_keys = check.secret("svix_webhook_secret", |value| {
            each(value, SigningKey::parse)
        });
        Some(Self {
            token: token?,
            origin: origin?,
            timeout: timeout?,
            create_applications: create_applications?,
            register_event_types: register_event_types?,
            webhook_keys: webhook_keys?,
        })
    }

    /// Whether this is Svix's own service.
    pub fn is_hosted(&self) -> bool {
        is_hosted(&self.origin)
    }
}

fn is_hosted(origin: &Origin) -> bool {
    let host = origin.authority.split(':').next().unwrap_or_default();
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host.ends_with(".svix.com")
}

/// The region that a token names: its last segment.
fn region(token: &str) -> &str {
    token.rsplit('.').next().unwrap_or_default()
}

fn origin_of_region(region: &str) -> Origin {
    let authority = match region {
        "us" | "eu" | "in" | "ca" | "au" => format!("api.{region}.svix.com"),
        _ => "api.svix.com".to_owned(),
    };
    Origin {
        https: true,
        authority,
    }
}
