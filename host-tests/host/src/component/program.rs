//! The component, compiled and linked once for any number of hosts. Everything that differs between
//! hosts is in `instance` and `worker`.
//!
//! Compiled code is kept on disk, so that only the first start after a build compiles. Its
//! directory is `wasmtime-cache` below cargo's target directory if the component is in one,
//! otherwise in `svix-relay` below the user's cache directory.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, PoolingAllocationConfig};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::p2::bindings::{cli, random};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView as _};
use wasmtime_wasi_http::p3::bindings::ServicePre;

use super::imports;
use super::instance::Guest;
use crate::manifest::Manifest;

/// How many instances there can be at once. With Spin's 16 requests an instance they hold 16,000
/// requests, more than `server` lets in.
const MAX_INSTANCES: u32 = 1_000;

/// An instance of the component consists of several core instances: its own module, and small
/// adapters.
const CORE_INSTANCES: u32 = 8 * MAX_INSTANCES;

/// An instance keeps a stack for the guest at work and a spare one. If stacks ran out, an instance
/// that has requests would break, instead of a new one being refused.
const STACKS: u32 = 4 * MAX_INSTANCES;

/// The limit of an instance's memory.
const MAX_MEMORY_BYTES: usize = 256 << 20;

/// How much of an instance's memory stays resident for the next user of its slot. The rest goes
/// back to the system and is faulted in again.
const KEEP_RESIDENT_BYTES: usize = 256 << 10;

/// A compiled component. Clones share it.
#[derive(Clone)]
pub struct Program {
    pub(crate) service: ServicePre<Guest>,
}

impl Program {
    /// Compiles the component of a manifest, unless its compiled form is on disk.
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
        let engine = engine()?;
        let component = component(&engine, source)?;
        let mut linker = Linker::new(&engine);
        add_wasi(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        imports::add_to_linker(&mut linker)?;
        let service = ServicePre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { service })
    }
}

/// Rust's standard library imports WASI 0.2, spin-sdk 0.3. Files and sockets are left out: the relay
/// imports neither, and half of the time that this crate takes to compile would go into them.
fn add_wasi(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(linker)?;
    cli::environment::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    random::insecure::add_to_linker::<_, WasiRandom>(linker, Guest::random)?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, Guest::random)?;
    wasmtime_wasi::p3::cli::add_to_linker(linker)?;
    wasmtime_wasi::p3::clocks::add_to_linker(linker)?;
    wasmtime_wasi::p3::random::add_to_linker(linker)
}

fn engine() -> Result<Engine> {
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
    Ok(Engine::new(&config)?)
}

/// Compiles the component, or loads what an earlier start compiled.
fn component(engine: &Engine, source: &Path) -> Result<Component> {
    let wasm = fs::read(source)?;
    let Some(directory) = cache_directory(source) else {
        return Ok(Component::from_binary(engine, &wasm)?);
    };
    let mut hasher = DefaultHasher::new();
    wasm.hash(&mut hasher);
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let compiled = directory.join(format!("{:016x}.cwasm", hasher.finish()));
    #[expect(unsafe_code, reason = "wasmtime can't check machine code")]
    // SAFETY: `keep` wrote the file, whole, and its name says that this engine compiled it. A process
    // that can write another file there can also replace this program.
    if let Ok(component) = unsafe { Component::deserialize_file(engine, &compiled) } {
        return Ok(component);
    }
    let component = Component::from_binary(engine, &wasm)?;
    // A failure is ignored: without the file the next start takes longer, and nothing else changes.
    let _ = keep(&directory, &compiled, &component.serialize()?);
    Ok(component)
}

/// The file appears under its name only when it is complete, since another process may look for it.
fn keep(directory: &Path, compiled: &Path, code: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(code)?;
    file.persist(compiled)?;
    Ok(())
}

/// `None` if there is no directory for it: then every start compiles.
fn cache_directory(source: &Path) -> Option<PathBuf> {
    let source = source.canonicalize().ok()?;
    // Cargo marks its target directory, and each target's directory within, so that backups skip
    // them.
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
