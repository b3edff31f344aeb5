//! What one instance of the component has of its own: its WASI context, its open stores, and its
//! life. Nothing in here is shared between instances, except what `Environment` lends them.

use std::future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::Instant;
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock};
use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::clock::Clock;
use crate::key_value::{Faults, FaultyStore, KeyValue};
use crate::outbound::{Client, Outbound};
use crate::output::Output;
use crate::variables::Variables;

/// What a host lends to all of its instances.
pub(crate) struct Environment {
    pub variables: Arc<Variables>,
    pub labels: Arc<[Arc<str>]>,
    pub key_value: KeyValue,
    pub faults: Faults,
    pub client: Client,
    pub output: Output,
    pub clock: Clock,
    /// When the guests' monotonic clock was zero.
    pub started: Instant,
    pub seed: Option<u64>,
}

/// The data in an instance's `Store`.
pub struct Guest {
    pub(crate) table: ResourceTable,
    pub(crate) variables: Arc<Variables>,
    pub(crate) labels: Arc<[Arc<str>]>,
    pub(crate) stores: Arc<FaultyStore>,
    pub(crate) open_stores: usize,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
}

impl Environment {
    /// The data for the instance with this number.
    pub(crate) fn guest(&self, number: u64, life: Lifeline) -> Guest {
        let mut wasi = WasiCtxBuilder::new();
        self.output.attach(&mut wasi);
        wasi.wall_clock(WallClock(self.clock.clone()));
        wasi.monotonic_clock(MonotonicClock(self.started));
        if let Some(seed) = self.seed {
            // Drawn once more: instances would have the same numbers, one step apart.
            let seed = SplitMix(seed ^ number.wrapping_mul(SplitMix::GAMMA)).next();
            let mut random = SplitMix(seed);
            wasi.secure_random(random.stream());
            wasi.insecure_random(random.stream());
            wasi.insecure_random_seed(u128::from(random.next()) << 64 | u128::from(random.next()));
        }
        let stores = FaultyStore::new(self.key_value.clone(), self.faults.clone(), life.clone());
        Guest {
            table: ResourceTable::new(),
            variables: self.variables.clone(),
            labels: self.labels.clone(),
            stores: Arc::new(stores),
            open_stores: 0,
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            outbound: Outbound::new(self.client.clone(), life),
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.outbound,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

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
    #[must_use]
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

struct WallClock(Clock);

impl HostWallClock for WallClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.0.now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// Follows tokio's time, which tests can pause.
struct MonotonicClock(Instant);

impl HostMonotonicClock for MonotonicClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// SplitMix64: a seed becomes as many numbers as wanted. For tests only.
struct SplitMix(u64);

impl SplitMix {
    const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::GAMMA);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Random bytes for one instance. They repeat after 4 KiB, which is more than one needs.
    fn stream(&mut self) -> Deterministic {
        Deterministic::new((0..512).flat_map(|_| self.next().to_le_bytes()).collect())
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

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let numbers = |seed| {
            let mut random = SplitMix(seed);
            [random.next(), random.next()]
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
    }
}
