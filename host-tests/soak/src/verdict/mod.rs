//! The result of a soak: its numbers, the verdict, and the history of every event that went wrong.

pub mod at_risk;
pub mod audit;
pub mod comparison;
pub mod letters;
mod memory;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use self::audit::Audit;
use self::comparison::Comparison;
use self::letters::Replayed;
use self::memory::{Remembered, is_unfit};
use crate::publisher::message::Message;
use crate::storm::outage::Away;

/// The most offences that are reported in detail.
const TOLD: usize = 20;

/// The result of a soak. Its [`fmt::Display`] is the one line at the end.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub events: usize,
    pub messages: usize,
    /// Events that were acknowledged and have no message in Svix.
    pub lost: usize,
    /// Messages beyond the first of their event.
    pub duplicated: usize,
    /// Messages whose payload differs from the event.
    pub altered: usize,
    /// Events with an ordering key.
    pub ordered: usize,
    /// Events that Svix was given after a later one of the same project and ordering key.
    pub reordered: usize,
    /// Messages without an event.
    pub unknown: usize,
    /// Acknowledged events that the relay was ready to send again later.
    pub forgotten: usize,
    /// No fault, but worth knowing: acknowledged events for which the relay had to ask Svix later,
    /// because a failing delivery had overwritten their record.
    pub overtaken: usize,
    /// No fault of the relay: acknowledged events that it was ready to send again, because Redis
    /// had lost its last second.
    pub gone_with_redis: usize,
    /// Events with a delivery that got another reply than a prompt 503 during an outage of Redis.
    pub unfit: usize,
    /// How often a relay was not ready soon after an outage of Redis.
    pub late: usize,
    pub nodes: usize,
    pub outages: usize,
    /// Events that were not acknowledged before the deadline.
    pub unacknowledged: usize,
    /// The relay's own audit of its store.
    pub audit: Audit,
    /// The kinds of faults that no request has met.
    pub unmet: Vec<&'static str>,
    pub replayed: Replayed,
    pub kills: usize,
    /// How often a relay was ended with SIGTERM.
    pub terminations: usize,
    /// Events that were stored in Svix before a kill and acknowledged after it. For these the
    /// guarantee was put to the test.
    pub survivors: usize,
    /// Deliveries that were not the first of their event, without those of the last check.
    pub redeliveries: usize,
    /// How many deliveries ended in which way, with those of the last check.
    pub outcomes: BTreeMap<String, usize>,
    /// The most deliveries that were in flight at once.
    pub peak: usize,
    /// Whether the deadline passed before the end.
    pub timed_out: bool,
    /// The time until all events were acknowledged; `None` if some were not.
    pub acknowledged_within: Option<Duration>,
    pub elapsed: Duration,
    /// The histories of the first 20 events and messages that went wrong.
    pub offences: Vec<String>,
    /// The directory of the relays' logs and databases, if it was kept.
    pub evidence: Option<PathBuf>,
}

impl Report {
    /// Judges the histories of the messages, and Svix's messages of them.
    pub fn judge(messages: &[Message], comparison: Comparison, outages: &[Away]) -> Self {
        let mut report = Self {
            events: messages.len(),
            outages: outages.len(),
            altered: comparison.altered.len(),
            reordered: comparison.reordered.len(),
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
        for (at, later) in comparison.reordered {
            let (passed, later) = (&messages[at], &messages[later]);
            offences.push(format!("out of order: {passed}, after {later}"));
        }
        for unknown in comparison.unknown {
            offences.push(format!("unknown message: {unknown}"));
        }
        for message in messages {
            report.ordered += usize::from(message.event.ordering_key.is_some());
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

    /// Whether the relay passed.
    pub fn is_clean(&self) -> bool {
        // A soak in which no kill hits an event in flight shows nothing of kills.
        let has_hit = self.kills == 0 || self.survivors > 0;
        self.wrong() == 0 && has_hit && self.unmet.is_empty() && !self.timed_out
    }

    /// How often anything was found that must not be.
    fn wrong(&self) -> usize {
        self.lost
            + self.duplicated
            + self.altered
            + self.reordered
            + self.unknown
            + self.forgotten
            + self.unfit
            + self.late
            + self.unacknowledged
            + self.audit.wrong.len()
            + usize::try_from(self.replayed.left).unwrap_or(usize::MAX)
    }

    /// The average number of events acknowledged in a second.
    fn rate(&self) -> f64 {
        let events = u32::try_from(self.events).unwrap_or(u32::MAX);
        let took = self.acknowledged_within;
        took.map_or(0.0, |took| f64::from(events) / took.as_secs_f64())
    }

    /// The lines before the one line at the end.
    pub fn details(&self) -> Vec<String> {
        let mut lines = self.offences.clone();
        lines.extend(self.audit.wrong.iter().take(TOLD).cloned());
        for (count, what) in [
            (self.altered, "messages altered"),
            (self.unknown, "messages unknown"),
            (self.forgotten, "events forgotten after their acknowledgement"),
            (
                self.unfit,
                "events answered with another reply than a prompt 503 while Redis was away",
            ),
            (self.late, "times a relay was not ready within 2 s of Redis' return"),
            (self.unacknowledged, "events not acknowledged"),
            (
                usize::try_from(self.replayed.left).unwrap_or(usize::MAX),
                "dead letters that no replay could deliver",
            ),
            (
                self.gone_with_redis,
                "events sent again after Redis had lost the record with its last second, which Svix knew (no fault)",
            ),
            (
                self.overtaken,
                "events looked up again, because a failing duplicate had overwritten their record (no fault)",
            ),
        ] {
            if count > 0 {
                lines.push(format!("{count} {what}"));
            }
        }
        if !self.unmet.is_empty() {
            lines.push(format!("faults that no request met: {}", self.unmet.join(", ")));
        }
        if self.kills > 0 && self.survivors == 0 {
            lines.push("no kill has hit an event in flight".to_owned());
        }
        if self.timed_out {
            lines.push("the deadline passed before the end".to_owned());
        }
        if let Some(directory) = &self.evidence {
            let directory = directory.display();
            lines.push(format!("the relay's log and database: {directory}"));
        }
        let ways = self.outcomes.iter();
        let ways: Vec<_> = ways.map(|(way, count)| format!("{way}: {count}")).collect();
        lines.push(ways.join(", "));
        lines.push(self.audit.told.clone());
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
            ordered,
            reordered,
            kills,
            survivors,
            redeliveries,
            nodes,
            outages,
            audit: Audit { audited, findings, .. },
            ..
        } = self;
        write!(
            f,
            "events={events} messages={messages} lost={lost} duplicated={duplicated} ordered={ordered} reordered={reordered} audited={audited} findings={findings} kills={kills} survivors={survivors} redeliveries={redeliveries} wrong={}",
            self.wrong()
        )?;
        if self.replayed.resolved > 0 {
            write!(f, " replayed={}", self.replayed.resolved)?;
        }
        if *nodes > 1 {
            write!(f, " nodes={nodes} outages={outages}")?;
        }
        Ok(())
    }
}
