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
        let region = token.as_ref().and_then(|token| region(token.expose()));
        let origin = check.value("svix_url", |url| match url {
            "" => origin_of_region(region).ok_or_else(|| {
                "is required, since the part of svix_token after its last dot is no region of Svix".to_owned()
            }),
            url if url.contains(char::is_whitespace) => {
                Err("must not contain spaces or line ends".to_owned())
            }
            url => match Origin::parse(url) {
                None => Err(
                    "must be an origin such as 'https://api.eu.svix.com', in lower case and without a path"
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
        let webhook_keys =
            check.secret("svix_webhook_secret", |value| each(value, SigningKey::parse));
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

/// The region that a token names: its part after the last dot. Old tokens have none.
fn region(token: &str) -> Option<&str> {
    token.rsplit_once('.').map(|(_, region)| region)
}

/// `None` for a region that Svix doesn't have. The token may be one of another server then, which gets no event by
/// mistake.
fn origin_of_region(region: Option<&str>) -> Option<Origin> {
    let authority = match region {
        None => "api.svix.com".to_owned(),
        Some(region @ ("us" | "eu" | "in" | "ca" | "au")) => format!("api.{region}.svix.com"),
        Some(_) => return None,
    };
    Some(Origin { https: true, authority })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, with};
    use super::*;

    #[test]
    fn the_keys_of_webhooks_are_those_that_svix_shows() {
        let key = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let keys = |value| {
            let config = with(&[("svix_webhook_secret", value)]);
            config.map(|config| config.svix.webhook_keys.len())
        };
        assert_eq!(keys(""), Ok(0));
        assert_eq!(keys(&format!("{key}, {key}")), Ok(2));
        let shown = format!("{:?}", with(&[("svix_webhook_secret", key)]));
        assert!(!shown.contains("C2FV") && !shown.contains("[11,"), "{shown}");
        for bad in [
            "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "whsec_",
            "whsec_C2FV",
            "whsec_!",
            &format!("{key},"),
        ] {
            refused("svix_webhook_secret", bad);
        }
    }

    #[test]
    fn derives_the_origin_from_the_region_of_the_token() {
        let authority = |token: &str| {
            let config = with(&[("svix_token", token)]).expect("valid");
            assert!(config.svix.origin.https);
            config.svix.origin.authority
        };
        for region in ["us", "eu", "in", "ca", "au"] {
            assert_eq!(
                authority(&format!("testsk_a.b.{region}")),
                format!("api.{region}.svix.com")
            );
        }
        assert_eq!(authority("without-a-region"), "api.svix.com");
        // Perhaps a token of another server, which has its own address.
        for token in ["testsk_abc.xx", "testsk_abc.EU", "eyJhbGciOi.eyJpc3MiOi.c2lnbmF0dXJl"] {
            let violations = with(&[("svix_token", token)]).expect_err(token);
            assert_eq!(violations[0].field, "svix_url", "{token}");
            let config = with(&[("svix_token", token), ("svix_url", "http://127.0.0.1:8071")]);
            assert!(config.is_ok(), "{token}");
        }
    }

    #[test]
    fn takes_an_origin_and_nothing_more() {
        let origin = |url| with(&[("svix_url", url)]).map(|config| config.svix.origin);
        let local = Origin { https: false, authority: "127.0.0.1:9071".to_owned() };
        assert!(origin("http://[::1]:9071").is_ok());
        assert!(origin("http://[::1]").is_ok());
        assert_eq!(origin("http://127.0.0.1:9071"), Ok(local.clone()));
        assert_eq!(origin("http://127.0.0.1:9071/"), Ok(local));
        for url in [
            "api.svix.com",
            "/",
            "ftp://api.svix.com",
            "https://api.svix.com/api/v1",
            "https://api.svix.com/?a=b",
            "https://api.svix.com?a",
            "https://api.svix.com/#a",
            "https://user:pass@api.svix.com",
            "https://",
            "HTTPS://api.svix.com",
            "http://127.0.0.1:",
            "http://127.0.0.1:0",
            "http://127.0.0.1:99999",
            "http://127.0.0.1:1..65535",
            "http://*",
            "http://*:*",
            " https://api.svix.com",
            "http://api.eu.svix.com",
            "http://API.svix.com:80",
        ] {
            assert_eq!(refused("svix_url", url).len(), 1, "{url}");
        }
    }

    #[test]
    fn never_shows_the_token() {
        let shown = format!("{:?}", with(&[]).expect("valid"));
        assert!(!shown.contains("testsk_abc"), "{shown}");
        assert!(shown.contains("[redacted]"));
    }
}
