"""Keys derived from the secret key, encryption at rest, token hashes, and the visitor's signed token.

One secret, several purposes: each gets a key of its own by HMAC, so that a leak of one says nothing about the others.
Where there are several secrets (store/ring.py), the first encrypts and signs and all read, but ids come from one alone.
The visitor's token carries the hashed user id, never the account id, which therefore never leaves the page's server.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import zlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from itsdangerous import BadSignature, URLSafeTimedSerializer

from store.errors import ConfigError
from store.ids import hashed
from store.ring import ring_of

VISITOR_TOKEN_SECONDS = 7 * 24 * 3600  # covers a click that waited in the browser's outbox over a long weekend


def derived(secret_key: str, purpose: str) -> bytes:
    """32 bytes for one purpose."""
    return hmac.new(secret_key.encode(), f"footfall/{purpose}".encode(), hashlib.sha256).digest()


class Vault:
    """Everything that needs the secret key, and nothing else does."""

    def __init__(self, secret_key: str) -> None:
        ring = ring_of(secret_key)
        self._user_id_key = derived(ring.ids, "user-id")
        self._anonymous_id_key = derived(ring.ids, "anonymous-id")
        self._network_key = derived(ring.ids, "network")
        self._fingerprint_key = derived(ring.ids, "fingerprint")
        self._code_key = derived(ring.ids, "connection-code")
        self.receipt_seed = derived(ring.ids, "receipts")
        self._webhook_keys = [derived(key, "segment-webhook") for key in ring.keys]
        fernets = [Fernet(base64.urlsafe_b64encode(derived(key, "encryption"))) for key in ring.keys]
        self._newest, self._all = fernets[0], MultiFernet(fernets)
        oldest_first = [derived(key, "visitor-token") for key in reversed(ring.keys)]
        self._visitors = URLSafeTimedSerializer(oldest_first, salt="visitor")  # signs with the last, takes any

    def user_id(self, account_id: str) -> str:
        """The hashed account id: 40 hex digits, constant for one account."""
        return hashed(self._user_id_key, account_id)

    def anonymous_id_for(self, user_id: str) -> str:
        """A stand-in for a visitor whom only the back end knows: 40 hex digits, constant for one user id."""
        return hashed(self._anonymous_id_key, user_id)

    def network(self, app_key: str, place: str, agent: str) -> str:
        """What is kept of where somebody was and with which agent: 40 hex digits, of one app alone."""
        return hashed(self._network_key, f"{app_key}\n{place}\n{agent}")

    def webhook_secrets(self, guid: str) -> list[str]:
        """What Segment shares with us for one app, by the newest key first; each of them signs."""
        return [hashed(key, guid) for key in self._webhook_keys]

    def encrypt(self, text: str) -> bytes:
        return self._newest.encrypt(text.encode())

    def decrypt(self, data: bytes) -> str:
        try:
            return self._all.decrypt(data).decode()
        except InvalidToken:
            raise ConfigError(
                "a stored secret cannot be decrypted: FOOTFALL_SECRET_KEY is not the one it was stored under"
            ) from None

    def is_newest(self, data: bytes) -> bool:
        """Whether something was encrypted under the first key."""
        try:
            self._newest.decrypt(data)
        except InvalidToken:
            return False
        return True

    def fingerprint(self, text: str) -> str:
        """Tells that two secrets are equal without showing either."""
        return hashed(self._fingerprint_key, text)[:16]

    def code_hash(self, destination_id: str, code: str) -> str:
        """What is kept of a code that a person is to read at one destination."""
        return hashed(self._code_key, f"{destination_id}\n{code}")

    def sign_visitor(self, account_id: str, app_key: str) -> str:
        """The `data-user` token for one visitor on one app's listing, made by the page's server."""
        return self._visitors.dumps([self.user_id(account_id), app_key])

    def visitor(self, token: str, app_key: str) -> str | None:
        """The user id in a visitor's token; None when it is forged, too old, or made for another app."""
        try:
            user_id, app = self._visitors.loads(token, max_age=VISITOR_TOKEN_SECONDS)
        except (BadSignature, ValueError, TypeError):
            return None
        return user_id if app == app_key and isinstance(user_id, str) else None


_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def new_token() -> str:
    """An API token; shown once, stored as its hash: 256 random bits, and a checksum by which scanners tell it."""
    random = _base62(int.from_bytes(secrets.token_bytes(32), "big"), 43)
    return f"fft_{random}{_base62(zlib.crc32(random.encode()), 6)}"


def is_token(text: str) -> bool:
    """Whether something has the form of an API token, checksum and all."""
    random, checksum = text[4:47], text[47:]
    return text.startswith("fft_") and checksum == _base62(zlib.crc32(random.encode()), 6)


def _base62(number: int, length: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits.zfill(length)


def token_hash(token: str) -> str:
    """Tokens are 256 random bits, so one plain hash suffices: there is nothing to guess."""
    return hashlib.sha256(token.encode()).hexdigest()
