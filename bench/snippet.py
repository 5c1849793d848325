"""How many bytes the snippet and its stub are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.figure import Figure
from collector.assets import SNIPPET

SNIPPET_LIMIT = 1_800
STUB_LIMIT = 300


def sizes(scratch: Path) -> Iterator[Figure]:
    """Raw, gzip and brotli; the limit is on brotli."""
    manifest = msgspec.json.decode((SNIPPET / "manifest.json").read_bytes())
    for name, limit in (("bytes", SNIPPET_LIMIT), ("stub", STUB_LIMIT)):
        title = "snippet" if name == "bytes" else "stub"
        for form in ("raw", "gzip"):
            yield Figure(f"{title} {form}", manifest[name][form], "bytes", limit, "limit of brotli")
        yield Figure(f"{title} brotli", manifest[name]["brotli"], "bytes", limit, "limit", "at most", 1.0)
