//! The life of an instance, as everything outside of it sees it.

use std::future;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::watch;

/// Whether an instance still lives.
///
/// A worker drops its instance only when it is polled next, and it polls the guest once more before. Every
/// act of an instance on the outside asks here first, so that for the outside the instance dies at one
/// point in time.
#[derive(Clone, Debug)]
pub struct Lifeline(watch::Receiver<()>);

impl Lifeline {
    /// A life that ends with the next death sent through `deaths`.
    pub(crate) fn until(deaths: &watch::Sender<()>) -> Self {
        Self(deaths.subscribe())
    }

    #[cfg(test)]
    pub fn endless() -> Self {
        Self(watch::channel(()).1)
    }

    pub fn has_ended(&self) -> bool {
        // An error says that the host is gone. Work that still runs goes on.
        self.0.has_changed().unwrap_or(false)
    }

    pub async fn ended(mut self) {
        if self.0.changed().await.is_err() {
            future::pending::<()>().await;
        }
    }

    /// Does `work`; if this life ends first, `work` stops where it is and this future never ends.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        future::poll_fn(|cx| if self.has_ended() { Poll::Pending } else { work.as_mut().poll(cx) })
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
