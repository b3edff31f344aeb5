//! The component and the programs, built once for all tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Once, OnceLock};

use host::{Manifest, Program};

/// The folder of `spin.toml`.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// `spin.toml` as it is.
pub fn manifest() -> Manifest {
    Manifest::read(&root().join("spin.toml")).expect("a valid manifest")
}

/// The component as it is now, built and compiled once for all tests, and its manifest.
pub fn program() -> &'static (Program, Manifest) {
    static PROGRAM: OnceLock<(Program, Manifest)> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        build_component();
        let manifest = manifest();
        (Program::load(&manifest).expect("a component"), manifest)
    })
}

/// Builds the component once for all tests, so that none can run on a stale one.
pub fn build_component() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let mut script = Command::new(root().join("scripts/component.sh"));
        // Build where spin.toml looks for it, even if the environment names another directory.
        run(script.env("CARGO_TARGET_DIR", root().join("target")));
    });
}

/// `serve` or `fake-svix`, built as `make run` builds them, so that no test can run on a stale one.
pub fn binary(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
        let target = target.expect("cargo's target directory");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root()).env("CARGO_TARGET_DIR", target);
        run(cargo.args(["build", "--package", "host", "--package", "fake-svix"]));
        target.join("debug")
    });
    directory.join(name)
}

fn run(build: &mut Command) {
    let status = build.env("CARGO_TERM_QUIET", "true").status();
    assert!(status.expect("a build").success(), "the build fails");
}
