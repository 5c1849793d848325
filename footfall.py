"""The command line: one table of commands, nothing else. Each command imports what it needs when it runs."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
import msgspec

from store.errors import Busy, ConfigError, FootfallError, StoreUnavailable, Unavailable

T = TypeVar("T")
EXIT_CODES: dict[type[FootfallError], int] = {StoreUnavailable: 69, Unavailable: 75, Busy: 75, ConfigError: 78}

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Footfall(click.Group):
    """The program: failures are one line on standard error, with the exit code that says what to do about them."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FootfallError as error:
            click.echo(f"footfall: {error}", err=True)
            code = next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)
            raise SystemExit(code) from None
        except BrokenPipeError:
            raise  # click ends quietly when nobody reads on
        except OSError as error:
            click.echo(f"footfall: {error.strerror or error}", err=True)
            raise SystemExit(1) from None


@click.group(cls=Footfall, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="footfall")
def main() -> None:
    """Shows app partners the journeys on their marketplace listings, in their own Segment workspace.

    Settings are environment variables that begin with FOOTFALL_.
    """


@main.command()
@click.option("--port", default=8000, show_default=True, help="The collector's port; the fake Segment takes the next.")
@click.option("--data", type=click.Path(path_type=Path), help="Where the demo keeps its data.")
def demo(port: int, data: Path | None) -> None:
    """Run a made-up marketplace with everything behind it.

    Example: footfall demo --port 8000
    """
    from collector.demo.launch import launch
    from store.settings import load

    raise SystemExit(launch(load(data_dir=data), port))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, help="The port to listen on.")
def serve(host: str, port: int) -> None:
    """Run the collector until it is told to stop.

    Example: footfall serve --host 127.0.0.1 --port 8000
    """
    import journal
    from collector.server import serve as run
    from store.settings import load

    came_up = run(load(), host, port, announce=lambda where: journal.note("collector began", on=where))
    raise SystemExit(0 if came_up else 1)


