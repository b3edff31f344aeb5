//! The state that all clones of a fake share, and the way of a request through it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use clock::Clock;
use tokio::sync::watch;

use crate::call;
use crate::fault::Fault;
use crate::idempotency::KeptReplies;
use crate::outcome::{Context, Outcome};
use crate::request::ReceivedRequest;
use crate::route::Route;
use crate::script::Scripts;
use crate::store::Store;

/// The body limit of Svix's open-source server.
const BODY_LIMIT: usize = 2 * 1_024 * 1_024;

/// The fake Svix. Clones share its state.
#[derive(Clone, Debug)]
pub struct FakeSvix {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    authorization: String,
    clock: Clock,
    pub body_limit: AtomicUsize,
    pub down: watch::Sender<bool>,
    /// Each request whose answer is delayed holds a clone.
    pub waiting_posts: Arc<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub store: Store,
    pub scripts: Scripts,
    pub latency: Duration,
    pub limit: Option<Limit>,
    pub keeps_requests: bool,
    /// Whether the fake has the routes that only the hosted Svix has.
    pub is_hosted: bool,
    pub requests: Vec<ReceivedRequest>,
}

/// A limit of requests in each second of the clock.
#[derive(Debug)]
pub(crate) struct Limit {
    per_second: u32,
    second: u64,
    admitted: u32,
}

impl Limit {
    pub fn new(per_second: u32) -> Self {
        Self { per_second, second: 0, admitted: 0 }
    }

    fn admits(&mut self, now: SystemTime) -> bool {
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if self.second != second {
            (self.second, self.admitted) = (second, 0);
        }
        self.admitted = self.admitted.saturating_add(1);
        self.admitted <= self.per_second
    }
}

impl FakeSvix {
    /// An empty Svix that accepts this token.
    pub fn new(token: &str, clock: Clock) -> Self {
        let state = State {
            store: Store::new(clock.now()),
            scripts: Scripts::default(),
            latency: Duration::ZERO,
            limit: None,
            keeps_requests: true,
            is_hosted: false,
            requests: Vec::new(),
        };
        Self {
            shared: Arc::new(Shared {
                authorization: format!("Bearer {token}"),
                clock,
                body_limit: AtomicUsize::new(BODY_LIMIT),
                down: watch::Sender::new(false),
                waiting_posts: Arc::new(()),
                state: Mutex::new(state),
            }),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Ignore poison: a panic leaves no operation on the state half done.
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    pub(crate) fn body_limit(&self) -> usize {
        self.shared.body_limit.load(Ordering::Relaxed)
    }

    /// Returns as soon as this Svix is down.
    pub(crate) async fn is_down(&self) {
        let mut down = self.shared.down.subscribe();
        // The wait fails only without a sender, and `self` holds one.
        let _ = down.wait_for(|down| *down).await;
    }

    /// Takes a request to the API: records it, lets it take effect, and decides what the client
    /// gets.
    pub(crate) fn receive(&self, request: ReceivedRequest) -> Outcome {
        let mut state = self.state();
        let route = Route::of(&request.method, &request.path, state.is_hosted);
        let fingerprint = KeptReplies::fingerprint(&request);
        let call = call::read(&route, &request, &self.shared.authorization)
            .unwrap_or_else(|refusal| Box::new(move |_, _| Err(refusal.clone())));
        let context = Context {
            now: request.at,
            authorization: request.header("authorization"),
            fingerprint: fingerprint.as_deref(),
            posted_to: match route {
                Route::CreateMessage(app) => Some(app),
                _ => None,
            },
        };

        let is_limited = state.limit.as_mut().is_some_and(|limit| !limit.admits(request.at));
        let fault = match route.target() {
            _ if is_limited => Fault::status(429),
            Some(target) => state.scripts.of(target).next(&request.method),
            None => Fault::None,
        };
        state.store.settle(request.at);
        let mut outcome = Outcome::of(&fault, &call, &mut state.store, context);
        drop(call);
        outcome.after += state.latency;
        if state.keeps_requests {
            state.requests.push(request);
        }
        outcome
    }
}
