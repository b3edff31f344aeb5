//! The configuration: every variable of `spin.toml`, checked, with its bounds.
//!
//! An invalid value is reported by name and never replaced by a default: a relay that guesses its
//! configuration would deliver to the wrong place. Values are not repeated in reports, since the
//! wrong variable may hold the token.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use spin_sdk::http::Uri;
use subtle::ConstantTimeEq as _;

use crate::retry::Policy;
use crate::violation::Violation;

/// The largest event that can be allowed: Svix itself takes no more than 2 MB, and an instance may
/// hold several copies of sixteen events at once.
const MAX_EVENT: u64 = 2 * 1024 * 1024;

/// A text that must never be seen: it has no `Display`, and its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Whether `text` is it; takes as long for a near miss as for a far one.
    pub fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// The text itself, for the one header it belongs into.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// The origin of Svix's API: where requests go, without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether the scheme is `https`.
    pub https: bool,
    /// Host, and port if there is one.
    pub authority: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(formatter, "{scheme}://{}", self.authority)
    }
}

/// Where something is on the web: an origin and a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The server.
    pub origin: Origin,
    /// The path, with its query if there is one.
    pub path: String,
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.origin.https { "https" } else { "http" };
        write!(
            formatter,
            "{scheme}://{}{}",
            self.origin.authority, self.path
        )
    }
}

/// `ingest_auth`: who may post notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ingest {
    /// `none`: whoever reaches the relay.
    Anyone,
    /// `token`: whoever shows one of `ingest_token`.
    Token(Vec<Secret>),
    /// `pubsub`: Pub/Sub, by Google's OIDC tokens.
    Pubsub(Pubsub),
}

impl Ingest {
    /// The variable's value.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Anyone => "none",
            Self::Token(_) => "token",
            Self::Pubsub(_) => "pubsub",
        }
    }
}

/// What Google's tokens must say, and where Google's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pubsub {
    /// `pubsub_audience`: the audience of the push subscription.
    pub audience: String,
    /// `pubsub_service_account`: the email address of the account that pushes.
    pub service_account: String,
    /// `pubsub_jwks_url`: where the keys are that sign the tokens.
    pub jwks: Address,
}

/// A valid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `svix_token`: authenticates the relay to Svix.
    pub token: Secret,
    /// `svix_url`, or the origin of the region that the token names.
    pub origin: Origin,
    /// `svix_timeout_ms`: the longest that one request to Svix may take.
    pub timeout: Duration,
    /// `retry_max_attempts`, `retry_budget_ms`, `retry_base_delay_ms`, `retry_max_delay_ms`.
    pub retry: Policy,
    /// `max_body_bytes`: the largest event that is relayed, whatever is around it.
    pub max_body_bytes: usize,
    /// `dead_letters`: whether the relay keeps what can never be delivered, or leaves it to Pub/Sub.
    pub keep_dead_letters: bool,
    /// `admin_token`: opens the operator's routes; without it there are none.
    pub admin_token: Option<Secret>,
    /// `create_applications`: whether Svix creates a project's application with its first event.
    pub create_applications: bool,
    /// `register_event_types`: whether the relay makes event types known to Svix.
    pub register_event_types: bool,
    /// `record_retention_days`: how long a record is kept at least.
    pub record_retention: Duration,
    /// `ingest_auth` and what belongs to it: who may post notifications.
    pub ingest: Ingest,
}

/// The values of all variables, in the order of [`Config::VARIABLES`]; `None`: it has none.
pub type Values = [Option<String>; Config::VARIABLES.len()];

impl Config {
    /// Every variable the relay reads.
    pub const VARIABLES: [&'static str; 20] = [
        "svix_token",
        "svix_url",
        "svix_timeout_ms",
        "retry_max_attempts",
        "retry_budget_ms",
        "retry_base_delay_ms",
        "retry_max_delay_ms",
        "max_body_bytes",
        "create_applications",
        "dead_letters",
        "admin_token",
        "register_event_types",
        "record_retention_days",
        "pubsub_retention_days",
        "ingest_auth",
        "ingest_token",
        "pubsub_audience",
        "pubsub_service_account",
        "pubsub_jwks_url",
        "pubsub_jwks_origin",
    ];

