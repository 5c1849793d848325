"""What the demo has made when its pages open: destinations that begin where they should, and people, but no plain
password."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from conftest import SECRET_KEY, Cast, the_cast
from engines import Stores
from starlette.testclient import TestClient

from collector.app import Collector
from collector.demo import launch
from collector.demo.catalogue import BY_KEY
from collector.demo.sign_ins import PEOPLE, SignIn, password_of
from store.database import Database, Where
from store.engines import open_writer
from store.people import passwords, roster
from store.people.roster import Person
from store.secrets import Vault
from store.settings import Settings

LISTED = ("com.fernhollow.board-charts", "eu.pebblewick.time-pockets", "com.tallowfinch.deskbell")
HOST = "http://127.0.0.1:8000"


@pytest.fixture(autouse=True)
def three_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the demo's: of all of them the past takes seconds."""
    monkeypatch.setattr(launch, "APPS", tuple(BY_KEY[key] for key in LISTED))


@pytest.fixture
def settings(cast: Cast) -> Settings:
    return cast.settings(public_url=HOST)


async def the_start(where: Where) -> tuple[str, str, list[SignIn]]:
    """Once for all tests of what is there after it."""
    tokens = await the_cast(where)
    data_dir, url = (where, None) if isinstance(where, Path) else (Path("nowhere"), where.url)
    settings = Settings(data_dir=data_dir, database_url=url, secret_key=SECRET_KEY, public_url=HOST)
    return *tokens, (await launch.prepare(settings, False))[1]


@pytest.fixture
def started(stores: Stores, tmp_path: Path) -> tuple[Cast, list[SignIn]]:
    """The demo was started once; the store, and what was said of those who may sign in."""
    token, installs_token, known = stores.filled(the_start).given
    where = stores.new(tmp_path / "data", the_start)
    return Cast(tmp_path / "data", where, token, installs_token, Vault(SECRET_KEY)), known


def start(settings: Settings, is_public: bool = False) -> list[SignIn]:
    _, known = asyncio.run(launch.prepare(settings, is_public))
    return known


def in_registry(settings: Settings, work: Any) -> Any:
    async def opened() -> Any:
        async with await open_writer(settings.where, "registry") as db:
            return await work(db)

    return asyncio.run(opened())


async def _choose(db: Database, email: str, password: str) -> None:
    person = await roster.by_email(db, email)
    assert isinstance(person, Person)
    async with db.transaction():
        await roster.set_password(db, 0, person, passwords.hashed(password), email)


def test_one_app_sends_its_past_another_begins_now_and_a_third_has_no_key(started: tuple[Cast, list[SignIn]]) -> None:
    cast, _ = started
    head = cast.rows("select max(seq) from events")[0][0]
    starts = cast.rows("select app_key, start_seq from destinations order by app_key", nature="registry")
    assert starts == [(LISTED[0], 0), (LISTED[1], head)]
    assert {app for (app,) in cast.rows("select distinct app_key from events")} == set(LISTED)


def test_a_second_start_makes_nothing_anew_and_says_the_same_passwords(started: tuple[Cast, list[SignIn]]) -> None:
    cast, first = started
    before = cast.balance(), cast.rows("select email, password_hash from people", nature="registry")
    assert start(cast.settings(public_url=HOST)) == first
    assert (cast.balance(), cast.rows("select email, password_hash from people", nature="registry")) == before


def test_a_start_that_was_cut_off_is_made_up_for(
    settings: Settings, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut_off(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(launch, "_connect", cut_off)
        with pytest.raises(KeyboardInterrupt):
            start(settings)
    stored = cast.balance()["stored"]
    start(settings)
    assert cast.balance()["stored"] == stored
    assert len(cast.rows("select 1 from destinations", nature="registry")) == 2


def test_everybody_has_a_password_that_the_portal_would_take_and_nothing_keeps(
    started: tuple[Cast, list[SignIn]],
) -> None:
    cast, known = started
    assert [who.email for who in known] == [who.email for who in PEOPLE]
    stored = cast.every_byte()
    for who in known:
        passwords.check_new(who.password, [who.email, who.name])
        assert who.password.encode() not in stored


def test_whoever_chose_a_password_keeps_it(started: tuple[Cast, list[SignIn]]) -> None:
    settings = started[0].settings(public_url=HOST)
    in_registry(settings, lambda db: _choose(db, "owner@saltlight.example", "pebble umbrella tuesday forks"))
    said = {who.email: who.password for who in start(settings)}
    assert said["owner@saltlight.example"] == ""
    assert said["operator@quayside.example"] == password_of(SECRET_KEY, "operator@quayside.example")


def test_on_a_public_address_nobody_is_made_up(settings: Settings, cast: Cast) -> None:
    assert start(settings, is_public=True) == []
    assert cast.rows("select email from people", nature="registry") == []


def test_the_passwords_outlive_a_rotated_key(started: tuple[Cast, list[SignIn]]) -> None:
    cast, first = started
    rotated = cast.settings(public_url=HOST, secret_key=f"{'c4' * 4}0123456789abcdef89abcdef01234567\n{SECRET_KEY}")
    assert start(rotated) == first


@pytest.mark.only("sqlite", "a page knows no store")
def test_only_where_a_template_is_added_does_the_sign_in_page_say_more(cast: Cast) -> None:
    added = {"portal/_more_sign_in.html": "<p>And then on to {{ then }}</p>"}
    with TestClient(Collector(cast.settings(), templates=added)) as client:
        assert "<p>And then on to /people</p>" in client.get("/sign-in?next=/people").text
        assert "&lt;b&gt;" in client.get("/sign-in?next=/<b>").text
    with TestClient(Collector(cast.settings())) as client:
        assert "And then on to" not in client.get("/sign-in?next=/people").text
