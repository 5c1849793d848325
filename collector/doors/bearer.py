"""Who knocks at a door with an API token: shared by all doors that ask for one."""

from __future__ import annotations

from collector.directory import Directory
from store.errors import Refused
from store.registry import Token


async def authenticated(directory: Directory, authorization: bytes, scope: str, asked: float) -> Token:
    """The token in the header. Raises Refused when there is none that counts, or it lacks the scope."""
    kind, _, text = authorization.decode("latin-1").partition(" ")
    token = await directory.find_token(text.strip(), asked) if kind.lower() == "bearer" else None
    if token is None:
        raise Refused("unknown_token", "give an API token: Authorization: Bearer fft_…")
    if scope not in token.scopes:
        raise Refused("unsuitable_token", f"this token lacks the scope {scope}")
    return token
