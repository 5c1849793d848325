"""What became of events: replays, one event's fate, parked events, receipts."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import click
import msgspec

from commands.opening import in_ledger, in_registry
from commands.printing import as_json, now, print_json
from store.errors import ConfigError


@click.command()
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
        in_registry(lambda db: destinations.cancel_replay(db, now(), key, cancel))
        return

    async def listed(db: Any) -> list[destinations.Replay]:
        return [found for found in await destinations.replays(db) if found.app_key == key]

    if begin is None:
        found = in_registry(listed)
        if as_json:
            print_json(found)
        for each in found if not as_json else ():
            state = ", cancelled" if each.cancelled else ""
            click.echo(f"{each.replay_id} events past {each.first_seq} up to {each.last_seq}{state}")
        return

    async def work(db: Any) -> dict[str, Any]:
        to = await destinations.named(db, key, name)
        first = await seq_at(settings.where, moment(begin))
        last = await seq_at(settings.where, moment(end)) if end else NO_END
        planned = await plan(settings.where, key, first, max(first, last), new_ids, now())
        if not as_json:
            click.echo("\n".join(planned.lines()))
        asked = (
            {}
            if dry_run
            else {"replay": await destinations.add_replay(db, now(), to, planned.first_seq, planned.last_seq, new_ids)}
        )
        counted: dict[str, Any] = msgspec.to_builtins(planned)
        return counted | asked

    told = in_registry(work)
    if as_json:
        print_json(told)
    elif not dry_run:
        click.echo(f"replay {told['replay']} begins with the next run of `footfall export`")


@click.group()
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

    found = asyncio.run(fate(load().where, message_id))
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(found.lines()))


@click.group()
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

    found = asyncio.run(parked(load().where, app_key))
    if as_json:
        print_json(found)
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

    found = asyncio.run(stored(load().where, key, seq))
    print_json({name: getattr(found, name) for name in found.__struct_fields__})


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
            await destinations.ask(db, now(), key, course, action, asked)
        return len(wanted)

    count = in_registry(work)
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


@click.group()
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

    found = in_ledger(work)
    if as_json:
        print_json(found)
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

    for found in in_ledger(work):
        print_json(found)
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
        print_json(told)
    else:
        click.echo(
            f"right: {told.accepted} events of {told.app} accepted in {len(told.batches)} batches, run {told.run}"
        )
