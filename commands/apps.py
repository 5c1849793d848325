"""Partners, their apps and destinations, and signed-in visitors of listings."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from commands.opening import in_registry
from commands.printing import as_json, date, now, print_json, show
from store.errors import ConfigError


@click.group()
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
        await registry.add_partner(db, now(), key, partner_id, name)

    in_registry(work)
    show({"key": key, "partner_id": partner_id, "name": name}, as_json)


@click.group("app")
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
        return await registry.add_app(db, now(), key, partner_key, plugin_id, name)

    app = in_registry(work)
    shown = {"key": app.app_key, "plugin_id": app.plugin_id, "partner_id": app.partner_id}
    show({**shown, "guid": app.guid, "ingest_key": app.ingest_key}, as_json)


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

    listed = in_registry(work)
    if as_json:
        print_json(listed)
        return
    for app in listed:
        where = "; ".join(map(_in_words, app["destinations"])) or "no Segment write key yet"
        click.echo(f"{app['key']:<40} {app['partner']:<20} {app['plugin_id']:<10} {where}")


@app_group.command("keys")
@click.argument("key")
@as_json
def app_keys(key: str, as_json: bool) -> None:
    """Show what an app's own systems need to send here.

    Example: footfall app keys com.acme.charts
    """
    from store import registry
    from store.inbound import inbound
    from store.secrets import Vault
    from store.settings import load

    async def work(db: Any) -> registry.App:
        return await registry.app(db, key)

    settings = load()
    told = inbound(in_registry(work), Vault(settings.secret_key), settings.public_url)
    show(msgspec.structs.asdict(told), as_json)


def _described(app: Any, live: list[Any]) -> dict[str, Any]:
    shown = {"key": app.app_key, "name": app.name, "partner": app.partner_key, "plugin_id": app.plugin_id}
    shown |= {"partner_id": app.partner_id, "guid": app.guid, "ingest_key": app.ingest_key}
    return shown | {"destinations": [_set(d, live) for d in live if d.app_key == app.app_key]}


def _in_words(d: dict[str, Any]) -> str:
    from store.proof import is_old

    where = d["url"] or d["region"]
    words = [f"{d['destination']}: {d['segment_write_key']} in {where}", f"profile {d['profile']}"]
    at = d["verified_at"]
    words.append("never verified" if at is None else f"verified on {date(at)}")
    if at is not None and not d["url"] and is_old(at, now()):
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
        d = await destinations.set_destination(db, vault, now(), key, change, begins, name)
        return {"key": d.app_key} | _set(d, await destinations.active(db))

    shown = in_registry(work)
    show(shown if as_json else shown | {"verified_at": date(shown["verified_at"]), "same_key_as": ""}, as_json)
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
        await proof.ask(db, vault, now(), d, fresh)
        return fresh, vault.decrypt(d.segment_write_key)

    async def end(db: Any) -> Any:
        await proof.answer(db, vault, now(), d, code or "")
        return await destinations.named(db, key, name)

    d = in_registry(find)
    shown: dict[str, Any] = {"key": key, "destination": name}
    if code is None:
        fresh, write_key = in_registry(begin)
        trial.send_code(settings, d, write_key, fresh)
        shown["settings"] = trial.probe(settings, d, write_key)
        if not as_json:
            click.echo(trial.instructions(d, shown["settings"]), err=True)
        if not as_json and sys.stdin.isatty():
            code = click.prompt("Code", err=True)
    if code is not None:
        d = in_registry(end)
    show(shown | {"verified_at": d.verified_at if as_json else date(d.verified_at) or "never"}, as_json)


@app_group.command("remove-destination")
@click.argument("key")
@click.argument("name")
def app_remove_destination(key: str, name: str) -> None:
    """Send an app's events there no more; what was sent stays on record.

    Example: footfall app remove-destination com.acme.charts warehouse
    """
    from store import destinations

    in_registry(lambda db: destinations.remove_destination(db, now(), key, name))


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
        await destinations.ask(db, now(), key, d.destination_id, "resume", [0])

    in_registry(work)


@click.group()
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

    app = in_registry(work)
    click.echo(Vault(load().secret_key).sign_visitor(account_id_file.read().strip(), app.app_key))
