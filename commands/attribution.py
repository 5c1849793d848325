"""Which campaign brought an install: rules, and decisions explained."""

from __future__ import annotations

import asyncio
from typing import Any

import click
import msgspec

from commands.opening import in_registry
from commands.printing import as_json, now, print_json, show


@click.group()
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
    from store.attribution import rules
    from store.attribution.rules import Change, length

    given = {"click": clicked, "probabilistic": probabilistic, "view": view, "settle": settle, "reprocess": reprocess}
    lengths = {name: length(text) for name, text in given.items() if text is not None}
    names = tuple(name.replace("-", "_") for name in unset)
    change = Change(**lengths, by_network=by_network, unset=names)

    async def work(db: Any) -> dict[str, Any]:
        await rules.set_rules(db, now(), key, campaign, change)
        return await _rules_of(db, key)

    show(in_registry(work), as_json)


@attribution.command("show")
@click.option("--app", "key", default="", metavar="KEY", help="Of this app; without it, of the whole marketplace.")
@as_json
def attribution_show(key: str, as_json: bool) -> None:
    """Show the rules that hold now, and whose they are.

    Example: footfall attribution show --app com.acme.charts
    """

    show(in_registry(lambda db: _rules_of(db, key)), as_json)


async def _rules_of(db: Any, key: str) -> dict[str, Any]:
    """The rules of an app, or '' for the marketplace's, as a person writes them."""
    from attribution.rules import SETTABLE, resolved
    from store import registry
    from store.attribution import rules

    if key:
        await registry.app(db, key)
    found = await rules.kept(db, key)
    in_force = resolved(*rules.of_app(found))
    shown = {name: rules.told(getattr(in_force, name)) for name in SETTABLE}
    said = {name: f"{text} ({in_force.set_by.get(name, 'default')})" for name, text in shown.items()}
    for campaign, own in in_force.campaigns.items():
        of_campaign = {name: getattr(own, name) for name in rules.OF_CAMPAIGN}
        told = [f"{name} {rules.told(n)}" for name, n in of_campaign.items() if n is not None]
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
    from store.attribution.reading import of_message
    from store.settings import load

    install, made = asyncio.run(of_message(load().where, key, message_id))
    if as_json:
        print_json({"install": install, "decisions": [msgspec.to_builtins(each) for each in made]})
    else:
        click.echo("\n".join(explained(install, made)))