@main.command()
@click.option("--app", "app_key", metavar="KEY", help="Only this app.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and send nothing.")
@click.option("--every", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Run again and again, until stopped.")
@as_json
def export(app_key: str | None, dry_run: bool, every: float | None, as_json: bool) -> None:
    """Ship what is pending to the partners' Segment sources, then exit.

    Exit codes: 0 all sent, 75 something is left for a later run, 69 a database is not available, 78 a setting is wrong.

    Example: footfall export --dry-run
    """
    import uvloop

    from exporter.report import Voice
    from exporter.run import run
    from store.settings import load

    voice = Voice(quiet=as_json)
    report = uvloop.run(run(load(), voice, only=app_key, dry_run=dry_run, every=every))
    if as_json:
        _print(report)
    else:
        click.echo(report.summary())
    raise SystemExit(report.exit_code)


@main.command("fake-segment")
@click.option("--port", default=8001, show_default=True, help="The port to listen on.")
def fake_segment(port: int) -> None:
    """Run a Segment that keeps what would land, for tests and for looking.

    Example: footfall fake-segment --port 8001
    """
    from exporter.fake_segment.app import serve as run

    run(port, announce=lambda url: click.echo(f"fake Segment at {url}; what landed: {url}/_/received"))


@main.command()
@click.option("--check", is_flag=True, help="Say what is missing, change nothing; exits 1 when anything is.")
@click.option("--citus", is_flag=True, help="Spread the tables over the nodes of Citus, now and from now on.")
@as_json
def migrate(check: bool, citus: bool, as_json: bool) -> None:
    """Make the databases, or bring them up to this version.

    Example: footfall migrate
    """
    from store.database import called, migrate_all, missing
    from store.settings import load

    where = load().where
    steps = _run(missing(where) if check else migrate_all(where, citus))
    if as_json:
        _print(steps)
    for nature, names in steps.items():
        said = f"{'missing ' if check else ''}{', '.join(names)}" if names else "up to date"
        click.echo(f"{called(where, nature)}: {said}", err=as_json)
    if check and any(steps.values()):
        raise SystemExit(1)


@main.command()
@click.option(
    "--max-age", default=3.0, show_default=True, metavar="HOURS", help="How long an event may be pending; 0: any."
)
@click.option("--hours", is_flag=True, help="Count the balance for each hour too.")
@click.option("--quiet", is_flag=True, help="Print only what is wrong.")
@as_json
def doctor(max_age: float, hours: bool, quiet: bool, as_json: bool) -> None:
    """Check that the installation is sound and that every event is accounted for.

    Exits 1 when a line begins with FAIL. Example: footfall doctor --quiet
    """
    from store.doctor import diagnose
    from store.settings import load, secret_origin

    secret_from = secret_origin()
    found = _run(diagnose(load(), secret_from, _now(), max_age, hours))
    if as_json:
        _print(found)
    else:
        for line in found.lines(quiet, hours):
            click.echo(line)
    raise SystemExit(0 if found.healthy else 1)


@main.command()
@click.argument("into", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="Remove all but the newest N backups in DIR.")
@as_json
def backup(into: Path, keep: int | None, as_json: bool) -> None:
    """Copy the databases into a new directory below DIR, and check the copy; the processes may work on.

    The secret key is not in it. Exits 1 when no good copy could be made, or when its sums are off. A server is backed
    up with PostgreSQL's own programs: this one refuses it.

    Example: footfall backup /var/backups/footfall --keep 14
    """
    from store.backup import back_up
    from store.settings import load

    made = _run(back_up(load().where, into, keep))
    if as_json:
        _print(made)
    else:
        click.echo(made.path)
    if not made.manifest.balanced:
        click.echo("footfall: the copy is whole, and its sums are off: see `footfall doctor`", err=True)
        raise SystemExit(1)


@main.command()
@click.option("--from", "source", required=True, metavar="sqlite", help="What is copied: the data directory's files.")
@click.option("--to", metavar="URL", help="The PostgreSQL database, without a password; else FOOTFALL_DATABASE_URL.")
@as_json
def copy(source: str, to: str | None, as_json: bool) -> None:
    """Copy this installation from SQLite to an empty PostgreSQL database that `footfall migrate` prepared.

    Most of it goes while everything runs. Exit codes: 0 the copy is complete, 75 stop the collector and the exporter
    and run this again to finish, 1 the copy would not be the same, 78 the database is not for this copy.

    Example: footfall copy --from sqlite --to postgresql://footfall@db.example/footfall
    """
    from store.copying import copy as run
    from store.copying import destination
    from store.settings import load

    settings = load()
    server = destination(source, to, settings.database_url)
    done = _run(run(settings.data_dir, server, _now(), _now_and_then("copied events up to {} of {}")))
    if as_json:
        _print(done)
    for table in () if as_json else done.tables:
        click.echo(f"{table.table:<28} {table.rows:>12} {table.hash}")
    for line in done.lines():
        click.echo(f"footfall: {line}", err=True)
    raise SystemExit(0 if done.complete else 75)


def _now_and_then(line: str) -> Callable[..., None]:
    """Something that says how far a long work is, on standard error, every few seconds."""
    said = time.monotonic()

    def say(*told: Any) -> None:
        nonlocal said
        if time.monotonic() > said + 5:
            said = time.monotonic()
            click.echo(f"footfall: {line.format(*told)}", err=True)

    return say


@main.command()
@click.option("--timeout", default=600.0, show_default=True, metavar="SECONDS", help="How long to wait for others.")
@as_json
def purge(timeout: float, as_json: bool) -> None:
    """Remove events, rejections and visitors that are older than the settings allow.

    A running collector is asked to do it, and waited for; on a server this command does it, as the owner of the
    database. Example: footfall purge
    """
    from store.purging import purge as run
    from store.settings import load

    removed = _run(run(load(), _now(), timeout))
    if as_json:
        _print(removed)
    else:
        click.echo(f"removed {removed.events} events, {removed.rejections} rejections, {removed.visitors} visitors")
    if removed.held_back:
        click.echo(f"footfall: {removed.held_back} old events stay: a destination has not passed them yet", err=True)


@main.group()
def rollups() -> None:
    """The sums that the portal shows."""


@rollups.command("check")
@as_json
def rollups_check(as_json: bool) -> None:
    """Count every event once more, and compare with the rollups.

    The second count needs room in the directory for temporary files, about a quarter of the log's. Exits 1 when
    something differs. Example: footfall rollups check
    """
    from tempfile import TemporaryDirectory

    from store.rollups.checking import check
    from store.settings import load

    where = load().where
    with TemporaryDirectory(prefix="footfall-") as scratch:
        found = _run(check(where, Path(scratch), _now(), _now_and_then("counted up to {} of {}")))
    if as_json:
        _print(found)
    else:
        for each in found.differences:
            at = f" at {_date(each.at)}" if each.at else ""
            click.echo(
                f"FAIL  {each.app_key}: {each.what}{at}: {each.rollups} in the rollups, {each.events} in the log"
            )
        if not found.differences:
            click.echo(f"ok    the rollups say what {found.events} events say, up to seq {found.up_to}")
    raise SystemExit(1 if found.differences else 0)


@rollups.command("rebuild")
@click.option("--timeout", default=3600.0, show_default=True, metavar="SECONDS", help="How long to wait for it.")
@click.option("--lose-removed", is_flag=True, help="Lose the sums of events that are no longer in the log.")
@as_json
def rollups_rebuild(timeout: float, lose_removed: bool, as_json: bool) -> None:
    """Empty the rollups and count every event anew; a running collector is asked to do it, and waited for.

    Until it is done, the portal shows the part that is counted. Example: footfall rollups rebuild
    """
    from store.registry import COMMAND_LINE
    from store.rollups.rebuilding import rebuild
    from store.settings import load

    tell = _now_and_then("counted up to {} of {}")
    up_to = _run(rebuild(load().where, COMMAND_LINE, timeout, lose_removed, tell))
    _show({"up_to": up_to}, True) if as_json else click.echo(f"every event is counted, up to seq {up_to}")


@main.group()
def selftest() -> None:
    """Proofs that an operator can run and publish."""


@selftest.command("delivery")
@click.option("--kills", type=click.IntRange(min=1), default=200, show_default=True, help="Kill processes so often.")
@click.option(
    "--minutes", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Go on for at least so long."
)
@click.option("--seed", type=int, default=1, show_default=True, help="What happens, and in which order.")
@click.option("--postgresql", is_flag=True, help="On a PostgreSQL server of its own, which is killed too.")
@click.option("--report", "report_file", type=click.Path(path_type=Path), help="Write the report there too.")
@as_json
def selftest_delivery(
    kills: int, minutes: float, seed: int, postgresql: bool, report_file: Path | None, as_json: bool
) -> None:
    """Kill processes, break connections, and check that no acknowledged event is lost or doubled.

    Works in a temporary directory on loopback and touches nothing of this installation. Prints a report in Markdown;
    exits 1 when anything is wrong.

    Example: footfall selftest delivery --kills 30 --report report.md
    """
    from selftest.plan import Plan
    from selftest.proof import prove

    report = prove(Plan(kills, minutes, seed, postgresql), lambda line: click.echo(f"footfall: {line}", err=True))
    if report_file is not None:
        report_file.write_text(report.markdown())
    if as_json:
        _print(report.told())
    else:
        click.echo(report.markdown(), nl=False)
    raise SystemExit(0 if report.holds else 1)


@main.group()
def partner() -> None:
    """Companies with apps in the marketplace."""


@partner.command("add")
@click.argument("key")
@click.option("--partner-id", required=True, help="The partner's id as partners know it, digits.")
@click.option("--name", required=True, help="What people call it.")
@as_json
def partner_add(key: str, partner_id: str, name: str, as_json: bool) -> None:
    """Add a partner.

    Example: footfall partner add acme --partner-id 1211971 --name "Acme Apps"
    """
    from store import registry

    async def work(db: Any) -> None:
        await registry.add_partner(db, _now(), key, partner_id, name)

    _run(_in_registry(work))
    _show({"key": key, "partner_id": partner_id, "name": name}, as_json)


@main.group("app")
def app_group() -> None:
    """Listed apps, and where their events go."""


@app_group.command("add")
@click.argument("key")
@click.option("--partner", "partner_key", required=True, metavar="PARTNER", help="The key of the app's partner.")
@click.option("--plugin-id", required=True, help="The number in the listing's address.")
@click.option("--name", required=True, help="What people call it.")
@as_json
def app_add(key: str, partner_key: str, plugin_id: str, name: str, as_json: bool) -> None:
    """Add an app to a partner.

    Example: footfall app add com.acme.charts --partner acme --plugin-id 1219125 --name "Charts"
    """
    from store import registry

    async def work(db: Any) -> registry.App:
        return await registry.add_app(db, _now(), key, partner_key, plugin_id, name)

    app = _run(_in_registry(work))
    shown = {"key": app.app_key, "plugin_id": app.plugin_id, "partner_id": app.partner_id}
    _show({**shown, "guid": app.guid, "ingest_key": app.ingest_key}, as_json)


@app_group.command("list")
@as_json
def app_list(as_json: bool) -> None:
    """Show every app, and where its events go.

    Example: footfall app list
    """
    from store import destinations, registry

    async def work(db: Any) -> list[dict[str, Any]]:
        live = await destinations.active(db)
        return [_described(app, live) for app in await registry.apps(db)]

    listed = _run(_in_registry(work))
    if as_json:
        _print(listed)
        return
    for app in listed:
        where = "; ".join(map(_in_words, app["destinations"])) or "no Segment write key yet"
        click.echo(f"{app['key']:<40} {app['partner']:<20} {app['plugin_id']:<10} {where}")


def _described(app: Any, live: list[Any]) -> dict[str, Any]:
    shown = {"key": app.app_key, "name": app.name, "partner": app.partner_key, "plugin_id": app.plugin_id}
    shown |= {"partner_id": app.partner_id, "guid": app.guid, "ingest_key": app.ingest_key}
    return shown | {"destinations": [_set(d, live) for d in live if d.app_key == app.app_key]}


def _in_words(d: dict[str, Any]) -> str:
    from store.proof import is_old

    where = d["url"] or d["region"]
    words = [f"{d['destination']}: {d['segment_write_key']} in {where}", f"profile {d['profile']}"]
    at = d["verified_at"]
    words.append("never verified" if at is None else f"verified on {_date(at)}")
    if at is not None and not d["url"] and is_old(at, _now()):
        words.append("over 13 days ago: Segment disables sources without a destination after 14, verify it again")
    if d["same_key_as"]:
        words.append(f"the same write key as {', '.join(d['same_key_as'])}")
    return ", ".join(words)


def _set(d: Any, live: list[Any]) -> dict[str, Any]:
    from store.destinations import same_key

    return {
        "destination": d.name,
        "destination_id": d.destination_id,
        "region": d.region,
        "url": d.url,
        "profile": d.profile,
        "uninstalls": d.uninstalls,
        "segment_write_key": f"…{d.write_key_last4}",
        "verified_at": d.verified_at,
        "same_key_as": same_key(d, live),
    }


@app_group.command("set")
@click.argument("key")
@click.option(
    "--segment-write-key-file", "key_file", type=click.File("r"), help="A file with the key; - is standard input."
)
@click.option("--destination", "name", default="main", show_default=True, help="Which of the app's destinations.")
@click.option("--region", type=click.Choice(["us", "eu"]), help="Where the partner's Segment workspace is.")
@click.option("--url", help="Where it is, if not at Segment: the base of a compatible API, without /v1.")
@click.option("--profile", type=click.Choice(["mpac", "segment"]), help="The form of the messages.")
@click.option("--uninstalls/--no-uninstalls", default=None, help="Whether uninstalls are sent too.")
@click.option("--new-source", is_flag=True, help="The key is of another source than before, not a new key of the same.")
@click.option(
    "--start", metavar="now|beginning|DATE", help="Where a new destination begins; else where the old one is."
)
@as_json
def app_set(
    key: str,
    key_file: Any,
    name: str,
    region: str | None,
    url: str | None,
    profile: str | None,
    uninstalls: bool | None,
    new_source: bool,
    start: str | None,
    as_json: bool,
) -> None:
    """Say where an app's events go.

    Example: printf %s "$WRITE_KEY" | footfall app set com.acme.charts --segment-write-key-file - --region eu
    """
    from store import destinations
    from store.beginnings import beginning
    from store.secrets import Vault
    from store.settings import load

    if (key_file, region, url, profile, uninstalls, new_source) == (None, None, None, None, None, False):
        raise click.UsageError("say what to set; `footfall app list` shows what is set")
    settings = load()
    write_key = key_file.read().strip() if key_file else None
    if write_key is not None and not 1 <= len(write_key) <= 200:
        raise ConfigError("the write key file is empty or holds more than a key")
    change = destinations.Change(
        segment_write_key=write_key,
        region=region,
        url=_checked(url, settings),
        profile=profile,
        uninstalls=uninstalls,
        new_source=new_source,
    )

    async def work(db: Any) -> dict[str, Any]:
        begins = await beginning(settings.where, await destinations.destination(db, key, name), start)
        vault = Vault(settings.secret_key)
        d = await destinations.set_destination(db, vault, _now(), key, change, begins, name)
        return {"key": d.app_key} | _set(d, await destinations.active(db))

    shown = _run(_in_registry(work))
    _show(shown if as_json else shown | {"verified_at": _date(shown["verified_at"]), "same_key_as": ""}, as_json)
    if write_key is not None and not shown["url"] and not (len(write_key) == 32 and write_key.isalnum()):
        click.echo("footfall: Segment's write keys are 32 letters and digits; this one is not", err=True)
    if shown["same_key_as"]:
        others = ", ".join(shown["same_key_as"])
        click.echo(f"footfall: {others} has this write key too: their events would go to one source", err=True)


def _checked(url: str | None, settings: Any) -> str | None:
    from store.endpoint import checked

    try:
        return checked(url, settings.allowed_destinations) if url else url
    except ValueError as error:
        raise ConfigError(f"--url must be {error}") from None


@app_group.command("verify")
@click.argument("key")
@click.option("--destination", "name", default="main", show_default=True, help="Which of the app's destinations.")
@click.option("--code", help="What the partner read in the source's debugger.")
@as_json
def app_verify(key: str, name: str, code: str | None, as_json: bool) -> None:
    """Prove an app's write key: send a code to its source, then take the code that was read there.

    Example: footfall app verify com.acme.charts
    """
    from store import destinations, proof
    from store.secrets import Vault
    from store.settings import load
    from wire import trial

    settings = load()
    vault = Vault(settings.secret_key)

    async def find(db: Any) -> Any:
        return await destinations.named(db, key, name)

    async def begin(db: Any) -> tuple[str, str]:
        fresh = proof.new_code()
        await proof.ask(db, vault, _now(), d, fresh)
        return fresh, vault.decrypt(d.segment_write_key)

    async def end(db: Any) -> Any:
        await proof.answer(db, vault, _now(), d, code or "")
        return await destinations.named(db, key, name)

    d = _run(_in_registry(find))
    shown: dict[str, Any] = {"key": key, "destination": name}
    if code is None:
        fresh, write_key = _run(_in_registry(begin))
        trial.send_code(settings, d, write_key, fresh)
        shown["settings"] = trial.probe(settings, d, write_key)
        if not as_json:
            click.echo(trial.instructions(d, shown["settings"]), err=True)
        if not as_json and sys.stdin.isatty():
            code = click.prompt("Code", err=True)
    if code is not None:
        d = _run(_in_registry(end))
    _show(shown | {"verified_at": d.verified_at if as_json else _date(d.verified_at) or "never"}, as_json)


def _date(at: int | None) -> str | None:
    return None if at is None else f"{datetime.fromtimestamp(at / 1_000, UTC):%Y-%m-%d}"


@app_group.command("remove-destination")
@click.argument("key")
@click.argument("name")
def app_remove_destination(key: str, name: str) -> None:
    """Send an app's events there no more; what was sent stays on record.

    Example: footfall app remove-destination com.acme.charts warehouse
    """
    from store import destinations

    _run(_in_registry(lambda db: destinations.remove_destination(db, _now(), key, name)))


@app_group.command("resume")
@click.argument("key")
@click.option("--destination", "name", default="main", show_default=True, help="Which of the app's destinations.")
def app_resume(key: str, name: str) -> None:
    """Try a paused destination again with the next run, instead of once a day.

    Example: footfall app resume com.acme.charts
    """
    from store import destinations

    async def work(db: Any) -> None:
        d = await destinations.named(db, key, name)
        await destinations.ask(db, _now(), key, d.destination_id, "resume", [0])

    _run(_in_registry(work))


@main.group()
def attribution() -> None:
    """Which campaign brought an install, and by which rules that is decided."""


@attribution.command("set")
@click.option("--app", "key", default="", metavar="KEY", help="For this app; without it, for the whole marketplace.")
@click.option(
    "--campaign", default="", metavar="CAMPAIGN", help="For this campaign of the app, as the portal names it."
)
@click.option("--click", "clicked", metavar="LENGTH", help="How long before an install a click counts, such as 30d.")
@click.option("--probabilistic", metavar="LENGTH", help="The same of a click known by address and agent alone.")
@click.option("--view", metavar="LENGTH", help="The same of a view.")
@click.option("--settle", metavar="LENGTH", help="How long after an install late evidence decides anew.")
@click.option("--reprocess", metavar="LENGTH", help="After how long a reinstall is a new install; 0: never.")
@click.option("--by-network/--not-by-network", default=None, help="Whether address and agent alone may tell who it is.")
@click.option("--unset", multiple=True, metavar="NAME", help="Have this be as the app or the marketplace says.")
@as_json
def attribution_set(
    key: str,
    campaign: str,
    clicked: str | None,
    probabilistic: str | None,
    view: str | None,
    settle: str | None,
    reprocess: str | None,
    by_network: bool | None,
    unset: tuple[str, ...],
    as_json: bool,
) -> None:
    """Set rules for installs that come from now on. Lengths are such as 30d, 12h, 90min or 0.

    Example: footfall attribution set --app com.acme.charts --click 14d --view 12h
    """
    from store import attribution_rules
    from store.attribution_rules import Change, length

    given = {"click": clicked, "probabilistic": probabilistic, "view": view, "settle": settle, "reprocess": reprocess}
    lengths = {name: length(text) for name, text in given.items() if text is not None}
    names = tuple(name.replace("-", "_") for name in unset)
    change = Change(**lengths, by_network=by_network, unset=names)

    async def work(db: Any) -> dict[str, Any]:
        await attribution_rules.set_rules(db, _now(), key, campaign, change)
        return await _rules_of(db, key)

    _show(_run(_in_registry(work)), as_json)


@attribution.command("show")
@click.option("--app", "key", default="", metavar="KEY", help="Of this app; without it, of the whole marketplace.")
@as_json
def attribution_show(key: str, as_json: bool) -> None:
    """Show the rules that hold now, and whose they are.

    Example: footfall attribution show --app com.acme.charts
    """

    _show(_run(_in_registry(lambda db: _rules_of(db, key))), as_json)


async def _rules_of(db: Any, key: str) -> dict[str, Any]:
    """The rules of an app, or '' for the marketplace's, as a person writes them."""
    from attribution.rules import SETTABLE, resolved
    from store import attribution_rules, registry

    if key:
        await registry.app(db, key)
    found = await attribution_rules.kept(db, key)
    rules = resolved(*attribution_rules.of_app(found))
    shown = {name: attribution_rules.told(getattr(rules, name)) for name in SETTABLE}
    said = {name: f"{text} ({rules.set_by.get(name, 'default')})" for name, text in shown.items()}
    for campaign, own in rules.campaigns.items():
        of_campaign = {name: getattr(own, name) for name in attribution_rules.OF_CAMPAIGN}
        told = [f"{name} {attribution_rules.told(n)}" for name, n in of_campaign.items() if n is not None]
        said[campaign] = ", ".join(told)
    return said


@attribution.command("explain")
@click.argument("key")
@click.argument("message_id", metavar="MESSAGE_ID")
@as_json
def attribution_explain(key: str, message_id: str, as_json: bool) -> None:
    """Tell why an install is a campaign's or nobody's: the decision that holds, and those before it.

    Example: footfall attribution explain com.acme.charts 99e491a1-d2c7-4b68-ab97-cc7c3497e011
    """
    from attribution.explaining import explained
    from store.attribution import of_message
    from store.settings import load

    install, made = _run(of_message(load().where, key, message_id))
    if as_json:
        _print({"install": install, "decisions": [msgspec.to_builtins(each) for each in made]})
    else:
        click.echo("\n".join(explained(install, made)))


@main.command()
@click.argument("key")
@click.option("--from", "begin", metavar="DATE", help="Events received from then on; a date or ISO 8601, UTC.")
@click.option("--to", "end", metavar="DATE", help="Events received before then; without it, all up to now.")
@click.option("--destination", "name", default="main", show_default=True, help="Which of the app's destinations.")
@click.option("--new-ids", is_flag=True, help="Under new message ids, for a place that is to have a second copy.")
@click.option("--dry-run", is_flag=True, help="Count and warn, and do nothing.")
@click.option("--cancel", metavar="ID", help="Stop a replay that was asked for.")
@as_json
def replay(
    key: str,
    begin: str | None,
    end: str | None,
    name: str,
    new_ids: bool,
    dry_run: bool,
    cancel: str | None,
    as_json: bool,
) -> None:
    """Send a window of an app's events again, with the next runs; without a window, list the app's replays.

    Example: footfall replay com.acme.charts --from 2026-02-01 --to 2026-02-03 --dry-run
    """
    from store import destinations
    from store.beginnings import moment, seq_at
    from store.log import NO_END
    from store.replaying import plan
    from store.settings import load

    settings = load()
    if cancel:
        _run(_in_registry(lambda db: destinations.cancel_replay(db, _now(), key, cancel)))
        return

    async def listed(db: Any) -> list[destinations.Replay]:
        return [found for found in await destinations.replays(db) if found.app_key == key]

    if begin is None:
        found = _run(_in_registry(listed))
        if as_json:
            _print(found)
        for each in found if not as_json else ():
            state = ", cancelled" if each.cancelled else ""
            click.echo(f"{each.replay_id} events past {each.first_seq} up to {each.last_seq}{state}")
        return

    async def work(db: Any) -> dict[str, Any]:
        to = await destinations.named(db, key, name)
        first = await seq_at(settings.where, moment(begin))
        last = await seq_at(settings.where, moment(end)) if end else NO_END
        planned = await plan(settings.where, key, first, max(first, last), new_ids, _now())
        if not as_json:
            click.echo("\n".join(planned.lines()))
        asked = (
            {}
            if dry_run
            else {"replay": await destinations.add_replay(db, _now(), to, planned.first_seq, planned.last_seq, new_ids)}
        )
        counted: dict[str, Any] = msgspec.to_builtins(planned)
        return counted | asked

    told = _run(_in_registry(work))
    if as_json:
        _print(told)
    elif not dry_run:
        click.echo(f"replay {told['replay']} begins with the next run of `footfall export`")


@main.group()
def event() -> None:
    """Single events."""


@event.command("show")
@click.argument("message_id", metavar="MESSAGE_ID")
@as_json
def event_show(message_id: str, as_json: bool) -> None:
    """Tell what became of one event.

    Example: footfall event show 99e491a1-d2c7-4b68-ab97-cc7c3497e011
    """
    from store.fate import fate
    from store.settings import load

    found = _run(fate(load().where, message_id))
    if as_json:
        _print(found)
    else:
        click.echo("\n".join(found.lines()))


@main.group()
def park() -> None:
    """Events set aside because they cannot be sent."""


@park.command("list")
@click.option("--app", "app_key", metavar="KEY", help="Only this app.")
@as_json
def park_list(app_key: str | None, as_json: bool) -> None:
    """Show what is parked, and why.

    Example: footfall park list --app com.acme.charts
    """
    from store.parking import parked
    from store.settings import load

    found = _run(parked(load().where, app_key))
    if as_json:
        _print(found)
        return
    for held in found:
        released = "  released" if held.released else ""
        click.echo(f"{held.app:<40} {held.destination:<12} {held.seq:<10} {held.reason}  {held.detail}{released}")


@park.command("show")
@click.argument("key")
@click.argument("seq", type=int)
def park_show(key: str, seq: int) -> None:
    """Show a parked event as it is stored.

    Example: footfall park show com.acme.charts 4711
    """
    from store.parking import stored
    from store.settings import load

    found = _run(stored(load().where, key, seq))
    _print({name: getattr(found, name) for name in found.__struct_fields__})


def _park_action(action: Literal["release", "drop"], key: str, seqs: tuple[int, ...], every: bool, name: str) -> None:
    from store import destinations
    from store.parking import parked
    from store.settings import load

    if bool(seqs) == every:
        raise click.UsageError("name the events by their numbers in `footfall park list`, or say --all")

    async def work(db: Any) -> int:
        held = [item for item in await parked(load().where, key) if item.destination == name]
        wanted = [item for item in held if every or item.seq in seqs]
        missing = set(seqs) - {item.seq for item in wanted}
        if missing:
            raise ConfigError(f"{key} has no parked event {min(missing)} for {name}: see `footfall park list`")
        for course in sorted({item.course for item in wanted}):
            asked = [item.seq for item in wanted if item.course == course]
            await destinations.ask(db, _now(), key, course, action, asked)
        return len(wanted)

    count = _run(_in_registry(work))
    click.echo(f"{count} parked events: {action}, with the next run of `footfall export`")


_seqs = click.argument("seqs", nargs=-1, type=int, metavar="[SEQ…]")
_every = click.option("--all", "every", is_flag=True, help="All of the app's parked events.")
_destination = click.option("--destination", "name", default="main", show_default=True, help="Of which destination.")


@park.command("release")
@click.argument("key")
@_seqs
@_every
@_destination
def park_release(key: str, seqs: tuple[int, ...], every: bool, name: str) -> None:
    """Try parked events once more, with the next run.

    Example: footfall park release com.acme.charts --all
    """
    _park_action("release", key, seqs, every, name)


@park.command("drop")
@click.argument("key")
@_seqs
@_every
@_destination
def park_drop(key: str, seqs: tuple[int, ...], every: bool, name: str) -> None:
    """Give parked events up; they are counted as suppressed, reason dropped.

    Example: footfall park drop com.acme.charts 4711 4712
    """
    _park_action("drop", key, seqs, every, name)


@main.group()
def receipt() -> None:
    """Signed records of what was accepted, for partners to keep."""


@receipt.command("list")
@click.option("--app", "app_key", metavar="KEY", help="Only this app.")
@as_json
def receipt_list(app_key: str | None, as_json: bool) -> None:
    """Show the receipts, the oldest first.

    Example: footfall receipt list --app com.acme.charts
    """
    from store.receipt import Document
    from store.receipts import receipts

    async def work(db: Any) -> list[Document]:
        return [msgspec.json.decode(document, type=Document) for _, document, _ in await receipts(db, app_key)]

    found = _run(_in_ledger(work))
    if as_json:
        _print(found)
        return
    for told in found:
        batches = len(told.batches)
        click.echo(f"{told.receipt} {told.app:<40} {told.accepted} events in {batches} batches, run {told.run}")


@receipt.command("show")
@click.argument("receipt_id", metavar="ID")
def receipt_show(receipt_id: str) -> None:
    """Print a receipt as a partner keeps it: the document and its signature.

    Example: footfall receipt show 019a5b1c-0000-7000-8000-000000000000
    """
    from store.receipt import Receipt
    from store.receipts import receipts

    async def work(db: Any) -> list[Receipt]:
        return [Receipt(text, signature) for found, text, signature in await receipts(db) if found == receipt_id]

    for found in _run(_in_ledger(work)):
        _print(found)
        return
    raise ConfigError(f"there is no receipt {receipt_id}: see `footfall receipt list`")


@receipt.command("key")
def receipt_key() -> None:
    """Print the public key that receipts are checked with.

    Example: footfall receipt key
    """
    from store.receipt import Signer
    from store.secrets import Vault
    from store.settings import load

    click.echo(Signer(Vault(load().secret_key).receipt_seed).public_key)


@receipt.command("check")
@click.argument("file", type=click.File("rb"))
@click.option("--key", "public_key", required=True, metavar="KEY", help="The public key, from `footfall receipt key`.")
@click.option("--ids", type=click.File("r"), help="Message ids as they arrived, a line each, to be compared.")
@as_json
def receipt_check(file: Any, public_key: str, ids: Any, as_json: bool) -> None:
    """Check a receipt: signature, chain and, with --ids, the events. Needs no installation's data.

    Example: footfall receipt check receipt.json --key "$PUBLIC_KEY"
    """
    from store.receipt import Receipt, check

    try:
        given = msgspec.json.decode(file.read(), type=Receipt)
    except msgspec.DecodeError as error:
        raise ConfigError(f"the file is no receipt: {error}") from None
    told = check(given, public_key, ids.read().split() if ids else ())
    if as_json:
        _print(told)
    else:
        click.echo(
            f"right: {told.accepted} events of {told.app} accepted in {len(told.batches)} batches, run {told.run}"
        )


@main.group()
def user() -> None:
    """People who sign in to the portal."""


@user.command("add")
@click.argument("email")
@click.option("--name", default="", help="What people call them.")
@click.option("--partner", "partner_key", metavar="PARTNER", help="The key of the partner whose data they see.")
@click.option("--role", type=click.Choice(["owner", "editor", "viewer"]), help="What they may do for the partner.")
@click.option("--operator", is_flag=True, help="They run the marketplace and see everything.")
@click.option("--password-file", type=click.File("r"), help="A file with their password; - is standard input.")
@as_json
def user_add(
    email: str,
    name: str,
    partner_key: str | None,
    role: Any,
    operator: bool,
    password_file: Any,
    as_json: bool,
) -> None:
    """Add somebody. Without a password, prints a link that invites them, once, for two days.

    Example: footfall user add owner@acme.example --partner acme --role owner
    """
    from store import passwords, people
    from store.links import Links
    from store.registry import COMMAND_LINE
    from store.settings import load

    settings = load()
    if operator == bool(partner_key or role) or bool(partner_key) != bool(role):
        raise click.UsageError("say --operator, or --partner and --role")
    password = password_file.read().strip() if password_file else None
    if password is not None:
        passwords.check_new(password, [email, name])

    async def work(db: Any) -> dict[str, Any]:
        person = await people.add(db, _now(), email, name, role or "operator", partner_key, COMMAND_LINE)
        shown = {"email": person.email, "role": person.role, "partner": person.partner_key}
        if password is not None:
            async with db.transaction():
                await people.set_password(db, _now(), person, passwords.hashed(password), COMMAND_LINE)
            return shown
        token = await Links(settings.secret_key).make(db, _now(), person, "invitation", COMMAND_LINE)
        return shown | {"invitation": f"{settings.public_url or 'http://127.0.0.1:8000'}/invitation?token={token}"}

    _show(_run(_in_registry(work)), as_json)


@user.command("list")
@click.option("--partner", "partner_key", metavar="PARTNER", help="Only this partner's people.")
@as_json
def user_list(partner_key: str | None, as_json: bool) -> None:
    """Show who may sign in, and who was only invited.

    Example: footfall user list --partner acme
    """
    from store import people

    listed = [_person(found) for found in _run(_in_registry(lambda db: people.people(db, partner_key)))]
    if as_json:
        _print(listed)
        return
    for shown in listed:
        click.echo(f"{shown['email']:<40} {shown['role']:<9} {shown['partner'] or '':<20} {shown['standing']}")


def _person(found: Any) -> dict[str, Any]:
    standing = "disabled" if found.disabled_at is not None else "invited" if found.invited else "active"
    shown = {"email": found.email, "name": found.name, "role": found.role, "partner": found.partner_key}
    return shown | {"standing": standing, "second_factor": found.totp_secret is not None}


@user.command("disable")
@click.argument("email")
@click.option("--undo", is_flag=True, help="Let them sign in again.")
def user_disable(email: str, undo: bool) -> None:
    """Let somebody sign in no more, and sign them out everywhere at once.

    Example: footfall user disable colleague@acme.example
    """
    from store import people
    from store.registry import COMMAND_LINE

    async def work(db: Any) -> None:
        found = await _somebody(db, email)
        if undo:
            await people.enable(db, _now(), found, COMMAND_LINE)
        else:
            await people.disable(db, _now(), found, COMMAND_LINE, may_be_last=True)

    _run(_in_registry(work))


@user.command("link")
@click.argument("email")
@click.option("--no-second-factor", is_flag=True, help="They lost it, and its recovery codes: ask for none any more.")
@as_json
def user_link(email: str, no_second_factor: bool, as_json: bool) -> None:
    """Print a link with which somebody sets their password, once, within two days.

    Example: footfall user link owner@acme.example
    """
    from store import second_factor
    from store.links import Links
    from store.registry import COMMAND_LINE
    from store.settings import load

    settings = load()

    async def work(db: Any) -> dict[str, Any]:
        found = await _somebody(db, email)
        if found.disabled_at is not None:
            raise ConfigError(f"{found.email} may not sign in: see `footfall user disable --undo`")
        if no_second_factor:
            await second_factor.end(db, _now(), found, COMMAND_LINE)
        purpose: Literal["invitation", "reset"] = "invitation" if found.invited else "reset"
        made = await Links(settings.secret_key).make(db, _now(), found, purpose, COMMAND_LINE)
        base = settings.public_url or "http://127.0.0.1:8000"
        return {"email": found.email, "link": f"{base}/{purpose}?token={made}"}

    _show(_run(_in_registry(work)), as_json)


async def _somebody(db: Any, email: str) -> Any:
    from store import people

    found = await people.by_email(db, email)
    if found is None:
        raise ConfigError(f"there is nobody with the address {email}: see `footfall user list`")
    return found


@main.group()
def token() -> None:
    """API tokens for the marketplace's back end, and for partners' programs."""


@token.command("add")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, metavar="S", help="installs, app-requests or uninstalls; several are allowed."
)
@click.argument("more", nargs=-1, metavar="[S…]")
@click.option("--partner", "partner_key", metavar="PARTNER", help="For this partner's data alone; its scope is read.")
@click.option("--app", "app_key", metavar="KEY", help="For this app of the partner alone.")
@click.option("--days", type=click.IntRange(min=1, max=3660), help="How long it is valid; else until it is revoked.")
@as_json
def token_add(
    name: str,
    scopes: tuple[str, ...],
    more: tuple[str, ...],
    partner_key: str | None,
    app_key: str | None,
    days: int | None,
    as_json: bool,
) -> None:
    """Make an API token; it is shown once.

    Example: footfall token add back-end --scope installs app-requests uninstalls
    """
    from store import registry

    if app_key and not partner_key:
        raise click.UsageError("--app goes with --partner")
    wanted = frozenset(scope for text in (*scopes, *more) for scope in text.split(",") if scope)
    wanted = wanted or frozenset(registry.PARTNER_SCOPES if partner_key else ())
    now = _now()
    expires_at = now + days * 86_400_000 if days else None

    async def work(db: Any) -> str:
        if partner_key:
            await registry.partner(db, partner_key)
        return await registry.add_token(
            db, now, name, wanted, partner_key=partner_key, app_key=app_key, expires_at=expires_at
        )

    made = _run(_in_registry(work))
    _show({"name": name, "scopes": " ".join(sorted(wanted)), "token": made}, as_json)


