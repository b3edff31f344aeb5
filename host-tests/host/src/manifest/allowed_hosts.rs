//! The hosts that the component may call: Spin's `allowed_outbound_hosts`. This module only
//! decides; `outbound` refuses.

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use http::Uri;

use super::variables::Variables;

/// The rendered entries of `allowed_outbound_hosts`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AllowedHosts(Vec<Entry>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Entry {
    scheme: SchemePattern,
    host: HostPattern,
    ports: PortPattern,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum SchemePattern {
    Any,
    Only(String),
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum HostPattern {
    Any,
    /// The domain with its leading dot, so that `*.example.com` doesn't match `badexample.com`.
    Below(String),
    Only(String),
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum PortPattern {
    Any,
    /// The range excludes its end, as in Spin.
    Range(Range<u16>),
    Only(u16),
}

impl AllowedHosts {
    /// Renders and parses the manifest's entries. An entry that renders to an empty text allows
    /// nothing.
    pub fn new(entries: &[String], variables: &Variables) -> Result<Self> {
        let mut allowed = Vec::new();
        for entry in entries {
            let rendered = variables
                .render(entry)
                .with_context(|| format!("allowed_outbound_hosts: {entry:?}"))?;
            if !rendered.trim().is_empty() {
                let parsed = Entry::parse(rendered.trim());
                allowed.push(if entry.contains("{{") {
                    // The rendered text may be a secret in the wrong variable: don't print it.
                    parsed.map_err(|_| {
                        anyhow::anyhow!(
                            "allowed_outbound_hosts: {entry:?} must render to an origin"
                        )
                    })?
                } else {
                    parsed.context("allowed_outbound_hosts")?
                });
            }
        }
        Ok(Self(allowed))
    }

    /// Whether a request may go to `uri`, which must be absolute.
    pub fn allow(&self, uri: &Uri) -> bool {
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return false;
        };
        let host = host.to_ascii_lowercase();
        let port = uri.port_u16().or_else(|| default_port(scheme));
        self.0.iter().any(|entry| {
            entry.scheme.matches(scheme) && entry.host.matches(&host) && entry.ports.matches(port)
        })
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = text
            .split_once("://")
            .with_context(|| format!("{text:?} does not contain a scheme (as in https://)"))?;
        // Spin accepts a slash at the end of an origin, and nothing after it.
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        ensure!(path.is_empty(), "{text:?} has a path but is not allowed to");
        // The last colon may be within the brackets of an IPv6 address.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (authority, ""),
        };
        Ok(Self {
            scheme: SchemePattern::parse(scheme)?,
            host: HostPattern::parse(host).with_context(|| format!("{text:?}"))?,
            ports: PortPattern::parse(port, scheme).with_context(|| format!("{text:?}"))?,
        })
    }
}

impl SchemePattern {
    fn parse(text: &str) -> Result<Self> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let alphabetic = !text.is_empty() && text.chars().all(char::is_alphabetic);
        ensure!(
            alphabetic,
            "scheme {text:?} contains non alphabetic character"
        );
        Ok(Self::Only(text.to_owned()))
    }

    fn matches(&self, scheme: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(only) => only == scheme,
        }
    }
}

impl HostPattern {
    fn parse(text: &str) -> Result<Self> {
        let host = match text.strip_prefix("*.") {
            Some(domain) => Self::Below(format!(".{}", domain.to_ascii_lowercase())),
            None if text == "*" => return Ok(Self::Any),
            None => Self::Only(text.to_ascii_lowercase()),
        };
        match &host {
            Self::Below(name) | Self::Only(name) if name.contains('*') => {
                bail!("wildcards are allowed only as subdomains")
            }
            Self::Only(name) if name.is_empty() => bail!("the host is missing"),
            _ => Ok(host),
        }
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Below(suffix) => host.ends_with(suffix),
            Self::Only(only) => only == host,
        }
    }
}

impl PortPattern {
    fn parse(text: &str, scheme: &str) -> Result<Self> {
        let number = |text: &str| -> Result<u16> {
            text.parse()
                .with_context(|| format!("port {text:?} is not a number"))
        };
        if text.is_empty() {
            let port = default_port(scheme);
            let port = port.with_context(|| format!("{scheme:?} has no known default port"))?;
            Ok(Self::Only(port))
        } else if text == "*" {
            Ok(Self::Any)
        } else if let Some((start, end)) = text.split_once("..") {
            Ok(Self::Range(number(start)?..number(end)?))
        } else {
            Ok(Self::Only(number(text)?))
        }
    }

