"""Codes of an authenticator app: RFC 6238 with what every app takes, SHA-1, six digits, 30 seconds.

Pure: a secret is text in base32, a time is in epoch milliseconds.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import struct
from urllib.parse import quote

STEP_MS = 30_000
DIGITS = 6
DRIFT = 1  # steps that a clock may be off, either way
ISSUER = "Footfall"


def new_secret() -> str:
    """160 random bits, as RFC 4226 advises."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def code(secret: str, step: int, digits: int = DIGITS) -> str:
    """The code of one step (RFC 4226, section 5.3)."""
    digest = hmac.digest(base64.b32decode(secret), struct.pack(">Q", step), "sha1")
    at = digest[-1] & 0x0F
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**digits).zfill(digits)


def step_of(secret: str, given: str, now: int, taken: int) -> int | None:
    """The step that a code belongs to; None when it is wrong, or not newer than the one that was taken last."""
    digits = "".join(given.split())
    current = now // STEP_MS
    for step in range(current - DRIFT, current + DRIFT + 1):
        right = hmac.compare_digest(code(secret, step).encode(), digits.encode())
        if right and step > taken:
            return step
    return None


def address(secret: str, email: str) -> str:
    """What an authenticator app reads from the picture."""
    return f"otpauth://totp/{ISSUER}:{quote(email)}?secret={secret}&issuer={ISSUER}"