    /// Those of them that must never be seen.
    const SECRETS: [&'static str; 3] = ["svix_token", "admin_token", "ingest_token"];

    /// What operators may see of the values of all variables.
    pub fn shown(values: Values) -> BTreeMap<&'static str, String> {
        let shown = |(name, value): (&'static str, Option<String>)| {
            let value = value.unwrap_or_default();
            let hidden = Self::SECRETS.contains(&name) && !value.is_empty();
            (
                name,
                if hidden {
                    "[redacted]".to_owned()
                } else {
                    value
                },
            )
        };
        Self::VARIABLES.into_iter().zip(values).map(shown).collect()
    }

    /// Checks the values of all variables.
    ///
    /// Fails with every violation there is.
    pub fn from_values(values: &Values) -> Result<Self, Vec<Violation>> {
        let mut check = Check {
            values,
            violations: Vec::new(),
        };
        let token = check.value("svix_token", secret);
        let region = token.as_ref().map_or("", |token| region(token.expose()));
        let origin = check.value("svix_url", |url| match url {
            "" => Ok(origin_of_region(region)),
            url => origin(url),
        });
        let timeout = check.milliseconds("svix_timeout_ms", 1..=60_000);
        let max_attempts = check.number("retry_max_attempts", 1..=20);
        let budget = check.milliseconds("retry_budget_ms", 1_000..=600_000);
        let base_delay = check.milliseconds("retry_base_delay_ms", 1..=60_000);
        let max_delay = check.milliseconds("retry_max_delay_ms", 1..=600_000);
        let max_body_bytes = check.number("max_body_bytes", 1..=MAX_EVENT);
        let create_applications = check.value("create_applications", |value| {
            choice(value, ["true", "false"])
        });
        let keep_dead_letters =
            check.value("dead_letters", |value| choice(value, ["store", "reject"]));
        let admin_token = check.value("admin_token", |value| match value {
            "" => Ok(None),
            value => secret(value).map(Some),
        });
        let register_event_types = check.value("register_event_types", |value| {
            choice(value, ["true", "false"])
        });
        let record_retention = check.days("record_retention_days", 1..=3_650);
        let pubsub_retention = check.days("pubsub_retention_days", 1..=31);
        let ingest = check.ingest();
        if let (Some(base), Some(max)) = (base_delay, max_delay)
            && base > max
        {
            check.violations.push(Violation::new(
                "retry_max_delay_ms",
                "must not be less than retry_base_delay_ms",
            ));
        }
        if record_retention < pubsub_retention && record_retention.is_some() {
            check.violations.push(Violation::new(
                "record_retention_days",
                "must not be less than pubsub_retention_days",
            ));
        }
        let config = (|| {
            Some(Self {
                token: token?,
                origin: origin?,
                timeout: timeout?,
                retry: Policy {
                    max_attempts: u32::try_from(max_attempts?).ok()?,
                    budget: budget?,
                    base_delay: base_delay?,
                    max_delay: max_delay?,
                },
                max_body_bytes: usize::try_from(max_body_bytes?).ok()?,
                create_applications: create_applications?,
                keep_dead_letters: keep_dead_letters?,
                admin_token: admin_token?,
                register_event_types: register_event_types?,
                record_retention: record_retention?,
                ingest: ingest?,
            })
        })();
        match config {
            Some(config) if check.violations.is_empty() => Ok(config),
            _ => Err(check.violations),
        }
    }
}

struct Check<'v> {
    values: &'v Values,
    violations: Vec<Violation>,
}

