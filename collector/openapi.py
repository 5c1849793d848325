"""The document that describes every route, in OpenAPI 3.1, as it is served.

It is written by hand in openapi.json, so that it can be read without running anything; tests hold it to the routes, the
limits and the reasons of the code. The one thing that an operator may change is put in here: the ingest path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from collector.assets import Asset

_WRITTEN = Path(__file__).with_name("openapi.json")
_INGEST_PATH = "/e"


def document(ingest_path: str) -> dict[str, Any]:
    """The document with the snippet's door where the operator put it."""
    described = msgspec.json.decode(_WRITTEN.read_bytes(), type=dict[str, Any])
    paths = described["paths"].items()
    described["paths"] = {ingest_path if path == _INGEST_PATH else path: item for path, item in paths}
    return described


def load_document(ingest_path: str) -> Asset:
    """The same, ready to be sent."""
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-cache"),
        (b"x-content-type-options", b"nosniff"),
    ]
    return Asset(headers, msgspec.json.encode(document(ingest_path)), {})
