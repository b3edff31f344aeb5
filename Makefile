# `make run` and `make test` are all that is needed; both prepare what they need.
LISTEN := 127.0.0.1:3000
FAKE   := 127.0.0.1:9071

# The toolchain is complete once `target` has run; from then on rustup need not look for more.
CARGO := RUSTUP_AUTO_INSTALL=0 cargo

.PHONY: run test soak soak-cluster conformance bench fuzz contract build component reproduce image check clean target

# Serves the relay beside a fake Svix, on which the operator's token is "admin"; or with the real Svix,
# if SPIN_VARIABLE_SVIX_TOKEN is set.
run: build
	@LISTEN=$(LISTEN) FAKE=$(FAKE) exec scripts/run.sh

# Runs every test. The tests run the real component, so it is built first. Tests of several nodes need
# redis-server. Without it they are skipped, and print a warning.
test: build
	$(CARGO) test --workspace $(patsubst %,--exclude %,bench floor fsyncs)

# Runs a publisher like Pub/Sub, a Svix with every fault, and a relay that is killed again and again.
soak: build
	$(CARGO) build $(HARNESS) --package soak
	target/debug/soak

# Runs the same with three nodes on a real Redis, which is killed and cut off. Needs redis-server.
soak-cluster: build
	$(CARGO) build $(HARNESS) --package soak
	target/debug/soak --nodes 3

# Checks that a host and a Svix behave as the relay needs: serve and the fake Svix, or those that SPIN,
# RELAY_URL and SVIX_URL name. docs/conformance.md says more.
conformance: build
	$(CARGO) build $(HARNESS) --package conformance
	target/debug/conformance

# Measures the relay beside other servers. Prints a table, and writes bench.json to target/bench. BENCH
# holds the options. Linux only.
BENCH :=
bench: build
	scripts/component.sh floor
	$(CARGO) build $(HARNESS) --package bench --package fsyncs
	target/debug/bench $(BENCH)

# Fuzzes the parsers, FUZZ_SECONDS for each target. Needs a C++ compiler.
fuzz:
	@RUSTUP_AUTO_INSTALL=0 scripts/fuzz.sh

# Checks that src/api/openapi.json is valid, and that a relay keeps to it while it is fuzzed for
# CONTRACT_SECONDS. Needs python3 and curl.
contract: build
	scripts/contract.sh

# The component, the host that serves it, and the fake Svix. Any selection of packages compiles the
# engine below the host with the same features, and so only once: scripts/features.py checks that.
HARNESS := --package host --package fake-svix
build: component
	$(CARGO) build $(HARNESS)

component: target
	scripts/component.sh

# Checks that the component's bytes depend on neither the folder nor the machine's user. Needs git.
reproduce: component
	scripts/reproduce.sh

# The image of `serve` with the relay, for Cloud Run and any container engine: target/oci/svix-relay.tar, with
# an SBOM and SHA256SUMS beside it. Linux only. Needs python3, no Docker. scripts/image-check.sh runs it.
image: build
	scripts/image.sh

check: target
	$(CARGO) fmt --all --check
	scripts/layers.py
	scripts/words.py
	scripts/features.py
	$(CARGO) clippy --workspace --all-targets -- --deny warnings
	$(CARGO) clippy --package svix-relay --package floor --target wasm32-wasip2 --release \
		-- --deny warnings
	$(CARGO) clippy --manifest-path host-tests/fuzz/Cargo.toml --no-default-features --features fuzz --locked \
		--target-dir target/fuzz-check -- --deny warnings
	RUSTDOCFLAGS='--deny warnings --allow rustdoc::private-intra-doc-links' $(CARGO) doc --workspace --no-deps --document-private-items --quiet
	RUSTUP_AUTO_INSTALL=0 scripts/deny.sh

target:
	@scripts/wasm-target.sh

clean:
	$(CARGO) clean
