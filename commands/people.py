"""People who sign in, and API tokens."""

from __future__ import annotations

from typing import Any, Literal

import click

from commands.opening import in_registry
from commands.printing import as_json, date, now, print_json, show
from store.errors import ConfigError


@click.group()
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
    from store.people import passwords, roster
    from store.people.links import Links
    from store.registry import COMMAND_LINE
    from store.settings import load

    settings = load()
    if operator == bool(partner_key or role) or bool(partner_key) != bool(role):
        raise click.UsageError("say --operator, or --partner and --role")
    password = password_file.read().strip() if password_file else None
    if password is not None:
        passwords.check_new(password, [email, name])

    async def work(db: Any) -> dict[str, Any]:
        person = await roster.add(db, now(), email, name, role or "operator", partner_key, COMMAND_LINE)
        shown = {"email": person.email, "role": person.role, "partner": person.partner_key}
        if password is not None:
            async with db.transaction():
                await roster.set_password(db, now(), person, passwords.hashed(password), COMMAND_LINE)
            return shown
        token = await Links(settings.secret_key).make(db, now(), person, "invitation", COMMAND_LINE)
        return shown | {"invitation": f"{settings.public_url or 'http://127.0.0.1:8000'}/invitation?token={token}"}

    show(in_registry(work), as_json)


@user.command("list")
@click.option("--partner", "partner_key", metavar="PARTNER", help="Only this partner's people.")
@as_json
def user_list(partner_key: str | None, as_json: bool) -> None:
    """Show who may sign in, and who was only invited.

    Example: footfall user list --partner acme
    """
    from store.people import roster

    listed = [_person(found) for found in in_registry(lambda db: roster.people(db, partner_key))]
    if as_json:
        print_json(listed)
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
    from store.people import roster
    from store.registry import COMMAND_LINE

    async def work(db: Any) -> None:
        found = await _somebody(db, email)
        if undo:
            await roster.enable(db, now(), found, COMMAND_LINE)
        else:
            await roster.disable(db, now(), found, COMMAND_LINE, may_be_last=True)

    in_registry(work)


@user.command("link")
@click.argument("email")
@click.option("--no-second-factor", is_flag=True, help="They lost it, and its recovery codes: ask for none any more.")
@as_json
def user_link(email: str, no_second_factor: bool, as_json: bool) -> None:
    """Print a link with which somebody sets their password, once, within two days.

    Example: footfall user link owner@acme.example
    """
    from store.people import second_factor
    from store.people.links import Links
    from store.registry import COMMAND_LINE
    from store.settings import load

    settings = load()

    async def work(db: Any) -> dict[str, Any]:
        found = await _somebody(db, email)
        if found.disabled_at is not None:
            raise ConfigError(f"{found.email} may not sign in: see `footfall user disable --undo`")
        if no_second_factor:
            await second_factor.end(db, now(), found, COMMAND_LINE)
        purpose: Literal["invitation", "reset"] = "invitation" if found.invited else "reset"
        made = await Links(settings.secret_key).make(db, now(), found, purpose, COMMAND_LINE)
        base = settings.public_url or "http://127.0.0.1:8000"
        return {"email": found.email, "link": f"{base}/{purpose}?token={made}"}

    show(in_registry(work), as_json)


async def _somebody(db: Any, email: str) -> Any:
    from store.people import roster

    found = await roster.by_email(db, email)
    if found is None:
        raise ConfigError(f"there is nobody with the address {email}: see `footfall user list`")
    return found


@click.group()
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
    at = now()
    expires_at = at + days * 86_400_000 if days else None

    async def work(db: Any) -> str:
        if partner_key:
            await registry.partner(db, partner_key)
        return await registry.add_token(
            db, at, name, wanted, partner_key=partner_key, app_key=app_key, expires_at=expires_at
        )

    made = in_registry(work)
    show({"name": name, "scopes": " ".join(sorted(wanted)), "token": made}, as_json)


@token.command("list")
@as_json
def token_list(as_json: bool) -> None:
    """Show every API token, without what it is.

    Example: footfall token list
    """
    from store import registry

    listed = [_listed(found) for found in in_registry(registry.tokens)]
    if as_json:
        print_json(listed)
        return
    for shown in listed:
        until = date(shown["expires_at"]) if shown["expires_at"] else "revoked"
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
                return await registry.revoke_token(db, now(), found, registry.COMMAND_LINE)
        raise ConfigError(f"there is no token {name}: see `footfall token list`")

    in_registry(work)
