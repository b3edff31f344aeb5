#!/usr/bin/env bash
# Makes sure that there is a redis-server for the tests of several nodes.
#
# Installs Debian's if there is none, which needs root. Starts nothing: each test starts a server of its
# own.
set -euo pipefail

command -v redis-server >/dev/null && exit 0

die() {
  printf 'redis: %s\n' "$@" >&2
  exit 1
}

command -v apt-get >/dev/null || die "redis-server is missing, and this is no Debian: install Redis 7 or newer"
((EUID == 0)) || die "redis-server is missing: 'sudo apt-get install redis-server' installs it"

# Debian starts a server that it installs, unless this policy denies it. An existing policy is left alone.
readonly policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
fi

echo 'redis: installing redis-server' >&2
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -qq -y --no-install-recommends redis-server >/dev/null; }
# The package lists may be missing or old.
install 2>/dev/null || { apt-get update -qq && install; } || die "apt-get can't install redis-server"
command -v redis-server >/dev/null || die "redis-server was installed, and is still missing"
