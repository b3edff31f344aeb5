//! The hosts that the component may call: Spin's `allowed_outbound_hosts`, without Spin's wildcards and port
//! ranges. This module only decides; `outbound` refuses.

use anyhow::{Context, Result};
use http::Uri;
use http::uri::Scheme;

use super::variables::Variables;

/// The rendered entries of `allowed_outbound_hosts`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AllowedHosts(Vec<Origin>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Origin {
    scheme: Scheme,
    /// In lower case.
    host: String,
    port: u16,
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
                let parsed = Origin::parse(rendered.trim());
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
        Origin::of(uri).is_some_and(|origin| self.0.contains(&origin))
    }
}

impl Origin {
    fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme()?.clone();
        let default = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        Some(Self {
            scheme,
            host: uri.host()?.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(default),
        })
    }

    /// Reads an origin. As in Spin, it may end in a slash.
    fn parse(text: &str) -> Result<Self> {
        let read = || {
            let uri: Uri = text.parse().ok()?;
            let (authority, host) = (uri.authority()?.as_str(), uri.host()?);
            let has_port = |port| authority == format!("{host}:{port}");
            // The crate `http` lets a port be any text.
            let is_plain = authority == host || uri.port_u16().is_some_and(has_port);
            let is_origin = uri.path_and_query().is_none_or(|path| path == "/");
            Self::of(&uri).filter(|_| is_plain && is_origin && !host.contains('*'))
        };
        read().with_context(|| {
            format!("{text:?} is no origin such as https://api.svix.com (this host knows no wildcards and port ranges)")
        })
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
    fn an_entry_that_renders_to_nothing_allows_nothing() {
        assert_eq!(rendered("{{ url }}", "").unwrap(), AllowedHosts::default());
        let uri = "http://127.0.0.1:9071/api".parse().unwrap();
        assert!(rendered("{{ url }}", "http://127.0.0.1:9071").unwrap().allow(&uri));
        assert!(rendered("{{ url }}", "http://127.0.0.1:9071/").unwrap().allow(&uri));
    }

    #[test]
    fn an_entry_that_is_no_origin_is_refused() {
        for entry in [
            "https://a.example/api",
            "http://a.example:80/x",
            "https://a.example?q",
            "https://user@a.example",
            "a.example",
            "https://",
            "https://a.example:x",
            "https://a.example:",
            "gopher://a.example",
            "*://a.example",
            "https://*",
            "https://*.svix.com",
            "http://a.example:*",
            "http://a.example:8000..8002",
        ] {
            let error = refusal(entry);
            assert!(error.contains("is no origin"), "{entry}: {error}");
        }
        assert!(refusal("{{ nothing }}").contains("nothing"));
    }
}
