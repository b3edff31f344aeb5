//! The judgement of the relay by the deliveries of one message.

use std::time::Duration;

use crate::publisher::history::{History, Step};
use crate::publisher::outcome::{Outcome, Said};
use crate::storm::outage::Away;

/// The relay's memory of a message that it had acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// Everything: whenever the message came again, the relay said so.
    Kept,
    /// A delivery that failed at the same time overwrote the record of the acknowledged one. The
    /// relay asked Svix before it sent anything, so that nothing is sent twice. The store can't
    /// prevent the overwriting, because it has no atomic comparison.
    Overtaken,
    /// Nothing, because Redis has lost its last second with the record. Only Svix's memory keeps
    /// the event one message.
    GoneWithRedis,
    /// Nothing: the relay was ready to send the event again. If there is still one message, only
    /// Svix's memory has kept it so.
    Lost,
}

/// The limit for a reply: the retry budget of the soak, a write to the store, and some more for a
/// busy machine.
const ANSWER: Duration = Duration::from_secs(5);

/// Whether a delivery during an outage of Redis got another reply than a prompt 503.
pub fn is_unfit(history: &History, outages: &[Away]) -> bool {
    let is_unfit = |step: &Step| {
        let away = outages.iter().find(|away| (away.from..away.until).contains(&step.sent));
        away.is_some_and(|away| {
            let is_503 = matches!(step.outcome, Outcome::Answered { status: 503, .. });
            let is_answered = matches!(step.outcome, Outcome::Answered { .. });
            step.took > ANSWER || is_answered && !is_503 && step.ended() < away.until
        })
    };
    history.steps().iter().any(is_unfit)
}

impl Remembered {
    /// Judges the relay's replies to deliveries after the acknowledgement of the message.
    pub fn of(history: &History, outages: &[Away]) -> Self {
        let mut remembered = Self::Kept;
        let acks = |step: &&Step| step.outcome.is_ack();
        for again in history.steps().iter().filter(acks) {
            let before = |step: &&Step| step.ended() < again.sent;
            let earlier = history.steps().iter().filter(acks).filter(before);
            let Some(last) = earlier.max_by_key(|step| step.ended()) else {
                continue;
            };
            if again.outcome.says(Said::Duplicate) {
                continue;
            }
            // A letter goes on acknowledging its event. Another delivery may have delivered it at the same moment.
            let kept =
                |step: &Step| step.outcome.says(Said::DeadLettered) && step.sent < again.sent;
            if again.outcome.says(Said::DeadLettered) && history.steps().iter().any(kept) {
                continue;
            }
            let is_gone = |away: &Away| (away.lost_from..=away.until).contains(&last.ended());
            if outages.iter().any(is_gone) {
                remembered = Self::GoneWithRedis;
                continue;
            }
            let fails = |step: &Step| !step.outcome.is_ack() && step.overlaps(last);
            // The relay has asked Svix first. Svix doesn't have a letter's event, so the relay sends the event.
            let asked = again.outcome.says(Said::Found)
                || again.outcome.says(Said::Delivered) && last.outcome.says(Said::DeadLettered);
            if !(asked && history.steps().iter().any(fails)) {
                return Self::Lost;
            }
            remembered = Self::Overtaken;
        }
        remembered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::history::testing::after;

    #[test]
    fn a_letter_goes_on_acknowledging_its_event() {
        let letter = (0, 10, 200, "dead-lettered");
        for (later, expected) in [
            ((11, 1, 200, "dead-lettered"), Remembered::Kept),
            ((11, 1, 200, "duplicate"), Remembered::Kept),
            ((11, 1, 200, "delivered"), Remembered::Lost),
        ] {
            assert_eq!(Remembered::of(&after(&[letter, later]), &[]), expected);
        }
        let overtaken = [letter, (1, 15, 503, ""), (30, 1, 200, "delivered")];
        assert_eq!(Remembered::of(&after(&overtaken), &[]), Remembered::Overtaken);
    }

    #[test]
    fn an_acknowledged_message_is_a_duplicate_in_every_later_delivery() {
        let first = (0, 10, 200, "delivered");
        for (later, expected) in [
            ((11, 1, 200, "duplicate"), Remembered::Kept),
            ((11, 1, 503, ""), Remembered::Kept),
            ((11, 1, 200, "delivered"), Remembered::Lost),
            ((11, 1, 200, "found"), Remembered::Lost),
            ((11, 1, 200, "dead-lettered"), Remembered::Lost),
            // Of two deliveries in flight at once, both may find that they deliver it.
            ((9, 3, 200, "delivered"), Remembered::Kept),
        ] {
            assert_eq!(Remembered::of(&after(&[first, later]), &[]), expected, "{later:?}");
        }
    }

    #[test]
    fn a_failure_at_the_same_time_excuses_asking_svix_once() {
        let both = [(0, 10, 200, "delivered"), (1, 15, 503, "")];
        let memory = |later: &[_]| Remembered::of(&after(&[&both, later].concat()), &[]);
        let found = (30, 1, 200, "found");
        assert_eq!(memory(&[found]), Remembered::Overtaken);
        assert_eq!(memory(&[found, (40, 1, 200, "duplicate")]), Remembered::Overtaken);
        assert_eq!(memory(&[found, (40, 1, 200, "found")]), Remembered::Lost);
        assert_eq!(memory(&[(30, 1, 200, "delivered")]), Remembered::Lost);
    }

    fn away(lost_from: u64, from: u64, until: u64) -> Away {
        let [lost_from, from, until] = [lost_from, from, until].map(Duration::from_millis);
        Away { lost_from, from, until }
    }

    #[test]
    fn a_redis_that_lost_its_last_second_excuses_messages_acknowledged_in_it() {
        let again = (30, 1, 200, "delivered");
        let memory = |took| {
            Remembered::of(&after(&[(0, took, 200, "delivered"), again]), &[away(10, 20, 25)])
        };
        assert_eq!(memory(9), Remembered::Lost);
        assert_eq!(memory(10), Remembered::GoneWithRedis);
        assert_eq!(memory(25), Remembered::GoneWithRedis);
        assert_eq!(memory(26), Remembered::Lost);
    }

    #[test]
    fn only_a_prompt_503_is_fit_while_redis_is_away() {
        let is_unfit = |step| is_unfit(&after(&[step]), &[away(10, 20, 9_000)]);
        assert!(!is_unfit((20, 5, 503, "")));
        assert!(is_unfit((20, 5, 200, "duplicate")));
        assert!(is_unfit((20, 5, 429, "")));
        assert!(is_unfit((20, 5_001, 503, "")));
        // Redis was away only after the first, and came back before the answer to the second.
        assert!(!is_unfit((19, 5, 200, "duplicate")));
        assert!(!is_unfit((8_000, 1_100, 200, "duplicate")));
    }
}
