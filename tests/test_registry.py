"""The registry: what is added once, what a partner's destination keeps and what it gets anew, and the audit."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conftest import Cast

from store import destinations, registry
from store.database import Database
from store.destinations import Change, Destination
from store.engines import open_reader, open_writer
from store.errors import ConfigError

KEY = "WRITEKEYOFTHEOWNERSCHARTS0000001"
NEW_KEY = "WRITEKEYOFTHEOWNERSCHARTS0000002"


def in_registry(cast: Cast, work: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
    async def opened() -> Any:
        async with await open_writer(cast.where, "registry") as db:
            return await work(db)

    return asyncio.run(opened())


def change(cast: Cast, *, start_seq: int = 0, app: str = "com.owner.charts", **fields: Any) -> Destination:
    return in_registry(
        cast, lambda db: destinations.set_destination(db, cast.vault, 7, app, Change(**fields), start_seq=start_seq)
    )


def test_an_app_is_listed_with_its_partners_ids_and_unguessable_names(cast: Cast) -> None:
    apps = in_registry(cast, registry.apps)
    assert [(app.app_key, app.partner_key, app.partner_id, app.plugin_id, app.name) for app in apps] == [
        ("com.owner.boards", "owner", "1211971", "1219126", "Boards"),
        ("com.owner.charts", "owner", "1211971", "1219125", "Charts"),
        ("com.stranger.notes", "stranger", "1213333", "1219127", "Notes"),
    ]
    assert len({app.guid for app in apps} | {app.ingest_key for app in apps}) == 6
    assert {len(app.ingest_key) for app in apps} == {32}


@pytest.mark.parametrize(
    ("add", "told"),
    [
        (
            lambda db: registry.add_partner(db, 0, "owner", "9", "X"),
            "there is a partner with key owner or id 9 already",
        ),
        (lambda db: registry.add_partner(db, 0, "x", "1211971", "X"), "partner with key x or id 1211971 already"),
        (
            lambda db: registry.add_app(db, 0, "x", "nobody", "9", "X"),
            "no partner nobody: add it with `footfall partner",
        ),
        (
            lambda db: registry.add_app(db, 0, "com.owner.charts", "owner", "9", "X"),
            "an app with key com.owner.charts or",
        ),
        (lambda db: registry.add_app(db, 0, "x", "owner", "1219125", "X"), "or plugin id 1219125 already"),
        (lambda db: registry.app(db, "nothing"), "there is no app nothing: add it with `footfall app add`"),
        (lambda db: registry.add_token(db, 0, "back-end", frozenset({"installs"})), "a token named back-end already"),
        (lambda db: registry.add_token(db, 0, "x", frozenset({"installs", "root"})), "root is none"),
        (
            lambda db: registry.add_token(db, 0, "x", frozenset()),
            "installs, app-requests, uninstalls; none was given",
        ),
    ],
)
def test_what_cannot_be_is_told_and_leaves_nothing_behind(cast: Cast, add: Any, told: str) -> None:
    before = cast.rows("select * from audit order by audit_id", nature="registry")
    with pytest.raises(ConfigError) as refused:
        in_registry(cast, add)
    assert told in str(refused.value)
    assert cast.rows("select * from audit order by audit_id", nature="registry") == before


def test_a_token_is_kept_as_its_hash_alone(cast: Cast) -> None:
    tokens = {token.name: token.scopes for token in in_registry(cast, registry.tokens)}
    assert tokens == {"back-end": {"installs", "app-requests", "uninstalls"}, "installs-only": {"installs"}}
    assert cast.token.encode() not in cast.every_byte()


def test_every_change_leaves_a_line_in_the_audit_without_the_secret(cast: Cast) -> None:
    change(cast, segment_write_key=KEY, region="eu")
    lines = cast.rows("select actor, action, subject, detail, at from audit order by audit_id desc", nature="registry")
    assert lines[0] == (
        "command line",
        "app.set",
        "com.owner.charts",
        "main: region eu, profile mpac, write key …0001",
        7,
    )
    assert KEY.encode() not in cast.every_byte()


def test_a_first_change_needs_a_write_key(cast: Cast) -> None:
    with pytest.raises(ConfigError, match=r"com\.owner\.charts has no Segment write key yet"):
        change(cast, region="eu")
    with pytest.raises(ConfigError, match="there is no app nothing"):
        change(cast, app="nothing", segment_write_key=KEY)
    assert in_registry(cast, destinations.active) == []


def test_a_new_destination_begins_where_it_is_told_with_the_usual_choices(cast: Cast) -> None:
    made = change(cast, segment_write_key=KEY, start_seq=41)
    assert (made.region, made.profile, made.uninstalls, made.start_seq) == ("us", "mpac", False, 41)
    assert made.write_key_last4 == "0001"
    assert cast.vault.decrypt(made.segment_write_key) == KEY


def test_a_new_key_of_the_same_source_keeps_the_destination_and_its_start(cast: Cast) -> None:
    old = change(cast, segment_write_key=KEY, start_seq=41, profile="segment", uninstalls=True)
    new = change(cast, segment_write_key=NEW_KEY, start_seq=99)
    assert (new.destination_id, new.start_seq) == (old.destination_id, 41)
    assert (new.profile, new.uninstalls) == ("segment", True)
    assert cast.vault.decrypt(new.segment_write_key) == NEW_KEY


@pytest.mark.parametrize("fields", [{"region": "eu"}, {"new_source": True, "segment_write_key": NEW_KEY}])
def test_another_region_or_source_is_another_destination(cast: Cast, fields: dict[str, Any]) -> None:
    old = change(cast, segment_write_key=KEY)
    new = change(cast, start_seq=99, **fields)
    assert new.destination_id != old.destination_id
    assert new.start_seq == 99
    (live,) = in_registry(cast, destinations.active)
    assert live.destination_id == new.destination_id
    rows = cast.rows("select destination_id, active from destinations order by active", nature="registry")
    assert rows == [(old.destination_id, 0), (new.destination_id, 1)]


def test_what_is_not_given_stays(cast: Cast) -> None:
    change(cast, segment_write_key=KEY, region="eu", profile="segment", uninstalls=True)
    same = change(cast, uninstalls=False)
    assert (same.region, same.profile, same.uninstalls, same.write_key_last4) == ("eu", "segment", False, "0001")


def test_another_secret_key_cannot_carry_a_write_key_over(cast: Cast) -> None:
    change(cast, segment_write_key=KEY)
    other = type(cast.vault)("another secret key of many letters")
    with pytest.raises(ConfigError, match="FOOTFALL_SECRET_KEY is not the one"):
        in_registry(
            cast,
            lambda db: destinations.set_destination(db, other, 0, "com.owner.charts", Change(region="eu"), start_seq=0),
        )


def test_one_app_has_no_say_over_another_ones_destination(cast: Cast) -> None:
    ours = change(cast, segment_write_key=KEY)
    change(cast, app="com.stranger.notes", segment_write_key=NEW_KEY)
    change(cast, app="com.stranger.notes", region="eu")
    assert in_registry(cast, lambda db: destinations.destination(db, "com.owner.charts")) == ours


def test_a_reader_notices_that_somebody_changed_the_registry(cast: Cast) -> None:
    async def work() -> None:
        async with await open_reader(cast.where, "registry") as reader:
            before = await registry.version(reader)
            assert await registry.version(reader) == before
            async with await open_writer(cast.where, "registry") as writer:
                await registry.add_partner(writer, 0, "new", "77", "New")
            assert await registry.version(reader) != before

    asyncio.run(work())
