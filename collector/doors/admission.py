"""Whether an app lets a request in: asked once at each partner's door, before anything of the request is judged."""

from __future__ import annotations

from collections.abc import Mapping

from store.registry import App


async def admit(app: App, door: str, headers: Mapping[bytes, bytes], body: bytes) -> None:
    """`body` is as it came. Raises Refused when the app wants more of a sender than its key."""


def is_open(app: App) -> bool:
    """Whether the app wants no more of any sender than its key, so that nobody need be asked."""
    return True
