//! The state of one instance of the component: its WASI context, its store, its life.
//! Instances share nothing but what `Environment` lends them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use clock::Clock;
use tokio::time::Instant;
use wasmtime::ResourceLimiter;
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::random::SplitMix;
use crate::life::Lifeline;
use crate::manifest::Variables;
use crate::outbound::{Client, Outbound};
use crate::output::Output;
use crate::store::{Faults, FaultyStore, KeyValue};

/// The parts of a host that all its instances use.
pub(crate) struct Environment {
    pub variables: Arc<Variables>,
    /// Whether the manifest lets the component open its store.
    pub may_store: bool,
    pub key_value: KeyValue,
    pub faults: Faults,
    pub client: Client,
    pub output: Output,
    pub clock: Clock,
    /// The zero of the guests' monotonic clock.
    pub started: Instant,
    pub seed: Option<u64>,
}

/// The data in the `Store` of an instance.
pub struct Guest {
    pub(crate) table: ResourceTable,
    pub(crate) variables: Arc<Variables>,
    /// `None` if the manifest doesn't allow it.
    pub(crate) store: Option<Arc<FaultyStore>>,
    pub(crate) memory: Memory,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
}

/// The largest memory of an instance. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<AtomicUsize>);

impl Memory {
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Limits nothing: the pool of memories does.
impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.0.fetch_max(desired, Ordering::Relaxed);
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

impl Environment {
    pub(crate) fn guest(&self, number: u64, life: Lifeline) -> Guest {
        let mut wasi = WasiCtxBuilder::new();
        self.output.attach(&mut wasi);
        wasi.wall_clock(WallClock(self.clock.clone()));
        wasi.monotonic_clock(MonotonicClock(self.started));
        if let Some(seed) = self.seed {
            // Hash the seed: with consecutive seeds, instances would get the same numbers one step
            // apart.
            let seed = SplitMix(seed ^ number.wrapping_mul(SplitMix::GAMMA)).next();
            let mut random = SplitMix(seed);
            wasi.secure_random(random.stream());
            wasi.insecure_random(random.stream());
            wasi.insecure_random_seed(u128::from(random.next()) << 64 | u128::from(random.next()));
        }
        let store = FaultyStore::new(self.key_value.clone(), self.faults.clone(), life.clone());
        Guest {
            table: ResourceTable::new(),
            variables: self.variables.clone(),
            store: self.may_store.then(|| Arc::new(store)),
            memory: Memory::default(),
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            outbound: Outbound::new(self.client.clone(), life),
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outbound, table: &mut self.table, ctx: &mut self.http }
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

/// Follows the time of tokio, which tests can pause.
struct MonotonicClock(Instant);

impl HostMonotonicClock for MonotonicClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
