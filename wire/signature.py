"""Signatures of webhooks as Standard Webhooks has them: HMAC-SHA256 over id, time and body. Pure.

While a secret follows another, both sign, so that whoever receives may go over to the new one when it suits them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """A webhook's secret as its receiver gets it: shown once."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(message_id: str, at: int, body: bytes, keys: Sequence[str]) -> dict[str, str]:
    """The three headers of one request that leaves `at`, epoch seconds; one signature for each secret."""
    signatures = " ".join(sign(message_id, at, body, key) for key in keys)
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": signatures}


def sign(message_id: str, at: int, body: bytes, secret: str) -> str:
    """One signature, version and all. Raises ValueError for what is no secret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"a secret is {PREFIX} and base64") from None
    signed = f"{message_id}.{at}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
