"""The visitor's first-party cookies, set again over HTTP with what is left of their life.

Safari keeps a cookie set by script for seven days at most; the same cookie from a same-site answer it keeps for as long
as it says. Each value begins with the second of its birth, so that setting it again never makes it live longer.
"""

from __future__ import annotations

import re

LIFETIME_SECONDS = 395 * 86_400  # 13 months
MAX_COOKIES = 20

_VISITOR = re.compile(rb"[0-9a-z]{1,8}\.[0-9a-f]{40}\Z")
_PARTNER = re.compile(rb"[0-9a-z]{1,8}\.[!-9<-~]{1,200}:[!-+\--:<-~]{1,700}\Z")
_PARTNER_NAME = re.compile(rb"footfall_p_[!-:>-~]{1,220}\Z")


def set_again(header: bytes, received_at: int, domain: str | None, origin: bytes) -> list[tuple[bytes, bytes]]:
    """Set-Cookie headers for those of our cookies in a Cookie header that are of the right shape and still alive."""
    found: list[tuple[bytes, bytes]] = []
    for pair in header.split(b";"):
        name, _, value = pair.strip().partition(b"=")
        ours = (name == b"footfall_id" and _VISITOR.match(value)) or (
            _PARTNER_NAME.match(name) and _PARTNER.match(value)
        )
        if not ours or len(found) >= MAX_COOKIES:
            continue
        left = int(value.partition(b".")[0], 36) + LIFETIME_SECONDS - received_at // 1_000
        if 0 < left <= LIFETIME_SECONDS + 86_400:
            attributes = f"Max-Age={min(left, LIFETIME_SECONDS)}; Path=/; SameSite=Lax"
            attributes += f"; Domain={domain}" if domain else ""
            attributes += "; Secure" if origin.startswith(b"https:") else ""
            found.append((b"set-cookie", name + b"=" + value + b"; " + attributes.encode()))
    return found
