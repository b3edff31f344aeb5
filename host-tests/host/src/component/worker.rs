//! Spin's rules for instances, within wasmtime's `ProxyHandler`: how long they live, and how many
//! requests they take.

use std::future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{self, Sleep};
use wasmtime::component::GuestTaskId;
use wasmtime::{Store, StoreContextMut};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, Proxy, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};

use super::instance::{Environment, Guest, Memory};
use super::program::Program;
use crate::life::Lifeline;
use crate::output::Output;

/// A request's place among those that are on their way into an instance. `None` if places are
/// unlimited, or if the request has waited too long for one.
pub(crate) type Entrance = Option<OwnedSemaphorePermit>;

/// How often an instance is reused; the default is Spin's.
#[derive(Clone, Copy, Debug)]
pub struct Reuse {
    /// How many requests one instance takes in total.
    pub max_requests: usize,
    /// How many requests it takes at once.
    pub max_concurrent: usize,
    /// How long it waits for another request before it ends.
    pub idle_timeout: Duration,
}

impl Default for Reuse {
    fn default() -> Self {
        Self { max_requests: 128, max_concurrent: 16, idle_timeout: Duration::from_secs(1) }
    }
}

/// The memory from which on an instance takes no further request, in bytes. WebAssembly's memory never shrinks, and
/// one that has held a large body would keep the room of that body for up to 127 small ones.
const LARGE_MEMORY: usize = 16 << 20;

/// Creates and ends the instances of one host.
pub(crate) struct Instances {
    program: Program,
    environment: Environment,
    reuse: Reuse,
    deaths: watch::Sender<()>,
    ending: watch::Sender<bool>,
    living: watch::Sender<usize>,
    created: AtomicU64,
    attempts: AtomicU64,
}

