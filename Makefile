# `make run` and `make test` are all that is needed; both prepare what they need.
LISTEN := 127.0.0.1:3000
FAKE   := 127.0.0.1:9071

# The toolchain is complete once `target` has run; from then on rustup need not look for more.
CARGO := RUSTUP_AUTO_INSTALL=0 cargo

.PHONY: run test soak soak-cluster bench fuzz contract build check clean target

# Serves the relay; against a fake Svix, unless the environment holds a token of the real one. Beside
# the fake, the operator's routes are open to the token "admin".
ADMIN := $(if $(SPIN_VARIABLE_ADMIN_TOKEN),,--variable admin_token=admin)
run: build
	@exec target/debug/serve --listen $(LISTEN) \
		$(if $(SPIN_VARIABLE_SVIX_TOKEN),,--fake-svix $(FAKE) $(ADMIN))

# Every test of every crate. The tests run the real component, so it is built first. Those of several
# nodes need redis-server, and are left out, loudly, where there is none.
test: build
	$(CARGO) test --workspace

# A publisher like Pub/Sub, a Svix with every fault, and a relay that is killed all the time.
soak: build
	target/debug/soak

# The same with three nodes that share a real Redis, which is killed and cut off. Needs redis-server.
soak-cluster: build
	target/debug/soak --nodes 3

# How fast the relay is, beside what it can be compared with: a table here, and bench.json and
# bench.svg in target/bench. BENCH holds its options. Linux only.
BENCH :=
bench: build
	$(CARGO) build --package floor --target wasm32-wasip2 --release
	$(CARGO) build --package fsyncs
	target/debug/bench $(BENCH)

# Looks for bytes that break what reads them, FUZZ_SECONDS for each target. Needs a nightly toolchain.
fuzz:
	@RUSTUP_AUTO_INSTALL=0 scripts/fuzz.sh

# Whether src/api/openapi.json is valid, and whether a relay keeps to it that is fuzzed with it for
# CONTRACT_SECONDS. Needs python3 and curl.
contract: build
	scripts/contract.sh

# The component, and the host that serves it. One selection of packages everywhere: another one
# would resolve other features and compile the engine a second time.
build: target
	$(CARGO) build --package svix-relay --target wasm32-wasip2 --release
	$(CARGO) build --workspace --bins

check: target
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings
	$(CARGO) clippy --package svix-relay --package floor --target wasm32-wasip2 --release \
		-- --deny warnings
	$(CARGO) clippy --manifest-path host-tests/fuzz/Cargo.toml --no-default-features --locked \
		--target-dir target/fuzz-check -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --workspace --no-deps --quiet
	RUSTUP_AUTO_INSTALL=0 scripts/deny.sh

target:
	@scripts/wasm-target.sh

clean:
	$(CARGO) clean
