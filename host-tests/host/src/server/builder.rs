//! The settings of a host. The defaults suit tests: a store in memory, captured output, and
//! variables that the environment doesn't change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use clock::Clock;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use wasmtime_wasi_http::handler::ProxyHandler;

use super::connections::Connections;
use super::host::{ENTRANCES, Host, Inner};
use super::room::{BODY_ROOM, Rooms};
use crate::component::{Environment, Instances, Program, Reuse};
use crate::manifest::{AllowedHosts, Manifest, Variables, from_environment};
use crate::outbound::{Client, Connector};
use crate::output::Output;
use crate::store::{Faults, KeyValue, LABEL};

/// How many requests are with the component at once; further ones wait.
pub(super) const MAX_REQUESTS: usize = 10_000;

/// How many clients may be connected at once. So many idle connections take 110 MB.
pub(crate) const MAX_CONNECTIONS: usize = 5_000;

/// How long requests, and what is written after them, may take to end after a shutdown has begun. Docker and
/// Cloud Run kill a process 10 s after SIGTERM, and `serve` needs up to 1.5 s more.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// A method for each of these fields that sets it.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(mut self, $name: $type) -> Self {
                self.$name = $name;
                self
            }
        )*
    };
}

/// Builds a [`Host`].
#[must_use]
pub struct HostBuilder<'a> {
    program: &'a Program,
    manifest: &'a Manifest,
    variables: BTreeMap<String, String>,
    environment: fn(&str) -> Option<String>,
    key_value: KeyValue,
    faults: Faults,
    connector: Option<Connector>,
    output: Output,
    clock: Clock,
    seed: Option<u64>,
    reuse: Reuse,
    max_connections: usize,
    body_room: usize,
    max_requests: usize,
    entrances: usize,
    drain_timeout: Duration,
    tcp_delay: bool,
}

impl Host {
    pub fn builder<'a>(program: &'a Program, manifest: &'a Manifest) -> HostBuilder<'a> {
        HostBuilder::new(program, manifest)
    }
}

impl<'a> HostBuilder<'a> {
    fn new(program: &'a Program, manifest: &'a Manifest) -> Self {
        Self {
            program,
            manifest,
            variables: BTreeMap::new(),
            environment: |_| None,
            key_value: KeyValue::memory(),
            faults: Faults::default(),
            connector: None,
            output: Output::captured(),
            clock: Clock::system(),
            seed: None,
            reuse: Reuse::default(),
            max_connections: MAX_CONNECTIONS,
            body_room: BODY_ROOM,
            max_requests: MAX_REQUESTS,
            entrances: ENTRANCES,
            drain_timeout: DRAIN_TIMEOUT,
            tcp_delay: false,
        }
    }

    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Reads `SPIN_VARIABLE_<NAME>` from the environment for variables without a given value.
    pub fn environment(mut self) -> Self {
        self.environment = from_environment;
        self
    }

    /// The way of the component's requests; by default to the network.
    pub fn connector(mut self, connector: Connector) -> Self {
        self.connector = Some(connector);
        self
    }

    /// Makes the component's random numbers the same in every run.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    setters! {
        /// The store behind the label `default`.
        key_value: KeyValue;
        /// The faults between the component and its store.
        faults: Faults;
        output: Output;
        /// The component's wall clock.
        clock: Clock;
        reuse: Reuse;
        /// How many clients may be connected at once. For another one, the connection that is idle longest is
        /// closed.
        max_connections: usize;
        /// How many bytes of large bodies are let in at once.
        body_room: usize;
        max_requests: usize;
        /// How many requests may be on their way into an instance at once; 0 means any number, as in
        /// Spin.
        entrances: usize;
        drain_timeout: Duration;
        /// Whether TCP may hold back small segments, in and out.
        tcp_delay: bool;
    }

    /// Must be called within a tokio runtime.
    pub fn build(self) -> Result<Host> {
        let component = &self.manifest.component;
        let id = &component.id;
        for label in &component.key_value_stores {
            ensure!(
                label == LABEL,
                "unknown key_value_stores label {label:?} for component {id:?}"
            );
        }
        let variables = Variables::new(self.manifest, &self.variables, self.environment)?;
        let allowed = AllowedHosts::new(&component.allowed_outbound_hosts, &variables)?;
        let connector = self.connector.unwrap_or_else(|| Connector::network(self.tcp_delay));
        let environment = Environment {
            variables: Arc::new(variables),
            may_store: !component.key_value_stores.is_empty(),
            key_value: self.key_value,
            faults: self.faults,
            client: Client::new(connector, allowed, self.output.clone()),
            output: self.output,
            clock: self.clock,
            started: Instant::now(),
            seed: self.seed,
        };
        let instances = Instances::new(self.program.clone(), environment, self.reuse);
        Ok(Host(Arc::new(Inner {
            handler: ProxyHandler::new(instances),
            connections: Connections::new(self.max_connections),
            rooms: Rooms::new(self.body_room),
            requests: Semaphore::new(self.max_requests),
            entrances: (self.entrances > 0).then(|| Arc::new(Semaphore::new(self.entrances))),
            waiting: Arc::default(),
            drain_timeout: self.drain_timeout,
            tcp_delay: self.tcp_delay,
        })))
    }
}