    fn matches(&self, port: Option<u16>) -> bool {
        match self {
            Self::Any => true,
            Self::Range(range) => port.is_some_and(|port| range.contains(&port)),
            Self::Only(only) => port == Some(*only),
        }
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::manifest::Manifest;

    fn rendered(entry: &str, url: &str) -> Result<AllowedHosts> {
        let manifest = r#"
            spin_manifest_version = 2
            application = { name = "relay" }
            trigger = { http = [{ route = "/...", component = "relay" }] }
            component = { relay = { source = "relay.wasm" } }
            variables = { url = { default = "" } }
        "#;
        let manifest = Manifest::parse(manifest, Path::new("")).unwrap();
        let given = BTreeMap::from([("url".to_owned(), url.to_owned())]);
        let variables = Variables::new(&manifest, &given, |_| None).unwrap();
        AllowedHosts::new(&[entry.to_owned()], &variables)
    }

    fn allows(entry: &str, uri: &str) -> bool {
        rendered(entry, "").unwrap().allow(&uri.parse().unwrap())
    }

    fn refusal(entry: &str) -> String {
        format!("{:#}", rendered(entry, "").unwrap_err())
    }

    #[test]
    fn scheme_host_and_port_must_all_match() {
        assert!(allows("https://a.example", "https://a.example/any/path?q"));
        assert!(allows("https://a.example", "https://A.example:443/"));
        assert!(!allows("https://a.example", "http://a.example/"));
        assert!(!allows("https://a.example", "https://b.example/"));
        assert!(!allows("https://a.example", "https://a.example:8443/"));
        assert!(allows("http://127.0.0.1:9071", "http://127.0.0.1:9071/x"));
        assert!(!allows("http://127.0.0.1:9071", "http://127.0.0.1/x"));
        assert!(allows("http://[::1]:9071", "http://[::1]:9071/x"));
        assert!(allows("http://[::1]", "http://[::1]/x"));
    }

    #[test]
    fn a_star_stands_for_any_scheme_host_or_port() {
        assert!(allows("*://*:*", "http://a.example:1234/"));
        assert!(allows("https://*", "https://a.example/"));
        assert!(!allows("https://*", "https://a.example:444/"));
        assert!(allows("http://a.example:*", "http://a.example:1/"));
    }

    #[test]
    fn a_leading_star_matches_subdomains_only() {
        assert!(allows("https://*.svix.com", "https://api.eu.svix.com/"));
        assert!(!allows("https://*.svix.com", "https://svix.com/"));
        assert!(!allows("https://*.svix.com", "https://badsvix.com/"));
        assert!(!allows(
            "https://*.svix.com",
            "https://api.svix.com.evil.example/"
        ));
    }

    #[test]
    fn a_port_range_leaves_out_its_end() {
        assert!(allows(
            "http://a.example:8000..8002",
            "http://a.example:8001/"
        ));
        assert!(!allows(
            "http://a.example:8000..8002",
            "http://a.example:8002/"
        ));
    }

    #[test]
    fn an_entry_that_renders_to_nothing_allows_nothing() {
        assert_eq!(rendered("{{ url }}", "").unwrap(), AllowedHosts::default());
        let uri = "http://127.0.0.1:9071/api".parse().unwrap();
        assert!(
            rendered("{{ url }}", "http://127.0.0.1:9071")
                .unwrap()
                .allow(&uri)
        );
        assert!(
            rendered("{{ url }}", "http://127.0.0.1:9071/")
                .unwrap()
                .allow(&uri)
        );
    }

    #[test]
    fn entries_that_spin_refuses_are_refused() {
        let path = refusal("https://a.example/api");
        assert!(path.contains("\"https://a.example/api\" has a path but is not allowed to"));
        assert!(refusal("http://a.example:80/x").contains("has a path but is not allowed to"));
        assert!(refusal("a.example").contains("does not contain a scheme"));
        assert!(refusal("https://a.*.example").contains("wildcards"));
        assert!(refusal("https://*.*.example").contains("wildcards"));
        assert!(refusal("https://a.example:x").contains("not a number"));
        assert!(refusal("h2://a.example:1").contains("non alphabetic"));
        assert!(refusal("gopher://a.example").contains("default port"));
        assert!(refusal("{{ nothing }}").contains("nothing"));
    }
}
