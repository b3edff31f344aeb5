//! A Svix for tests and for trying things out: it keeps messages in memory, can be told to fail in
//! many ways, and shows what it received. It never delivers anything.
//!
//! It behaves as Svix was observed to behave, above all where that is inconvenient. A request
//! passes through these files:
//!
//! - `connection`: a stream; carries out what was decided, the breaking included.
//! - `request`, `route`, `call`: what was received, where it goes, what it asks for.
//! - `script`, `fault`, `outcome`: what is to go wrong, and what becomes of the request then.
//! - `store`, `message`, `idempotency`: what Svix holds, and its rules.
//! - `application`, `event_type`: what it has for customers beside messages.
//! - `refusal`, `reply`, `trickle`: what goes back.
//! - `control`, `helpers`: what tests, and people with curl, make it do and see of it.

mod application;
mod call;
mod connection;
mod control;
mod event_type;
mod fault;
mod helpers;
mod idempotency;
mod message;
mod outcome;
mod refusal;
mod reply;
mod request;
mod route;
mod script;
mod store;
#[cfg(test)]
mod tests;
mod trickle;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use event_type::EventType;
pub use fault::{Fault, RetryAfter};
pub use message::StoredMessage;
pub use request::ReceivedRequest;
pub use script::Target;

use crate::clock::Clock;
use call::Call;
use outcome::{Context, Outcome};
use route::Route;
use script::Scripts;
use store::Store;

/// The body limit of Svix's open-source server.
const BODY_LIMIT: usize = 2_000_000;

/// How long to leave a listener alone that can't accept, for want of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Within what an eventId is unique. Svix's documentation says either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventIdScope {
    /// Within its application.
    #[default]
    Application,
    /// Within all applications together.
    Environment,
}

/// The fake Svix. Clones are the same Svix.
#[derive(Clone, Debug)]
pub struct FakeSvix {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    authorization: String,
    clock: Clock,
    body_limit: AtomicUsize,
    down: watch::Sender<bool>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    store: Store,
    scripts: Scripts,
    latency: Duration,
    keeps_requests: bool,
    requests: Vec<ReceivedRequest>,
}

impl FakeSvix {
    /// A Svix without applications that accepts this token.
    #[must_use]
    pub fn new(token: &str, clock: Clock) -> Self {
        let state = State {
            store: Store::new(clock.now()),
            scripts: Scripts::default(),
            latency: Duration::ZERO,
            keeps_requests: true,
            requests: Vec::new(),
        };
        Self {
            shared: Arc::new(Shared {
                authorization: format!("Bearer {token}"),
                clock,
                body_limit: AtomicUsize::new(BODY_LIMIT),
                down: watch::Sender::new(false),
                state: Mutex::new(state),
            }),
        }
    }

    /// Speaks HTTP/1.1 on a stream until either side closes it.
    pub async fn serve_connection<IO>(&self, io: IO)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        connection::serve(self, io).await;
    }

    /// Accepts connections forever. They end when this is dropped.
    pub async fn listen(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else {
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    };
                    // Slower without it, but not wrong.
                    let _ = stream.set_nodelay(true);
                    let fake = self.clone();
                    connections.spawn(async move { fake.serve_connection(stream).await });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No operation on the state leaves it half done, so a panic elsewhere does not matter.
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    fn body_limit(&self) -> usize {
        self.shared.body_limit.load(Ordering::Relaxed)
    }

    /// Ends as soon as this Svix is down.
    async fn is_down(&self) {
        let mut down = self.shared.down.subscribe();
        // It fails only without a sender, and `self` has one.
        let _ = down.wait_for(|down| *down).await;
    }

    /// Takes a request to the API: records it, lets it take effect, decides what follows.
    fn receive(&self, request: ReceivedRequest, too_large: bool) -> Outcome {
        let route = Route::of(&request.method, &request.path);
        let call = Call::read(&route, &request, too_large, &self.shared.authorization);
        let context = Context {
            now: request.at,
            authorization: request.header("authorization"),
            posted_to: match route {
                Route::CreateMessage { app } => Some(app),
                _ => None,
            },
        };

        let mut state = self.state();
        let fault = match route.target() {
            Some(target) => state.scripts.of(target).next(&request.method),
            None => Fault::None,
        };
        let mut outcome = Outcome::of(&fault, &call, &mut state.store, context);
        outcome.after += state.latency;
        if state.keeps_requests {
            state.requests.push(request);
        }
        outcome
    }
}
