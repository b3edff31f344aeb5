//! The metrics as text that monitoring systems read (OpenMetrics 1.0).

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::SystemTime;

use serde::Serialize;

use super::metrics::{BOUNDS, Counts, DIFFERING, EXPIRED, LEFT_UNKNOWN};
use crate::api::reply::{DEAD_LETTERED, DELIVERED, DUPLICATE, IGNORED, UNLISTED};
use crate::api::table::ROWS;
use crate::records::endpoints::Endpoints;
use crate::svix::gate::{Reason, Standing};
use crate::svix::operational;
use crate::time::{parse_rfc3339, unix_seconds};

pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The results of an attempt at Svix.
const ATTEMPTS: [&str; 5] = ["conflict", "misconfigured", "refused", "retry", "stored"];

/// The name of every outcome.
fn names() -> impl Iterator<Item = &'static str> {
    let successes = [DELIVERED, DUPLICATE, DEAD_LETTERED, IGNORED, UNLISTED];
    successes.into_iter().chain(ROWS.iter().map(|row| row.name))
}

/// Every number at one moment.
#[derive(Debug)]
pub struct Snapshot {
    pub counts: Counts,
    pub gate: Standing,
    /// How many dead letters were written.
    pub dead_letters: u64,
    /// How many of them are neither resolved nor discarded.
    pub unresolved: u64,
    /// How many of these the retention deletes within a day.
    pub expiring: u64,
    pub audit: Audit,
    /// The projects that operators hold.
    pub held: Vec<String>,
    pub endpoints: Endpoints,
    /// When the last canary arrived in Svix or, while Svix sends no webhooks of canaries, since when it sends none.
    pub canary_at: Option<SystemTime>,
}

/// The audit's numbers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// Up to when all records are compared, in RFC 3339. `None` before that.
    pub verified_until: Option<String>,
    /// How many records were found in Svix since the audit began anew.
    pub events: u64,
    /// Only one in so many projects is compared.
    pub one_in: u64,
    /// How many findings of each kind no operator has resolved.
    pub findings: BTreeMap<&'static str, u64>,
}

impl Snapshot {
    pub fn text(&self) -> String {
        let mut text = Text(String::with_capacity(4_096));
        // Writing to a String can't fail.
        let _ = text.write(self);
        text.0
    }
}

struct Text(String);

impl Text {
    fn write(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let counts = &snapshot.counts;
        self.family("notifications", "counter", "What became of notifications")?;
        for (series, number) in counts.under("notifications/") {
            let (outcome, project) = series.split_once('/').unwrap_or((series, ""));
            let labels = [("outcome", outcome), ("project", project)];
            self.sample("notifications_total", &labels, &number)?;
        }
        // Monitoring can't see the first increase of a series that begins with it. So every outcome has a
        // series from the start, which no project is needed for.
        self.family("outcomes", "counter", "Notifications by outcome alone")?;
        for outcome in names() {
            let series = format!("notifications/{outcome}/");
            let number: u64 = counts.under(&series).map(|(_, number)| number).sum();
            self.sample("outcomes_total", &[("outcome", outcome)], &number)?;
        }
        self.family("attempts", "counter", "What became of attempts at Svix")?;
        for result in ATTEMPTS {
            let number = counts.get(&format!("attempts/{result}"));
            self.sample("attempts_total", &[("result", result)], &number)?;
        }
        let help = "Duplicates with other bytes than the event that was delivered";
        self.counter("duplicates_differing", help, counts.get(DIFFERING))?;
        let help = "Notifications after which Svix may or may not have the message";
        self.counter("outcomes_unknown", help, counts.get(LEFT_UNKNOWN))?;
        self.histogram("svix", counts, "How long Svix took to answer")?;
        let help = "How long the relay took to answer notifications";
        self.histogram("request", counts, help)?;
        let help = "Whether the gate is closed, and why";
        self.family("gate_closed", "gauge", help)?;
        for reason in [Reason::RateLimited, Reason::SvixUnavailable] {
            let closed =
                matches!(snapshot.gate, Standing::Closed { reason: why, .. } if why == reason);
            let labels = [("reason", reason.name())];
            self.sample("gate_closed", &labels, &u8::from(closed))?;
        }
        let projects = snapshot.held.len();
        self.gauge("projects_held", "Projects that operators hold", projects)?;
        let help = "Operational webhooks of Svix by type";
        self.family("reports", "counter", help)?;
        for kind in operational::TYPES.into_iter().chain([operational::OTHER]) {
            let number = counts.get(&format!("reports/{kind}"));
            self.sample("reports_total", &[("type", kind)], &number)?;
        }
        let help = "Endpoints that are disabled, by the reports of Svix";
        let disabled = snapshot.endpoints.disabled.len();
        self.gauge("endpoints_disabled", help, disabled)?;
        let written = snapshot.dead_letters;
        self.counter("dead_letters", "Dead letters written", written)?;
        let help = "Dead letters neither resolved nor discarded";
        self.gauge("dead_letters_unresolved", help, snapshot.unresolved)?;
        let help = "Dead letters that dead_letter_retention_days deletes within a day";
        self.gauge("dead_letters_expiring", help, snapshot.expiring)?;
        let help = "Dead letters deleted by dead_letter_retention_days";
        self.counter("dead_letters_expired", help, counts.get(EXPIRED))?;
        let help = "Findings of the audit that no operator has resolved";
        self.family("audit_findings", "gauge", help)?;
        for (kind, number) in &snapshot.audit.findings {
            self.sample("audit_findings", &[("kind", kind)], number)?;
        }
        let help = "Up to when the audit has compared all records, or 0";
        let until = snapshot.audit.verified_until.as_deref();
        self.time("audit_verified_until", help, until.and_then(parse_rfc3339))?;
        let help = "When the last canary arrived, or 0";
        self.time("canary_delivered", help, snapshot.canary_at)?;
        self.0.write_str("# EOF\n")
    }

