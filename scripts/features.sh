#!/usr/bin/env bash
# Checks that `make run` and the whole workspace give every dependency of the host the same features.
#
# Otherwise cargo compiles the WebAssembly engine a second time, which takes minutes, when packages are
# selected together. host-tests/host/Cargo.toml lists the features that keep the two alike.
set -euo pipefail
cd "$(dirname "$0")/.."

# Every package with its features, once for each variant that is built.
features() { cargo tree --quiet --edges normal,build"$1" --prefix none --no-dedupe --format '{p} [{f}]' "${@:2}" | sort -u; }
alone=$(features '' --package host --package fake-svix)
together=$(features ,dev --workspace)
differ=$(comm -23 <(echo "$alone") <(echo "$together"))
[[ -z $differ ]] || {
  printf 'features: the rest of the workspace enables more features of these:\n%s\n' "$differ" >&2
  exit 1
}
