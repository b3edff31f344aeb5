//! What a soak has shown: the numbers, the judgement, and what happened to whatever went wrong.

pub mod at_risk;
pub mod comparison;
mod memory;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use self::comparison::Comparison;
use self::memory::{Remembered, is_unfit};
use crate::publisher::message::Message;
use crate::storm::outage::Away;

/// No more offenders than these are told of.
const TOLD: usize = 20;

/// The end of a soak. Its [`fmt::Display`] is the one line.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many events were to be published.
    pub events: usize,
    /// How many messages Svix holds.
    pub messages: usize,
    /// Events that were acknowledged and have no message.
    pub lost: usize,
    /// Messages beyond the first of their event.
    pub duplicated: usize,
    /// Messages whose payload is not the event, byte for byte.
    pub altered: usize,
    /// Messages of nothing that was published.
    pub unknown: usize,
    /// Events that were acknowledged, and that the relay was ready to send again later.
    pub forgotten: usize,
    /// Events that were acknowledged, and for which the relay had to ask Svix later, because a
    /// failing delivery had come in between. No fault, but worth knowing.
    pub overtaken: usize,
    /// Events that were acknowledged, and that the relay was ready to send again because Redis had
    /// lost its last second. No fault of the relay's.
    pub gone_with_redis: usize,
    /// Events of which a delivery was answered with anything but a prompt 503 while Redis was away.
    pub unfit: usize,
    /// How often a relay wasn't ready soon after Redis had come back.
    pub late: usize,
    /// How many relays there were.
    pub nodes: usize,
    /// How often the Redis that they share was away.
    pub outages: usize,
    /// Events that were not acknowledged in time.
    pub unacknowledged: usize,
    /// Faults that no request has met.
    pub unmet: Vec<&'static str>,
    /// How often the relay was killed.
    pub kills: usize,
    /// How often it was ended with SIGTERM.
    pub terminations: usize,
    /// Events whose message was stored before a kill and acknowledged after it: those for which
    /// the guarantee was put to the test.
    pub survivors: usize,
    /// Deliveries but the first of each event, without those of the last check.
    pub redeliveries: usize,
    /// How often deliveries ended in which way, those of the last check included.
    pub outcomes: BTreeMap<String, usize>,
    /// How many deliveries were under way at once, at most.
    pub peak: usize,
    /// Whether the time was over before the end.
    pub timed_out: bool,
    /// Within what time all events were acknowledged, if they were.
    pub acknowledged_within: Option<Duration>,
    /// How long it took.
    pub elapsed: Duration,
    /// What happened to the events and messages that were not as they should be, up to 20.
    pub offences: Vec<String>,
    /// Where the relay's log and database are, if they were kept.
    pub evidence: Option<PathBuf>,
}

impl Report {
    /// Judges the messages, and what Svix holds of them.
    #[must_use]
    pub fn judge(messages: &[Message], comparison: Comparison, outages: &[Away]) -> Self {
        let mut report = Self {
            events: messages.len(),
            outages: outages.len(),
            altered: comparison.altered.len(),
            unknown: comparison.unknown.len(),
            ..Self::default()
        };
        let mut offences = Vec::new();
        let is_lost = |at: &&usize| messages[**at].history.acknowledged().is_some();
        for at in comparison.missing.iter().filter(is_lost) {
            report.lost += 1;
            offences.push(format!("lost: {}", messages[*at]));
        }
        for (at, count) in comparison.repeated {
            report.duplicated += count - 1;
            offences.push(format!("stored {count} times: {}", messages[at]));
        }
        for at in comparison.altered {
            offences.push(format!("altered: {}", messages[at]));
        }
        for unknown in comparison.unknown {
            offences.push(format!("unknown message: {unknown}"));
        }
        for message in messages {
            for step in message.history.steps() {
                *report.outcomes.entry(step.outcome.to_string()).or_default() += 1;
            }
            match Remembered::of(&message.history, outages) {
                Remembered::Kept => {}
                Remembered::Overtaken => report.overtaken += 1,
                Remembered::GoneWithRedis => report.gone_with_redis += 1,
                Remembered::Lost => {
                    report.forgotten += 1;
                    offences.push(format!("forgotten: {message}"));
                }
            }
            if is_unfit(&message.history, outages) {
                report.unfit += 1;
                offences.push(format!("answered without Redis: {message}"));
            }
            if message.history.acknowledged().is_none() {
                report.unacknowledged += 1;
                offences.push(format!("not acknowledged: {message}"));
            }
        }
        offences.truncate(TOLD);
        report.offences = offences;
        report
    }

    /// Whether everything was as it must be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let wrong = self.lost
            + self.duplicated
            + self.altered
            + self.unknown
            + self.forgotten
            + self.unfit
            + self.late
            + self.unacknowledged;
        wrong == 0 && self.unmet.is_empty() && !self.timed_out
    }

    /// How many events were acknowledged in a second, on average.
    fn rate(&self) -> f64 {
        let events = u32::try_from(self.events).unwrap_or(u32::MAX);
        let took = self.acknowledged_within;
        took.map_or(0.0, |took| f64::from(events) / took.as_secs_f64())
    }

    /// What is to be said before the one line.
    #[must_use]
    pub fn details(&self) -> Vec<String> {
        let mut lines = self.offences.clone();
        for (count, what) in [
            (self.altered, "messages altered"),
            (self.unknown, "messages unknown"),
            (
                self.forgotten,
                "events forgotten after their acknowledgement",
            ),
            (
                self.unfit,
                "events answered with anything but a prompt 503 while Redis was away",
            ),
            (
                self.late,
                "times a relay was not ready within 2 s of Redis' return",
            ),
            (self.unacknowledged, "events not acknowledged"),
            (
                self.gone_with_redis,
                "events sent again after Redis had lost the record with its last second, which Svix knew (no fault)",
            ),
            (
                self.overtaken,
                "events asked for again: a failing duplicate had overtaken their record (no fault)",
            ),
        ] {
            if count > 0 {
                lines.push(format!("{count} {what}"));
            }
        }
        if !self.unmet.is_empty() {
            lines.push(format!(
                "faults that were never met: {}",
                self.unmet.join(", ")
            ));
        }
        if self.timed_out {
            lines.push("the time was over before the end".to_owned());
        }
        if let Some(directory) = &self.evidence {
            let directory = directory.display();
            lines.push(format!("the relay's log and database: {directory}"));
        }
        let ways = self.outcomes.iter();
        let ways: Vec<_> = ways.map(|(way, count)| format!("{way}: {count}")).collect();
        lines.push(ways.join(", "));
        lines.push(format!(
            "{:.1} s, {:.0} events a second, {} deliveries at once, {} SIGTERMs, {} events stored before a kill and acknowledged after it",
            self.elapsed.as_secs_f64(),
            self.rate(),
            self.peak,
            self.terminations,
            self.survivors
        ));
        lines
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            events,
            messages,
            lost,
            duplicated,
            kills,
            redeliveries,
            nodes,
            outages,
            ..
        } = self;
        write!(
            f,
            "events={events} messages={messages} lost={lost} duplicated={duplicated} kills={kills} redeliveries={redeliveries}"
        )?;
        if *nodes > 1 {
            write!(f, " nodes={nodes} outages={outages}")?;
        }
        Ok(())
    }
}