@token.command("list")
@as_json
def token_list(as_json: bool) -> None:
    """Show every API token, without what it is.

    Example: footfall token list
    """
    from store import registry

    listed = [_listed(found) for found in _run(_in_registry(registry.tokens))]
    if as_json:
        _print(listed)
        return
    for shown in listed:
        until = _date(shown["expires_at"]) if shown["expires_at"] else "revoked"
        click.echo(f"{shown['name']:<30} …{shown['last4']:<5} {shown['scopes']:<36} valid until {until}")


def _listed(found: Any) -> dict[str, Any]:
    shown = {"name": found.name, "last4": found.last4, "scopes": " ".join(sorted(found.scopes))}
    shown |= {"partner": found.partner_key, "app": found.app_key, "created_by": found.created_by}
    times = {"created_at": found.created_at, "expires_at": found.expires_at, "last_used_at": found.last_used_at}
    return shown | times


@token.command("revoke")
@click.argument("name")
def token_revoke(name: str) -> None:
    """Take an API token back: within a second no collector knows it any more.

    Example: footfall token revoke back-end
    """
    from store import registry

    async def work(db: Any) -> None:
        for found in await registry.tokens(db):
            if found.name == name:
                return await registry.revoke_token(db, _now(), found, registry.COMMAND_LINE)
        raise ConfigError(f"there is no token {name}: see `footfall token list`")

    _run(_in_registry(work))


