#!/usr/bin/env bash
# Builds the container image of `serve` with the relay in it, without Docker: target/oci/svix-relay.tar, an
# OCI archive, and beside it an SBOM (CycloneDX) and SHA256SUMS. Needs Linux, python3, glibc's static library
# (Debian's libc6-dev), and the debug build of `serve` (make build), which compiles the component ahead.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTUP_AUTO_INSTALL=0

readonly out=$PWD/target/oci
target=$(rustc -vV | sed -n 's/^host: //p')
[[ $target == *-linux-gnu ]] || {
  echo "image: an image holds a program for Linux with glibc, and this is $target" >&2
  exit 1
}
mkdir -p "$out"

# Static, so that the image needs no other file. Paths of this machine become fixed names, as in
# scripts/component.sh; mimalloc and SQLite are C.
flags=(-C target-feature=+crt-static)
export CC_SHELL_ESCAPED_FLAGS=1 # for a path with spaces
remap() {
  flags+=("--remap-path-prefix=$1=$2")
  export CFLAGS="${CFLAGS:-} $(printf %q "-ffile-prefix-map=$1=$2")"
}
remap "$PWD" .
remap "${CARGO_HOME:-${HOME%/}/.cargo}/registry/src" crates
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && echo "${flags[*]}") cargo build --package host --bin serve \
  --no-default-features --profile image --target "$target"

target/debug/serve --compile "$target" "$out/svix_relay.cwasm"
cp "target/$target/image/serve" "$out/serve"
scripts/image.py "$target" "$out"
scripts/sbom.py "$target" >"$out/svix-relay.cdx.json"
(cd "$out" && sha256sum svix-relay.tar svix-relay.cdx.json >SHA256SUMS && cat SHA256SUMS)
