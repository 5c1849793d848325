"""The files of our own pages: the library among them is as it was published, and all come compressed."""

import gzip
import hashlib

import pytest
from conftest import Doors

from collector.assets import STATIC, load_static

pytestmark = pytest.mark.only("sqlite", "files know no store")

UPLOT = STATIC / "vendor" / "uplot"


def test_the_library_is_byte_for_byte_what_its_makers_published() -> None:
    recorded = dict(line.split()[::-1] for line in (UPLOT / "SHA256SUMS").read_text().splitlines())
    assert recorded.keys() == {"LICENSE", "uPlot.iife.min.js", "uPlot.min.css"}
    assert recorded["uPlot.iife.min.js"] == "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"
    for name, digest in recorded.items():
        assert hashlib.sha256((UPLOT / name).read_bytes()).hexdigest() == digest, name


def test_of_the_library_only_what_pages_ask_for_is_served() -> None:
    served = {path for path in load_static() if path.startswith("/static/vendor/")}
    assert served == {"/static/vendor/uplot/uPlot.iife.min.js", "/static/vendor/uplot/uPlot.min.css"}


def test_what_is_served_compressed_is_the_same_file(doors: Doors) -> None:
    for path, asset in load_static().items():
        answer = doors.client.get(path, headers={"Accept-Encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.content == asset.body, path
        assert gzip.decompress(asset.encodings[b"gzip"]) == asset.body
        assert int(answer.headers["content-length"]) <= len(asset.body), path
