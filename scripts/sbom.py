#!/usr/bin/env python3
"""Prints the bill of materials of the image: sbom.py TARGET.

CycloneDX 1.5: the crates that are compiled into `serve` and into the component, with the checksums of
Cargo.lock, and the code that comes with none of them (Rust's standard library, glibc, SQLite).
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


# The packages of each program, as (name, version).
PROGRAMS = {
    "serve": ["--package", "host", "--no-default-features", "--target", sys.argv[1]],
    "svix-relay": ["--package", "svix-relay", "--target", "wasm32-wasip2"],
}
used = {}
for program, options in PROGRAMS.items():
    tree = run("cargo", "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", *options)
    for name, version in re.findall(r"^(\S+) v(\S+)", tree, flags=re.M):
        used.setdefault((name, version), []).append(program)

lock = tomllib.loads(Path("Cargo.lock").read_text())["package"]
checksums = {(package["name"], package["version"]): package.get("checksum") for package in lock}
metadata = json.loads(run("cargo", "metadata", "--locked", "--format-version", "1"))
packages = {package["id"]: package for package in metadata["packages"]}


def key(package):
    return package["name"], package["version"]


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


components, dependencies, sqlite = [], [], None
for package in sorted(packages.values(), key=key):
    if key(package) not in used:
        continue
    component = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
        "properties": [{"name": "svix-relay:program", "value": program} for program in used[key(package)]],
    }
    if package["license"]:
        # A slash is cargo's older way to write OR.
        component["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}]
    if checksums[key(package)]:
        component["hashes"] = [{"alg": "SHA-256", "content": checksums[key(package)]}]
    components.append(component)
    if package["name"] == "libsqlite3-sys":
        header = Path(package["manifest_path"]).parent / "sqlite3/sqlite3.h"
        sqlite = re.search(r'#define SQLITE_VERSION +"([\d.]+)"', header.read_text())[1]
for node in sorted(metadata["resolve"]["nodes"], key=lambda node: key(packages[node["id"]])):
    if key(packages[node["id"]]) in used:
        below = (packages[dependency] for dependency in node["dependencies"])
        below = sorted(reference(package) for package in below if key(package) in used)
        dependencies.append({"ref": reference(packages[node["id"]]), "dependsOn": below})

rust = run("rustc", "--version").split()[1]
glibc = os.confstr("CS_GNU_LIBC_VERSION").split()[1]
for name, version, licence in (
    ("glibc", glibc, "LGPL-2.1-or-later"),
    ("rust-std", rust, "MIT OR Apache-2.0"),
    ("sqlite", sqlite, "blessing"),
):
    component = {"type": "library", "bom-ref": f"{name}@{version}", "name": name, "version": version}
    components.append(component | {"licenses": [{"expression": licence}]})

version = tomllib.loads(Path("Cargo.toml").read_text())["workspace"]["package"]["version"]
json.dump(
    {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": "image", "name": "svix-relay", "version": version}},
        "components": components,
        "dependencies": dependencies,
    },
    sys.stdout,
    indent=1,
)
print()