@main.group()
def secret() -> None:
    """The secret key, under which the partners' write keys are stored."""


@secret.command("rotate")
@click.option("--new-ids", is_flag=True, help="The key of the user ids is gone: every visitor gets a new id.")
@as_json
def secret_rotate(new_ids: bool, as_json: bool) -> None:
    """Encrypt every stored write key under the first secret key of several.

    Example: footfall secret rotate
    """
    from store.rotation import Rotated, rotate
    from store.secrets import Vault
    from store.settings import load

    async def work(db: Any) -> Rotated:
        return await rotate(db, Vault(load().secret_key), _now(), new_ids)

    _show(msgspec.structs.asdict(_run(_in_registry(work))), as_json)


@main.group()
def visitor() -> None:
    """Signed-in visitors of listing pages."""


@visitor.command("token")
@click.argument("app_key", metavar="APP")
@click.option(
    "--account-id-file", type=click.File("r"), required=True, help="A file with the account id; - is standard input."
)
def visitor_token(app_key: str, account_id_file: Any) -> None:
    """Sign the data-user token for one visitor of one app's listing.

    Example: printf %s "$ACCOUNT" | footfall visitor token com.acme.charts --account-id-file -
    """
    from store import registry
    from store.secrets import Vault
    from store.settings import load

    async def work(db: Any) -> registry.App:
        return await registry.app(db, app_key)

    app = _run(_in_registry(work))
    click.echo(Vault(load().secret_key).sign_visitor(account_id_file.read().strip(), app.app_key))


async def _in_registry(work: Any) -> Any:
    from store.database import open_writer
    from store.settings import load

    async with await open_writer(load().where, "registry") as db:
        return await work(db)


async def _in_ledger(work: Any) -> Any:
    from store.database import open_reader
    from store.settings import load

    async with await open_reader(load().where, "ledger") as db:
        return await work(db)


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def _show(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print(values)
    else:
        for name, value in values.items():
            if value not in ("", None):
                click.echo(f"{name:<18} {value}")


def _print(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def _now() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main(prog_name="footfall" if sys.argv[0].endswith("footfall.py") else None)
