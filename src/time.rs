//! Points in time: as text, in RFC 3339, and as numbers since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The last second that RFC 3339 can write.
const END_OF_9999: u64 = 253_402_300_799;

/// How far apart the clocks of two nodes may be. A time that lies further in the future comes from a
/// wrong clock, and is treated as absent.
pub const SKEW: Duration = Duration::from_secs(5);

/// A point in time in UTC, to the millisecond.
pub fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    time.replace_millisecond(time.millisecond())
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// Reads a point in time, with any offset.
///
/// A time before 1970 becomes 1970. A time after the year 9999 is `None`. Both can result from the
/// offset, and could not be written again.
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let seconds = u64::try_from(time.unix_timestamp()).unwrap_or_default();
    if seconds > END_OF_9999 {
        return None;
    }
    let nanoseconds = if seconds == 0 { 0 } else { time.nanosecond() };
    UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
}

/// How long before `now` the point in time `at`, in RFC 3339, was. `None` if `at` is unreadable, or
/// in the future by a clock that was ahead.
pub fn age(at: &str, now: SystemTime) -> Option<Duration> {
    now.duration_since(parse_rfc3339(at)?).ok()
}

/// A time in seconds since 1970. A time before 1970 becomes 0.
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A time in milliseconds since 1970. A time before 1970 becomes 0.
pub fn unix_millis(time: SystemTime) -> u64 {
    as_millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub fn as_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn writes_times_to_the_millisecond() {
        let at = |nanos| rfc3339(UNIX_EPOCH + Duration::from_nanos(nanos));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(1_500_999_999), "1970-01-01T00:00:01.5Z");
    }

    #[test]
    fn reads_times_with_any_offset() {
        let expected = Some(UNIX_EPOCH + Duration::from_secs(1_795_443_162));
        assert_eq!(parse_rfc3339("2026-11-23T14:12:42Z"), expected);
        assert_eq!(parse_rfc3339("2026-11-23T16:12:42.000+02:00"), expected);
        assert_eq!(parse_rfc3339("1969-12-31T23:59:59.5Z"), Some(UNIX_EPOCH));
        assert_eq!(parse_rfc3339("0000-01-01T00:00:00Z"), Some(UNIX_EPOCH));
        let last = parse_rfc3339("9999-12-31T23:59:59Z").expect("a time");
        assert_eq!(rfc3339(last), "9999-12-31T23:59:59Z");
        for nonsense in [
            "9999-12-31T23:59:59-00:01",
            "",
            "yesterday",
            "2026-11-23",
            "2026-11-23T14:12:42",
            "1795443162",
        ] {
            assert_eq!(parse_rfc3339(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn an_age_is_known_only_of_a_past_time() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let then = "1970-01-01T00:00:10Z";
        assert_eq!(age(then, at(10)), Some(Duration::ZERO));
        assert_eq!(age(then, at(70)), Some(Duration::from_mins(1)));
        assert_eq!(age(then, at(9)), None);
        assert_eq!(age("", at(10)), None);
    }

    proptest! {
        #[test]
        fn any_time_is_read_back(millis in 0u64..4_000_000_000_000) {
            let time = UNIX_EPOCH + Duration::from_millis(millis);
            prop_assert_eq!(parse_rfc3339(&rfc3339(time)), Some(time));
        }
    }
}
