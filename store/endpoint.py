"""What a destination's own address may be: the rules for its URL, and for every network address that its name leads to.

A partner's text decides where this machine connects to, so the URL alone says nothing: names are resolved, and each
address is judged by the one that connects (wire/elsewhere.py). Addresses that hold another one within are judged
by it or refused, and whatever is not known to be public is refused.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

import msgspec

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 500
HTTPS_PORT = 443
HTTP_PORT = 80

# Where clouds tell a machine its credentials; none is let through by a network that happens to hold it.
METADATA = frozenset(
    ip_address(text)
    for text in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
)
CREDENTIALS = "where a cloud keeps its credentials"
# IANA's special-purpose registries, with what is private, shared or reserved and never a partner's server.
_NOT_PUBLIC = [
    (ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a carrier's customers"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for measurements"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "an IPv4 address in disguise"),
        ("2001:db8::/32", "for documentation"),
        ("2001::/23", "reserved"),
        ("2002::/16", "an IPv4 address in disguise"),
        ("3fff::/20", "for documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    )
]
_PUBLIC_IPV6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\Z")
_NUMBER = re.compile(r"(\d+|0x[0-9a-f]*)\Z")  # a last label that some resolvers read as an address
_PATH = re.compile(r"[A-Za-z0-9._~%/-]*\Z")


class Allowed(msgspec.Struct, frozen=True):
    """What an operator permits beyond public addresses: (host, port) pairs, and networks."""

    hosts: frozenset[tuple[str, int]] = frozenset()
    networks: tuple[Network, ...] = ()


def allowed(text: str) -> Allowed:
    """From a list with commas: `host`, `host:port`, `10.1.0.0/16`. Raises ValueError that says what would be right."""
    hosts, networks = set(), []
    for item in filter(None, (item.strip().lower() for item in text.split(","))):
        try:
            if "/" in item:
                networks.append(ip_network(item))
            else:
                parts = urlsplit(f"//{item}")
                hosts.add((_host(parts), parts.port or HTTPS_PORT))
        except ValueError:
            raise ValueError(f"hosts, host:port or networks such as 10.1.0.0/16, not {item}") from None
    return Allowed(frozenset(hosts), tuple(networks))


def checked(url: str, permitted: Allowed) -> str:
    """A destination's URL as it is stored: scheme, host, port and path, without a slash at its end.

    Raises ValueError that says what would be right. Where the name leads is not asked here, but whenever it is used.
    """
    found = checked_hook(url, permitted).rstrip("/")
    if "/v1/" in f"{urlsplit(found).path}/":
        raise ValueError("without /v1, which is added by the sender")
    return found


def checked_hook(url: str, permitted: Allowed) -> str:
    """As `checked`, of an address that is used as it is: its path stays whatever it is."""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or "\\" in url or " " in url:
        raise ValueError(f"at most {MAX_URL} ASCII characters without spaces; a name with others in its xn-- form")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = _host(parts)
    except ValueError as error:
        raise ValueError(f"a URL such as https://events.partner.example: {error}") from None
    if parts.query or parts.fragment or url.endswith(("?", "#")) or not _PATH.match(parts.path):
        raise ValueError("a base address, without a query")
    if any(segment.lower().replace("%2e", ".") in (".", "..") for segment in parts.path.split("/")):
        raise ValueError("a path in which no part is a dot or two")
    usual = HTTP_PORT if parts.scheme == "http" else HTTPS_PORT
    _check_place(parts.scheme, host, port if port is not None else usual, permitted)
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{'' if port in (None, usual) else f':{port}'}{parts.path}"


def _check_place(scheme: str, host: str, port: int, permitted: Allowed) -> None:
    """What can be known of a place without asking where its name leads."""
    if scheme not in ("https", "http"):
        raise ValueError("a URL that begins with https://")
    if scheme == "http" and (host, port) not in permitted.hosts:
        raise ValueError(
            f"a URL that begins with https://; plain http is for this machine, and then"
            f" FOOTFALL_ALLOWED_DESTINATIONS names {host}:{port}"
        )
    if port != HTTPS_PORT and (host, port) not in permitted.hosts:
        raise ValueError(f"at port 443, unless FOOTFALL_ALLOWED_DESTINATIONS names {host}:{port}")
    try:
        address = ip_address(host)
    except ValueError:
        return  # a name
    if why := refusal(scheme, host, port, address, permitted):
        raise ValueError(f"at a public address; {why}")


def _host(parts: SplitResult) -> str:
    """The host as a resolver gets it: lower case, no dot at its end, an address only in its usual form."""
    if "@" in parts.netloc:
        raise ValueError("no user, no password")
    host = (parts.hostname or "").removesuffix(".")
    if parts.netloc.startswith("["):
        if "%" in host:
            raise ValueError("no zone")
        return str(IPv6Address(host))
    if not _NAME.match(host) or len(host) > 253:
        raise ValueError("no host name")
    return str(IPv4Address(host)) if _NUMBER.match(host.rpartition(".")[2]) else host


def refusal(scheme: str, host: str, port: int, address: Address, permitted: Allowed) -> str:
    """Why a connection to this address, found under this host, is refused; '' when it may be made."""
    if (host, port) in permitted.hosts:
        local = scheme == "https" or address.is_loopback
        return "" if local else f"{address} is not this machine, so plain http is refused"
    if scheme != "https" or port != HTTPS_PORT:
        return f"{host}:{port} is not permitted"
    permits = any(address in network for network in permitted.networks)
    what = CREDENTIALS if _meant(address) in METADATA else "" if permits else not_public(address)
    return f"{address} is {what}" if what else ""


def not_public(address: Address) -> str:
    """What keeps an address from being a public server's; '' when nothing does."""
    if isinstance(address, IPv6Address) and address in _NAT64:
        address = _meant(address)
    if address in METADATA:
        return CREDENTIALS
    found = next((what for network, what in _NOT_PUBLIC if address in network), "")
    if not found and isinstance(address, IPv6Address) and address not in _PUBLIC_IPV6:
        return "reserved"
    return found


def _meant(address: Address) -> Address:
    """The address that a translating one stands for, and any other without its zone."""
    if not isinstance(address, IPv6Address):
        return address
    if address in _NAT64 or address.ipv4_mapped:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return IPv6Address(int(address))
