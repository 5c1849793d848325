"""The evidence that is no id: address and agent, as a keyed hash, where an app's rules match by it (attribution/).

Whether somebody agreed to it is for each door to say; here it is whether an address says anything. One that many share,
that is not public or that names nobody says nothing, and nothing is made of it.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address

from collector.bots import is_bot
from store.endpoint import not_public
from store.secrets import Vault

MOST_AGENT_CHARACTERS = 512
_PREFIX = 64  # what one household has of IPv6; what is behind it changes daily
_TRANSLATED = IPv6Network("64:ff9b::/96")  # an IPv4 address behind a translator that many share


def mark(vault: Vault, app_key: str, address: str, agent: str | None) -> str | None:
    """40 hex digits that are the same for the same address and agent at one app; None when they say nothing."""
    if not agent or is_bot(agent):
        return None
    found = place(address)
    return vault.network(app_key, found, agent[:MOST_AGENT_CHARACTERS]) if found else None


def place(address: str) -> str:
    """A public address as far as it is one household's: IPv4 whole, of IPv6 the network; '' for any other text."""
    try:
        found = ip_address(address.strip())
    except ValueError:
        return ""
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found
    if not found.is_global or not_public(found):
        return ""
    if not isinstance(found, IPv6Address):
        return str(found)
    return "" if found in _TRANSLATED else str(IPv6Network((int(found), _PREFIX), strict=False))
