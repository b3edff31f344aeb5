# Spin itself with the relay, for those who want Spin in a container of their own. On SpinKube the component
# alone is pushed instead (../docs/deploy-gke.md). After `make build`:
#   podman build --file deploy/Containerfile.spin --tag svix-relay-spin .
#   podman run --env SPIN_VARIABLE_SVIX_TOKEN --volume ./runtime-config.toml:/app/runtime-config.toml:ro \
#     --publish 127.0.0.1:3000:3000 svix-relay-spin
#
# This file was never built. Its lines were compared with Spin's sources of August 2026: Spin's release workflow publishes
# this image, for amd64 and arm64, with `spin` as the entrypoint and CA certificates in it. `spin up` reads ./spin.toml,
# has the three options below, and passes SIGTERM on to the process that serves.
ARG SPIN_IMAGE=ghcr.io/spinframework/spin:v4.1.0-distroless
FROM ${SPIN_IMAGE}
WORKDIR /app
COPY spin.toml .
COPY target/wasm32-wasip2/release/svix_relay.wasm target/wasm32-wasip2/release/
USER 65532:65532
# Spin keeps its caches below the home.
ENV HOME=/tmp
CMD ["up", "--listen", "0.0.0.0:3000", "--runtime-config-file", "runtime-config.toml", "--state-dir", "/tmp/state"]
