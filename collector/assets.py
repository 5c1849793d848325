"""Where pages and static files are, and the fixed map of those that are served, read into memory once.

In a checkout they lie at its top, in a wheel inside this package. Nothing is looked up by a name from a request, so
there is no path to traverse; nothing is streamed, so there is no Range to abuse.
"""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import msgspec
from starlette.types import Receive, Scope, Send

_HERE = Path(__file__).parent
ROOT = _HERE if (_HERE / "templates").is_dir() else _HERE.parent
TEMPLATES = ROOT / "templates"
STATIC = ROOT / "static"
SNIPPET = STATIC / "js" / "dist"

_TYPES = {".js": b"text/javascript; charset=utf-8", ".css": b"text/css; charset=utf-8", ".svg": b"image/svg+xml"}
_ENCODINGS = {b"br": ".br", b"gzip": ".gz"}


class Asset(msgspec.Struct, frozen=True):
    """A file as it is sent. `encodings` maps a content coding to the ready-made bytes."""

    headers: list[tuple[bytes, bytes]]
    body: bytes
    encodings: dict[bytes, bytes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = dict(scope["headers"])
        coding, body = self._best(request.get(b"accept-encoding", b""))
        tag = b'"' + hashlib.sha256(body).hexdigest()[:20].encode() + b'"'
        headers = [*self.headers, (b"etag", tag), (b"vary", b"Accept-Encoding")]
        if coding:
            headers.append((b"content-encoding", coding))
        known = [item.strip().removeprefix(b"W/") for item in request.get(b"if-none-match", b"").split(b",")]
        if tag in known or b"*" in known:
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body"})
            return
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _best(self, accepted: bytes) -> tuple[bytes, bytes]:
        """The smallest ready-made form that the client takes: brotli before gzip before plain."""
        offers = {}
        for item in accepted.split(b","):
            coding, _, quality = item.strip().partition(b";")
            offers[coding.strip().lower()] = quality.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
        for coding, body in self.encodings.items():
            if offers.get(coding, False):
                return coding, body
        return b"", self.body


class Snippet(msgspec.Struct, frozen=True):
    """The built snippet: its assets by route, and the hash under which a page may pin it."""

    routes: dict[str, Asset]
    hash: str
    integrity: str


def load_static() -> dict[str, Asset]:
    """Style sheets and scripts of our own pages, by route; compressed once, here."""
    found = {}
    for folder in ("css", "js", "vendor/uplot"):
        for path in sorted((STATIC / folder).glob("*.*")):
            if path.suffix in _TYPES and path.name not in ("footfall.js", "stub.js"):
                headers = [
                    (b"content-type", _TYPES[path.suffix]),
                    (b"cache-control", b"no-cache"),
                    (b"x-content-type-options", b"nosniff"),
                ]
                body = path.read_bytes()
                encodings = {b"gzip": gzip.compress(body, 9, mtime=0)}
                found[f"/static/{folder}/{path.name}"] = Asset(headers, body, encodings)
    return found


def load_snippet() -> Snippet:
    """The snippet as the build left it. Raises FileNotFoundError when it was not built."""
    manifest = msgspec.json.decode((SNIPPET / "manifest.json").read_bytes(), type=dict[str, object])
    current = str(manifest["hash"])
    short = _snippet_headers(b"public, max-age=3600, stale-while-revalidate=604800")
    long = _snippet_headers(b"public, max-age=31536000, immutable")
    routes = {
        "/js/footfall.js": _built("footfall.js", short),
        f"/js/footfall.{current}.js": _built("footfall.js", long),
    }
    for path in SNIPPET.glob("footfall.*.js"):  # released before: a hashed URL stays served for ever
        routes[f"/js/{path.name}"] = _built(path.name, long)
    return Snippet(routes, current, str(manifest["integrity"]))


def _built(name: str, headers: list[tuple[bytes, bytes]]) -> Asset:
    encodings = {coding: (SNIPPET / (name + ending)).read_bytes() for coding, ending in _ENCODINGS.items()}
    return Asset(headers, (SNIPPET / name).read_bytes(), encodings)


def _snippet_headers(cache_control: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", _TYPES[".js"]),
        (b"cache-control", cache_control),
        (b"x-content-type-options", b"nosniff"),
        (b"access-control-allow-origin", b"*"),
        (b"cross-origin-resource-policy", b"cross-origin"),
    ]
