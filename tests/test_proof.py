"""The proof of a write key: a code, kept as a hash, for a day, for five answers, and for one key at one place."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conftest import Cast

from store import destinations, proof
from store.database import Database
from store.destinations import Change, Destination
from store.engines import open_writer
from store.errors import ConfigError

KEY = "WRITEKEYOFTHEOWNERSCHARTS0000001"
NEW_KEY = "WRITEKEYOFTHEOWNERSCHARTS0000002"
APP = "com.owner.charts"
NOON = 1_771_243_200_123
HOUR = 3_600_000


class Owner:
    """The owner's app with a destination, and what is said about its key."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast
        self.change(segment_write_key=KEY)

    def do(self, work: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
        async def opened() -> Any:
            async with await open_writer(self.cast.where, "registry") as db:
                return await work(db)

        return asyncio.run(opened())

    def change(self, app: str = APP, name: str = "main", **fields: Any) -> Destination:
        vault = self.cast.vault
        made: Destination = self.do(
            lambda db: destinations.set_destination(db, vault, NOON, app, Change(**fields), 0, name)
        )
        return made

    @property
    def destination(self) -> Destination:
        found: Destination = self.do(lambda db: destinations.named(db, APP, "main"))
        return found

    def ask(self, code: str, at: int = NOON) -> None:
        d = self.destination
        self.do(lambda db: proof.ask(db, self.cast.vault, at, d, code))

    def answer(self, code: str, at: int = NOON + HOUR) -> None:
        d = self.destination
        self.do(lambda db: proof.answer(db, self.cast.vault, at, d, code))

    def audit(self) -> list[str]:
        rows = self.cast.rows(
            "select detail from audit where action = 'app.verify' order by audit_id", nature="registry"
        )
        return [row[0] for row in rows]


@pytest.fixture
def owner(cast: Cast) -> Owner:
    return Owner(cast)


def test_a_code_is_six_characters_that_nobody_confuses() -> None:
    codes = {proof.new_code() for _ in range(500)}
    assert len(codes) > 490
    assert {len(code) for code in codes} == {6}
    assert not set("".join(codes)) & set("ILO01il o")


def test_the_right_code_verifies_once(owner: Owner) -> None:
    assert owner.destination.verified_at is None
    owner.ask("ABC234")
    owner.answer(" abc234\n")
    assert owner.destination.verified_at == NOON + HOUR
    with pytest.raises(ConfigError, match=r"no code is awaited; send another with `footfall app verify com\.owner\.ch"):
        owner.answer("ABC234")
    assert owner.audit() == ["main: code sent, write key …0001", "main: verified, write key …0001"]


def test_the_code_is_nowhere_in_the_clear(owner: Owner) -> None:
    owner.ask("ABC234")
    assert b"ABC234" not in owner.cast.every_byte()
    assert len(owner.destination.code_hash) == 40


@pytest.mark.parametrize("wrong", ["", "ABC235", "ABC2345", "ABC23", "é"])
def test_a_wrong_code_verifies_nothing_and_says_how_many_are_left(owner: Owner, wrong: str) -> None:
    owner.ask("ABC234")
    with pytest.raises(ConfigError, match="that is not the code; answers that are left: 4"):
        owner.answer(wrong)
    assert owner.destination.verified_at is None
    owner.answer("ABC234")
    assert owner.destination.verified_at == NOON + HOUR


def test_the_fifth_wrong_answer_voids_the_code(owner: Owner) -> None:
    owner.ask("ABC234")
    for left in (4, 3, 2, 1):
        with pytest.raises(ConfigError, match=f"answers that are left: {left}"):
            owner.answer("WRONG2")
    with pytest.raises(ConfigError, match="for the fifth time, and it is void; send another with"):
        owner.answer("WRONG2")
    with pytest.raises(ConfigError, match="no code is awaited"):
        owner.answer("ABC234")
    owner.ask("XYZ234")
    with pytest.raises(ConfigError, match="answers that are left: 4"):
        owner.answer("ABC234")
    owner.answer("XYZ234")
    assert owner.destination.verified_at == NOON + HOUR


@pytest.mark.parametrize(("hours", "good"), [(0, True), (23.9, True), (24, False), (48, False), (-1, False)])
def test_a_code_is_good_for_a_day(owner: Owner, hours: float, good: bool) -> None:
    owner.ask("ABC234")
    at = NOON + round(hours * HOUR)
    if good:
        owner.answer("ABC234", at)
        assert owner.destination.verified_at == at
    else:
        with pytest.raises(ConfigError, match="the code is older than a day; send another"):
            owner.answer("ABC234", at)
        assert owner.destination.verified_at is None


@pytest.mark.parametrize(
    "change",
    [
        {"segment_write_key": NEW_KEY},
        {"region": "eu"},
        {"url": "https://events.partner.example"},
        {"segment_write_key": KEY, "new_source": True},
    ],
)
def test_what_was_proved_is_of_one_key_at_one_place(owner: Owner, change: dict[str, Any]) -> None:
    owner.ask("ABC234")
    owner.answer("ABC234")
    owner.ask("XYZ234")
    owner.change(**change)
    assert owner.destination.verified_at is None
    with pytest.raises(ConfigError, match="no code is awaited"):
        owner.answer("XYZ234")


@pytest.mark.parametrize("change", [{"segment_write_key": KEY}, {"profile": "segment"}, {"uninstalls": True}])
def test_other_changes_leave_the_proof(owner: Owner, change: dict[str, Any]) -> None:
    owner.ask("ABC234")
    owner.answer("ABC234")
    owner.change(**change)
    assert owner.destination.verified_at == NOON + HOUR


def test_a_code_is_good_for_one_destination(owner: Owner) -> None:
    owner.change(name="second", segment_write_key=KEY)
    owner.ask("ABC234")
    second: Destination = owner.do(lambda db: destinations.named(db, APP, "second"))
    with pytest.raises(ConfigError, match="no code is awaited"):
        owner.do(lambda db: proof.answer(db, owner.cast.vault, NOON, second, "ABC234"))


def test_a_proof_is_old_after_thirteen_days() -> None:
    day = 24 * HOUR
    assert not proof.is_old(NOON, NOON + 13 * day)
    assert proof.is_old(NOON, NOON + 13 * day + 1)


def test_one_key_in_two_places_is_seen_from_both(owner: Owner) -> None:
    owner.change("com.owner.boards", segment_write_key=KEY)
    owner.change("com.stranger.notes", segment_write_key=NEW_KEY)
    owner.change(name="second", segment_write_key=KEY)
    live = owner.do(destinations.active)
    found = {(d.app_key, d.name): destinations.same_key(d, live) for d in live}
    assert found == {
        ("com.owner.boards", "main"): ["com.owner.charts"],
        ("com.owner.charts", "main"): ["com.owner.boards", "com.owner.charts/second"],
        ("com.owner.charts", "second"): ["com.owner.boards", "com.owner.charts/main"],
        ("com.stranger.notes", "main"): [],
    }
