#!/usr/bin/env bash
# Builds the component once more, in another folder and with another CARGO_HOME, and compares both builds.
# Prints the SHA-256 that they share. Needs git, and the component of `make build`.
#
# Another toolchain, or a standard library that scripts/wasm-target.sh has built instead of rustup's, gives
# other bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly wasm=target/wasm32-wasip2/release/svix_relay.wasm
# In a container, the home may be /.
readonly home=${HOME%/}
readonly cargo_home=${CARGO_HOME:-$home/.cargo}

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/sources" "$copy/cargo-home"
git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from - | tar --extract --directory "$copy/sources"
# Another path to the same downloads and settings.
shopt -s nullglob
for entry in "$cargo_home"/*; do ln -s "$entry" "$copy/cargo-home/"; done

echo 'reproduce: building in another folder' >&2
env -u CARGO_TARGET_DIR CARGO_HOME="$copy/cargo-home" CARGO_TERM_QUIET=true "$copy/sources/scripts/component.sh"

cmp "$wasm" "$copy/sources/$wasm" || {
  echo 'reproduce: the same sources gave another component' >&2
  exit 1
}
for folder in "$PWD" "$copy" "$cargo_home" ${home:+"$home"}; do
  ! grep --quiet --text --fixed-strings "$folder/" "$wasm" || {
    echo 'reproduce: the component names a folder of this machine' >&2
    exit 1
  }
done
sha256sum "$wasm"
