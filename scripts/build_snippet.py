"""Builds the served snippet: minified, compressed and hashed, into static/js/dist, which git does not keep.

Runs as hatchling's build hook, so that a wheel brings the files, and by hand as `python scripts/build_snippet.py`. The
surprising thing is what it does not do: nothing in dist depends on the clock, the machine or the run, because the
integrity hash that people pin on their pages is taken from these very bytes. That is also why the minifier is pinned.

A released version is kept as static/js/released/VERSION.js: the minified bytes as they were served, added by hand at
the release (copy dist/footfall.js) and never changed. Each lands in dist as footfall.HASH.js, so that pages which
pinned it go on working. There is none yet.
"""

import base64
import fcntl
import gzip
import hashlib
import io
import json
import os
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import brotli
import minify
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HASH_LENGTH = 16  # hex digits in the file name; the whole hash is in `integrity`


class SnippetBuildHook(BuildHookInterface[Any]):
    """What hatchling calls before it packs a wheel or a source archive."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build(Path(self.root))


def build(root: Path) -> dict[str, Any]:
    """Writes static/js/dist under `root` and returns its manifest. Raises MinifyError for a script it cannot read."""
    dist = root / "static" / "js" / "dist"
    dist.mkdir(exist_ok=True)
    with alone(dist):
        return build_into(dist, root)


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Others who would write there at the same time wait for their turn."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def build_into(dist: Path, root: Path) -> dict[str, Any]:
    scripts = dist.parent
    before = set(dist.iterdir())

    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    snippet = minified(scripts / "footfall.js", version)
    stub = minified(scripts / "stub.js", version)
    manifest: dict[str, Any] = {
        "version": version,
        "hash": short_hash(snippet),
        "integrity": integrity("sha384", snippet),
        "stubIntegrity": integrity("sha256", stub),
        "bytes": write_compressed(dist / "footfall.js", snippet),
        "stub": write_compressed(dist / "stub.js", stub),
    }
    released = {}
    for path in sorted((scripts / "released").glob("*.js")):
        content = path.read_bytes()
        released[short_hash(content)] = {"version": path.stem, "integrity": integrity("sha384", content)}
        write_compressed(dist / f"footfall.{short_hash(content)}.js", content)
    manifest["released"] = released
    replace(dist / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())
    wanted = {"footfall.js", "stub.js", *(f"footfall.{digest}.js" for digest in released)}
    for path in before:
        if path.name != "manifest.json" and path.name.removesuffix(".br").removesuffix(".gz") not in wanted:
            path.unlink()
    return manifest


def minified(path: Path, version: str) -> bytes:
    source = path.read_text(encoding="utf-8").replace("__VERSION__", version)
    return str(minify.string("text/javascript", source)).encode()


def integrity(algorithm: str, content: bytes) -> str:
    """As in an `integrity` attribute and in Content-Security-Policy: over the decoded bytes (W3C SRI)."""
    return f"{algorithm}-{base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"


def short_hash(content: bytes) -> str:
    return hashlib.sha384(content).hexdigest()[:HASH_LENGTH]


def write_compressed(path: Path, content: bytes) -> dict[str, int]:
    """Writes `path`, `path`.gz and `path`.br, and returns their sizes."""
    encodings = {
        "raw": ("", content),
        "gzip": (".gz", gzipped(content)),
        "brotli": (".br", brotli.compress(content, quality=11)),
    }
    for suffix, encoded in encodings.values():
        replace(path.with_name(path.name + suffix), encoded)
    return {encoding: len(encoded) for encoding, (_, encoded) in encodings.items()}


def replace(path: Path, content: bytes) -> None:
    """In one step: a collector that starts meanwhile reads the old file or the new one. What is the same stays."""
    if path.exists() and path.read_bytes() == content:
        return
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def gzipped(content: bytes) -> bytes:
    """Without file name and time, and unlike gzip.compress without the operating system in the header."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()


if __name__ == "__main__":
    json.dump(build(Path(__file__).parent.parent), sys.stdout, indent=2)
    sys.stdout.write("\n")
