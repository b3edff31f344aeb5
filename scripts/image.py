#!/usr/bin/env python3
"""Writes the OCI archive of scripts/image.sh: image.py TARGET FOLDER.

The same files give the same bytes: no time, owner or name of this machine goes in. `docker load` and
`crane push` read the archive, too, by its manifest.json.
"""

import gzip
import hashlib
import io
import json
import sys
import tarfile
import tomllib
from pathlib import Path

TARGET, FOLDER = sys.argv[1], Path(sys.argv[2])
VERSION = tomllib.loads(Path("Cargo.toml").read_text())["workspace"]["package"]["version"]
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[TARGET.partition("-")[0]]
# A user without a name: the image has no /etc/passwd.
USER = "65532:65532"
# Path in the image, source, mode.
FILES = [
    ("LICENSE", Path("LICENSE"), 0o444),
    ("serve", FOLDER / "serve", 0o555),
    ("spin.toml", Path("spin.toml"), 0o444),
    ("svix_relay.cwasm", FOLDER / "svix_relay.cwasm", 0o444),
]
CONFIG = {
    "User": USER,
    "ExposedPorts": {"8080/tcp": {}},
    "Env": ["PORT=8080", "SERVE_LOG_FORMAT=json"],
    "Entrypoint": ["/serve", "--from", "/spin.toml", "--compiled", "/svix_relay.cwasm", "--durable"],
    "WorkingDir": "/",
    "Labels": {
        "org.opencontainers.image.title": "svix-relay",
        "org.opencontainers.image.version": VERSION,
        "org.opencontainers.image.licenses": "Apache-2.0",
    },
    "StopSignal": "SIGTERM",
}


def archive(files):
    """A tar of (path, bytes, mode)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, content, mode in files:
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), mode
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def encode(document):
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


blobs = {}


def blob(media_type, content):
    """Adds a blob, and returns its descriptor."""
    digest = hashlib.sha256(content).hexdigest()
    blobs[f"blobs/sha256/{digest}"] = content
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def path(descriptor):
    return "blobs/" + descriptor["digest"].replace(":", "/")


OCI = "application/vnd.oci.image"
tar = archive((name, source.read_bytes(), mode) for name, source, mode in FILES)
layer = blob(f"{OCI}.layer.v1.tar+gzip", gzip.compress(tar, mtime=0))
config = blob(
    f"{OCI}.config.v1+json",
    encode(
        {
            "architecture": ARCHITECTURE,
            "os": "linux",
            "config": CONFIG,
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest()]},
        }
    ),
)
manifest = blob(
    f"{OCI}.manifest.v1+json",
    encode({"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", "config": config, "layers": [layer]}),
)
index = {
    "schemaVersion": 2,
    "mediaType": f"{OCI}.index.v1+json",
    "manifests": [
        manifest
        | {
            "platform": {"architecture": ARCHITECTURE, "os": "linux"},
            "annotations": {"org.opencontainers.image.ref.name": VERSION},
        }
    ],
}
docker = [{"Config": path(config), "RepoTags": [f"svix-relay:{VERSION}"], "Layers": [path(layer)]}]
documents = {
    "oci-layout": encode({"imageLayoutVersion": "1.0.0"}),
    "index.json": encode(index),
    "manifest.json": encode(docker),
}
whole = archive((name, content, 0o444) for name, content in sorted((documents | blobs).items()))
(FOLDER / "svix-relay.tar").write_bytes(whole)
print(f"image: {manifest['digest']}, {len(tar) / 1e6:.1f} MB, {layer['size'] / 1e6:.1f} MB compressed")
