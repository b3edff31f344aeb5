//! What is counted, as text that monitoring systems read (OpenMetrics 1.0).

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::gate::{Reason, Standing};
use crate::metrics::{Counts, Histogram};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All that is told.
#[derive(Debug)]
pub struct Told {
    /// What all instances have counted.
    pub counts: Counts,
    /// The gate.
    pub gate: Standing,
    /// How many dead letters were written.
    pub dead_letters: u64,
    /// How many of them are neither resolved nor discarded.
    pub unresolved: u64,
}

impl Told {
    /// The text.
    pub fn text(self) -> String {
        let mut registry = Registry::with_prefix("svix_relay");
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = text::encode(&mut text, &registry);
        text
    }
}

impl Collector for Told {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let (name, help) = ("notifications", "What became of notifications");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (project, outcomes) in &self.counts.notifications {
            for (outcome, number) in outcomes {
                let labels = [("outcome", outcome.as_str()), ("project", project)];
                ConstCounter::new(*number).encode(family.encode_family(&labels)?)?;
            }
        }
        let (name, help) = ("attempts", "What became of attempts at Svix");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (result, number) in &self.counts.attempts {
            let labels = [("result", result.as_str())];
            ConstCounter::new(*number).encode(family.encode_family(&labels)?)?;
        }
        let (name, help) = ("svix_duration_seconds", "How long Svix took to answer");
        histogram(&mut encoder, name, help, &self.counts.svix)?;
        let (name, help) = (
            "request_duration_seconds",
            "How long notifications took to be answered",
        );
        histogram(&mut encoder, name, help, &self.counts.requests)?;

        let (name, help) = ("gate_closed", "Whether Svix is left alone, and why");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for reason in [Reason::RateLimited, Reason::SvixUnavailable] {
            let closed = matches!(self.gate, Standing::Closed { reason: why, .. } if why == reason);
            let labels = [("reason", reason.name())];
            ConstGauge::new(i64::from(closed)).encode(family.encode_family(&labels)?)?;
        }
        let (name, help) = ("dead_letters", "Dead letters written");
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(self.dead_letters).encode(family)?;
        let (name, help) = (
            "dead_letters_unresolved",
            "Dead letters neither resolved nor discarded",
        );
        let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(self.unresolved).encode(family)
    }
}

fn histogram(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    histogram: &Histogram,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    let (sum, count, buckets) = (histogram.sum(), histogram.count(), histogram.buckets());
    family.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn is_the_text_that_monitoring_systems_read() {
        let mut counts = Counts::default();
        let took = Duration::from_millis(7);
        counts.notification(Some("dev"), "delivered", took, UNIX_EPOCH);
        counts.notification(None, "not-json", took, UNIX_EPOCH);
        counts.attempt("stored");
        counts.svix.observe(Duration::from_secs(60));
        let told = Told {
            counts,
            gate: Standing::Closed {
                reason: Reason::RateLimited,
                seconds: 1.5,
            },
            dead_letters: 7,
            unresolved: 3,
        };
        let text = told.text();
        let expected = "\
# HELP svix_relay_notifications What became of notifications
# TYPE svix_relay_notifications counter
svix_relay_notifications_total{outcome=\"not-json\",project=\"\"} 1
svix_relay_notifications_total{outcome=\"delivered\",project=\"dev\"} 1
# HELP svix_relay_attempts What became of attempts at Svix
# TYPE svix_relay_attempts counter
svix_relay_attempts_total{result=\"stored\"} 1
";
        assert_eq!(text[..expected.len()], *expected);
        for line in [
            "svix_relay_svix_duration_seconds_bucket{le=\"10.0\"} 0",
            "svix_relay_svix_duration_seconds_bucket{le=\"+Inf\"} 1",
            "svix_relay_svix_duration_seconds_sum 60.0",
            "svix_relay_request_duration_seconds_bucket{le=\"0.005\"} 0",
            "svix_relay_request_duration_seconds_bucket{le=\"0.01\"} 2",
            "svix_relay_request_duration_seconds_bucket{le=\"+Inf\"} 2",
            "svix_relay_request_duration_seconds_count 2",
            "svix_relay_gate_closed{reason=\"rate-limited\"} 1",
            "svix_relay_gate_closed{reason=\"svix-unavailable\"} 0",
            "svix_relay_dead_letters_total 7",
            "svix_relay_dead_letters_unresolved 3",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"), "{text}");
    }
}
