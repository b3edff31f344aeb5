//! The life of an instance, as everything outside of it sees it.

use std::future;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::watch;

/// Whether an instance still lives.
///
/// A worker only drops its instance when it is next polled, and polls the guest once more before
/// that. So everything that is visible from outside asks here first: for the outside, an
/// instance dies at one point in time.
#[derive(Clone, Debug)]
pub struct Lifeline(watch::Receiver<()>);

impl Lifeline {
    /// A life until the next death that is sent through `deaths`.
    pub(crate) fn until(deaths: &watch::Sender<()>) -> Self {
        Self(deaths.subscribe())
    }

    /// A life without an end.
    #[cfg(test)]
    pub fn endless() -> Self {
        Self(watch::channel(()).1)
    }

    /// Whether it is over.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        // An error says that the host is gone, which ends nothing that is still running.
        self.0.has_changed().unwrap_or(false)
    }

    /// Waits for the end.
    pub async fn ended(mut self) {
        if self.0.changed().await.is_err() {
            future::pending::<()>().await;
        }
    }

    /// Does `work`, which stops wherever it is at the end of this life.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        future::poll_fn(|cx| {
            if self.has_ended() {
                Poll::Pending
            } else {
                work.as_mut().poll(cx)
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn nothing_happens_after_the_end_of_a_life() {
        let deaths = watch::channel(()).0;
        let (first, mut done) = (Lifeline::until(&deaths), 0);
        assert!(first.guard(async { done += 1 }).now_or_never().is_some());
        deaths.send_replace(());
        assert!(first.guard(async { done += 1 }).now_or_never().is_none());
        assert_eq!(done, 1);
        assert!(first.ended().now_or_never().is_some());
        let second = Lifeline::until(&deaths);
        assert!(!second.has_ended() && second.ended().now_or_never().is_none());
    }

    #[test]
    fn a_life_outlives_the_host_that_gave_it() {
        let life = Lifeline::endless();
        assert!(!life.has_ended());
        assert!(life.ended().now_or_never().is_none());
    }
}
