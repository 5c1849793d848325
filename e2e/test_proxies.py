"""The shipped examples of nginx and Caddy, run as they are but for names, ports, paths and a certificate: what browsers
need gets through, what is for this machine only does not, and a restart of the collector is not noticed."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from processes import Footfall, free_port, wait_until
from test_restarts import handed

from store.people.patience import buckets

DEPLOY = Path(__file__).parents[1] / "deploy"
HOST = "footfall.marketplace.example"
FROM = "198.51.100.77"
NGINX = """
daemon off;
pid nginx.pid;
error_log stderr;
{user}
events {{}}
http {{
    client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
    include site.conf;
}}
"""


@dataclass(frozen=True)
class Proxy:
    """A running proxy: how to reach it, where its files are, and the port behind it, where it expects a collector."""

    client: httpx2.Client
    port: int
    trusted: ssl.SSLContext
    home: Path
    behind: int


def certificate(home: Path) -> tuple[Path, Path]:
    """A certificate for loopback, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(HOST)])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    (home / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (home / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return home / "cert.pem", home / "key.pem"


def exchanged(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, f"the example has no {old} any more"
        text = text.replace(old, new)
    return text


def prepare_nginx(home: Path, port: int, behind: int) -> tuple[list[str], list[str]]:
    """The commands that check the example and that run it."""
    cert, key = certificate(home)
    site = exchanged(
        (DEPLOY / "nginx.conf").read_text(),
        {
            "listen 443 ": f"listen 127.0.0.1:{port} ",
            "listen [::]:443 ": f"listen 127.0.0.1:{port + 1} ",
            f"/etc/letsencrypt/live/{HOST}/fullchain.pem": str(cert),
            f"/etc/letsencrypt/live/{HOST}/privkey.pem": str(key),
            "/var/log/nginx/": f"{home}/",
            "127.0.0.1:8000": f"127.0.0.1:{behind}",
        },
    )
    (home / "site.conf").write_text(site)
    (home / "nginx.conf").write_text(NGINX.format(user="user root;" if os.geteuid() == 0 else ""))
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert nginx
    command = [nginx, "-p", str(home), "-c", str(home / "nginx.conf"), "-e", "stderr"]
    return [*command, "-t"], command


def prepare_caddy(home: Path, port: int, behind: int) -> tuple[list[str], list[str]]:
    cert, key = certificate(home)
    text = exchanged(
        (DEPLOY / "Caddyfile").read_text(),
        {
            "{\n\tservers {": "{\n\tadmin off\n\tauto_https disable_redirects\n\tservers {",
            f"{HOST} {{": f"https://127.0.0.1:{port} {{\n\ttls {cert} {key}",
            "127.0.0.1:8000": f"127.0.0.1:{behind}",
        },
    )
    (home / "Caddyfile").write_text(text)
    caddy = shutil.which("caddy")
    assert caddy
    options = ["--config", str(home / "Caddyfile"), "--adapter", "caddyfile"]
    return [caddy, "validate", *options], [caddy, "run", *options]


@pytest.fixture(params=[prepare_nginx, prepare_caddy], ids=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Proxy]:
    port, behind = free_port(and_next=1), free_port()
    home = tmp_path / "proxy"
    home.mkdir()
    env = os.environ | {"HOME": str(home), "XDG_DATA_HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    check, command = request.param(home, port, behind)
    checked = subprocess.run(check, env=env, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    trusted = ssl.create_default_context(cafile=str(home / "cert.pem"))
    with (home / "said").open("wb") as said, subprocess.Popen(command, env=env, stdout=said, stderr=said) as running:
        try:
            wait_until(lambda: accepts(port), "the proxy listens")
            client = httpx2.Client(base_url=f"https://127.0.0.1:{port}", verify=trusted, trust_env=False, timeout=60)
            with client:
                yield Proxy(client, port, trusted, home, behind)
        finally:
            running.terminate()
            running.wait(30)


def accepts(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@pytest.fixture
def footfall(tmp_path: Path) -> Iterator[Footfall]:
    with Footfall(tmp_path / "data", FOOTFALL_ALLOWED_ORIGINS="https://marketplace.example") as footfall:
        footfall.seed()
        yield footfall


def event() -> str:
    told = {
        "messageId": str(uuid.uuid4()),
        "name": "page_view",
        "app": "com.owner.charts",
        "occurredAt": datetime.now(UTC).isoformat(),
        "anonymousId": "89b60ff131fa6d32b85f0893a8670fbc2a9608d0",
        "url": "https://marketplace.example/apps/1219125/charts",
    }
    return json.dumps({"events": [told]})


def test_the_snippet_and_its_events_get_through(proxy: Proxy, footfall: Footfall) -> None:
    headers = {"Origin": "https://marketplace.example", "X-Forwarded-For": FROM}
    with footfall.collector(proxy.behind):
        snippet = proxy.client.get("/js/footfall.js", headers={"Accept-Encoding": "br"})
        assert (snippet.status_code, snippet.headers["content-encoding"]) == (200, "br")
        answer = proxy.client.post("/e", content=event(), headers=headers)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "https://marketplace.example"
        assert proxy.client.get("/healthz").status_code == 200
    assert footfall.value("events", "select count(*) from events") == 1


def test_what_is_for_this_machine_only_is_not_found(proxy: Proxy, footfall: Footfall) -> None:
    paths = ["/metrics", "/readyz", "/metrics?x=1", "/metrics/", "/x/../metrics", "/%6detrics", "/./readyz"]
    with footfall.collector(proxy.behind) as collector:
        assert collector.get("/metrics").status_code == collector.get("/readyz").status_code == 200
        assert {path: raw(proxy, path)[0] for path in paths} == dict.fromkeys(paths, 404)


def test_no_spelling_of_the_path_leads_to_the_counts(proxy: Proxy, footfall: Footfall) -> None:
    with footfall.collector(proxy.behind) as collector:
        assert "footfall_queue_rows" in collector.get("/metrics").text
        for path in ("//metrics", "/METRICS", "///metrics", "/metrics;x", "/%2fmetrics", "/metrics%00", "/metrics%20"):
            assert "footfall_queue_rows" not in raw(proxy, path)[1], path


def raw(proxy: Proxy, path: str) -> tuple[int, str]:
    """Status and body for a path that no client has tidied up."""
    connection = http.client.HTTPSConnection("127.0.0.1", proxy.port, timeout=30, context=proxy.trusted)
    with contextlib.closing(connection):
        connection.putrequest("GET", path)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_long_heads_and_long_bodies_are_refused(proxy: Proxy, footfall: Footfall) -> None:
    with footfall.collector(proxy.behind):
        assert proxy.client.get("/healthz", headers={"X-Long": "x" * 60_000}).status_code in (400, 431)
        too_long = proxy.client.post("/e", content=b"x" * 1_500_000)
        assert too_long.status_code in (413, 502)  # 502: Caddy, when the refusal comes before it has sent all
        assert proxy.client.get("/healthz").status_code == 200


def test_no_address_is_written_down(proxy: Proxy, footfall: Footfall) -> None:
    with footfall.collector(proxy.behind) as collector:
        assert proxy.client.post("/e", content=event(), headers={"X-Forwarded-For": FROM}).status_code == 204
        assert proxy.client.get("/nothing", headers={"X-Forwarded-For": FROM}).status_code == 404
        assert collector.running
    written = [path for path in [*proxy.home.rglob("*"), *footfall.data_dir.rglob("*")] if path.is_file()]
    assert [path.name for path in written if FROM.encode() in path.read_bytes()] == []
    logs = [path for path in written if path.suffix == ".log"]
    assert [path.name for path in logs if b"127.0.0.1" in path.read_bytes()] == []


def test_tries_of_a_password_are_counted_by_the_true_address(proxy: Proxy, footfall: Footfall) -> None:
    email = "nobody@nobody.example"
    with footfall.collector(proxy.behind), elsewhere(proxy) as client:
        for n in range(6):
            form, claimed = {"email": email, "password": "wrong"}, {"X-Forwarded-For": f"198.51.100.{n}"}
            status = client.post("/sign-in", data=form, headers=claimed).status_code
            assert status == (403 if n < 5 else 429), n
    for bucket in buckets("127.0.0.2", email):
        assert footfall.value("registry", "select count(*) from patience where bucket = ?", bucket) == 1


def elsewhere(proxy: Proxy) -> httpx2.Client:
    """A client with another address than the collector's own."""
    transport = httpx2.HTTPTransport(local_address="127.0.0.2", verify=proxy.trusted)
    return httpx2.Client(transport=transport, base_url=f"https://127.0.0.1:{proxy.port}")


def test_a_restart_of_the_collector_is_not_noticed(proxy: Proxy, footfall: Footfall) -> None:
    answers: list[int] = []
    ended = threading.Event()

    def send() -> None:
        while not ended.is_set():
            answers.append(proxy.client.post("/e", content=event()).status_code)

    with socket.create_server(("127.0.0.1", proxy.behind), backlog=1024) as listener:
        collector = handed(footfall, listener)
        senders = [threading.Thread(target=send) for _ in range(4)]
        for sender in senders:
            sender.start()
        for _ in range(2):
            wanted = len(answers) + 50
            wait_until(lambda wanted=wanted: len(answers) >= wanted, "50 more answers", seconds=60)  # type: ignore[misc]
            assert collector.stop(seconds=30) == 0
            collector = handed(footfall, listener)
        ended.set()
        for sender in senders:
            sender.join()
        assert collector.stop() == 0
    assert set(answers) == {204}
    assert len(answers) == footfall.value("events", "select count(*) from events")
