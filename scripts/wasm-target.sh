#!/usr/bin/env bash
# Makes the wasm32-wasip2 target of the pinned toolchain usable.
#
# rustup installs it by itself from `rust-toolchain.toml`. This script is for machines that can't reach
# rustup's server but do have a Debian mirror. It builds the same standard library from Debian's `rust-src`
# and `wasi-libc`. If the target already works, it does nothing.
set -euo pipefail

readonly target=wasm32-wasip2
readonly suite=trixie-backports # the Debian suite whose rust-src has the pinned version
readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg

die() {
  printf 'wasm-target: %s\n' "$@" >&2
  exit 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Compile and link a program to find out: rustup's own list may not know the target.
target_works() {
  printf 'fn main() { println!("ok"); }\n' >"$work/probe.rs"
  rustc --target "$target" -o "$work/probe.wasm" "$work/probe.rs" >"$work/probe.log" 2>&1
}

# Calling rustc also makes rustup install the toolchain of `rust-toolchain.toml`, if it may
# (RUSTUP_AUTO_INSTALL is not 0) and its server answers.
target_works && exit 0

# From here on rustup must not try to complete the toolchain by itself.
export RUSTUP_AUTO_INSTALL=0
target_works && exit 0

command -v rustc >/dev/null ||
  die "rustc is missing: install the toolchain of rust-toolchain.toml (https://rustup.rs)"
missing=()
for tool in apt-get apt-cache dpkg-deb cargo; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
((${#missing[@]} == 0)) ||
  die "target $target is missing: 'rustup target add $target' installs it where rustup's server" \
    "can be reached; building it from Debian's packages instead needs: ${missing[*]}"
[[ -r $keyring ]] || die "Debian's archive keyring is missing: install debian-archive-keyring"

# The machine's own mirror: the archive that serves the main Debian suites.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
  grep -E '/debian/?$' | sort -u | head -n 1) || true
[[ -n $mirror ]] || die "no Debian mirror is configured on this machine (looked with apt-get indextargets)"

version=$(rustc --version | cut -d ' ' -f 2)
echo "wasm-target: building $target for rustc $version from Debian's rust-src and wasi-libc" >&2

# An apt of our own: own sources, state and cache, so that the machine's configuration stays as it
# is. Proxy settings are still taken from it.
apt=$work/apt
mkdir -p "$apt"/{lists/partial,cache/archives/partial,packages}
: >"$apt/status"
cat >"$apt/debian.sources" <<EOF
Types: deb
URIs: $mirror
Suites: $suite
Components: main
Signed-By: $keyring
EOF
options=(
  -o "Dir::Etc::SourceList=$apt/debian.sources" -o "Dir::Etc::SourceParts=-"
  -o "Dir::State=$apt" -o "Dir::State::Lists=$apt/lists" -o "Dir::State::Status=$apt/status"
  -o "Dir::Cache=$apt/cache" -o "APT::Sandbox::User=$(id -un)"
  -o "APT::Get::AllowUnauthenticated=false" -o "Acquire::AllowInsecureRepositories=false"
)
apt-get "${options[@]}" -o APT::Update::Error-Mode=any -q update >"$work/apt.log" 2>&1 || {
  cat "$work/apt.log" >&2
  die "the mirror does not serve $suite, or its signature does not verify"
}

for package in rust-src wasi-libc; do
  case $package in rust-src) want="$version" ;; *) want="" ;; esac
  found=$(apt-cache "${options[@]}" madison "$package" | awk -F '|' '{gsub(/ /, "", $2); print $2}' |
    grep -F -m 1 -- "$want") || die "$suite has no $package $want"
  (cd "$apt/packages" && apt-get "${options[@]}" -q download "$package=$found" >>"$work/apt.log" 2>&1) || {
    tail -n 5 "$work/apt.log" >&2
    die "downloading $package $found failed"
  }
done
for deb in "$apt"/packages/*.deb; do dpkg-deb -x "$deb" "$work/unpacked"; done

library=$(echo "$work"/unpacked/usr/src/rustc-*/library)
libc=$work/unpacked/usr/lib/$target
[[ -d $library ]] || die "rust-src does not hold usr/src/rustc-$version/library"
for file in crt1-command.o crt1-reactor.o libc.a; do
  [[ -f $libc/$file ]] || die "wasi-libc does not hold usr/lib/$target/$file"
done

# The flags with which the standard library itself is built and shipped.
(cd "$library" &&
  RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$work/target" \
    RUSTFLAGS="-Cembed-bitcode=yes -Zforce-unstable-if-unmarked -Cdebuginfo=0 -L native=$libc" \
    cargo build --quiet --release --target "$target" -p sysroot --features panic-unwind) ||
  die "building the standard library for $target failed"

installed=$(rustc --print sysroot)/lib/rustlib/$target/lib
mkdir -p "$installed/self-contained" || die "the toolchain's directory is not writable: $installed"
cp "$work"/target/"$target"/release/deps/*.rlib "$installed/"
cp "$libc"/{crt1-command.o,crt1-reactor.o,libc.a} "$installed/self-contained/"

target_works || {
  cat "$work/probe.log" >&2
  die "the target was built but does not compile a program"
}
echo "wasm-target: $target is ready" >&2
