//! When to try again: the waits that a retry policy yields.
//!
//! This file decides nothing about what is retryable, and never looks at a clock. Its caller says how much
//! time is left. The answer is a wait that fits, or `None`: give up and let the sender come back.

use std::time::{Duration, SystemTime};

use super::{Cause, Error};
use crate::config::Retry;

/// The least time that an attempt is started with. With less it would most likely end in a timeout,
/// which leaves open whether Svix stored the message.
pub const MIN_ATTEMPT: Duration = Duration::from_millis(100);

/// Fails if too little time remains for an attempt.
pub fn check_time(remaining: Duration) -> Result<(), Error> {
    if remaining < MIN_ATTEMPT {
        return Err(Cause::OutOfTime.into());
    }
    Ok(())
}

/// The waits between the attempts of one notification.
///
/// Full jitter: each wait is drawn evenly between nothing and a bound that doubles, so that
/// notifications that failed together don't return together.
#[derive(Debug)]
pub struct Retries<'a> {
    policy: &'a Retry,
    random: fastrand::Rng,
    failures: u32,
}

impl<'a> Retries<'a> {
    /// The waits of `policy`; the same `seed` draws the same waits.
    pub fn new(policy: &'a Retry, seed: u64) -> Self {
        Self { policy, random: fastrand::Rng::with_seed(seed), failures: 0 }
    }

    /// How long to wait after a failure, with `remaining` left of the budget, or `None` to give up.
    ///
    /// `retry_after` is what Svix asked for. It is obeyed in full or not at all: if it leaves no time
    /// for another attempt, the sender waits instead.
    pub fn next_wait(
        &mut self,
        remaining: Duration,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        self.failures += 1;
        if self.failures >= self.policy.max_attempts {
            return None;
        }
        let bound = 2u32
            .checked_pow(self.failures - 1)
            .and_then(|factor| self.policy.base_delay.checked_mul(factor))
            .map_or(self.policy.max_delay, |delay| delay.min(self.policy.max_delay));
        let jittered = bound.mul_f64(self.random.f64());
        let wait = jittered.max(retry_after.unwrap_or_default());
        let fits = wait.checked_add(MIN_ATTEMPT).is_some_and(|needed| needed <= remaining);
        fits.then_some(wait)
    }
}

/// Reads a `Retry-After` header: whole seconds or an HTTP date (RFC 9110, 10.2.3).
///
/// A wait of zero says only "not now", as a proxy's default does, and so does a date in the past. Both are treated as
/// absent, and so is any other text.
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are still a number: the longest wait there is.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        date.duration_since(now).unwrap_or_default()
    };
    (!wait.is_zero()).then_some(wait)
}

/// A wait as a `Retry-After` header gives it: whole seconds, rounded up.
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LONG: Duration = Duration::from_hours(1);

    const POLICY: Retry = Retry {
        max_attempts: 4,
        budget: Duration::from_secs(8),
        base_delay: Duration::from_millis(100),
        max_delay: Duration::from_millis(300),
    };

    #[test]
    fn waits_between_nothing_and_a_bound_that_doubles_up_to_the_maximum() {
        let mut longest = [Duration::ZERO; 3];
        for seed in 0..2_000 {
            let mut retries = Retries::new(&POLICY, seed);
            for longest in &mut longest {
                *longest = (*longest).max(retries.next_wait(LONG, None).expect("one more"));
            }
        }
        let bounds = [100, 200, 300].map(Duration::from_millis);
        for (longest, bound) in longest.into_iter().zip(bounds) {
            assert!(longest <= bound, "{longest:?} is over {bound:?}");
            assert!(longest > bound.mul_f64(0.98), "{longest:?} never nears {bound:?}");
        }
    }

    #[test]
    fn ends_after_the_last_attempt() {
        let mut retries = Retries::new(&POLICY, 1);
        let waits: Vec<_> = (0..5).map(|_| retries.next_wait(LONG, None)).collect();
        assert!(waits[..3].iter().all(Option::is_some));
        assert_eq!(waits[3..], [None, None]);
    }

    #[test]
    fn honours_retry_after_up_to_the_budget() {
        let asked = Duration::from_secs(2);
        let wait = |remaining| Retries::new(&POLICY, 1).next_wait(remaining, Some(asked));
        assert_eq!(wait(asked + MIN_ATTEMPT), Some(asked));
        let too_little =
            (asked + MIN_ATTEMPT).checked_sub(Duration::from_nanos(1)).expect("positive");
        assert_eq!(wait(too_little), None);
    }

    #[test]
    fn reads_retry_after_as_seconds_and_as_date() {
        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 14:12:42 GMT").expect("a date");
        let read = |value| parse_retry_after(value, now);
        assert_eq!(read("120"), Some(Duration::from_mins(2)));
        assert_eq!(read("Mon, 23 Nov 2026 14:12:45 GMT"), Some(Duration::from_secs(3)));
        assert_eq!(read("Monday, 23-Nov-26 14:12:45 GMT"), Some(Duration::from_secs(3)));
        assert_eq!(read("5000000000"), Some(Duration::from_secs(5_000_000_000)));
        assert_eq!(read("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        for nothing in [
            "0",
            " 00 ",
            "Mon, 23 Nov 2026 14:12:00 GMT",
            "",
            "-1",
            "1.5",
            "soon",
            "1 s",
            "Mon, 99 Nov 2026 14:12:42 GMT",
        ] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn rounds_waits_up_to_whole_seconds() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }

    proptest! {
        #[test]
        fn parsing_retry_after_never_panics(value in ".{0,40}", now in 0u64..10_000_000_000) {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
            let _ = parse_retry_after(&value, now);
        }

        #[test]
        fn no_wait_exceeds_the_remaining_budget(
            seed: u64,
            remaining in 0u64..1_000,
            asked in proptest::option::of(0u64..1_000),
        ) {
            let remaining = Duration::from_millis(remaining);
            let mut retries = Retries::new(&POLICY, seed);
            while let Some(wait) = retries.next_wait(remaining, asked.map(Duration::from_millis)) {
                prop_assert!(wait + MIN_ATTEMPT <= remaining);
            }
        }
    }
}
