# Run by `sh -euc` in the container of jobs.tf. Posts to ROUTE of RELAY until a reply doesn't say that more is
# due. Google's own header carries the identity, so that Authorization is free for the token of the operator `jobs`. Both come
# by a file, because other processes can see arguments.
metadata=http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity
umask 077
while :; do
  identity=$(curl --fail --silent --show-error --retry 5 --header 'Metadata-Flavor: Google' "$metadata?audience=$RELAY")
  printf 'authorization: Bearer %s\nx-serverless-authorization: Bearer %s\n' "$JOBS_TOKEN" "$identity" >/tmp/headers
  reply=$(curl --fail-with-body --silent --show-error --max-time 60 --retry 5 --retry-connrefused \
    --request POST --data '' --header @/tmp/headers "$RELAY$ROUTE") || {
    echo "$reply" >&2
    exit 1
  }
  echo "$reply"
  case $reply in *'"done":false'*) sleep 0.2 ;; *) exit 0 ;; esac
done
