//! The store in Redis, which nodes share. The oddities are those of Spin's Redis store:
//!
//! - The label isn't part of the key, so that all labels are one store.
//! - A counter is text.
//! - `get-many` always fails.
//! - A swap returns 0 even if it has written.
//!
//! One connection carries everything, and is made when it is first needed. It is given up as soon as an
//! answer is late. Spin instead waits as long as the system does, which is a quarter of an hour if the
//! network drops everything.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures::future::{BoxFuture, FutureExt as _, Shared};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo as _, RedisError,
    RedisResult, cmd,
};

use super::write::{Error, Result, Write};

/// The limit for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// The limit for an answer. Together with the limit above it is no longer than the relay's own
/// limit, because the relay can't limit a call that writes several values.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes if the value is the expected one, or if none is expected; returns 0 in any case.
const SWAP: &str = "local expected = ARGV[2]
if not expected or redis.call('GET', KEYS[1]) == expected then
    redis.call('SET', KEYS[1], ARGV[1])
end
return 0";

/// The connection, or the one attempt at it for which all callers wait.
type Link = Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

/// A store in Redis. Clones share the connection.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    client: Client,
    link: Mutex<Link>,
}

impl Redis {
    /// The store at a URL such as `redis://:password@localhost:6379/0`.
    pub fn at(url: &str) -> anyhow::Result<Self> {
        let open = || -> RedisResult<Client> {
            let info = url.into_connection_info()?;
            let tcp = info.tcp_settings().clone().set_nodelay(true);
            Client::open(info.set_tcp_settings(tcp))
        };
        let client = open().context("the URL of Redis is not valid")?;
        let link = Mutex::new(connect(&client));
        Ok(Self(Arc::new(Inner { client, link })))
    }

    pub(super) async fn ping(&self) -> Result<()> {
        self.ask(&cmd("PING")).await
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.ask(cmd("GET").arg(key)).await
    }

    pub(super) async fn exists(&self, key: &str) -> Result<bool> {
        self.ask(cmd("EXISTS").arg(key)).await
    }

    pub(super) async fn keys(&self) -> Result<Vec<String>> {
        self.ask(cmd("KEYS").arg("*")).await
    }

    pub(super) async fn write(&self, write: Write) -> Result<i64> {
        match write {
            Write::Set(pairs) => {
                let command = match &pairs[..] {
                    [(key, value)] => cmd("SET").arg(key).arg(value).take(),
                    pairs => cmd("MSET").arg(pairs).take(),
                };
                self.ask(&command).await.map(|()| 0)
            }
            Write::Delete(keys) => self.ask(cmd("DEL").arg(keys)).await.map(|()| 0),
            Write::Increment { key, delta } => self.ask(cmd("INCRBY").arg(key).arg(delta)).await,
            Write::Swap {
                key,
                expected,
                value,
            } => {
                let mut swap = cmd("EVAL");
                swap.arg(SWAP).arg(1).arg(key).arg(value).arg(expected);
                self.ask(&swap).await
            }
        }
    }

    /// Sends a command once. If the connection fails, it is given up, and the next command makes a
    /// new one.
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        let link = self.link().clone();
        let (answer, is_usable) = match link.clone().await {
            Ok(mut connection) => {
                let answer = command.query_async(&mut connection).await;
                let is_usable = !answer.as_ref().is_err_and(is_of_the_connection);
                (answer, is_usable)
            }
            Err(error) => (Err(error), false),
        };
        if !is_usable {
            let mut current = self.link();
            // Replace the connection once, though many commands may have failed on it.
            if current.ptr_eq(&link) {
                *current = connect(&self.0.client);
            }
        }
        Ok(answer?)
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.0.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is made as soon as a caller waits for it.
fn connect(client: &Client) -> Link {
    let client = client.clone();
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    async move {
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }
    .boxed()
    .shared()
}

fn is_of_the_connection(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error()
}

/// Says where the store is, without the password.
impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.0.client.get_connection_info();
        write!(
            f,
            "Redis at {}, database {}",
            info.addr(),
            info.redis_settings().db()
        )
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({self})")
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        Self(error.to_string())
    }
}
