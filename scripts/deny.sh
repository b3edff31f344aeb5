#!/usr/bin/env bash
# Checks the licences, sources and known vulnerabilities of all dependencies, as deny.toml says.
#
# Installs cargo-deny below target/ if it is missing. If the database of advisories can't be fetched, prints
# that and checks the rest.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly tools=$PWD/target/tools
export PATH=$PATH:$tools/bin
command -v cargo-deny >/dev/null ||
  cargo install cargo-deny --version '^0.20' --locked --quiet --root "$tools"

checks=(bans licenses sources)
if cargo deny fetch db >/dev/null 2>&1; then
  checks+=(advisories)
else
  echo 'deny: NOT checking for advisories: their database can not be fetched from here' >&2
fi
cargo deny --log-level error check --hide-inclusion-graph "${checks[@]}"
