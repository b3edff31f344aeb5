//! The deliveries of a message. Times are since the start of the soak.

use std::fmt;
use std::time::Duration;

use super::outcome::Outcome;

/// All deliveries that have ended, in the order of their ends.
#[derive(Clone, Debug, Default)]
pub struct History(Vec<Step>);

/// One delivery: when it was sent, how long it took, and how it ended.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub sent: Duration,
    pub took: Duration,
    pub outcome: Outcome,
}

impl History {
    pub fn note(&mut self, sent: Duration, took: Duration, outcome: Outcome) {
        self.0.push(Step { sent, took, outcome });
    }

    /// When the message was acknowledged for the first time.
    pub fn acknowledged(&self) -> Option<Duration> {
        let mut steps = self.0.iter();
        let first = steps.find(|step| step.outcome.is_ack())?;
        Some(first.ended())
    }

    /// Whether a delivery was under way at this time and ended without a reply.
    pub fn is_broken_at(&self, at: Duration) -> bool {
        let is_broken = |step: &Step| step.outcome == Outcome::Broken;
        let mut steps = self.0.iter().filter(|step| is_broken(step));
        steps.any(|step| step.sent < at && at <= step.ended())
    }

    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl Step {
    pub fn ended(&self) -> Duration {
        self.sent + self.took
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        self.sent <= other.ended() && other.sent <= self.ended()
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            f.write_str(" never delivered")?;
        }
        for Step { sent, took, outcome } in &self.0 {
            let (sent, took) = (sent.as_secs_f64(), took.as_millis());
            write!(f, " [{sent:.3} s: {outcome} after {took} ms]")?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub mod testing {
    use super::*;

    /// The history of deliveries: sent, took (in milliseconds), status, and what the relay said.
    pub fn after(steps: &[(u64, u64, u16, &str)]) -> History {
        let mut history = History::default();
        for (sent, took, status, said) in steps {
            let (said, attempts) = match *said {
                "found" => ("delivered", 0),
                said => (said, 1),
            };
            let body = format!(r#"{{"status":"{said}","attempts":{attempts}}}"#);
            let outcome = Outcome::of_reply(*status, body.as_bytes());
            let [sent, took] = [*sent, *took].map(Duration::from_millis);
            history.note(sent, took, outcome);
        }
        history
    }
}

#[cfg(test)]
mod tests {
    use super::testing::after;
    use super::*;

    #[test]
    fn a_message_is_acknowledged_from_its_first_ack_on() {
        assert_eq!(after(&[]).acknowledged(), None);
        let history =
            after(&[(0, 5, 503, ""), (9, 3, 200, "delivered"), (20, 1, 200, "duplicate")]);
        assert_eq!(history.acknowledged(), Some(Duration::from_millis(12)));
        assert_eq!(history.steps().len(), 3);
    }

    #[test]
    fn a_history_lists_every_delivery() {
        let history = after(&[(0, 5, 503, ""), (1_009, 3, 200, "delivered")]);
        let told = " [0.000 s: 503 after 5 ms] [1.009 s: 200 delivered after 3 ms]";
        assert_eq!(history.to_string(), told);
        assert_eq!(after(&[]).to_string(), " never delivered");
    }
}