    /// A counter without labels.
    fn counter(&mut self, name: &str, help: &str, number: u64) -> fmt::Result {
        self.family(name, "counter", help)?;
        self.sample(&format!("{name}_total"), &[], &number)
    }

    /// A gauge without labels.
    fn gauge(&mut self, name: &str, help: &str, number: impl fmt::Display) -> fmt::Result {
        self.family(name, "gauge", help)?;
        self.sample(name, &[], &number)
    }

    /// A time, in seconds since 1970.
    fn time(&mut self, what: &str, help: &str, time: Option<SystemTime>) -> fmt::Result {
        self.gauge(&format!("{what}_seconds"), help, time.map_or(0, unix_seconds))
    }

    fn histogram(&mut self, what: &str, counts: &Counts, help: &str) -> fmt::Result {
        let name = format!("{what}_duration_seconds");
        self.family(&name, "histogram", help)?;
        let mut up_to = 0;
        for (_, bound) in BOUNDS {
            up_to += counts.get(&format!("{what}/{bound}"));
            self.sample(&format!("{name}_bucket"), &[("le", bound)], &up_to)?;
        }
        let micros = counts.get(&format!("{what}/sum"));
        let sum = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        self.sample(&format!("{name}_sum"), &[], &sum)?;
        self.sample(&format!("{name}_count"), &[], &up_to)
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) -> fmt::Result {
        writeln!(self.0, "# TYPE svix_relay_{name} {kind}")?;
        writeln!(self.0, "# HELP svix_relay_{name} {help}.")
    }

    /// The values of labels are identifiers: nothing in them needs escaping.
    fn sample(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        value: &dyn fmt::Display,
    ) -> fmt::Result {
        write!(self.0, "svix_relay_{name}")?;
        for (index, (label, is)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            write!(self.0, "{before}{label}=\"{is}\"")?;
        }
        let after = if labels.is_empty() { "" } else { "}" };
        writeln!(self.0, "{after} {value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn the_metrics_have_the_text_of_openmetrics() {
        let mut counts = Counts::default();
        let took = Duration::from_millis(7);
        counts.notification(Some("dev"), "delivered", took, UNIX_EPOCH);
        counts.notification(None, "not-json", took, UNIX_EPOCH);
        counts.attempt("stored");
        counts.reported("endpoint.disabled");
        counts.asked_svix(Duration::from_mins(1));
        let snapshot = Snapshot {
            counts,
            gate: Standing::Closed { reason: Reason::RateLimited, seconds: 1.5, project: None },
            dead_letters: 7,
            unresolved: 3,
            expiring: 2,
            audit: Audit {
                verified_until: Some("1970-01-01T00:01:00.5Z".to_owned()),
                events: 5,
                one_in: 1,
                findings: [("missing", 2), ("doubled", 0)].into(),
            },
            held: vec!["dev".to_owned()],
            endpoints: Endpoints::default(),
            canary_at: None,
        };
        let text = snapshot.text();
        let expected = "\
# TYPE svix_relay_notifications counter
# HELP svix_relay_notifications What became of notifications.
svix_relay_notifications_total{outcome=\"delivered\",project=\"dev\"} 1
svix_relay_notifications_total{outcome=\"not-json\",project=\"\"} 1
# TYPE svix_relay_outcomes counter
# HELP svix_relay_outcomes Notifications by outcome alone.
";
        assert_eq!(text[..expected.len()], *expected);
        for line in [
            "svix_relay_outcomes_total{outcome=\"delivered\"} 1",
            "svix_relay_outcomes_total{outcome=\"not-json\"} 1",
            "svix_relay_outcomes_total{outcome=\"token-refused\"} 0",
            "svix_relay_attempts_total{result=\"stored\"} 1",
            "svix_relay_attempts_total{result=\"retry\"} 0",
            "svix_relay_duplicates_differing_total 0",
            "svix_relay_svix_duration_seconds_bucket{le=\"10.0\"} 0",
            "svix_relay_svix_duration_seconds_bucket{le=\"+Inf\"} 1",
            "svix_relay_svix_duration_seconds_sum 60.000000",
            "svix_relay_request_duration_seconds_bucket{le=\"0.005\"} 0",
            "svix_relay_request_duration_seconds_bucket{le=\"0.01\"} 2",
            "svix_relay_request_duration_seconds_bucket{le=\"+Inf\"} 2",
            "svix_relay_request_duration_seconds_count 2",
            "svix_relay_gate_closed{reason=\"rate-limited\"} 1",
            "svix_relay_gate_closed{reason=\"svix-unavailable\"} 0",
            "svix_relay_outcomes_unknown_total 0",
            "svix_relay_dead_letters_total 7",
            "svix_relay_dead_letters_unresolved 3",
            "svix_relay_dead_letters_expiring 2",
            "svix_relay_dead_letters_expired_total 0",
            "svix_relay_reports_total{type=\"endpoint.disabled\"} 1",
            "svix_relay_reports_total{type=\"other\"} 0",
            "svix_relay_projects_held 1",
            "svix_relay_endpoints_disabled 0",
            "svix_relay_audit_findings{kind=\"missing\"} 2",
            "svix_relay_audit_findings{kind=\"doubled\"} 0",
            "svix_relay_audit_verified_until_seconds 60",
            "svix_relay_canary_delivered_seconds 0",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"), "{text}");
    }
}
