//! The lines about the start.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Options;
use crate::manifest::Manifest;
use crate::output::{Output, Severity};

/// The start warns of fewer connections than this: in our module, Cloud Run sends so many requests at once.
const FEW_CONNECTIONS: usize = 500;

/// The lines about the start, once this process listens.
pub(super) struct Announcement<'a> {
    pub application: &'a str,
    pub address: SocketAddr,
    pub took: Duration,
    pub records: &'a str,
    pub shows_password: bool,
    pub who_may_post: Option<&'a str>,
    pub operated: bool,
    pub max_connections: usize,
    pub descriptors: Option<usize>,
    pub metrics: Option<SocketAddr>,
}

impl Announcement<'_> {
    pub fn tell(&self, output: &Output) {
        output.tell(&self.lines(), "listening", self.fields());
        if self.max_connections < FEW_CONNECTIONS {
            let line = format!(
                "  connections: only {} at once, so probes may wait behind events; raise the limit of file descriptors",
                self.max_connections
            );
            output.say(Severity::Warning, &line);
        }
        if self.shows_password {
            let line =
                "  Redis' password crosses the network unencrypted; rediss:// would encrypt it";
            output.say(Severity::Warning, line);
        }
    }

    fn lines(&self) -> Vec<String> {
        let (address, took) = (self.address, self.took.as_millis());
        let first = format!("{}: listening on http://{address} after {took} ms", self.application);
        let mut lines = vec![first, format!("  records: {}", self.records)];
        if let Some(who) = self.who_may_post {
            lines.push(format!("  notifications: {who}"));
        }
        if self.operated {
            lines.push(format!("  console: http://{address}/console"));
        }
        let descriptors = self.descriptors.map(|limit| limit.to_string());
        lines.push(format!(
            "  connections: at most {} at once, with {} file descriptors",
            self.max_connections,
            descriptors.as_deref().unwrap_or("any number of")
        ));
        if let Some(address) = self.metrics {
            lines.push(format!("  metrics: http://{address}/metrics"));
        }
        lines
    }

    fn fields(&self) -> Map<String, Value> {
        let fields = json!({
            "application": self.application,
            "address": self.address.to_string(),
            "startMs": u64::try_from(self.took.as_millis()).ok(),
            "records": self.records,
            "notifications": self.who_may_post,
            "console": self.operated,
            "maxConnections": self.max_connections,
            "fileDescriptors": self.descriptors,
            "metrics": self.metrics.map(|address| address.to_string()),
        });
        fields.as_object().cloned().unwrap_or_default()
    }
}

/// The senders that may post; `None` if the application has no variable for that.
pub(super) fn who_may_post(options: &Options, manifest: &Manifest) -> Option<String> {
    let name = "ingest_auth";
    let declaration = manifest.variables.get(name)?;
    let value = options.given(name).or_else(|| declaration.default.clone())?;
    let who = match value.as_str() {
        "none" => "from any sender",
        "token" => "from senders with a token",
        "pubsub" => "from Pub/Sub's service account",
        // An invalid value may be a secret in the wrong variable: don't print it.
        _ => return Some(format!("refused ({name} is invalid)")),
    };
    Some(format!("{who} ({name}={value})"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;

    use super::*;

    fn options(arguments: &[&str]) -> Options {
        Options::try_parse_from([&["serve"], arguments].concat()).unwrap()
    }

    #[test]
    fn says_who_may_post() {
        let manifest = |default: &str| {
            let text = format!(
                r#"
                spin_manifest_version = 2
                application = {{ name = "relay" }}
                trigger = {{ http = [{{ route = "/...", component = "relay" }}] }}
                component = {{ relay = {{ source = "relay.wasm" }} }}
                variables = {{ {default} }}
                "#
            );
            Manifest::parse(&text, Path::new("")).unwrap()
        };
        let declared = manifest(r#"ingest_auth = { default = "none" }"#);
        let who = |arguments: &[&str]| who_may_post(&options(arguments), &declared);
        assert_eq!(who(&[]).unwrap(), "from any sender (ingest_auth=none)");
        assert_eq!(
            who(&["--variable", "ingest_auth=token"]).unwrap(),
            "from senders with a token (ingest_auth=token)"
        );
        assert_eq!(who_may_post(&options(&[]), &manifest("")), None);
    }
}
