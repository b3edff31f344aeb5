//! The component, compiled and linked: made once, used by any number of hosts. Everything that
//! differs between hosts is in `instance` and `worker`.
//!
//! Compiled code is kept on disk, so that only the first start after a build compiles: in
//! `wasmtime-cache` below cargo's target directory if the component is in one, otherwise in
//! `svix-relay` below the user's cache directory.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use wasmtime::component::{Component, Linker};
use wasmtime::{Cache, CacheConfig, Config, Engine, PoolingAllocationConfig};
use wasmtime_wasi_http::p3::bindings::ServicePre;

use super::imports;
use super::instance::Guest;
use crate::manifest::Manifest;

/// How many instances there can be at once. With Spin's 16 requests per instance that is room
/// for 16,000 requests, more than `server` lets in.
const MAX_INSTANCES: u32 = 1_000;

/// An instance of the component is some instances of core modules: its own, and small adapters.
const CORE_INSTANCES: u32 = 8 * MAX_INSTANCES;

/// An instance keeps a stack for the guest at work and one to spare; running out of them would not
/// refuse a new instance but break one that has requests.
const STACKS: u32 = 4 * MAX_INSTANCES;

/// What an instance's memory may grow to.
const MAX_MEMORY_BYTES: usize = 256 << 20;

/// What stays in memory for the next user of an instance's slot, rather than being given back to
/// the system and faulted in again.
const KEEP_RESIDENT_BYTES: usize = 256 << 10;

/// A component that can be instantiated quickly. A clone is the same.
#[derive(Clone)]
pub struct Program {
    pub(crate) service: ServicePre<Guest>,
}

impl Program {
    /// Loads the component of a manifest: compiles it, or finds it already compiled.
    pub fn load(manifest: &Manifest) -> Result<Self> {
        let component = &manifest.component;
        let source = &component.source;
        ensure!(
            source.is_file(),
            "the component isn't built: {} is missing; run `make build`",
            source.display()
        );
        Self::from_file(source)
            .with_context(|| format!("can't load the component {}", source.display()))
    }

    fn from_file(source: &Path) -> Result<Self> {
        let engine = engine(source)?;
        let component = Component::from_file(&engine, source)?;
        let mut linker = Linker::new(&engine);
        // Rust's own library uses WASI 0.2, spin-sdk 0.3.
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        imports::add_to_linker(&mut linker)?;
        let service = ServicePre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { service })
    }
}

fn engine(source: &Path) -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(MAX_INSTANCES)
        .total_core_instances(CORE_INSTANCES)
        .total_memories(MAX_INSTANCES)
        .total_tables(CORE_INSTANCES)
        .total_stacks(STACKS)
        .max_memory_size(MAX_MEMORY_BYTES)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES);
    let mut config = Config::new();
    config
        .wasm_component_model_async(true)
        .memory_init_cow(true)
        .allocation_strategy(pool);
    if let Some(directory) = cache_directory(source) {
        let mut cache = CacheConfig::new();
        cache.with_directory(directory);
        config.cache(Some(Cache::new(cache)?));
    }
    Ok(Engine::new(&config)?)
}

/// None where neither is known: then every start compiles.
fn cache_directory(source: &Path) -> Option<PathBuf> {
    let source = source.canonicalize().ok()?;
    // Cargo marks its target directory, and the one of each target in it, for backups to pass by.
    let marked = |ancestor: &&Path| ancestor.join("CACHEDIR.TAG").is_file();
    if let Some(target) = source.ancestors().filter(marked).last() {
        return Some(target.join("wasmtime-cache"));
    }
    let user = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let user = user.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    Some(user.join("svix-relay"))
}
