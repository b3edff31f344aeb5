#!/usr/bin/env bash
# Fuzzes the request parser and the codecs, FUZZ_SECONDS (600) each, and stops at the first finding.
#
# Installs cargo-fuzz below target/ if it is missing. Without a sanitizer, which safe code doesn't need, libFuzzer
# runs on the stable toolchain.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly seconds=${FUZZ_SECONDS:-600}
readonly tools=$PWD/target/tools
export PATH=$PATH:$tools/bin

die() {
  printf 'fuzz: %s\n' "$@" >&2
  exit 1
}

[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "FUZZ_SECONDS must be a whole number of seconds, from 1"
command -v c++ >/dev/null || die "a C++ compiler is missing: libFuzzer is built from source"
command -v cargo-fuzz >/dev/null ||
  cargo install cargo-fuzz --version '^0.13' --locked --quiet --root "$tools"

for target in notification codec; do
  echo "fuzz: $target for $seconds s" >&2
  cargo fuzz run --sanitizer none --fuzz-dir host-tests/fuzz --target-dir target/fuzz "$target" -- \
    -max_total_time="$seconds" -timeout=10 -print_final_stats=1
done