impl Check<'_> {
    fn value<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let index = Config::VARIABLES.iter().position(|known| *known == name)?;
        let value = match &self.values[index] {
            Some(value) => read(value),
            None => Err("is not set".to_owned()),
        };
        value
            .map_err(|reason| self.violations.push(Violation::new(name, reason)))
            .ok()
    }

    fn number(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        self.value(name, |value| {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            digits
                .then(|| value.parse().ok())
                .flatten()
                .filter(|number| range.contains(number))
                .ok_or_else(|| {
                    format!(
                        "must be a whole number from {} to {}",
                        range.start(),
                        range.end()
                    )
                })
        })
    }

    /// `ingest_auth` decides which of the others are required; all that are set must be valid.
    fn ingest(&mut self) -> Option<Ingest> {
        let tokens = self.value("ingest_token", |value| match value {
            "" => Ok(Vec::new()),
            value => value.split(',').map(|token| secret(token.trim())).collect(),
        });
        let audience = self.value("pubsub_audience", plain);
        let service_account = self.value("pubsub_service_account", plain);
        let jwks = self.value("pubsub_jwks_url", address);
        let jwks_origin = self.value("pubsub_jwks_origin", origin);
        if let (Some(jwks), Some(origin)) = (&jwks, &jwks_origin)
            && jwks.origin != *origin
        {
            let reason = "must be the origin of pubsub_jwks_url";
            self.refuse::<()>("pubsub_jwks_origin", reason);
        }
        let (tokens, audience, service_account) = (tokens?, audience?, service_account?);
        let required = "is required by this ingest_auth";
        match self.value("ingest_auth", ingest_kind)? {
            Kind::None => Some(Ingest::Anyone),
            Kind::Token if tokens.is_empty() => self.refuse("ingest_token", required),
            Kind::Token => Some(Ingest::Token(tokens)),
            Kind::Pubsub if audience.is_empty() => self.refuse("pubsub_audience", required),
            Kind::Pubsub if service_account.is_empty() => {
                self.refuse("pubsub_service_account", required)
            }
            Kind::Pubsub => Some(Ingest::Pubsub(Pubsub {
                audience,
                service_account,
                jwks: jwks?,
            })),
        }
    }

    /// Notes a violation; there is no value.
    fn refuse<T>(&mut self, name: &'static str, reason: &str) -> Option<T> {
        self.violations.push(Violation::new(name, reason));
        None
    }

    fn days(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<Duration> {
        self.number(name, range)
            .map(|days| Duration::from_hours(24 * days))
    }

    fn milliseconds(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<Duration> {
        self.number(name, range).map(Duration::from_millis)
    }
}

fn secret(value: &str) -> Result<Secret, String> {
    if value.is_empty() {
        Err("is required".to_owned())
    } else if value.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Secret(value.to_owned()))
    } else {
        Err("must hold only visible ASCII characters, without spaces or line ends".to_owned())
    }
}

enum Kind {
    None,
    Token,
    Pubsub,
}

fn ingest_kind(value: &str) -> Result<Kind, String> {
    match value {
        "none" => Ok(Kind::None),
        "token" => Ok(Kind::Token),
        "pubsub" => Ok(Kind::Pubsub),
        _ => Err("must be 'none', 'token' or 'pubsub'".to_owned()),
    }
}

/// A text that is compared with what comes from outside.
fn plain(value: &str) -> Result<String, String> {
    if value.trim() == value && !value.contains(char::is_control) {
        Ok(value.to_owned())
    } else {
        Err("must not begin or end with a space, or hold control characters".to_owned())
    }
}

fn address(url: &str) -> Result<Address, String> {
    let expected = "must be a URL such as 'https://www.googleapis.com/oauth2/v3/certs'";
    let start = url.find("://").map(|at| at + 3);
    let path = start.and_then(|start| Some(start + url[start..].find('/')?));
    let (at, path) = path
        .filter(|at| url[*at..].bytes().all(|byte| byte.is_ascii_graphic()))
        .map(|at| url.split_at(at))
        .ok_or(expected)?;
    Ok(Address {
        origin: origin(at).map_err(|_| expected)?,
        path: path.to_owned(),
    })
}

/// Whether a value is the first of two.
fn choice(value: &str, [yes, no]: [&str; 2]) -> Result<bool, String> {
    if value == yes {
        Ok(true)
    } else if value == no {
        Ok(false)
    } else {
        Err(format!("must be '{yes}' or '{no}'"))
    }
}

