#!/usr/bin/env bash
# Serves the relay on LISTEN (127.0.0.1:3000) beside a fake Svix on FAKE (127.0.0.1:9071), until Ctrl-C.
# If SPIN_VARIABLE_SVIX_TOKEN is set, only the relay starts and talks to the real Svix.
#
# Beside the fake, records are in memory: a record says that Svix has the event, and one of a fake
# must not be believed later. The operator's token is "admin", unless SPIN_VARIABLE_ADMIN_TOKEN is set.
#
# If one of the two processes can't start or dies, the other one ends too, and the status is not 0.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly listen=${LISTEN:-127.0.0.1:3000} fake=${FAKE:-127.0.0.1:9071}

[[ -z ${SPIN_VARIABLE_SVIX_TOKEN:-} ]] || exec target/debug/serve --listen "$listen"

options=(--listen "$listen" --key-value memory)
options+=(--variable "svix_url=http://$fake" --variable svix_token=testsk_fake.eu)
operator='the value of SPIN_VARIABLE_ADMIN_TOKEN'
if [[ -z ${SPIN_VARIABLE_ADMIN_TOKEN:-} ]]; then
  options+=(--variable admin_token=admin --variable project_token_secret=every-reader-of-this-script-knows-it)
  operator=admin
fi
# The fake Svix reports what becomes of customers' endpoints.
readonly secret=whsec_ZmFrZS1zdml4LXRlbGxzLXRoZS1yZWxheQ==
options+=(--variable "svix_webhook_secret=$secret")
reports=(--reports-to "http://$listen/svix/operational" --reports-secret "$secret")

is_running() { kill -0 "$1" 2>/dev/null; }
both_run() { is_running "$relay" && is_running "$svix"; }
# In the background, because the shell handles signals while it waits, and not before a command ends.
nap() { sleep 0.1 & wait $! || true; }
# Whether a server accepts connections at HOST:PORT.
listens() (exec 3<>"/dev/tcp/$(tr -d '[]' <<<"${1%:*}")/${1##*:}") 2>/dev/null

# Each has a process group of its own, so that Ctrl-C reaches this script alone, which passes it on once.
set -m
target/debug/fake-svix --listen "$fake" "${reports[@]}" </dev/null &
readonly svix=$!
target/debug/serve "${options[@]}" </dev/null &
readonly relay=$!
# The relay goes first: its requests in flight still need Svix.
trap 'kill -TERM "$relay" 2>/dev/null || true' INT TERM HUP

while both_run && ! listens "$listen"; do nap; done
# Another server may listen there, and then the relay ends at once.
nap
nap
both_run && cat >&2 <<END

Post an event, then see what arrived in the fake Svix:

  curl -i http://$listen/notifications -H 'content-type: application/json' -d '{"id":"evt_0","type":"user.created","project":"dev"}'
  curl http://$fake/_fake/messages

The token of the console, http://$listen/console, is: $operator

END
while both_run; do nap; done

status=0
if ! is_running "$svix"; then
  status=1
  kill -TERM "$relay" 2>/dev/null && echo 'run: the fake Svix has ended, so the relay ends, too' >&2
fi
while is_running "$relay"; do nap; done
kill -TERM "$svix" 2>/dev/null || true
wait "$svix" || status=1
wait "$relay" || status=$?
exit "$status"
