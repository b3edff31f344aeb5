//! What a soak has shown: the numbers, the judgement, and what happened to whatever went wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::comparison::Comparison;
use super::history::Memory;
use super::message::Message;

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
    pub fn judge(messages: &[Message], comparison: Comparison) -> Self {
        let mut report = Self {
            events: messages.len(),
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
            for outcome in message.history.outcomes() {
                *report.outcomes.entry(outcome.to_string()).or_default() += 1;
            }
            match message.history.memory() {
                Memory::Kept => {}
                Memory::Overtaken => report.overtaken += 1,
                Memory::Lost => {
                    report.forgotten += 1;
                    offences.push(format!("forgotten: {message}"));
                }
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
            + self.unacknowledged;
        wrong == 0 && self.unmet.is_empty() && !self.timed_out
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
            (self.unacknowledged, "events not acknowledged"),
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
            "{:.1} s, {} deliveries at once, {} SIGTERMs, {} events stored before a kill and acknowledged after it",
            self.elapsed.as_secs_f64(),
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
            ..
        } = self;
        write!(
            f,
            "events={events} messages={messages} lost={lost} duplicated={duplicated} kills={kills} redeliveries={redeliveries}"
        )
    }
}
