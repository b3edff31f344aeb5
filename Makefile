# `make run` and `make test` are all that is needed; both prepare what they need.
WASM   := target/wasm32-wasip2/release/svix_relay.wasm
LISTEN := 127.0.0.1:3000
FAKE   := 127.0.0.1:9071

.PHONY: run test build check clean target

# Serves the relay; against a fake Svix, unless the environment holds a token of the real one.
run: build
	@exec target/debug/serve --listen $(LISTEN) \
		$(if $(SPIN_VARIABLE_SVIX_TOKEN),,--fake-svix $(FAKE))

# Every test of every crate. The tests run the real component, so it is built first.
test: build
	cargo test --workspace

# The component, and the host that serves it. One selection of packages everywhere: another one
# would resolve other features and compile the engine a second time.
build: target
	cargo build --package svix-relay --target wasm32-wasip2 --release
	cargo build --workspace --bins

check: target
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	cargo clippy --package svix-relay --target wasm32-wasip2 --release -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps --quiet
	scripts/deny.sh

target:
	@scripts/wasm-target.sh

clean:
	cargo clean
	rm -rf .spin
