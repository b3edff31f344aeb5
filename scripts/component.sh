#!/usr/bin/env bash
# Builds components for wasm32-wasip2 in release mode: those of the named packages, or else the relay's.
#
# rustc writes the paths of source files into a component. This script maps the folders of this machine to
# fixed names, so that the bytes depend on the sources and the toolchain alone. scripts/reproduce.sh checks
# that.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTUP_AUTO_INSTALL=0

packages=()
for package in "${@:-svix-relay}"; do packages+=(--package "$package"); done

# The folders of the dependencies' sources. There is one, unless cargo takes some crates from elsewhere.
sources=$(cargo metadata --locked --format-version 1 | grep -o '"manifest_path":"[^"]*' | cut -d '"' -f 4 |
  grep -v "^$PWD/" | sed 's,/[^/]*/Cargo.toml$,,' | sort -u)
flags=--remap-path-prefix=$PWD=.
while read -r source; do flags+=$'\x1f'--remap-path-prefix=$source=crates; done <<<"$sources"

# Of cargo's variables for flags, only this one takes paths with spaces. Build scripts and macros, which run
# on this machine, are compiled without the flags.
CARGO_ENCODED_RUSTFLAGS=$flags exec cargo build "${packages[@]}" --target wasm32-wasip2 --release
