#!/usr/bin/env python3
"""Checks that `make test` and `make bench` compile nothing a second time that `make run` has compiled.

Cargo compiles a dependency again if other selected packages enable more of its features, and then
everything above it: for the WebAssembly engine that takes minutes. The list of features in
host-tests/host/Cargo.toml prevents that.
"""

import functools
import json
import os
import subprocess
import sys

# Only the nightly cargo prints what it would compile, unless this variable is set.
ENVIRONMENT = os.environ | {"RUSTC_BOOTSTRAP": "1"}
RUN = ["build", "--package", "host", "--package", "fake-svix"]
OTHERS = [
    ["test", "--no-run", "--workspace", "--exclude", "bench", "--exclude", "floor", "--exclude", "fsyncs"],
    [*RUN, "--package", "soak"],
    [*RUN, "--package", "conformance"],
    [*RUN, "--package", "bench", "--package", "fsyncs"],
]


def compiled(selection):
    """The units that cargo compiles, each with its features and, in turn, its dependencies."""
    command = ["cargo", *selection, "--quiet", "--unit-graph", "-Zunstable-options"]
    graph = subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE)
    units = json.loads(graph.stdout)["units"]

    @functools.cache
    def identity(index):
        unit = units[index]
        below = frozenset(identity(dependency["index"]) for dependency in unit["dependencies"])
        name = f"{unit['pkg_id'].rpartition('#')[2]} [{', '.join(unit['features'])}]"
        return name, hash((name, unit["target"]["name"], unit["mode"], unit["profile"]["opt_level"], below))

    return {identity(index) for index in range(len(units))}


run = compiled(RUN)
status = 0
for selection in OTHERS:
    other = compiled(selection)
    # Without the crates of this repository, whose programs `cargo test` leaves out.
    again = sorted(name for name, _ in run - other if "@" in name)
    if again:
        print(f"features: cargo {' '.join(selection)} compiles these again:", *again, sep="\n  ")
        status = 1
sys.exit(status)
