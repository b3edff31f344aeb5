//! Compiles components.
//!
//! Compiled code is kept on disk, so that only the first start after a build compiles. Its
//! directory is `wasmtime-cache` below cargo's target directory if the component is in one,
//! otherwise in `svix-relay` below the user's cache directory.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use wasmtime::component::Component;
use wasmtime::{Config, Engine};

use super::program::engine;
use crate::manifest::Manifest;

/// The file of a manifest's component.
pub(super) fn source(manifest: &Manifest) -> Result<&Path> {
    let source = &manifest.component.source;
    ensure!(
        source.is_file(),
        "the component isn't built: {} is missing; run `make build`",
        source.display()
    );
    Ok(source)
}

/// Compiles the component of a manifest for the machines of `target` (such as `x86_64-unknown-linux-gnu`),
/// and writes the code to `file` for [`super::Program::precompiled`].
pub(crate) fn compile(manifest: &Manifest, target: &str, file: &Path) -> Result<()> {
    let mut config = Config::new();
    // With a target, the code uses only what all its processors have, instead of all that this one has.
    config.target(target)?;
    let code = engine(config)?.precompile_component(&fs::read(source(manifest)?)?)?;
    fs::write(file, code).with_context(|| format!("can't write {}", file.display()))
}

/// Compiles the component, or loads what an earlier start compiled.
pub(super) fn component(engine: &Engine, source: &Path) -> Result<Component> {
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
    // A name that outlives a power cut must lead to whole code: wasmtime can't tell.
    file.as_file().sync_all()?;
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
    let user = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let user = user.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    Some(user.join("svix-relay"))
}
