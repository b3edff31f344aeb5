//! The component, compiled and linked once for any number of hosts. Everything that differs between
//! hosts is in `instance` and `worker`.

use std::path::Path;

use anyhow::{Context as _, Result};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, PoolingAllocationConfig};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::p2::bindings::{cli, random};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView as _};
use wasmtime_wasi_http::p3::bindings::ServicePre;

use super::imports;
use super::instance::Guest;
#[cfg(feature = "compiler")]
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
    #[cfg(feature = "compiler")]
    pub fn load(manifest: &Manifest) -> Result<Self> {
        use super::compiler;

        let source = compiler::source(manifest)?;
        let load = || Self::link(&compiler::component(&engine(Config::new())?, source)?);
        load().with_context(|| format!("can't load the component {}", source.display()))
    }

    /// Loads the code that `compiler::compile` has written to `file`. The file must be as trustworthy as this program.
    pub fn precompiled(file: &Path) -> Result<Self> {
        let load = || {
            let engine = engine(Config::new())?;
            #[expect(unsafe_code, reason = "wasmtime can't check machine code")]
            // SAFETY: the caller vouches for the file. wasmtime refuses the code of another version, of
            // other settings, or for a processor that this one is not.
            let component = unsafe { Component::deserialize_file(&engine, file) }?;
            Self::link(&component)
        };
        load().with_context(|| format!("can't load the compiled component {}", file.display()))
    }

    fn link(component: &Component) -> Result<Self> {
        let mut linker = Linker::new(component.engine());
        add_wasi(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        imports::add_to_linker(&mut linker)?;
        let service = ServicePre::new(linker.instantiate_pre(component)?)?;
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

pub(super) fn engine(mut config: Config) -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(MAX_INSTANCES)
        .total_core_instances(CORE_INSTANCES)
        .total_memories(MAX_INSTANCES)
        .total_tables(CORE_INSTANCES)
        .total_stacks(STACKS)
        .max_memory_size(MAX_MEMORY_BYTES)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES);
    config.wasm_component_model_async(true).memory_init_cow(true).allocation_strategy(pool);
    Ok(Engine::new(&config)?)
}
