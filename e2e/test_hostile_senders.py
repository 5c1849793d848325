"""Senders who claim to be what they are not, at a real collector: another address, another visitor, another app, a back
end; and senders who come in hundreds and say nothing.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time

import pytest
from processes import SECRET_KEY, wait_until
from siege import BACK_END, DOORS, SITE, VISITOR, Siege, body_of, message

from store.secrets import VISITOR_TOKEN_SECONDS, Vault

each_door = pytest.mark.parametrize("door", DOORS)

# --- another address

ADDRESSES = ("203.0.113.77", "2001:db8:77::77", "198.51.100.77")
HEADERS = """X-Forwarded-For X-Real-IP X-Client-IP True-Client-IP CF-Connecting-IP CF-Pseudo-IPv4 Fastly-Client-IP
 DO-Connecting-IP X-AppEngine-User-IP X-Cluster-Client-IP X-Forwarded Forwarded-For Forwarded X-Remote-Addr Via
 X-ProxyUser-Ip""".split()
FIELDS = ["ip", "__ip", "IP", "request_ip", "requestIp", "ipAddress", "remote_addr", "clientAddress", "x-forwarded-for"]


@each_door
@pytest.mark.parametrize("address", ADDRESSES)
def test_no_address_is_stored_that_a_sender_comes_from_or_claims(siege: Siege, door: str, address: str) -> None:
    claims = [f"{name}: for={address}" if name == "Forwarded" else f"{name}: {address}" for name in HEADERS]
    nested = dict.fromkeys(FIELDS, address) | {"context": {"ip": address}, "payload": {"ip": [address]}}
    told = [message(door) | nested, message(door, app="com.nobody") | nested, message(door, messageId="") | nested]
    told += [message(door, occurredAt="never") | nested]
    answer = siege.post(door, body_of(door, *told), *claims)
    assert (answer.status, answer.json()["stored"], len(answer.rejected)) == (200, 1, 3)
    escaped = body_of(door, *told).replace(b'ip":', b'\\u0069p":')
    assert siege.post(door, escaped, *claims).json()["rejected"] == answer.json()["rejected"]
    assert siege.post(door, body_of(door, *told)[:-1], *claims).status == 400
    assert siege.post(door, json.dumps(nested).encode(), *claims).status in (200, 400)
    every_byte = siege.every_byte()
    for text in (address, "127.0.0.1", "::1"):
        assert text.encode() not in every_byte


# --- another visitor


def tokens(vault: Vault, app: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Visitors' tokens that must not be believed on that app's listing."""
    good = vault.sign_visitor("account-17", app)
    with monkeypatch.context() as patch:
        then = int(time.time()) - VISITOR_TOKEN_SECONDS - 60
        patch.setattr("itsdangerous.timed.TimestampSigner.get_timestamp", lambda signer: then)
        expired = vault.sign_visitor("account-17", app)
    payload, _, rest = good.partition(".")
    return {
        "expired": expired,
        "of another app": vault.sign_visitor("account-17", "com.stranger.notes"),
        "of another secret": Vault("another-secret-key-of-32-letters").sign_visitor("account-17", app),
        "with its signature cut off": good.rpartition(".")[0],
        "with an empty signature": good.rpartition(".")[0] + ".",
        "with another payload": Vault("x" * 32).sign_visitor("account-18", app).partition(".")[0] + "." + rest,
        "with a new time": f"{payload}.aaaaaa.{good.rpartition('.')[2]}",
        "with the last letter changed": good[:-2] + ("AA" if good[-2:] != "AA" else "BB"),
        "of no algorithm": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhY2NvdW50LTE3In0.",
        "packed": ".eJyLVkosLVayUoo1NDDQUQIAJTQEYA." + rest,
        "a plain user id": vault.user_id("account-17"),
        "60,000 dots": "." * 60_000,
        "beyond ASCII": "\u0661\u0662.\uff0e\u0663",
        "a path": "../../secret-key",
    }


NAMES = list(tokens(Vault(SECRET_KEY), "com.owner.charts", pytest.MonkeyPatch()))


