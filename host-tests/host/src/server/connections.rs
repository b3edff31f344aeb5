//! The open connections: how many there may be, which one is closed to make room, and when all are to end.
//!
//! A connection is *busy* from the head of a request to the end of its body and of the reply's; otherwise it is
//! idle, also with half a head.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::lock::lock;

/// How long a connection may take to end before another one is closed in its place.
const TIME_TO_END: Duration = Duration::from_secs(1);

/// The connections of one host. Clones share them.
#[derive(Clone)]
pub(super) struct Connections(Arc<Shared>);

struct Shared {
    limit: usize,
    open: Mutex<Open>,
    /// Notified when a connection ends or becomes idle.
    changed: Notify,
}

#[derive(Default)]
struct Open {
    next: u64,
    peers: BTreeMap<u64, Arc<Link>>,
}

/// How many connections there are at one moment.
pub(crate) struct Count {
    pub open: usize,
    pub busy: usize,
    pub limit: usize,
}

/// One connection; dropped when it ends.
pub(super) struct Peer {
    number: u64,
    link: Arc<Link>,
    connections: Connections,
}

struct Link {
    state: Mutex<State>,
    close: Notify,
}

struct State {
    requests: usize,
    idle_since: Instant,
    closing_since: Option<Instant>,
    has_unread: bool,
}

/// A request at work on a connection.
pub(super) struct Busy {
    link: Arc<Link>,
    connections: Connections,
}

impl Connections {
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Shared { limit, open: Mutex::default(), changed: Notify::new() }))
    }

    pub fn open(&self) -> Peer {
        let link = Arc::new(Link {
            state: Mutex::new(State {
                requests: 0,
                idle_since: Instant::now(),
                closing_since: None,
                has_unread: false,
            }),
            close: Notify::new(),
        });
        let mut open = self.lock();
        let number = open.next;
        open.next += 1;
        open.peers.insert(number, link.clone());
        Peer { number, link, connections: self.clone() }
    }

    pub fn count(&self) -> Count {
        let open = self.lock();
        let busy = |peer: &&Arc<Link>| peer.idle_since().is_none();
        Count {
            open: open.peers.len(),
            busy: open.peers.values().filter(busy).count(),
            limit: self.0.limit,
        }
    }

    /// Waits until one more connection may be opened. If there are too many, the one that is idle for the
    /// longest time is closed, and another one if that takes longer than `TIME_TO_END`. If all are busy, this
    /// waits for one of them.
    pub async fn room(&self) {
        self.wait_for(|open| {
            let has_room = open.peers.len() < self.0.limit;
            let mut peers = open.peers.values();
            if !has_room && !peers.any(|peer| peer.is_about_to_end()) {
                let idle = open
                    .peers
                    .values()
                    .filter(|peer| !peer.is_closing())
                    .filter_map(|peer| Some((peer.idle_since()?, peer)));
                if let Some((_, peer)) = idle.min_by_key(|(since, _)| *since) {
                    peer.close();
                }
            }
            has_room
        })
        .await;
    }

    /// Closes all connections that are idle, the others after their requests, and waits for the end of all.
    pub async fn end(&self) {
        for peer in self.lock().peers.values() {
            peer.close();
        }
        self.wait_for(|open| open.peers.is_empty()).await;
    }

    async fn wait_for(&self, mut condition: impl FnMut(&Open) -> bool) {
        loop {
            let changed = self.0.changed.notified();
            if condition(&self.lock()) {
                return;
            }
            // A connection that is slow to end notifies no waiter.
            let _ = timeout(TIME_TO_END, changed).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        lock(&self.0.open)
    }
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn is_closing(&self) -> bool {
        self.state().closing_since.is_some()
    }

    /// Whether the connection was told to close a moment ago.
    fn is_about_to_end(&self) -> bool {
        let since = self.state().closing_since;
        since.is_some_and(|since| since.elapsed() < TIME_TO_END)
    }

    /// `None` while a request is at work.
    fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.requests == 0).then_some(state.idle_since)
    }

    fn close(&self) {
        self.state().closing_since.get_or_insert_with(Instant::now);
        self.close.notify_one();
    }
}

impl Peer {
    pub fn begin_request(&self) -> Busy {
        self.link.state().requests += 1;
        Busy { link: self.link.clone(), connections: self.connections.clone() }
    }

    /// Waits until the connection is to close.
    pub async fn closing(&self) {
        while !self.link.is_closing() {
            self.link.close.notified().await;
        }
    }

    /// Whether the connection is to close and no request is at work: then nothing more is read.
    pub fn has_ended(&self) -> bool {
        let state = self.link.state();
        state.closing_since.is_some() && state.requests == 0
    }

    /// Whether a request's body was dropped before its end, so that its client may still be sending.
    pub fn has_unread(&self) -> bool {
        self.link.state().has_unread
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.connections.lock().peers.remove(&self.number);
        self.connections.0.changed.notify_waiters();
    }
}

impl Busy {
    pub fn leave_unread(&self) {
        self.link.state().has_unread = true;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.link.state();
        state.requests -= 1;
        state.idle_since = Instant::now();
        drop(state);
        self.connections.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn is_closing(peer: &Peer) -> bool {
        peer.link.is_closing()
    }

    #[tokio::test]
    async fn the_connection_that_is_idle_longest_makes_room() {
        let connections = Connections::new(3);
        let [first, second, third] = [(); 3].map(|()| connections.open());
        drop(first.begin_request());
        let busy = second.begin_request();
        let mut room = Box::pin(connections.room());
        assert!((&mut room).now_or_never().is_none());
        assert!(!is_closing(&first) && !is_closing(&second) && is_closing(&third));
        // Nothing more is closed while the third one ends.
        drop(busy);
        assert!((&mut room).now_or_never().is_none());
        assert!(!is_closing(&first) && !is_closing(&second));
        drop(third);
        assert!(room.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_slow_to_end_keeps_no_other_from_making_room() {
        let connections = Connections::new(2);
        let [slow, other] = [(); 2].map(|()| connections.open());
        let busy = other.begin_request();
        let mut room = Box::pin(connections.room());
        assert!((&mut room).now_or_never().is_none() && is_closing(&slow));
        drop(busy);
        let end = async {
            other.closing().await;
            drop(other);
        };
        tokio::join!(room, end);
        assert!(is_closing(&slow));
    }

    #[tokio::test]
    async fn a_busy_connection_is_closed_only_after_its_requests() {
        let connections = Connections::new(1);
        let peer = connections.open();
        let busy = [peer.begin_request(), peer.begin_request()];
        let mut room = Box::pin(connections.room());
        assert!((&mut room).now_or_never().is_none() && !is_closing(&peer));
        let [one, other] = busy;
        drop(one);
        assert!((&mut room).now_or_never().is_none() && !is_closing(&peer));
        drop(other);
        assert!((&mut room).now_or_never().is_none() && is_closing(&peer));
        assert!(peer.has_ended() && peer.closing().now_or_never().is_some());
    }

    #[tokio::test]
    async fn the_end_waits_for_every_connection() {
        let connections = Connections::new(9);
        let peer = connections.open();
        let busy = peer.begin_request();
        let mut end = Box::pin(connections.end());
        assert!((&mut end).now_or_never().is_none());
        assert!(is_closing(&peer) && !peer.has_ended());
        drop(busy);
        assert!(peer.has_ended() && (&mut end).now_or_never().is_none());
        drop(peer);
        assert!(end.now_or_never().is_some());
    }
}
