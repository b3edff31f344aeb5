#!/usr/bin/env bash
# Runs the image of scripts/image.sh as a container engine would, as far as that goes without one: its files
# alone as a read-only root, its user, its environment and command, process 1 of a namespace. Needs root,
# redis-server (scripts/redis.sh), curl, the debug build of the fake Svix (make build), and what `make test` needs:
# the image serves the tours of README.md and docs/tour.md.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly archive=target/oci/svix-relay.tar

die() {
  echo "image-check: $*" >&2
  [[ ! -e ${log:-} ]] || tail -n 20 "$log" >&2
  exit 1
}
((UID == 0)) || die 'chroot and the user of the image need root'

work=$(mktemp -d)
readonly root=$work/root log=$work/log
children=()
clean() {
  # The shell would tell of each child that it was killed.
  { ((${#children[@]} == 0)) || kill -KILL "${children[@]}" || true; wait; } 2>/dev/null
  rm -rf "$work"
}
trap clean EXIT

mkdir "$work/layout" "$root"
tar --extract --file "$archive" --directory "$work/layout"
(cd "$work/layout/blobs/sha256" && for name in *; do echo "$name  $name"; done | sha256sum --check --quiet)
field() { # field FILE PYTHON: a value of a JSON document, or one line for each of its values
  python3 -c "import json, sys; d = json.load(open(sys.argv[1])); v = $2
print(*(v if isinstance(v, list) else [v]), sep='\n')" "$1"
}
blob() { echo "$work/layout/blobs/sha256/${1#sha256:}"; }
manifest=$(blob "$(field "$work/layout/index.json" 'd["manifests"][0]["digest"]')")
config=$(blob "$(field "$manifest" 'd["config"]["digest"]')")
tar --extract --gzip --file "$(blob "$(field "$manifest" 'd["layers"][0]["digest"]')")" --directory "$root"
size=$(du --bytes --summarize "$root" | cut -f 1)
((size < 30000000)) || die "the files have $size bytes"
mapfile -t command < <(field "$config" 'd["config"]["Entrypoint"]')
mapfile -t environment < <(field "$config" 'd["config"]["Env"]')
user=$(field "$config" 'd["config"]["User"]')
# Every engine mounts these into a container.
mkdir "$root/dev" "$root/etc" "$root/proc"
touch "$root"/dev/{null,random,urandom}
echo '127.0.0.1 svix.internal redis.internal' >"$root/etc/hosts"
: >"$root/etc/resolv.conf"

# start VARIABLE=VALUE…: becomes the image's process 1, with further variables. To be run in the background.
start() {
  # shellcheck disable=SC2016 # The inner shell expands these.
  exec unshare --mount --pid --fork --kill-child sh -euc '
    root=$1 user=$2 env=$3 chroot=$4; shift 4
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    for device in null random urandom; do mount --bind "/dev/$device" "$root/dev/$device"; done
    mount -o remount,bind,ro,nosuid "$root"
    exec "$env" --ignore-environment "$@"' \
    sh "$root" "$user" "$(command -v env)" "$(command -v chroot)" \
    "${environment[@]}" "$@" "$(command -v chroot)" --userspec="$user" "$root" "${command[@]}"
}
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
wait_for() { # wait_for COMMAND…: until it succeeds, for 20 s at most
  for _ in {1..200}; do
    ! "$@" >/dev/null 2>&1 || return 0
    sleep 0.1
  done
  die "still failing after 20 s: $*"
}

svix=$(port) redis=$(port) listen=$(port)
# The token of the tests, which take the tours.
target/debug/fake-svix --listen "127.0.0.1:$svix" --token testsk_fake >>"$log" 2>&1 &
children+=($!)
redis-server --port "$redis" --save '' --dir "$work" >>"$log" 2>&1 &
children+=($!)
wait_for redis-cli -p "$redis" ping

variables=(SPIN_VARIABLE_SVIX_TOKEN=testsk_fake SPIN_VARIABLE_SVIX_URL="http://svix.internal:$svix" PORT="$listen"
  SPIN_VARIABLE_ADMIN_TOKEN=admin)
# Without a Redis, the records would be in the container.
! (start "${variables[@]}") >"$work/refused" 2>&1 || die 'it starts with records that end with the container'
grep --quiet 'records would end with this container' "$work/refused" || die "it says $(cat "$work/refused")"

start "${variables[@]}" SERVE_KEY_VALUE="redis://redis.internal:$redis/0" >>"$log" 2>&1 &
unshare=$!
children+=("$unshare")
relay=http://127.0.0.1:$listen
wait_for curl --fail --silent "$relay/readyz"
serve=$(pgrep --parent "$unshare")
[[ $(stat --format %u:%g "/proc/$serve") == "$user" ]] || die "it doesn't run as $user"
[[ $(curl --silent "$relay/healthz") == '{"status":"alive"}' ]] || die '/healthz fails'
for expected in delivered duplicate; do
  reply=$(curl --silent "$relay/notifications" --header 'content-type: application/json' \
    --data '{"id":"evt_1","type":"user.created","project":"dev","time":"2026-11-26T12:00:00Z"}')
  [[ $reply == *"\"status\":\"$expected\""* ]] || die "not $expected: $reply"
done
# One tour after the other: both let the same fake Svix fail.
TOUR_RELAY=127.0.0.1:$listen TOUR_SVIX=http://127.0.0.1:$svix RUSTUP_AUTO_INSTALL=0 cargo test --quiet \
  --package host-tests --test relay -- --test-threads 1 prints_the_promised_output >>"$log" 2>&1 || die 'a tour fails'
grep --quiet '"message":"listening"' "$log" || die 'no structured line about the start'

start=$EPOCHREALTIME
kill -TERM "$serve"
status=0
wait "$unshare" || status=$?
took=$(((${EPOCHREALTIME/./} - ${start/./}) / 1000))
((status == 0)) || die "SIGTERM ends it with $status"
((took < 10000)) || die "SIGTERM ends it after $took ms"
# Written in the seconds after the reply.
[[ -n $(redis-cli -p "$redis" --scan --pattern 'journal/*') ]] || die 'SIGTERM lost the journal of the last second'
echo "image-check: $((size / 1000)) kB of files; ran as $user on a read-only root; served the tours; stopped in $took ms"
