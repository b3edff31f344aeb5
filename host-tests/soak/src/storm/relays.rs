//! The relays of a soak: one with a database of its own, or several that share a Redis.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::process::{self, Settings};
use crate::options::{Options, TOKEN};
use rig::{Process, Proxy, RedisServer};

/// The Redis that several relays share.
#[derive(Debug)]
pub struct SharedRedis {
    pub server: RedisServer,
    /// The way of each relay to the server.
    pub ways: Vec<Proxy>,
}

impl SharedRedis {
    /// Starts an empty Redis. `None` for a single relay, which has a database of its own.
    pub async fn start(relays: Option<u8>) -> Result<Option<Self>> {
        let Some(relays) = relays else {
            return Ok(None);
        };
        let server = RedisServer::start().await?;
        let mut ways = Vec::new();
        for _ in 0..relays {
            ways.push(Proxy::start(server.address()).await?);
        }
        Ok(Some(Self { server, ways }))
    }

    /// The address of Redis for a relay. A calm soak measures speed, and so has no proxy in
    /// between.
    fn address(&self, relay: u8, is_calm: bool) -> SocketAddr {
        if is_calm { self.server.address() } else { self.ways[usize::from(relay)].address() }
    }
}

/// The settings of the relays, each with a directory.
pub fn settings(
    options: &Options,
    directory: &Path,
    svix: SocketAddr,
    redis: Option<&SharedRedis>,
) -> Result<Vec<Settings>> {
    let settings = |relay| {
        let directory = directory.join(format!("relay-{relay}"));
        fs::create_dir(&directory)?;
        let key_value = match redis {
            Some(redis) => format!("redis://{}", redis.address(relay, options.calm)),
            None => format!("sqlite:{}", directory.join("records.db").display()),
        };
        Ok(Settings {
            serve: rig::serve(options.serve.as_deref())?,
            from: options.from.clone(),
            directory,
            key_value,
            svix,
            token: TOKEN,
            clock_ahead: Duration::ZERO,
            letters: options.letters,
        })
    };
    (0..options.nodes.unwrap_or(1)).map(settings).collect()
}

/// Starts the relays and waits until they listen.
pub async fn start(settings: &[Settings]) -> Result<Vec<Process>> {
    let start = |settings: &Settings| process::start(settings.clone());
    let mut relays: Vec<_> = settings.iter().map(start).collect::<Result<_>>()?;
    for relay in &mut relays {
        relay.is_up().await?;
    }
    Ok(relays)
}
