//! What became of a message's deliveries, and what that says about the relay. Times are since the
//! start of the soak.

use std::fmt;
use std::time::Duration;

use super::outage::Away;
use super::outcome::{Outcome, Said};

/// What the relay remembered of a message that it had acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// All it must: whenever the message came again, it said so.
    Kept,
    /// A delivery that failed at the same time has overtaken the acknowledgement, so that the
    /// relay didn't know any more; but it asked Svix before it sent anything. Without an atomic
    /// comparison the store can't rule that out, and nothing is sent twice by it.
    Overtaken,
    /// Nothing, because Redis has lost its last second, in which the acknowledgement was. That it
    /// remains one message is due to Svix's memory.
    GoneWithRedis,
    /// Nothing: it was ready to send the event again. There may still be only one message, but by
    /// Svix's memory alone.
    Lost,
}

/// How long the relay may take for an answer, with the budget that the soak gives it, a write to the
/// store after that, and a machine that has other things to do.
const ANSWER: Duration = Duration::from_secs(5);

/// All deliveries of a message that have ended, in the order of their ends.
#[derive(Clone, Debug, Default)]
pub struct History(Vec<Step>);

/// One delivery: when it was sent, and what came of it.
#[derive(Clone, Copy, Debug)]
struct Step {
    sent: Duration,
    took: Duration,
    outcome: Outcome,
}

impl History {
    /// Adds a delivery that has just ended.
    pub fn note(&mut self, sent: Duration, took: Duration, outcome: Outcome) {
        self.0.push(Step {
            sent,
            took,
            outcome,
        });
    }

    /// When the message was first acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> Option<Duration> {
        let mut steps = self.0.iter();
        let first = steps.find(|step| step.outcome.is_ack())?;
        Some(first.ended())
    }

    /// How each delivery ended.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.0.iter().map(|step| step.outcome)
    }

    /// How often it was delivered, successfully or not.
    #[must_use]
    pub fn deliveries(&self) -> usize {
        self.0.len()
    }

    /// Whether a delivery that came while Redis was away was answered with anything but a prompt 503.
    #[must_use]
    pub fn is_unfit(&self, outages: &[Away]) -> bool {
        let is_unfit = |step: &Step| {
            let away = outages
                .iter()
                .find(|away| (away.from..away.until).contains(&step.sent));
            away.is_some_and(|away| {
                let is_503 = matches!(step.outcome, Outcome::Answered { status: 503, .. });
                let is_answered = matches!(step.outcome, Outcome::Answered { .. });
                step.took > ANSWER || is_answered && !is_503 && step.ended() < away.until
            })
        };
        self.0.iter().any(is_unfit)
    }

    /// Whether the relay still knew that it had acknowledged it, whenever it got it again.
    #[must_use]
    pub fn memory(&self, outages: &[Away]) -> Memory {
        let mut memory = Memory::Kept;
        let acks = |step: &&Step| step.outcome.is_ack();
        for again in self.0.iter().filter(acks) {
            let before = |step: &&Step| step.ended() < again.sent;
            let earlier = self.0.iter().filter(acks).filter(before);
            let Some(last) = earlier.max_by_key(|step| step.ended()) else {
                continue;
            };
            if again.outcome.says(Said::Duplicate) {
                continue;
            }
            let is_gone = |away: &Away| (away.lost_from..=away.until).contains(&last.ended());
            if outages.iter().any(is_gone) {
                memory = Memory::GoneWithRedis;
                continue;
            }
            let fails = |step: &Step| !step.outcome.is_ack() && step.overlaps(last);
            if !(again.outcome.says(Said::Found) && self.0.iter().any(fails)) {
                return Memory::Lost;
            }
            memory = Memory::Overtaken;
        }
        memory
    }
}

