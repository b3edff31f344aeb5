//! The connection to Redis. One carries all commands; it is made when a command first needs it, and given
//! up as soon as it is in doubt:
//!
//! - It broke, or an answer is late.
//! - Redis refused a command for a reason that lies in Redis and not in the command: it became a replica, it is
//!   loading, it lost its master, it wants another password. A new connection may lead to a healthy server.
//! - It was idle, and a PING shows that it is dead.
//!
//! A refused command was not executed, so it is sent once more over a new connection. A command whose answer is
//! missing may have been executed, so it is not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, Shared};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, cmd};
use tokio::time::{self, Instant};

use super::access::Access;
use crate::lock::lock;

/// The limit for connecting.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// The limit for an answer.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The limit for everything that one command needs. It is no longer than the relay's own limit, because
/// the relay can't limit a call that writes several values.
const LIMIT: Duration = Duration::from_millis(1_500);

/// After a pause of this length, a command waits until a PING has shown that the connection lives.
pub(super) const IDLE: Duration = Duration::from_millis(500);

/// The limit for the answer to that PING, after which there is still time for a new connection.
const PING_TIMEOUT: Duration = Duration::from_millis(250);

/// A refusal gives up a connection only above this age. Otherwise a Redis that refuses everything, for
/// example for lack of memory, would cost a connection for each command, and soon all local ports.
pub(super) const FRESH: Duration = Duration::from_millis(250);

/// The links to one Redis, one at a time.
pub(super) struct Links {
    pub access: Access,
    current: Mutex<Option<Arc<Link>>>,
}

/// A connection, or the one attempt at it for which all callers wait.
struct Link {
    connection: Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>,
    begun: Instant,
    answered: Mutex<Instant>,
}

impl Links {
    pub fn new(access: Access) -> Self {
        Self { access, current: Mutex::default() }
    }

    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let asking = async {
            let mut link = self.link();
            if link.has_failed() {
                time::sleep(FRESH.saturating_sub(link.begun.elapsed())).await;
                link = self.link();
            }
            if link.is_idle() && !self.lives(&link).await {
                self.give_up(&link);
                link = self.link();
            }
            match self.send(&link, command).await {
                Err(error) if is_refusal(&error) && !self.is_current(&link) => {
                    self.send(&self.link(), command).await
                }
                answer => answer,
            }
        };
        let late = |_| RedisError::from((ErrorKind::Io, "Redis did not answer in time"));
        time::timeout(LIMIT, asking).await.map_err(late)?
    }

    async fn lives(&self, link: &Arc<Link>) -> bool {
        let answer = time::timeout(PING_TIMEOUT, self.send::<()>(link, &cmd("PING"))).await;
        answer.is_ok_and(|answer| answer.is_ok())
    }

    async fn send<T: FromRedisValue>(&self, link: &Arc<Link>, command: &Cmd) -> RedisResult<T> {
        let answer = link.send(command).await;
        if let Err(error) = &answer
            && (is_broken(error) && !link.has_failed()
                || is_refusal(error) && link.begun.elapsed() > FRESH)
        {
            self.give_up(link);
        }
        answer
    }

    /// The present link, or a new one if that has failed. A failure lasts for `FRESH`, so that many commands
    /// don't make as many connections.
    fn link(&self) -> Arc<Link> {
        let mut current = lock(&self.current);
        match &*current {
            Some(link) if !link.has_failed() || link.begun.elapsed() < FRESH => link.clone(),
            _ => current.insert(Link::begin(&self.access)).clone(),
        }
    }

    /// Only the first of many commands that failed on `link` finds it to be the present one.
    fn give_up(&self, link: &Arc<Link>) {
        lock(&self.current).take_if(|current| Arc::ptr_eq(current, link));
    }

    fn is_current(&self, link: &Arc<Link>) -> bool {
        lock(&self.current).as_ref().is_some_and(|current| Arc::ptr_eq(current, link))
    }
}

impl Link {
    fn begin(access: &Access) -> Arc<Self> {
        let client = access.client();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connecting =
            async move { client?.get_multiplexed_async_connection_with_config(&config).await };
        let connection = connecting.boxed().shared();
        // The attempt goes on if its callers are dropped: they would leave a connection half made.
        tokio::spawn(connection.clone());
        let begun = Instant::now();
        Arc::new(Self { connection, begun, answered: Mutex::new(begun) })
    }

    fn has_failed(&self) -> bool {
        self.connection.peek().is_some_and(Result::is_err)
    }

    fn is_idle(&self) -> bool {
        lock(&self.answered).elapsed() > IDLE
    }

    async fn send<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let answer = command.query_async(&mut self.connection.clone().await?).await;
        *lock(&self.answered) = Instant::now();
        answer
    }
}

fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error()
}

/// Whether Redis refused the command because of its own state or the connection's. Only these two codes are
/// about the command and its key.
fn is_refusal(error: &RedisError) -> bool {
    error.code().is_some_and(|code| !["ERR", "WRONGTYPE"].contains(&code))
}
