"""Passwords: what a new one must be, and Argon2id. Hashing takes tens of milliseconds: not on an event loop."""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from store.errors import ConfigError

SHORTEST, LONGEST = 12, 256
GUESSES_LOG10 = 10  # zxcvbn's estimate: out of reach of somebody who has the hash and a week

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def check_new(password: str, about: list[str]) -> None:
    """Raises ConfigError for one that is too short, too long, or easy to guess; `about` is what others know of its
    owner."""
    if len(password) < SHORTEST:
        raise ConfigError(f"a password has at least {SHORTEST} characters")
    if len(password) > LONGEST:
        raise ConfigError(f"a password has at most {LONGEST} characters")
    from zxcvbn import zxcvbn  # its lists of words are long to load

    judged = zxcvbn(password[:72], user_inputs=[*about, "footfall", "marketplace"])
    if judged["guesses_log10"] < GUESSES_LOG10:
        why = judged["feedback"]["warning"] or "it is easy to guess"
        raise ConfigError(f"choose another password: {why[0].lower()}{why[1:].rstrip('.')}")


def hashed(password: str) -> str:
    return _hasher.hash(password)


def is_right(password_hash: str, password: str) -> bool:
    """Takes the same time when there is no hash to compare with, so that nobody learns who exists."""
    nobodys = _nobodys()
    try:
        return _hasher.verify(password_hash or nobodys, password) and bool(password_hash)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys() -> str:
    return _hasher.hash("nobody has this password")
