//! When Pub/Sub delivers again: one delay for a message, one pause for the whole subscription. Pure
//! decisions: the caller passes the time.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

/// How long a subscription waits after nacks.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// The shortest and the longest delay of a message.
    pub message: [Duration; 2],
    /// The shortest and the longest pause of the subscription.
    pub subscription: [Duration; 2],
}

impl Waits {
    /// Waits that are shorter than Pub/Sub's own, so that the soak meets them often.
    pub const SHORT: Self = Self {
        message: [Duration::from_millis(100), Duration::from_secs(3)],
        subscription: [Duration::from_millis(100), Duration::from_secs(2)],
    };

    /// Pub/Sub's own, with the `retry_policy` that `deploy/` sets.
    pub const REAL: Self = Self {
        message: [Duration::from_secs(10), Duration::from_mins(10)],
        subscription: [Duration::from_millis(100), Duration::from_mins(1)],
    };
}

/// The subscription pauses when nacks outnumber acks by so many.
const TOO_MANY: u32 = 5;

/// How long a message waits after its `nacks`-th nack: up to a bound that doubles, evenly spread
/// over its upper half. One in ten comes at once, and one in ten at any time before the bound.
pub fn redelivery(waits: &Waits, nacks: u32, random: &mut Rng) -> Duration {
    let [shortest, longest] = waits.message;
    let bound = doubled(shortest, nacks.saturating_sub(1), longest);
    match random.u8(..10) {
        0 => Duration::ZERO,
        1 => bound.mul_f64(random.f64()),
        _ => bound.mul_f64(0.5 + random.f64() / 2.0),
    }
}

/// `first`, doubled so many times, up to `longest`.
fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    2u32.checked_pow(times)
        .and_then(|factor| first.checked_mul(factor))
        .map_or(longest, |delay| delay.min(longest))
}

/// The push backoff of the subscription. While nacks prevail, nothing is delivered for a while,
/// then a little, then nothing for a longer while. Acks end the backoff.
#[derive(Debug)]
pub struct PushBackoff {
    waits: Waits,
    /// How far nacks outnumber acks.
    surplus: u32,
    pauses: u32,
    until: Option<Instant>,
}

impl PushBackoff {
    pub fn new(waits: Waits) -> Self {
        Self { waits, surplus: 0, pauses: 0, until: None }
    }

    pub fn on_ack(&mut self) {
        self.surplus = self.surplus.saturating_sub(1);
        if self.surplus == 0 {
            self.pauses = 0;
        }
    }

    pub fn on_nack(&mut self, now: Instant) {
        // Deliveries that were in flight when the pause began don't make it longer.
        if self.paused_until(now).is_some() {
            return;
        }
        self.surplus = (self.surplus + 1).min(TOO_MANY);
        if self.surplus == TOO_MANY {
            let [shortest, longest] = self.waits.subscription;
            let pause = doubled(shortest, self.pauses, longest);
            self.pauses += 1;
            self.until = Some(now + pause);
        }
    }

    /// The end of the pause, if deliveries are paused `now`.
    pub fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// How long a pause the `n`-th nack in a row brings, each coming when the last pause is over.
    fn pauses(backoff: &mut PushBackoff, now: &mut Instant, nacks: usize) -> Vec<u128> {
        let nack = |()| {
            backoff.on_nack(*now);
            let until = backoff.paused_until(*now).unwrap_or(*now);
            let pause = until - *now;
            *now = until;
            pause.as_millis()
        };
        std::iter::repeat_n((), nacks).map(nack).collect()
    }

    #[test]
    fn a_few_nacks_are_no_reason_to_pause_and_many_are() {
        let expected = [0, 0, 0, 0, 100, 200, 400, 800, 1_600, 2_000, 2_000];
        let (mut backoff, mut now) = (PushBackoff::new(Waits::SHORT), Instant::now());
        assert_eq!(pauses(&mut backoff, &mut now, 11), expected);
    }

    #[test]
    fn acks_end_the_backoff() {
        let (mut backoff, mut now) = (PushBackoff::new(Waits::SHORT), Instant::now());
        pauses(&mut backoff, &mut now, 9);
        (0..TOO_MANY).for_each(|_| backoff.on_ack());
        let expected = [0, 0, 0, 0, 100, 200];
        assert_eq!(pauses(&mut backoff, &mut now, 6), expected);
    }

    #[test]
    fn nacks_and_acks_in_turn_never_pause() {
        let (mut backoff, now) = (PushBackoff::new(Waits::SHORT), Instant::now());
        for _ in 0..1_000 {
            backoff.on_nack(now);
            backoff.on_ack();
        }
        assert_eq!(backoff.paused_until(now), None);
    }

    #[test]
    fn nacks_during_a_pause_do_not_prolong_the_pause() {
        let (mut backoff, now) = (PushBackoff::new(Waits::SHORT), Instant::now());
        for _ in 0..100 {
            backoff.on_nack(now);
        }
        assert_eq!(backoff.paused_until(now), Some(now + 100 * MS));
        assert_eq!(backoff.paused_until(now + 100 * MS), None);
    }

    #[test]
    fn a_message_waits_longer_each_time_up_to_a_bound() {
        let mut random = Rng::with_seed(1);
        for (nacks, bound) in [(1, 100), (2, 200), (5, 1_600), (6, 3_000), (90, 3_000)] {
            let bound = bound * MS;
            let waits: Vec<_> =
                (0..1_000).map(|_| redelivery(&Waits::SHORT, nacks, &mut random)).collect();
            let in_turn = waits.iter().filter(|wait| **wait <= bound && **wait >= bound / 2);
            assert!(in_turn.count() > 750, "{nacks}");
            let at_once = waits.iter().filter(|wait| wait.is_zero());
            assert!((50..200).contains(&at_once.count()), "{nacks}");
            assert!(waits.iter().all(|wait| *wait <= 3_000 * MS));
        }
    }
}
