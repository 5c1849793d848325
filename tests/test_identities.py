"""Who people are at a provider: one subject is one person, and a person one subject there."""

from __future__ import annotations

from typing import Any

from portal_cast import House, email

from store.people import identities


def test_an_identity_is_one_persons_and_a_person_is_one_there(house: House) -> None:
    async def work(db: Any) -> list[bool]:
        owner, viewer = house.people["owner"], house.people["viewer"]
        told = [("a", "1", owner), ("a", "1", viewer), ("a", "2", owner), ("b", "1", viewer), ("b", "2", owner)]
        return [await identities.keep(db, 1, issuer, subject, who) for issuer, subject, who in told]

    assert house.store(work) == [True, False, False, True, True]


def test_an_identity_that_was_forgotten_is_nobodys(house: House) -> None:
    async def work(db: Any) -> list[Any]:
        owner, viewer = house.people["owner"], house.people["viewer"]
        await identities.keep(db, 1, "a", "1", owner)
        found = await identities.whose(db, "a", "1")
        await identities.forget(db, 2, owner, "test")
        gone = await identities.whose(db, "a", "1"), await identities.is_known(db, "a", owner)
        return [found and found.email, *gone, await identities.keep(db, 3, "a", "1", viewer)]

    assert house.store(work) == [email("owner"), None, False, True]
