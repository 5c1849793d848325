"""Starting the demo: registry and past filled in, a fake Segment and an exporter as processes, the collector here.

The exporter is the real one; it only runs every few seconds instead of every hour. When any of the three ends, all do.
Whoever reads the portal's sign-in page there may be anybody, so on a public address nobody has a known password.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

import jinja2
import msgspec

from collector.assets import TEMPLATES
from collector.demo import sign_ins
from collector.demo.catalogue import APPS, PARTNERS
from collector.demo.children import Children
from collector.demo.history import history
from collector.demo.pages import Demo, routes
from collector.demo.people import PEOPLE
from collector.demo.sign_ins import SignIn
from collector.demo.telling import tell
from collector.server import serve
from store import destinations, registry
from store.database import Database
from store.engines import migrate_all, open_writer
from store.errors import ConfigError, StoreUnavailable
from store.log import head_or_zero
from store.secrets import Vault, derived
from store.settings import Settings

EXPORT_EVERY_SECONDS = 2
TOKEN_NAME = "demo back end"  # noqa: S105 - a name, not a token


def launch(settings: Settings, port: int) -> int:
    """Run the demo until it is told to stop; return the exit code."""
    is_public = settings.public_url is not None
    loopback, segment_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
    settings = msgspec.structs.replace(
        settings,
        public_url=settings.public_url or loopback,
        segment_url_us=segment_url,
        segment_url_eu=segment_url + "/eu",
    )
    with Children(settings) as children:
        fake = children.start("fake Segment", "fake-segment", "--port", str(port + 1))
        token, known = asyncio.run(prepare(settings, is_public))
        _wait_for(f"{segment_url}/_/counts", fake)
        children.start("exporter", "export", "--every", str(EXPORT_EVERY_SECONDS))
        children.watch()
        demo = _demo(settings, loopback, segment_url, token)
        _greet(segment_url, settings, known)
        host = "0.0.0.0" if is_public else "127.0.0.1"  # noqa: S104 - a public URL asks for it
        return 0 if serve(settings, host, port, routes(demo), templates=_portal_templates(demo, known)) else 1


def _demo(settings: Settings, loopback: str, segment_url: str, token: str) -> Demo:
    return Demo(
        public_url=loopback,
        segment_url=segment_url,
        api_token=token,
        session_secret=derived(settings.secret_key, "demo-session").hex(),
        sign_visitor=Vault(settings.secret_key).sign_visitor,
        templates=jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
        ),
    )


def _portal_templates(demo: Demo, known: Sequence[SignIn]) -> dict[str, str]:
    """What the portal's sign-in page says here besides: who there is, with their passwords."""
    if not known:
        return {}
    values = {"sign_ins": known, "partners": {partner.key: partner.name for partner in PARTNERS}}
    return {"portal/_more_sign_in.html": demo.templates.get_template("demo/sign_ins.html").render(values)}


async def prepare(settings: Settings, is_public: bool) -> tuple[str, list[SignIn]]:
    """Partners, apps, a past, destinations, people, and a token for the back end; what is there already stays.

    The destinations come last, because most of them are to get nothing of the past. So they tell whether it was told.
    """
    now = time.time_ns() // 1_000_000
    vault = Vault(settings.secret_key)
    if settings.database_url is not None:
        await migrate_all(settings.where)
    async with await open_writer(settings.where, "registry") as db:
        if not {app.app_key for app in await registry.apps(db)} & {app.key for app in APPS}:
            await _add_everything(db, now)
        await db.execute("delete from tokens where name = ?", (TOKEN_NAME,))
        token = await registry.add_token(db, now, TOKEN_NAME, frozenset(registry.SCOPES))
        known = [] if is_public else await sign_ins.move_in(db, settings.secret_key, now)
        made_at = (await registry.partner(db, PARTNERS[0].key)).created_at
        is_told = bool(await destinations.destinations(db, [app.key for app in APPS]))
    if not is_told:
        past = history(APPS, made_at, settings.public_url or "")
        await tell(settings, token, vault.sign_visitor, past)
        head = await head_or_zero(settings.where)
        async with await open_writer(settings.where, "registry") as db:
            await _connect(db, vault, now, head)
    return token, known


async def _add_everything(db: Database, now: int) -> None:
    for partner in PARTNERS:
        await registry.add_partner(db, now, partner.key, partner.partner_id, partner.name)
    for app in APPS:
        await registry.add_app(db, now, app.key, app.partner.key, app.plugin_id, app.name)


async def _connect(db: Database, vault: Vault, now: int, head: int) -> None:
    """A destination for each app that has a key, from the log's beginning or its end."""
    for app in APPS:
        if app.has_segment_key:
            key = vault.fingerprint(f"demo {app.key}") + vault.fingerprint(f"demo key {app.key}")
            change = destinations.Change(segment_write_key=key, region=app.region, profile=app.profile, uninstalls=True)
            start = 0 if app.gets_history else head
            await destinations.set_destination(db, vault, now, app.key, change, start)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1_200):  # a minute, as on a machine that has much else to do
        if process.poll() is not None:
            raise ConfigError(f"the fake Segment did not start: is port {url.split(':')[2].split('/')[0]} free?")
        try:
            urllib.request.urlopen(url, timeout=1).close()  # noqa: S310 - our own loopback address
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
        else:
            return
    raise StoreUnavailable("the fake Segment does not answer")


def _greet(segment_url: str, settings: Settings, known: Sequence[SignIn]) -> None:
    names = ", ".join(person.name for person in PEOPLE)
    lines = [
        "",
        f"  Marketplace          {settings.public_url}/demo",
        f"  What Segment gets    {settings.public_url}/demo/live",
        f"  The fake Segment     {segment_url}/_/received",
        f"  Visit as             {names} (one click, on any page)",
        f"  Partner portal       {settings.public_url}/",
        *(f"    {who.email:<28} {who.password or '(the password that you chose)'}" for who in known),
        *([] if known else ["    add people with `footfall user add`: on a public address none are made up"]),
        f"  Data                 {settings.data_dir.absolute()}",
        "",
        "  Click around a listing: its events land within seconds. Ctrl-C ends the demo.",
        "",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