@pytest.mark.parametrize("name", NAMES)
def test_a_visitors_token_that_is_not_good_is_anonymous_and_kept_nowhere(
    siege: Siege, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = Vault(SECRET_KEY)
    token = tokens(vault, siege.cast.owner_app, monkeypatch)[name]
    told = message("/e", user=token)
    assert siege.post("/e", body_of("/e", told)).status == 204
    assert siege.column("user_id", told["messageId"]) is None
    good = message("/e", user=vault.sign_visitor("account-17", siege.cast.owner_app))
    assert siege.post("/e", body_of("/e", good)).status == 204
    assert siege.column("user_id", good["messageId"]) == vault.user_id("account-17")
    if len(token) > 50:
        assert token.encode() not in siege.every_byte()


# --- another app, another partner

LOOK_ALIKES = [
    "com.stranger.note",
    "com.stranger.notes ",
    " com.stranger.notes",
    "com.stranger.notes\n",
    "COM.STRANGER.NOTES",
    "com.stranger.notes.",
    "com.stranger.\uff4eotes",
    "com.stranger.note\u0455",
    "com.stranger.notes\u200b",
    "com.stranger.%6eotes",
    "com.stranger.*",
    "com.stranger.notes' or '1'='1",
    "stranger",
    "1219127",
    "*",
    "%",
]


@each_door
def test_what_looks_like_an_apps_key_is_not_one(siege: Siege, door: str) -> None:
    kept = "select count(*) from rejections where app_key <> ''"
    before = siege.footfall.value("events", kept)
    answer = siege.post(door, body_of(door, message(door), *(message(door, app=key) for key in LOOK_ALIKES)))
    assert answer.rejected == [(index + 1, "unknown_app") for index in range(len(LOOK_ALIKES))]
    assert siege.footfall.value("events", kept) == before


@each_door
def test_ids_of_another_partner_beside_an_apps_key_move_nothing(siege: Siege, door: str) -> None:
    theirs = "select count(*) from events where partner_key = 'stranger' or app_key = 'com.stranger.notes'"
    before = siege.footfall.value("events", theirs)
    claims = {"partnerId": "1213333", "pluginId": "1219127", "partner_key": "stranger", "app_key": "com.stranger.notes"}
    told = message(door, partner="0.com.stranger.notes:visitor-of-the-stranger") | claims
    assert siege.post(door, body_of(door, told)).status in (200, 204)
    assert siege.column("partner_key", told["messageId"]) == "owner"
    assert siege.column("partner_anonymous_id", told["messageId"]) is None
    assert siege.footfall.value("events", theirs) == before


@pytest.mark.parametrize("name", ["install", "uninstall", "app_request", "page_view\n", "PAGE_VIEW", "page_view\x00"])
def test_a_page_cannot_tell_of_an_install(siege: Siege, name: str) -> None:
    for claim in ({}, {"source": "server"}, {"type": "install", "accountId": "account-17"}):
        answer = siege.post("/e", body_of("/e", message("/e", name=name, **claim)))
        assert (answer.status, answer.rejected) == (400, [(0, "invalid")])


# --- a back end


@pytest.mark.parametrize("door", BACK_END)
def test_a_token_is_taken_from_its_header_alone_and_only_whole(siege: Siege, door: str) -> None:
    token, before = siege.cast.token, siege.count("events")
    wrong = [
        token[:-1],
        token + "x",
        token.upper(),
        token.swapcase(),
        token[4:],
        f'"{token}"',
        f"{token}\x80",
        "*",
        "%",
    ]
    headers = [f"Authorization: Bearer {text}" for text in [*wrong, "x" * 20_000, f"{token} {token}", "' or 1=1 --"]]
    headers += [f"Authorization: {kind} {token}" for kind in ("Basic", "Token", "Bearer:", "JWT")]
    headers += [f"Cookie: token={token}; Authorization=Bearer {token}", f"X-Api-Key: {token}", f"Token: {token}"]
    headers += [f"Proxy-Authorization: Bearer {token}", f"Authorization : Bearer {token}"]
    for line in headers:
        for target in (door, f"{door}?access_token={token}&token={token}"):
            answer = siege.ask("POST", target, body_of(door, message(door, token=token)), line.encode("latin-1"))
            assert answer.status in ((401,) if "Authorization :" not in line else (400, 401)), line
    assert siege.count("events") == before


def test_no_token_and_no_account_gets_into_the_log_the_data_or_the_counts(siege: Siege) -> None:
    account, made_up = "557058:marker-of-an-account", "fft_marker-of-a-made-up-token"
    for door in BACK_END:
        bad = [message(door, accountId=account, **changed) for changed in ({}, {"app": "com.nobody"}, {"sharing": 1})]
        siege.post(door, body_of(door, *bad))
        siege.post(door, body_of(door, *bad)[:-1])
        siege.post(door, body_of(door, *bad) + b"\xff")
        siege.ask("POST", door, body_of(door, *bad), f"Authorization: Bearer {made_up}")
        siege.raw(f"POST {door} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {siege.cast.token}\r\nX: \x00".encode())
    found = siege.every_byte() + siege.collector.get("/metrics").content
    for secret in (account, "marker-of-an-account", made_up, siege.cast.token, SECRET_KEY):
        assert secret.encode() not in found


# --- hundreds who say nothing


def test_five_hundred_half_requests_are_closed_and_hold_up_nobody(siege: Siege) -> None:
    begun = [
        b"",
        b"P",
        b"POST /e HTTP/1.1\r\nHost: x\r\n",
        b"POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    ]
    with contextlib.ExitStack() as stack:
        silent: list[socket.socket] = []
        for number in range(500):
            connection = stack.enter_context(siege.collector.connect())
            connection.sendall(begun[number % 4])
            connection.setblocking(False)
            silent.append(connection)
        for _ in range(20):
            assert siege.post("/e", body_of("/e", message("/e"))).status == 204
        talking = [connection for number, connection in enumerate(silent) if number % 4]
        wait_until(lambda: all(map(is_closed, talking)), "every half request is closed")


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(65_536) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


# --- the end


def test_after_all_that_the_doctor_finds_every_sum_exact(siege: Siege) -> None:
    findings = siege.footfall.say("doctor")
    assert findings["balanced"], findings
    for (details,) in siege.footfall.rows("events", "select details from events"):
        assert isinstance(json.loads(details), dict)
        details.encode()
    visitors = siege.footfall.rows("events", "select distinct anonymous_id from events where source = 'browser'")
    assert visitors == [(VISITOR,)]
    assert siege.ask("OPTIONS", "/e", b"", f"Origin: {SITE}").status == 204
