"""Starting the demo: the registry filled, a fake Segment and an exporter as processes of their own, the collector here.

The exporter is the real one; it only runs every few seconds instead of every hour. When any of the three ends, all do.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import jinja2
import msgspec

from collector.assets import TEMPLATES
from collector.demo.catalogue import APPS, PARTNERS
from collector.demo.pages import Demo, routes
from collector.demo.people import PEOPLE
from collector.server import serve
from store import destinations, registry
from store.database import Database, migrate_all, open_writer
from store.errors import ConfigError, StoreUnavailable
from store.log import head_or_zero
from store.secrets import Vault, derived
from store.settings import Settings

EXPORT_EVERY_SECONDS = 2
TOKEN_NAME = "demo back end"  # noqa: S105 - a name, not a token


def launch(settings: Settings, port: int) -> int:
    """Run the demo until it is told to stop; return the exit code."""
    public_url = settings.public_url or f"http://127.0.0.1:{port}"
    segment_url = f"http://127.0.0.1:{port + 1}"
    settings = msgspec.structs.replace(settings, segment_url_us=segment_url, segment_url_eu=segment_url + "/eu")
    token = asyncio.run(_fill(settings))
    vault = Vault(settings.secret_key)
    demo = Demo(
        public_url=f"http://127.0.0.1:{port}",
        segment_url=segment_url,
        api_token=token,
        session_secret=derived(settings.secret_key, "demo-session").hex(),
        sign_visitor=vault.sign_visitor,
        templates=jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
        ),
    )
    fake = _start("fake-segment", "--port", str(port + 1), settings=settings)
    exporter = None
    try:
        _wait_for(f"{segment_url}/_/counts", fake)
        exporter = _start("export", "--every", str(EXPORT_EVERY_SECONDS), settings=settings)
        _greet(public_url, segment_url, settings)
        host = "127.0.0.1" if settings.public_url is None else "0.0.0.0"  # noqa: S104 - a public URL asks for it
        return 0 if serve(settings, host, port, routes(demo)) else 1
    finally:
        for process in (exporter, fake):
            if process is not None:
                process.terminate()
                process.wait(timeout=20)


async def _fill(settings: Settings) -> str:
    """Partners, apps, destinations and a token for the back end; what is there already stays."""
    now = time.time_ns() // 1_000_000
    vault = Vault(settings.secret_key)
    if settings.database_url is not None:
        await migrate_all(settings.where)
    start = await head_or_zero(settings.where)
    async with await open_writer(settings.where, "registry") as db:
        known = {app.app_key for app in await registry.apps(db)}
        if not known & {app.key for app in APPS}:
            await _add_everything(db, vault, now, start)
        await db.execute("delete from tokens where name = ?", (TOKEN_NAME,))
        return await registry.add_token(db, now, TOKEN_NAME, frozenset(registry.SCOPES))


async def _add_everything(db: Database, vault: Vault, now: int, start: int) -> None:
    for partner in PARTNERS:
        await registry.add_partner(db, now, partner.key, partner.partner_id, partner.name)
    for app in APPS:
        await registry.add_app(db, now, app.key, app.partner.key, app.plugin_id, app.name)
        if app.has_segment_key:
            key = vault.fingerprint(f"demo {app.key}") + vault.fingerprint(f"demo key {app.key}")
            change = destinations.Change(segment_write_key=key, region=app.region, profile=app.profile, uninstalls=True)
            await destinations.set_destination(db, vault, now, app.key, change, start)


def _start(*command: str, settings: Settings) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOOTFALL_")} | {
        "FOOTFALL_DATA_DIR": str(settings.data_dir.absolute()),
        "FOOTFALL_SECRET_KEY": settings.secret_key,
        "FOOTFALL_EVENT_PREFIX": settings.event_prefix,
        "FOOTFALL_SEGMENT_URL_US": settings.segment_url_us,
        "FOOTFALL_SEGMENT_URL_EU": settings.segment_url_eu,
    }
    if settings.database_url is not None:
        environment["FOOTFALL_DATABASE_URL"] = settings.database_url
    return subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", "footfall", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_end_with_parent,
    )


def _end_with_parent() -> None:
    """Ask the kernel to end this process when the demo dies, however it dies (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise ConfigError(f"the fake Segment did not start: is port {url.split(':')[2].split('/')[0]} free?")
        try:
            urllib.request.urlopen(url, timeout=1).close()  # noqa: S310 - our own loopback address
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
        else:
            return
    raise StoreUnavailable("the fake Segment does not answer")


def _greet(public_url: str, segment_url: str, settings: Settings) -> None:
    names = ", ".join(person.name for person in PEOPLE)
    lines = [
        "",
        f"  Marketplace          {public_url}/demo",
        f"  What Segment gets    {public_url}/demo/live",
        f"  The fake Segment     {segment_url}/_/received",
        f"  Sign in as           {names} (one click, on any page)",
        f"  Data                 {settings.data_dir.absolute()}",
        "",
        "  Click around a listing: its events land within seconds. Ctrl-C ends the demo.",
        "",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
