"""Sending to addresses that a partner gave, over real sockets: which one is reached, under which name, and who not."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from processes import free_port

from store.endpoint import allowed
from wire.adapters import Forbidden, Guarded

NAME = "events.partner.example"
HERE = allowed("127.0.0.0/8")
SUCCESS = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\nConnection: close\r\n\r\n{"success": true}'


class Door:
    """A server at one address of this machine; it counts who comes, and hears what they say."""

    def __init__(self, address: str, port: int, tls: ssl.SSLContext | None = None, answer: bytes = SUCCESS) -> None:
        self.came = 0
        self.heard: list[bytes] = []
        self.names: list[str | None] = []
        self._tls = tls
        self._answer = answer
        if tls is not None:
            tls.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self.port = port or free_port()  # which is free at the other addresses, too
        self.socket = socket.create_server((address, self.port))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.came += 1
            try:
                with (
                    connection,
                    self._tls.wrap_socket(connection, server_side=True) if self._tls else connection as end,
                ):
                    end.settimeout(10)
                    heard = b""
                    while not heard.endswith(b"{}"):
                        heard += end.recv(65_536)
                    self.heard.append(heard)
                    end.sendall(self._answer)
            except OSError:
                continue


@pytest.fixture
def doors() -> Iterator[Any]:
    made: list[Door] = []

    def make(address: str, port: int = 0, **options: Any) -> Door:
        made.append(Door(address, port, **options))
        return made[-1]

    yield make
    for door in made:
        door.socket.close()


def resolver(port: int, *answers: list[str]) -> Any:
    """A resolver whose answer changes, and which leads to the stand-in for the port."""
    left = list(answers)

    def resolve(_host: str, _port: int, **_: Any) -> list[Any]:
        answer = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answer]

    return resolve


def certificate(home: Path, name: str) -> tuple[ssl.SSLContext, str]:
    """A server's side of TLS for a name, and the file of who vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = made.public_bytes(serialization.Encoding.PEM)
    (home / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    (home / "certificate.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "certificate.pem", home / "key.pem")
    return context, str(home / "certificate.pem")


def post(adapter: Guarded, url: str, verify: str | bool = True) -> requests.Response:
    request = requests.Request("POST", f"{url}/v1/batch", data=b"{}").prepare()
    return adapter.send(request, timeout=(5, 5), verify=verify)


def test_the_name_stays_in_tls_and_in_the_host_and_the_address_is_the_checked_one(doors: Any, tmp_path: Path) -> None:
    tls, authority = certificate(tmp_path, NAME)
    door = doors("127.0.0.2", tls=tls)
    answer = post(Guarded(HERE, resolver(door.port, ["127.0.0.2"])), f"https://{NAME}", authority)
    assert answer.json() == {"success": True}
    assert door.names == [NAME]
    assert b"\r\nHost: events.partner.example\r\n" in door.heard[0]


def test_whoever_cannot_prove_the_name_hears_nothing(doors: Any, tmp_path: Path) -> None:
    tls, authority = certificate(tmp_path, "somebody.else.example")
    door = doors("127.0.0.2", tls=tls)
    with pytest.raises(requests.exceptions.SSLError):
        post(Guarded(HERE, resolver(door.port, ["127.0.0.2"])), f"https://{NAME}", authority)
    assert door.heard == []


def test_a_name_whose_answer_changes_after_the_check_changes_nothing(doors: Any, tmp_path: Path) -> None:
    """The second answer is for whoever would ask again between the check and the connection."""
    tls, authority = certificate(tmp_path, NAME)
    checked = doors("127.0.0.2", tls=tls)
    inside = doors("127.0.0.1", checked.port)
    permitted = allowed("127.0.0.2/32")
    adapter = Guarded(permitted, resolver(checked.port, ["127.0.0.2"], ["127.0.0.1"]))
    assert post(adapter, f"https://{NAME}", authority).status_code == 200
    with pytest.raises(Forbidden, match=r"127\.0\.0\.1 is loopback"):
        post(adapter, f"https://{NAME}", authority)
    assert (checked.came, inside.came) == (1, 0)


def test_one_good_address_does_not_excuse_another(doors: Any) -> None:
    good, bad = doors("127.0.0.2"), doors("127.0.0.1")
    adapter = Guarded(allowed("127.0.0.2/32"), resolver(good.port, ["127.0.0.2", "127.0.0.1"]))
    with pytest.raises(Forbidden):
        post(adapter, f"https://{NAME}")
    assert (good.came, bad.came) == (0, 0)


def test_where_nobody_listens_the_next_address_is_tried(doors: Any, tmp_path: Path) -> None:
    tls, authority = certificate(tmp_path, NAME)
    door = doors("127.0.0.3", tls=tls)
    adapter = Guarded(HERE, resolver(door.port, ["127.0.0.2", "127.0.0.3"]))
    assert post(adapter, f"https://{NAME}", authority).status_code == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_this_machine_is_not_followed(doors: Any, status: int) -> None:
    inside = doors("127.0.0.1")
    moved = f"HTTP/1.1 {status} Found\r\nLocation: http://127.0.0.1:{inside.port}/\r\nContent-Length: 0\r\n\r\n"
    door = doors("127.0.0.1", answer=moved.encode())
    permitted = allowed(f"localhost:{door.port}")
    answer = post(Guarded(permitted, resolver(door.port, ["127.0.0.1"])), f"http://localhost:{door.port}")
    assert (answer.status_code, inside.came) == (status, 0)


def test_an_answer_without_end_is_cut(doors: Any) -> None:
    door = doors("127.0.0.1", answer=b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"[" * 1_000_000)
    answer = post(Guarded(allowed(f"localhost:{door.port}")), f"http://localhost:{door.port}")
    assert len(answer.content) == 65_536


def test_the_systems_own_resolver_is_checked_too(doors: Any) -> None:
    door = doors("127.0.0.1")
    for name in ("localhost", "127.0.0.1"):
        with pytest.raises(Forbidden, match="is loopback"):
            post(Guarded(allowed("")), f"https://{name}")
    assert door.came == 0