impl Instances {
    pub(crate) fn new(program: Program, environment: Environment, reuse: Reuse) -> Self {
        Self {
            program,
            environment,
            reuse,
            deaths: watch::Sender::new(()),
            ending: watch::Sender::new(false),
            living: watch::Sender::new(0),
            created: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
        }
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    pub(crate) fn created(&self) -> u64 {
        self.created.load(Ordering::Relaxed)
    }

    pub(crate) fn living(&self) -> usize {
        *self.living.borrow()
    }

    /// A life that ends when the instances of this moment end.
    pub(crate) fn life(&self) -> Lifeline {
        Lifeline::until(&self.deaths)
    }

    pub(crate) async fn try_one(&self) -> wasmtime::Result<()> {
        self.instantiate().await.map(drop)
    }

    /// Ends all instances and waits until they are dropped.
    pub(crate) async fn end_all(&self) {
        self.deaths.send_replace(());
        self.all_ended().await;
    }

    /// From now on, an instance ends once it has nothing to do. Waits until all have ended.
    pub(crate) async fn settle(&self) {
        self.ending.send_replace(true);
        self.all_ended().await;
    }

    async fn all_ended(&self) {
        // The wait fails only without a sender, and `self` holds one.
        drop(self.living.subscribe().wait_for(|living| *living == 0).await);
    }
}

impl HandlerState for Instances {
    type StoreData = Guest;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Guest, Expiration, Worker>> {
        let number = self.attempts.fetch_add(1, Ordering::Relaxed);
        let life = self.life();
        let guest = self.environment.guest(number, life.clone());
        let worker = Worker {
            life: life.clone(),
            reuse: self.reuse,
            output: self.environment.output.clone(),
            memory: guest.memory.clone(),
            _living: Living::one_more(&self.living),
        };
        let service = &self.program.service;
        let mut store = Store::new(service.engine(), guest);
        store.limiter(|guest| &mut guest.memory);
        let proxy = Proxy::P3(service.instantiate_async(&mut store).await?);
        self.created.fetch_add(1, Ordering::Relaxed);
        Ok(Instance {
            store,
            proxy,
            view: Guest::http,
            expiration: Expiration {
                ended: Box::pin(life.ended()),
                ending: Box::pin(ending(self.ending.subscribe())),
                idle_timeout: self.reuse.idle_timeout,
                idle: None,
            },
            state: worker,
        })
    }
}

/// Decides which requests one instance takes.
pub(crate) struct Worker {
    life: Lifeline,
    reuse: Reuse,
    output: Output,
    memory: Memory,
    _living: Living,
}

impl WorkerState for Worker {
    type StoreData = Guest;
    type RequestData = Entrance;

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        let is_used_up = total >= self.reuse.max_requests || self.memory.bytes() > LARGE_MEMORY;
        if self.life.has_ended() || is_used_up {
            ShouldAccept::Never
        } else if concurrent >= self.reuse.max_concurrent {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    /// Lets the next request enter. As in Spin, a request may take any time.
    fn on_request_start(
        &self,
        _: StoreContextMut<'_, Guest>,
        entrance: Entrance,
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        drop(entrance);
        Box::pin(future::pending())
    }

    fn drop(&self, store: Store<Guest>, result: wasmtime::Result<()>) {
        drop(store);
        if let Err(error) = result
            && !self.life.has_ended()
        {
            self.output.remark(&format!("the component failed: {}", error.root_cause()));
        }
    }
}

/// Decides when an instance ends.
pub(crate) struct Expiration {
    ended: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    ending: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    idle_timeout: Duration,
    /// Since when the instance is idle, and a timer for the end. The first is the system's time and only
    /// compared. The timer runs in tokio's time, which tests can pause.
    idle: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl WorkerExpiration for Expiration {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        status: WorkerStatus,
        since: Instant,
    ) -> Poll<()> {
        if self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if status != WorkerStatus::Idle {
            self.idle = None;
            return Poll::Pending;
        }
        if self.ending.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let timeout = self.idle_timeout;
        let start = || (since, Box::pin(time::sleep(timeout)));
        let idle = self.idle.get_or_insert_with(start);
        if idle.0 != since {
            *idle = start();
        }
        ready!(idle.1.as_mut().poll(cx));
        Poll::Ready(())
    }
}

/// Waits until the host ends.
async fn ending(mut ending: watch::Receiver<bool>) {
    if ending.wait_for(|ending| *ending).await.is_err() {
        future::pending::<()>().await;
    }
}

/// Counts an instance until its state is dropped.
struct Living(watch::Sender<usize>);

impl Living {
    fn one_more(living: &watch::Sender<usize>) -> Self {
        living.send_modify(|living| *living += 1);
        Self(living.clone())
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.0.send_modify(|living| *living -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn expiration(deaths: &watch::Sender<()>, host: &watch::Sender<bool>) -> Pin<Box<Expiration>> {
        Box::pin(Expiration {
            ended: Box::pin(Lifeline::until(deaths).ended()),
            ending: Box::pin(ending(host.subscribe())),
            idle_timeout: Duration::from_secs(1),
            idle: None,
        })
    }

    async fn expires_within(
        expiration: &mut Pin<Box<Expiration>>,
        within: Duration,
        status: WorkerStatus,
        since: Instant,
    ) -> bool {
        let expired = future::poll_fn(|cx| expiration.as_mut().poll(cx, status, since));
        time::timeout(within, expired).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_expires_after_an_idle_second() {
        let deaths = watch::Sender::new(());
        let host = watch::Sender::new(false);
        let mut expiration = expiration(&deaths, &host);
        let (since, long) = (Instant::now(), Duration::from_mins(1));
        let mut expires = async |within, status, since| {
            expires_within(&mut expiration, within, status, since).await
        };
        assert!(!expires(long, WorkerStatus::Requests, since).await);
        let almost = Duration::from_millis(999);
        assert!(!expires(almost, WorkerStatus::Idle, since).await);
        assert!(!expires(long, WorkerStatus::PostReturn, since).await);
        assert!(!expires(almost, WorkerStatus::Idle, since).await);
        let later = since + Duration::from_nanos(1);
        assert!(!expires(almost, WorkerStatus::Idle, later).await, "idle anew");
        assert!(expires(Duration::from_millis(2), WorkerStatus::Idle, later).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_ends_with_its_life_even_at_work() {
        let deaths = watch::Sender::new(());
        let host = watch::Sender::new(false);
        let mut expiration = expiration(&deaths, &host);
        deaths.send_replace(());
        let expired = future::poll_fn(|cx| {
            expiration.as_mut().poll(cx, WorkerStatus::Requests, Instant::now())
        });
        assert!(expired.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_ends_with_its_host_once_it_has_nothing_to_do() {
        let deaths = watch::Sender::new(());
        let host = watch::Sender::new(false);
        let mut expiration = expiration(&deaths, &host);
        let (since, short) = (Instant::now(), Duration::from_millis(1));
        let mut expires =
            async |status| expires_within(&mut expiration, short, status, since).await;
        assert!(!expires(WorkerStatus::Idle).await);
        host.send_replace(true);
        assert!(!expires(WorkerStatus::PostReturn).await);
        assert!(expires(WorkerStatus::Idle).await);
    }
}
