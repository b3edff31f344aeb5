//! Wall-clock time that follows the time of tokio, so that tests with a paused clock see hours pass
//! without waiting. Such a clock never asks the operating system after its creation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A wall clock: its start, plus the time that tokio has seen since, plus the time that it was
/// advanced by. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    /// `None` for the system's own clock.
    started: Option<(SystemTime, Instant)>,
    moved_nanos: Arc<AtomicU64>,
}

impl Clock {
    pub fn starting_at(start: SystemTime) -> Self {
        Self { started: Some((start, Instant::now())), moved_nanos: Arc::default() }
    }

    /// The system's own clock, with every correction. It also counts the time for which the machine slept.
    pub fn real() -> Self {
        Self { started: None, moved_nanos: Arc::default() }
    }

    /// A clock that starts at the system's time, and from then on follows tokio's.
    pub fn system() -> Self {
        Self::starting_at(SystemTime::now())
    }

    /// A clock that starts at `start`, and is moved whenever this one is.
    #[must_use]
    pub fn beside(&self, start: SystemTime) -> Self {
        Self { moved_nanos: self.moved_nanos.clone(), ..Self::starting_at(start) }
    }

    pub fn now(&self) -> SystemTime {
        let moved = Duration::from_nanos(self.moved_nanos.load(Ordering::Relaxed));
        let now =
            self.started.map_or_else(SystemTime::now, |(start, created)| start + created.elapsed());
        now + moved
    }

    /// Moves this clock and its clones forward. No timer of tokio fires by that.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.moved_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";

/// `time` as Svix writes it: RFC 3339 in UTC, with microseconds.
pub fn rfc3339(time: SystemTime) -> String {
    // The HTTP date has every field at a fixed place: `Sun, 06 Nov 1994 08:49:37 GMT`.
    let date = httpdate::fmt_http_date(time);
    let month = MONTHS.find(&date[8..11]).map_or(0, |at| at / 3 + 1);
    let micros =
        time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_micros());
    let (year, day, clock) = (&date[12..16], &date[5..7], &date[17..25]);
    format!("{year}-{month:02}-{day}T{clock}.{micros:06}Z")
}

/// Reads a time of RFC 3339 in UTC, as [`rfc3339`] writes it. `None` if it has an offset.
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let at = month.parse::<usize>().ok()?.checked_sub(1)? * 3;
    let month = MONTHS.get(at..at + 3)?;
    // An HTTP date is valid with the right day of the week only.
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let time = days.into_iter().find_map(|name| {
        httpdate::parse_http_date(&format!("{name}, {day} {month} {year} {clock} GMT")).ok()
    })?;
    let nanos = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(time + Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(784_111_777);

    #[tokio::test(start_paused = true)]
    async fn a_clock_follows_the_time_of_tokio() {
        let clock = Clock::starting_at(SystemTime::UNIX_EPOCH + START);
        tokio::time::sleep(Duration::from_secs(90)).await;

        let passed = clock.now().duration_since(SystemTime::UNIX_EPOCH + START);
        assert_eq!(passed.expect("forward").as_secs(), 90);
    }

    #[tokio::test(start_paused = true)]
    async fn the_real_clock_is_the_systems() {
        let clock = Clock::real();
        tokio::time::sleep(Duration::from_hours(1)).await;

        let before = SystemTime::now();
        let now = clock.now();
        assert!(before <= now && now <= SystemTime::now());
    }

    #[tokio::test(start_paused = true)]
    async fn advancing_a_clock_moves_its_clones() {
        let clock = Clock::starting_at(SystemTime::UNIX_EPOCH);
        let clone = clock.clone();
        clock.advance(Duration::from_hours(12));
        clone.advance(Duration::from_hours(12));

        assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + Duration::from_hours(24));
        assert_eq!(clone.now(), clock.now());
    }

    #[test]
    fn writes_rfc_3339() {
        let time = SystemTime::UNIX_EPOCH + START + Duration::from_micros(1_500);
        assert_eq!(rfc3339(time), "1994-11-06T08:49:37.001500Z");
        let leap = SystemTime::UNIX_EPOCH + Duration::from_hours(474_768);
        assert_eq!(rfc3339(leap), "2024-02-29T00:00:00.000000Z");
    }

    #[test]
    fn reads_rfc_3339_in_utc() {
        let time = SystemTime::UNIX_EPOCH + START + Duration::from_micros(1_500);
        assert_eq!(parse_rfc3339(&rfc3339(time)), Some(time));
        let whole = SystemTime::UNIX_EPOCH + START;
        assert_eq!(parse_rfc3339("1994-11-06T08:49:37Z"), Some(whole));
        for other in [
            "",
            "1994-11-06",
            "1994-13-06T08:49:37Z",
            "1994-00-06T08:49:37Z",
            "1994-11-31T08:49:37Z",
            "1994-11-06T08:49:37+01:00",
            "1994-11-06T08:49:37.xZ",
        ] {
            assert_eq!(parse_rfc3339(other), None, "{other}");
        }
    }
}