fn origin(url: &str) -> Result<Origin, String> {
    let expected = "must be an origin such as 'https://api.eu.svix.com', without a path";
    let parsed = url.parse::<Uri>().ok().and_then(|uri| {
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?.as_str();
        // Svix's own schemes are lower case, and so are those of allowed_outbound_hosts.
        let spelled = url.starts_with("https://") || url.starts_with("http://");
        let port = match authority.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => uri.port_u16().is_some_and(|port| port > 0),
            _ => true,
        };
        let only_origin = uri.path_and_query().is_none_or(|path| path == "/");
        // A '#' never gets as far as the parsed URI.
        let plain = only_origin && spelled && port && !url.contains(['@', '#', '*']);
        let authority = authority.to_owned();
        plain.then_some(Origin { https, authority })
    });
    parsed.ok_or_else(|| expected.to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: [&str; Config::VARIABLES.len()] = [
        "testsk_abc.eu",
        "",
        "3000",
        "4",
        "8000",
        "100",
        "2000",
        "1048576",
        "true",
        "store",
        "",
        "true",
        "30",
        "7",
        "none",
        "",
        "",
        "",
        "https://www.googleapis.com/oauth2/v3/certs",
        "https://www.googleapis.com",
    ];

    fn with(changes: &[(&str, Option<&str>)]) -> Result<Config, Vec<Violation>> {
        let mut values = DEFAULTS.map(|value| Some(value.to_owned()));
        for (name, value) in changes {
            let index = Config::VARIABLES
                .iter()
                .position(|known| known == name)
                .expect("a variable");
            values[index] = value.map(str::to_owned);
        }
        Config::from_values(&values)
    }

    fn refused(name: &'static str, value: &str) -> Vec<Violation> {
        let violations = with(&[(name, Some(value))]).expect_err(value);
        assert!(
            violations.iter().all(|violation| violation.field == name),
            "{violations:?}"
        );
        violations
    }

    #[test]
    fn reads_the_defaults() {
        let config = with(&[]).expect("valid");
        assert_eq!(config.timeout, Duration::from_secs(3));
        assert_eq!(config.retry.max_attempts, 4);
        assert_eq!(config.retry.budget, Duration::from_secs(8));
        assert_eq!(config.max_body_bytes, 1_048_576);
        assert!(config.create_applications);
        assert!(config.keep_dead_letters);
        assert_eq!(config.admin_token, None);
        assert!(config.register_event_types);
        assert_eq!(config.record_retention, Duration::from_hours(30 * 24));
        assert_eq!(config.ingest, Ingest::Anyone);
    }

    #[test]
    fn ingest_tokens_can_be_rotated() {
        let config = with(&[
            ("ingest_auth", Some("token")),
            ("ingest_token", Some("old, new")),
        ]);
        let Ok(Ingest::Token(tokens)) = config.map(|config| config.ingest) else {
            panic!("tokens");
        };
        assert!(tokens[0].is("old") && tokens[1].is("new") && tokens.len() == 2);
        refused("ingest_token", "old,,new");
        refused("ingest_token", "two words");
    }

    #[test]
    fn pubsub_needs_its_audience_its_account_and_the_keys() {
        let pubsub = |changes: &[(&str, Option<&str>)]| {
            let all = [
                ("ingest_auth", Some("pubsub")),
                (
                    "pubsub_audience",
                    Some("https://relay.example/notifications"),
                ),
                (
                    "pubsub_service_account",
                    Some("push@p.iam.gserviceaccount.com"),
                ),
            ];
            with(&[&all[..], changes].concat())
        };
        let Ok(Ingest::Pubsub(keys)) = pubsub(&[]).map(|config| config.ingest) else {
            panic!("valid");
        };
        assert_eq!(keys.jwks.origin.authority, "www.googleapis.com");
        assert_eq!(
            keys.jwks.to_string(),
            "https://www.googleapis.com/oauth2/v3/certs"
        );
        for (name, value) in [
            ("pubsub_audience", ""),
            ("pubsub_service_account", ""),
            ("pubsub_audience", " spaced "),
            ("pubsub_jwks_url", ""),
            ("pubsub_jwks_url", "https://www.googleapis.com"),
            ("pubsub_jwks_url", "https://a@www.googleapis.com/certs"),
            ("pubsub_jwks_url", "https://www.googleapis.com/with space"),
            ("pubsub_jwks_origin", "https://elsewhere.example"),
        ] {
            let violations = pubsub(&[(name, Some(value))]).expect_err(value);
            let last = violations.last().map(|violation| violation.field);
            let field = if value.contains("elsewhere") {
                "pubsub_jwks_origin"
            } else {
                name
            };
            assert_eq!(last, Some(field), "{name}={value}");
        }
    }

    #[test]
    fn records_outlive_what_pubsub_may_send_again() {
        let kept_for = |records, pubsub| {
            with(&[
                ("record_retention_days", Some(records)),
                ("pubsub_retention_days", Some(pubsub)),
            ])
        };
        let violations = kept_for("30", "31").expect_err("shorter");
        assert_eq!(violations[0].field, "record_retention_days");
        assert!(kept_for("31", "31").is_ok());
        assert!(kept_for("1", "1").is_ok());
        refused("record_retention_days", "6");
        refused("record_retention_days", "0");
        refused("pubsub_retention_days", "32");
    }

    #[test]
    fn derives_the_origin_from_the_region_of_the_token() {
        let authority = |token: &str| {
            let config = with(&[("svix_token", Some(token))]).expect("valid");
            assert!(config.origin.https);
            config.origin.authority
        };
        for region in ["us", "eu", "in", "ca", "au"] {
            assert_eq!(
                authority(&format!("testsk_a.b.{region}")),
                format!("api.{region}.svix.com")
            );
        }
        assert_eq!(authority("testsk_abc.xx"), "api.svix.com");
        assert_eq!(authority("eu"), "api.eu.svix.com");
        assert_eq!(authority("without-a-region"), "api.svix.com");
    }

    #[test]
    fn takes_an_origin_and_nothing_more() {
        let origin = |url| with(&[("svix_url", Some(url))]).map(|config| config.origin);
        let local = Origin {
            https: false,
            authority: "127.0.0.1:9071".to_owned(),
        };
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
        ] {
            assert_eq!(refused("svix_url", url).len(), 1, "{url}");
        }
    }

    #[test]
    fn refuses_numbers_out_of_range_or_no_numbers() {
        for (name, values) in [
            ("svix_timeout_ms", ["+5", "60001", "3s"]),
            ("retry_max_attempts", ["0", "21", "-1"]),
            ("retry_budget_ms", ["999", "600001", "1.5"]),
            ("max_body_bytes", ["0", "2097153", ""]),
        ] {
            for value in values {
                assert_eq!(refused(name, value).len(), 1, "{name}={value}");
            }
        }
        refused("create_applications", "yes");
        refused("register_event_types", "1");
        refused("ingest_auth", "basic");
        refused("dead_letters", "");
        refused("admin_token", "two words");
        refused("retry_max_delay_ms", "99");
    }

    #[test]
    fn names_every_invalid_variable_and_never_its_value() {
        let violations = with(&[
            ("svix_token", Some("secret with spaces\n")),
            ("svix_timeout_ms", Some("hush")),
            ("create_applications", None),
        ])
        .expect_err("three are invalid");
        let fields: Vec<_> = violations.iter().map(|violation| violation.field).collect();
        assert_eq!(
            fields,
            ["svix_token", "svix_timeout_ms", "create_applications"]
        );
        let shown = format!("{violations:?}");
        assert!(
            !shown.contains("secret") && !shown.contains("hush"),
            "{shown}"
        );
    }

    #[test]
    fn never_shows_the_token() {
        let shown = format!("{:?}", with(&[]).expect("valid"));
        assert!(!shown.contains("testsk_abc"), "{shown}");
        assert!(shown.contains("[redacted]"));
    }
}
