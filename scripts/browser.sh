#!/usr/bin/env bash
# Installs the browser in which the console is tested: Debian's chromium and its driver.
#
# Installs only as root on Debian. Elsewhere the script prints what is missing; the tests then say that they
# are skipped.
set -euo pipefail

missing=()
command -v chromium >/dev/null || missing+=(chromium)
command -v chromedriver >/dev/null || missing+=(chromium-driver)
((${#missing[@]} > 0)) || exit 0

if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
  echo "browser: missing, so the console is not tested: ${missing[*]}" >&2
  exit 0
fi
echo "browser: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{ apt-get -q update && apt-get -q install --yes --no-install-recommends "${missing[@]}"; } \
  >"$log" 2>&1 || {
  tail -n 20 "$log" >&2
  echo "browser: installing ${missing[*]} failed" >&2
  exit 1
}
