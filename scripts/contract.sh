#!/usr/bin/env bash
# Holds a real `serve` against its own contract, src/api/openapi.json. First checks that the contract is
# valid OpenAPI. Then sends requests made from it or against it, for CONTRACT_SECONDS (180). No answer may
# be a 500, come too late, or be undocumented.
#
# Installs schemathesis and openapi-spec-validator below target/. contract.toml chooses the checks.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly seconds=${CONTRACT_SECONDS:-180}
readonly work=$PWD/target/contract
readonly tools=$work/venv/bin

die() {
  printf 'contract: %s\n' "$@" >&2
  exit 1
}

[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "CONTRACT_SECONDS must be a whole number of seconds, from 1"
for tool in python3 curl; do
  command -v "$tool" >/dev/null || die "$tool is missing"
done
for program in serve fake-svix; do
  [[ -x target/debug/$program ]] || die "$program is missing: 'make build' builds it"
done

readonly packages=(schemathesis==4.32.5 openapi-spec-validator==0.9.0)
if [[ $(cat "$work/installed" 2>/dev/null) != "${packages[*]}" ]]; then
  python3 -m venv "$work/venv" || die "python3's venv is missing (Debian: python3-venv)"
  "$tools/pip" install --quiet --disable-pip-version-check "${packages[@]}"
  echo "${packages[*]}" >"$work/installed"
fi

"$tools/openapi-spec-validator" src/api/openapi.json

# Remove the variables of this environment and use no proxy, so that no request leaves this machine.
for name in $(compgen -e SPIN_VARIABLE_); do unset "$name"; done
export NO_PROXY='*'
export ADMIN_TOKEN=hush INGEST_TOKEN=psst
started=()
trap '{ kill -KILL "${started[@]}"; wait; } 2>/dev/null || true' EXIT

# Starts a program on a free port: start NAME OPTION...; its address is in $address then.
start() {
  local name=$1
  : >"$work/$name.err"
  "target/debug/$name" --listen 127.0.0.1:0 "${@:2}" >"$work/$name.log" 2>"$work/$name.err" &
  started+=($!)
  for _ in {1..300}; do
    address=$(sed -n 's/.*listening on \(http:[^ ;]*\).*/\1/p' "$work/$name.err")
    [[ -z $address ]] || return 0
    kill -0 $! 2>/dev/null || die "$name did not start:" "$(cat "$work/$name.err")"
    sleep 0.1
  done
  die "$name did not start in time"
}
start fake-svix --hosted
readonly fake=$address
start serve --key-value memory --variable "svix_url=$fake" --variable svix_token=testsk_fake.eu \
  --variable "admin_token=$ADMIN_TOKEN" --variable "project_token_secret=$ADMIN_TOKEN-0123456789abcdef0123456789abcdef" \
  --variable ingest_auth=token --variable "ingest_token=$INGEST_TOKEN"
readonly serve=${started[1]}

# Make something for operators to look at: events that Svix refuses just now, and one without a valid event.
post() {
  curl --silent --show-error --fail --output "$work/reply.json" \
    --header 'content-type: application/json' --header "authorization: Bearer $INGEST_TOKEN" \
    --data "$1" "$2"
}
for number in {1..9}; do
  post '{"fault":"status","status":422}' "$fake/_fake/faults"
  event='{"id":"evt_'$number'","type":"user.created","project":"dev","time":"'$(date -u +%FT%TZ)'"}'
  event=$(base64 <<<"$event")
  for data in "${event//[[:space:]]/}" bm9wZQ==; do
    post "{\"message\":{\"data\":\"$data\",\"messageId\":\"$number\"}}" "$address/notifications"
  done
done

# Run schemathesis in the work directory, because it leaves a cache behind.
cd "$work"
found=0
timeout --kill-after=10 $((seconds + 60)) \
  "$tools/schemathesis" --config-file ../../scripts/contract.toml run "$address/openapi.json" \
  --max-time "$seconds" --generation-database none || found=$?
kill -0 "$serve" 2>/dev/null || die "serve has ended:" "$(tail -n 20 "$work/serve.err")"
((found == 0)) || die "schemathesis ended with $found; what serve said is in target/contract"
