"""Addresses that a partner gives: which URLs are taken, which network addresses are public, and that no packet leaves
for any other. The suite lets nothing open a network socket, so an attempt to connect is an error of another kind.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from store.endpoint import Allowed, allowed, checked, not_public, refusal
from wire import segment
from wire.adapters import Forbidden, Guarded
from wire.elsewhere import Elsewhere
from wire.verdict import Reply, judge

NOBODY = Allowed()
HOUSE = allowed("localhost:8001, 127.0.0.1:8001,[::1]:8001, Proxy.Example ,proxy.example:8443,10.1.0.0/16,fd00::/8")
NAT64 = ip_network("64:ff9b::/96")
KEY = "WRITEKEYOFTHEOWNERSCHARTS0000001"

# --- URLs


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("https://events.partner.example", "https://events.partner.example"),
        ("HTTPS://Events.Partner.Example:443/", "https://events.partner.example"),
        ("https://partner.example./segment/", "https://partner.example/segment"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://8.8.8.8", "https://8.8.8.8"),
        ("https://[2606:4700:0::1111]", "https://[2606:4700::1111]"),
        ("https://site.d.jitsu.example/api/~a%20b", "https://site.d.jitsu.example/api/~a%20b"),
    ],
)
def test_a_good_url_is_stored_in_one_form(url: str, stored: str) -> None:
    assert checked(url, NOBODY) == stored


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "a URL that begins with https://|a URL such as"),
        ("partner.example", "a URL such as https://"),
        ("ftp://partner.example", "a URL that begins with https://"),
        ("http://partner.example", "plain http is for this machine"),
        ("http://127.0.0.1:8001", "FOOTFALL_ALLOWED_DESTINATIONS names 127.0.0.1:8001"),
        (
            "https://partner.example:8443",
            "at port 443, unless FOOTFALL_ALLOWED_DESTINATIONS names partner.example:8443",
        ),
        ("https://partner.example:80", "at port 443"),
        ("https://partner.example:0", "at port 443"),
        ("https://partner.example:99999", "a URL such as"),
        ("https://me@partner.example", "no user, no password"),
        ("https://me:secret@partner.example", "no user, no password"),
        ("https://partner.example@127.0.0.1", "no user, no password"),
        ("https://partner.example\\@127.0.0.1", "ASCII characters without spaces"),
        ("https://partner.example/?to=http://10.0.0.1", "without a query"),
        ("https://partner.example/#a", "without a query"),
        ("https://partner.example?", "without a query"),
        ("https://partner.example/a/../b", "no part is a dot or two"),
        ("https://partner.example/a/%2E%2e", "no part is a dot or two"),
        ("https://partner.example/v1", "without /v1"),
        ("https://partner.example/v1/batch", "without /v1"),
        ("https://partner.example/a b", "without spaces"),
        ("https://partner.example/a\tb", "without spaces"),
        ("https://partner.example\n.evil.example", "without spaces"),
        ("https://partner.example/\x7f", "without spaces"),
        ("https://bücher.example", "its xn-- form"),
        ("https://127。0。0。1", "its xn-- form"),
        ("https://①②⑦.0.0.1", "its xn-- form"),
        ("https://partner..example", "no host name"),
        ("https://partner.example..", "no host name"),
        ("https://-partner.example", "no host name"),
        ("https://" + "a" * 64 + ".example", "no host name"),
        ("https://partner.example" + "/a" * 300, "at most 500"),
        ("https://[::1", "a URL such as"),
        ("https://[fe80::1%25eth0]", "no zone"),
        ("https://[not-an-address]", "a URL such as"),
        # addresses, in every way in which one can be written
        ("https://127.0.0.1", "127.0.0.1 is loopback"),
        ("https://127.0.0.1.", "127.0.0.1 is loopback"),
        ("https://2130706433", "a URL such as"),
        ("https://0x7f000001", "a URL such as"),
        ("https://0x7f.0.0.1", "a URL such as"),
        ("https://0177.0.0.1", "a URL such as"),
        ("https://017700000001", "a URL such as"),
        ("https://127.1", "a URL such as"),
        ("https://127.0.0.0x1", "a URL such as"),
        ("https://127.0.0.01", "a URL such as"),
        ("https://256.0.0.1", "a URL such as"),
        ("https://0", "a URL such as"),
        ("https://0.0.0.0", "0.0.0.0 is unspecified"),
        ("https://169.254.169.254", "where a cloud keeps its credentials"),
        ("https://168.63.129.16", "where a cloud keeps its credentials"),
        ("https://10.0.0.1", "10.0.0.1 is private"),
        ("https://100.64.0.1", "shared by a carrier's customers"),
        ("https://224.0.0.1", "multicast"),
        ("https://255.255.255.255", "reserved"),
        ("https://[::]", "unspecified"),
        ("https://[::1]", "::1 is loopback"),
        ("https://[::ffff:127.0.0.1]", "an IPv4 address in disguise"),
        ("https://[::ffff:7f00:1]", "an IPv4 address in disguise"),
        ("https://[::127.0.0.1]", "reserved"),
        ("https://[2002:7f00:1::]", "an IPv4 address in disguise"),
        ("https://[64:ff9b::7f00:1]", "loopback"),
        ("https://[64:ff9b::a9fe:a9fe]", "where a cloud keeps its credentials"),
        ("https://[64:ff9b:1::1]", "reserved"),
        ("https://[2001:0:1::1]", "reserved"),
        ("https://[fd00:ec2::254]", "where a cloud keeps its credentials"),
        ("https://[fe80::1]", "link-local"),
        ("https://[fec0::1]", "reserved"),
        ("https://[ff02::1]", "multicast"),
    ],
)
def test_a_url_that_must_not_be_used_is_refused_with_what_would_be_right(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        checked(url, NOBODY)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8001/eu",
        "http://127.0.0.1:8001",
        "http://[::1]:8001",
        "https://proxy.example",
        "https://proxy.example:8443",
        "https://10.1.2.3",
        "https://[fd00::1]",
    ],
)
def test_an_operator_can_permit_more(url: str) -> None:
    assert checked(url, HOUSE) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "http://localhost:8002",
        "https://127.0.0.1",
        "http://proxy.example",
        "https://proxy.example:8444",
        "https://10.1.2.3:8443",
        "http://10.1.2.3",
        "https://10.2.0.1",
        "https://[fd00:ec2::254]",
    ],
)
def test_what_is_permitted_is_no_more_than_what_was_said(url: str) -> None:
    with pytest.raises(ValueError, match=r"https://|443|public address"):
        checked(url, HOUSE)


@pytest.mark.parametrize(
    "text", ["10.0.0.1/8", "http://a.example", "a b", "a.example:x", "me@a.example", "0x7f.1", "[::1"]
)
def test_a_permission_that_says_nothing_clear_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"hosts, host:port or networks such as 10\.1\.0\.0/16, not "):
        allowed(text)


@given(st.text(max_size=60))
def test_no_text_at_all_makes_the_check_fail_in_another_way(text: str) -> None:
    for url in (text, f"https://{text}", f"https://partner.example{text}"):
        try:
            stored = checked(url, NOBODY)
        except ValueError:
            continue
        assert checked(stored, NOBODY) == stored
        assert stored.startswith("https://")
        assert requests.Request("POST", f"{stored}/v1/batch").prepare().url == f"{stored}/v1/batch"


# --- network addresses


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_pythons_own_tables_hold_back_is_not_public(address: IPv4Address | IPv6Address) -> None:
    if not not_public(address):
        within = ip_address(int(address) & 0xFFFF_FFFF) if address in NAT64 else address
        assert within.is_global
        assert not within.is_multicast
        assert not within.is_reserved


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808"])
def test_a_public_address_is_public(text: str) -> None:
    assert not_public(ip_address(text)) == ""


def test_a_network_that_an_operator_permits_does_not_open_a_clouds_metadata() -> None:
    wide = allowed("169.254.0.0/16")
    assert refusal("https", "a.example", 443, ip_address("169.254.1.1"), wide) == ""
    assert "credentials" in refusal("https", "a.example", 443, ip_address("169.254.169.254"), wide)
    wider = allowed("64:ff9b::/96,::ffff:0:0/96,fd00::/8")
    for text in ("64:ff9b::a9fe:a9fe", "::ffff:169.254.169.254", "fd00:ec2::254", "fd00:ec2::254%2"):
        assert "credentials" in refusal("https", "a.example", 443, ip_address(text), wider)
    named = allowed("meta.example")
    assert refusal("https", "meta.example", 443, ip_address("169.254.169.254"), named) == ""


# --- connecting


class Resolver:
    """Says what it is told to, and remembers what it was asked."""

    def __init__(self, *answers: str | list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append((host, port))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            (socket.AF_INET6 if ":" in text else socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port))
            for text in ([answer] if isinstance(answer, str) else answer)
        ]


def post(adapter: Guarded, url: str) -> None:
    adapter.send(requests.Request("POST", f"{url}/v1/batch", data=b"{}").prepare(), timeout=(1, 1))


@pytest.mark.parametrize(
    "answer",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "0.0.0.0",  # noqa: S104 - an answer of a resolver
        "100.100.100.200",
        "224.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "fd00:ec2::254",
        "fe80::1%1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        ["8.8.8.8", "127.0.0.1"],
        ["2606:4700::1111", "10.0.0.1"],
    ],
)
def test_a_name_that_leads_where_it_must_not_is_not_connected_to(answer: str | list[str]) -> None:
    resolver = Resolver(answer)
    with pytest.raises(Forbidden):
        post(Guarded(NOBODY, resolver), "https://events.partner.example")
    assert resolver.asked == [("events.partner.example", 443)]


def test_where_the_answer_is_good_a_connection_is_tried() -> None:
    """What shows that the tests above would notice one."""
    with pytest.raises(UserWarning, match="tried to use socket"):
        post(Guarded(NOBODY, Resolver("8.8.8.8")), "https://events.partner.example")


def test_a_name_is_asked_for_again_with_every_connection() -> None:
    resolver = Resolver("8.8.8.8", "127.0.0.1")
    adapter = Guarded(NOBODY, resolver)
    with pytest.raises(UserWarning, match="tried to use socket"):
        post(adapter, "https://events.partner.example")
    with pytest.raises(Forbidden, match=r"127\.0\.0\.1 is loopback"):
        post(adapter, "https://events.partner.example")


def test_plain_http_goes_to_this_machine_alone_whatever_its_name_says() -> None:
    with pytest.raises(Forbidden, match="not this machine, so plain http is refused"):
        post(Guarded(HOUSE, Resolver("8.8.8.8")), "http://localhost:8001")
    with pytest.raises(UserWarning, match="tried to use socket"):
        post(Guarded(HOUSE, Resolver("127.0.0.1")), "http://localhost:8001")


@pytest.mark.parametrize("url", ["https://events.partner.example:8443", "http://events.partner.example"])
def test_a_permission_that_was_taken_back_holds_for_what_is_stored_already(url: str) -> None:
    with pytest.raises(Forbidden, match="is not permitted"):
        post(Guarded(NOBODY, Resolver("8.8.8.8")), url)


def test_what_was_refused_is_told_and_pauses_the_destination() -> None:
    reply = Elsewhere(NOBODY, Resolver("10.0.0.1")).send("https://events.partner.example", KEY, [b"{}"], 1)
    assert reply == Reply(forbidden="10.0.0.1 is private", sent=False, elsewhere=True)
    verdict = judge(reply)
    assert (verdict.kind, verdict.detail) == ("destination", "its address is refused: 10.0.0.1 is private")


def test_a_name_that_is_not_there_is_tried_again_later() -> None:
    def nobody(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    adapter = Guarded(NOBODY, nobody)
    reply = segment.send("https://events.partner.example", KEY, [b"{}"], 1, adapter=adapter)
    assert (reply.error, reply.sent, judge(reply).kind) == ("ConnectionError", False, "transient")
