//! The store in Redis, which nodes share. The oddities are those of Spin's Redis store:
//!
//! - The label isn't part of the key.
//! - A counter is text.
//!
//! `link` gives up a connection that is in doubt. Spin instead waits as long as the system does, which is a
//! quarter of an hour if the network drops everything, and keeps a connection to a replica for ever.

mod access;
mod link;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;

use std::fmt;
use std::sync::Arc;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, cmd};

use self::access::Access;
pub use self::access::RedisFiles;
use self::link::Links;
use super::write::{Error, Result, Write};

/// A store in Redis. Clones share the connection.
#[derive(Clone)]
pub struct Redis(Arc<Links>);

impl Redis {
    /// The store at a URL such as `redis://:password@localhost:6379/0`, or `rediss://…` with TLS.
    pub fn at(url: &str) -> anyhow::Result<Self> {
        Self::with(url, RedisFiles::default())
    }

    pub fn with(url: &str, files: RedisFiles) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Links::new(Access::new(url, files)?))))
    }

    pub(super) fn shows_password(&self) -> bool {
        self.0.access.shows_password()
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
        }
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        Ok(self.0.ask(command).await?)
    }
}

/// Says where the store is, without the password.
impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = &self.0.access;
        let (address, database) = (access.info.addr(), access.info.redis_settings().db());
        let tls = if access.is_encrypted() { " with TLS" } else { "" };
        write!(f, "Redis at {address}{tls}, database {database}")
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({self})")
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        let is_denied = error.kind() == ErrorKind::AuthenticationFailed
            || ["NOAUTH", "WRONGPASS"].contains(&error.code().unwrap_or_default());
        if is_denied {
            return Self(format!("Redis refuses the password: {error}"));
        }
        Self(error.to_string())
    }
}
