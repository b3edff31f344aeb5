# Spin itself with the relay, for those who want Spin in a container of their own. On SpinKube the component
# alone is pushed instead (README.md). After `make build`:
#   podman build --file deploy/Containerfile.spin --build-arg SPIN_IMAGE=… --tag svix-relay-spin .
#   podman run --env SPIN_VARIABLE_SVIX_TOKEN --volume ./runtime-config.toml:/app/runtime-config.toml:ro \
#     --publish 127.0.0.1:3000:3000 svix-relay-spin
# Spin's project publishes the image SPIN_IMAGE, whose entrypoint is `spin`: 4.1 or newer.
ARG SPIN_IMAGE
FROM ${SPIN_IMAGE}
WORKDIR /app
COPY spin.toml .
COPY target/wasm32-wasip2/release/svix_relay.wasm target/wasm32-wasip2/release/
USER 65532:65532
# Spin keeps what it compiles and its own files here.
ENV HOME=/tmp
CMD ["up", "--listen", "0.0.0.0:3000", "--runtime-config-file", "runtime-config.toml", "--state-dir", "/tmp/state"]
