"""Whose address a request comes from, for the few who may ask.

It is stored nowhere and logged nowhere: the portal counts tries of a password by it, and the doors may keep a keyed
hash of it (collector/network.py).
"""

from __future__ import annotations

from collections.abc import Iterable

THIS_MACHINE = ("127.0.0.1", "::1", "")  # the last is a Unix socket's


def address(peer: str, forwarded: Iterable[str]) -> str:
    """What the proxy on this machine says, if one does, else who is connected; '' when nobody knows.

    `forwarded` are the values of X-Forwarded-For, of which the proxy writes the last.
    """
    stated = ",".join(forwarded).rpartition(",")[2].strip()
    return stated if stated and peer in THIS_MACHINE else peer
