"""Keeping an installation well: migrations, the doctor, backups, copies, retention, rollups, the self-test, secrets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec

from commands.opening import in_registry
from commands.printing import as_json, date, now, now_and_then, print_json, show


@click.command()
@click.option("--check", is_flag=True, help="Say what is missing, change nothing; exits 1 when anything is.")
@click.option("--citus", is_flag=True, help="Spread the tables over the nodes of Citus, now and from now on.")
@as_json
def migrate(check: bool, citus: bool, as_json: bool) -> None:
    """Make the databases, or bring them up to this version.

    Example: footfall migrate
    """
    from store.engines import called, migrate_all, missing
    from store.settings import load

    where = load().where
    steps = asyncio.run(missing(where) if check else migrate_all(where, citus))
    if as_json:
        print_json(steps)
    for nature, names in steps.items():
        said = f"{'missing ' if check else ''}{', '.join(names)}" if names else "up to date"
        click.echo(f"{called(where, nature)}: {said}", err=as_json)
    if check and any(steps.values()):
        raise SystemExit(1)


@click.command()
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
    from store.doctor.diagnosing import diagnose
    from store.settings import load, secret_origin

    secret_from = secret_origin()
    found = asyncio.run(diagnose(load(), secret_from, now(), max_age, hours))
    if as_json:
        print_json(found)
    else:
        for line in found.lines(quiet, hours):
            click.echo(line)
    raise SystemExit(0 if found.healthy else 1)


@click.command()
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

    made = asyncio.run(back_up(load().where, into, keep))
    if as_json:
        print_json(made)
    else:
        click.echo(made.path)
    if not made.manifest.balanced:
        click.echo("footfall: the copy is whole, and its sums are off: see `footfall doctor`", err=True)
        raise SystemExit(1)


@click.command()
@click.option("--from", "source", required=True, metavar="sqlite", help="What is copied: the data directory's files.")
@click.option("--to", metavar="URL", help="The PostgreSQL database, without a password; else FOOTFALL_DATABASE_URL.")
@as_json
def copy(source: str, to: str | None, as_json: bool) -> None:
    """Copy this installation from SQLite to an empty PostgreSQL database that `footfall migrate` prepared.

    Most of it goes while everything runs. Exit codes: 0 the copy is complete, 75 stop the collector and the exporter
    and run this again to finish, 1 the copy would not be the same, 78 the database is not for this copy.

    Example: footfall copy --from sqlite --to postgresql://footfall@db.example/footfall
    """
    from store.copying import copy as copy_all
    from store.copying import destination
    from store.settings import load

    settings = load()
    server = destination(source, to, settings.database_url)
    done = asyncio.run(copy_all(settings.data_dir, server, now(), now_and_then("copied events up to {} of {}")))
    if as_json:
        print_json(done)
    for table in () if as_json else done.tables:
        click.echo(f"{table.table:<28} {table.rows:>12} {table.hash}")
    for line in done.lines():
        click.echo(f"footfall: {line}", err=True)
    raise SystemExit(0 if done.complete else 75)


@click.command()
@click.option("--timeout", default=600.0, show_default=True, metavar="SECONDS", help="How long to wait for others.")
@as_json
def purge(timeout: float, as_json: bool) -> None:
    """Remove events, rejections and visitors that are older than the settings allow.

    A running collector is asked to do it, and waited for; on a server this command does it, as the owner of the
    database. Example: footfall purge
    """
    from store.purging import purge as remove
    from store.settings import load

    removed = asyncio.run(remove(load(), now(), timeout))
    if as_json:
        print_json(removed)
    else:
        click.echo(f"removed {removed.events} events, {removed.rejections} rejections, {removed.visitors} visitors")
    if removed.held_back:
        click.echo(f"footfall: {removed.held_back} old events stay: a destination has not passed them yet", err=True)


@click.group()
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
        found = asyncio.run(check(where, Path(scratch), now(), now_and_then("counted up to {} of {}")))
    if as_json:
        print_json(found)
    else:
        for each in found.differences:
            at = f" at {date(each.at)}" if each.at else ""
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

    tell = now_and_then("counted up to {} of {}")
    up_to = asyncio.run(rebuild(load().where, COMMAND_LINE, timeout, lose_removed, tell))
    show({"up_to": up_to}, True) if as_json else click.echo(f"every event is counted, up to seq {up_to}")


@click.group()
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
        print_json(report.told())
    else:
        click.echo(report.markdown(), nl=False)
    raise SystemExit(0 if report.holds else 1)


@click.group()
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
        return await rotate(db, Vault(load().secret_key), now(), new_ids)

    show(msgspec.structs.asdict(in_registry(work)), as_json)
