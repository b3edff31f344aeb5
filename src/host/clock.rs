//! Wall-clock time, elapsed time, and waiting.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use spin_sdk::wasip3::clocks::{monotonic_clock, system_clock};

use super::alarm::{self, nanoseconds};

/// Wall-clock time. A clock that shows a time before 1970 is taken to show 1970.
pub fn now() -> SystemTime {
    let instant = system_clock::now();
    let seconds = u64::try_from(instant.seconds).unwrap_or_default();
    let since = Duration::new(seconds, instant.nanoseconds);
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Measures elapsed time, whatever becomes of the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(u64);

impl Stopwatch {
    pub fn start() -> Self {
        Self(monotonic_clock::now())
    }

    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(monotonic_clock::now().saturating_sub(self.0))
    }

    /// When it was started, by the wall clock.
    pub fn started(self) -> SystemTime {
        now().checked_sub(self.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    pub fn remaining(self, length: Duration) -> Duration {
        length.saturating_sub(self.elapsed())
    }
}

pub async fn sleep(wait: Duration) {
    monotonic_clock::wait_for(nanoseconds(wait)).await;
}

/// The output of `future`, or `None` if it takes longer than `time`; the future is dropped then.
pub async fn timeout<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut deadline = pin!(async {
        if time < alarm::TICK {
            sleep(time).await;
        } else {
            alarm::after(time).await;
        }
    });
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        deadline.as_mut().poll(context).map(|()| None)
    })
    .await
}