impl Step {
    fn ended(&self) -> Duration {
        self.sent + self.took
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.sent <= other.ended() && other.sent <= self.ended()
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            f.write_str(" never delivered")?;
        }
        for Step {
            sent,
            took,
            outcome,
        } in &self.0
        {
            let (sent, took) = (sent.as_secs_f64(), took.as_millis());
            write!(f, " [{sent:.3} s: {outcome} after {took} ms]")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(steps: &[(u64, u64, u16, &str)]) -> History {
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

    #[test]
    fn is_acknowledged_from_its_first_ack_on() {
        assert_eq!(after(&[]).acknowledged(), None);
        let history = after(&[
            (0, 5, 503, ""),
            (9, 3, 200, "delivered"),
            (20, 1, 200, "duplicate"),
        ]);
        assert_eq!(history.acknowledged(), Some(Duration::from_millis(12)));
        assert_eq!(history.deliveries(), 3);
    }

    #[test]
    fn what_was_acknowledged_must_be_known_in_every_later_delivery() {
        let first = (0, 10, 200, "delivered");
        for (later, memory) in [
            ((11, 1, 200, "duplicate"), Memory::Kept),
            ((11, 1, 503, ""), Memory::Kept),
            ((11, 1, 200, "delivered"), Memory::Lost),
            ((11, 1, 200, "found"), Memory::Lost),
            ((11, 1, 200, "dead-lettered"), Memory::Lost),
            // At the same time, both may find that they deliver it.
            ((9, 3, 200, "delivered"), Memory::Kept),
        ] {
            assert_eq!(after(&[first, later]).memory(&[]), memory, "{later:?}");
        }
    }

    #[test]
    fn a_failure_at_the_same_time_excuses_asking_svix_once() {
        let both = [(0, 10, 200, "delivered"), (1, 15, 503, "")];
        let memory = |later: &[_]| after(&[&both, later].concat()).memory(&[]);
        let found = (30, 1, 200, "found");
        assert_eq!(memory(&[found]), Memory::Overtaken);
        assert_eq!(
            memory(&[found, (40, 1, 200, "duplicate")]),
            Memory::Overtaken
        );
        assert_eq!(memory(&[found, (40, 1, 200, "found")]), Memory::Lost);
        assert_eq!(memory(&[(30, 1, 200, "delivered")]), Memory::Lost);
    }

    fn away(lost_from: u64, from: u64, until: u64) -> Away {
        let [lost_from, from, until] = [lost_from, from, until].map(Duration::from_millis);
        Away {
            lost_from,
            from,
            until,
        }
    }

    #[test]
    fn a_redis_that_lost_its_last_second_excuses_what_was_acknowledged_in_it() {
        let again = (30, 1, 200, "delivered");
        let memory =
            |took| after(&[(0, took, 200, "delivered"), again]).memory(&[away(10, 20, 25)]);
        assert_eq!(memory(9), Memory::Lost);
        assert_eq!(memory(10), Memory::GoneWithRedis);
        assert_eq!(memory(25), Memory::GoneWithRedis);
        assert_eq!(memory(26), Memory::Lost);
    }

    #[test]
    fn only_a_prompt_503_is_fit_while_redis_is_away() {
        let is_unfit = |step| after(&[step]).is_unfit(&[away(10, 20, 9_000)]);
        assert!(!is_unfit((20, 5, 503, "")));
        assert!(is_unfit((20, 5, 200, "duplicate")));
        assert!(is_unfit((20, 5, 429, "")));
        assert!(is_unfit((20, 5_001, 503, "")));
        // Before, and where its answer came after.
        assert!(!is_unfit((19, 5, 200, "duplicate")));
        assert!(!is_unfit((8_000, 1_100, 200, "duplicate")));
    }

    #[test]
    fn tells_all_that_happened() {
        let history = after(&[(0, 5, 503, ""), (1_009, 3, 200, "delivered")]);
        let told = " [0.000 s: 503 after 5 ms] [1.009 s: 200 delivered after 3 ms]";
        assert_eq!(history.to_string(), told);
        assert_eq!(after(&[]).to_string(), " never delivered");
    }
}
