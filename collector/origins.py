"""Which pages may send to the browser's door, and the CORS headers that tell their browsers so.

Without a list, only pages of our own host may. The answer names the very origin and allows credentials, because a
browser otherwise rejects an answer although the event was stored, and sends it again for ever.
"""

from __future__ import annotations

from store.settings import Settings, origin_of

ABSENT = b""  # no Origin header: not a browser's cross-origin call, so there is nothing to allow


class Origins:
    def __init__(self, settings: Settings) -> None:
        self._allowed = {origin.encode() for origin in settings.allowed_origins}
        if settings.public_url:
            self._allowed.add(origin_of(settings.public_url).encode())
        self.cookie_domain = settings.cookie_domain

    def check(self, origin: bytes | None, host: bytes | None) -> bytes | None:
        """The origin when it may send, ABSENT when there is none, None when it may not."""
        if origin is None:
            return ABSENT
        lowered = origin.lower()
        return origin if lowered in self._allowed or _is_own(lowered, host) else None

    def headers(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        if not origin:
            return _NO_ORIGIN
        return [(b"access-control-allow-origin", origin), *_ALLOWED]


def _is_own(origin: bytes, host: bytes | None) -> bool:
    return host is not None and origin in (b"https://" + host.lower(), b"http://" + host.lower())


_NO_ORIGIN = [(b"vary", b"Origin")]
_ALLOWED = [
    (b"access-control-allow-credentials", b"true"),
    (b"access-control-expose-headers", b"Retry-After, X-Footfall-Reason"),
    (b"vary", b"Origin"),
]
