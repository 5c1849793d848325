"""People pages: owners see to their own partner's, operators to everybody; the last owner stays."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from httpx2 import Response
from portal_cast import NEW_PASSWORD, PASSWORD, Browser, House, another, email, message, opened

from store.errors import ConfigError
from store.people import roster

pytestmark = pytest.mark.only("sqlite", "pages, which are opened on PostgreSQL in one test for all")


def link_on(answer: Response) -> str:
    """The link that a page shows, as a path."""
    found = re.search(r'readonly value="[^"]*?(/(?:invitation|reset)\?token=[^"]+)"', answer.text)
    assert found, answer.text
    return found[1]


def token_in(link: str) -> str:
    return link.partition("token=")[2]


def at(house: House, name: str, what: str = "") -> str:
    return f"/people/{house.people[name].person_id}{what}"


def of(house: House, name: str) -> tuple[Any, ...]:
    return house.rows("select role, partner_key, disabled_at from people where email = ?", email(name))[0]


def test_an_owner_invites_a_colleague_who_chooses_a_password(house: House, browser: Browser) -> None:
    browser.enter("owner")
    made = browser.post("/people", {"email": " New@New.Example ", "name": "Nele", "role": "editor"})
    assert made.status_code == 200
    assert house.audit() == (email("owner"), "person.invitation", email("new"), "link made")
    assert of(house, "new") == ("editor", "owner", None)
    link = link_on(made)
    assert token_in(link).encode() not in house.cast.every_byte()
    assert "no-store" in made.headers["cache-control"]
    new = another(browser)
    assert "You were invited to Owner." in new.get(link).text
    assert new.post("/invitation", {"token": token_in(link), "password": NEW_PASSWORD}).status_code == 303
    assert "new@new.example" in new.get("/account").text


def test_an_invitation_is_for_the_public_url(house: House) -> None:
    with opened(house, public_url="https://footfall.example") as browser:
        made = browser.enter("owner").post("/people", {"email": "x@x.example", "role": "viewer"})
        assert 'value="https://footfall.example/invitation?token=' in made.text


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"email": "no address", "role": "viewer"}, "No address is no e-mail address."),
        ({"email": "a@b.example\r\nBcc: x", "role": "viewer"}, "A@b.example"),
        (
            {"email": "editor@editor.example", "role": "viewer"},
            "There is somebody with the address editor@editor.example",
        ),
        ({"email": "x@x.example", "role": "operator"}, "Choose a role."),
        ({"email": "x@x.example", "role": "root"}, "Choose a role."),
        ({"email": "x@x.example", "role": ""}, "Choose a role."),
        ({"email": "x@x.example", "role": "viewer", "name": "n" * 101}, "A name has at most 100 characters."),
        ({}, "Choose a role."),
    ],
)
def test_an_invitation_that_cannot_be_is_told_and_changes_nothing(
    house: House, browser: Browser, fields: dict[str, str], told: str
) -> None:
    browser.enter("owner")
    before = house.state()
    answer = browser.post("/people", fields)
    assert answer.status_code == 422
    assert message(answer).startswith(told)
    assert house.state() == before


def test_an_operator_invites_for_any_partner_and_operators(house: House, browser: Browser) -> None:
    browser.enter("operator")
    assert browser.post("/people", {"email": "a@a.example", "role": "owner", "partner": "stranger"}).status_code == 200
    assert browser.post("/people", {"email": "b@b.example", "role": "operator"}).status_code == 200
    assert (of(house, "a")[:2], of(house, "b")[:2]) == (("owner", "stranger"), ("operator", None))
    for fields in ({"role": "operator", "partner": "owner"}, {"role": "viewer"}, {"role": "viewer", "partner": "x"}):
        assert browser.post("/people", {"email": "c@c.example"} | fields).status_code == 422


def test_owners_see_their_own_people_and_operators_everybody(house: House, browser: Browser) -> None:
    def listed(name: str) -> set[str]:
        return set(re.findall(r">(\w+)@\w+\.example</a>", browser.enter(name).get("/people").text))

    assert listed("owner") == {"owner", "editor", "viewer", "invited"}
    assert listed("stranger") == {"stranger", "guest"}
    assert listed("operator") == {"owner", "editor", "viewer", "invited", "stranger", "guest", "operator"}


def test_a_role_is_changed_and_the_changed_are_signed_out(house: House, browser: Browser) -> None:
    editor = another(browser).enter("editor")
    browser.enter("owner")
    assert browser.post(at(house, "editor", "/role"), {"role": "owner"}).headers["location"] == at(house, "editor")
    assert house.audit() == (email("owner"), "person.role", email("editor"), "editor -> owner")
    assert editor.get("/").headers["location"] == "/sign-in"
    for role in ("operator", "root", ""):
        assert browser.post(at(house, "editor", "/role"), {"role": role}).status_code == 422
    assert of(house, "editor") == ("owner", "owner", None)


def test_nobody_makes_an_operator_anything_else(house: House, browser: Browser) -> None:
    browser.enter("operator")
    before = house.state()
    for role in ("viewer", "operator"):
        assert browser.post(at(house, "operator", "/role"), {"role": role}).status_code == 422
    assert house.state() == before


@pytest.mark.parametrize(
    ("what", "fields"), [("/disable", {}), ("/role", {"role": "editor"}), ("/role", {"role": "viewer"})]
)
def test_the_last_owner_stays(house: House, browser: Browser, what: str, fields: dict[str, str]) -> None:
    browser.enter("owner")
    before = house.state()
    answer = browser.post(at(house, "owner", what), fields)
    assert (answer.status_code, message(answer)) == (
        422,
        "They are the last who can: make somebody else one first.",
    )
    assert house.state() == before
    browser.post(at(house, "invited", "/role"), {"role": "owner"})  # who was only invited cannot sign in
    assert browser.post(at(house, "owner", what), fields).status_code == 422
    browser.post(at(house, "editor", "/role"), {"role": "owner"})
    another(browser).enter("operator").post(at(house, "editor", "/disable"))
    assert browser.post(at(house, "owner", what), fields).status_code == 422  # nor can who is disabled
    another(browser).enter("operator").post(at(house, "editor", "/enable"))
    assert browser.post(at(house, "owner", what), fields).status_code == 303


def test_of_two_owners_who_leave_at_once_one_stays(house: House, browser: Browser) -> None:
    browser.enter("operator").post(at(house, "editor", "/role"), {"role": "owner"})
    both = [another(browser).enter(name) for name in ("owner", "editor")]
    with ThreadPoolExecutor(2) as threads:
        left = [
            threads.submit(b.post, at(house, name, "/disable"))
            for b, name in zip(both, ("owner", "editor"), strict=True)
        ]
    assert sorted(answer.result().status_code for answer in left) == [303, 422]
    assert house.rows(
        "select count(*) from people where role = 'owner' and partner_key = 'owner' and disabled_at is null"
    ) == [(1,)]


def test_the_last_operator_stays_and_can_end_the_last_owner(house: House, browser: Browser) -> None:
    browser.enter("operator")
    assert browser.post(at(house, "operator", "/disable")).status_code == 422
    assert browser.post(at(house, "owner", "/disable")).status_code == 303
    assert of(house, "owner")[2] == house.now
    assert browser.post(at(house, "stranger", "/role"), {"role": "viewer"}).status_code == 303


def test_an_owner_of_another_partner_does_not_count(house: House) -> None:
    with pytest.raises(ConfigError, match="they are the last who can"):
        house.store(lambda db: roster.disable(db, 1, house.people["owner"], "test"))


def test_whoever_is_disabled_is_out_and_their_links_are_void(house: House, browser: Browser) -> None:
    token = house.link("editor", "reset")
    editor = another(browser).enter("editor")
    browser.enter("owner").post(at(house, "editor", "/disable"))
    assert house.audit() == (email("owner"), "person.disable", email("editor"), "on -> off")
    assert editor.get("/").headers["location"] == "/sign-in"
    assert editor.sign_in("editor").status_code == 403
    assert editor.get(f"/reset?token={token}").status_code == 404
    answer = browser.post(at(house, "editor", "/link"))
    assert (answer.status_code, message(answer)) == (422, "Whoever may not sign in gets no link.")
    browser.post(at(house, "editor", "/enable"))
    assert house.audit() == (email("owner"), "person.enable", email("editor"), "off -> on")
    assert editor.sign_in("editor").status_code == 303


def test_a_link_sets_a_lost_password_anew_and_a_newer_one_makes_it_void(house: House, browser: Browser) -> None:
    browser.enter("owner")
    first, second = (token_in(link_on(browser.post(at(house, "viewer", "/link")))) for _ in range(2))
    viewer = another(browser)
    assert viewer.post("/reset", {"token": first, "password": NEW_PASSWORD}).status_code == 404
    assert viewer.post("/reset", {"token": second, "password": NEW_PASSWORD}).status_code == 303
    assert link_on(browser.post(at(house, "invited", "/link"))).startswith("/invitation?")


def test_somebodys_sessions_and_second_step_are_ended_for_them(house: House, browser: Browser) -> None:
    viewer = another(browser).enter("viewer")
    browser.enter("owner")
    assert "Last seen" in browser.get(at(house, "viewer")).text
    assert browser.post(at(house, "viewer", "/sessions/end")).status_code == 303
    assert house.audit() == (email("owner"), "person.sign-out", email("viewer"), "1 sessions ended")
    assert viewer.get("/").headers["location"] == "/sign-in"
    assert browser.post(at(house, "viewer", "/second-step/end")).status_code == 303
    assert house.audit() == (email("owner"), "person.second-factor", email("viewer"), "on -> off")


@pytest.mark.parametrize("wanted", ["x", "' or 1=1 --", "..%2foperator", "%00", "a" * 5_000])
def test_an_id_that_is_none_is_not_found(browser: Browser, wanted: str) -> None:
    browser.enter("operator")
    assert browser.get(f"/people/{wanted}").status_code == 404


def test_the_navigation_shows_what_one_may_open(browser: Browser) -> None:
    def links(name: str) -> list[str]:
        text = browser.enter(name).get("/").text
        return re.findall(r'<a href="(/[a-z]*)"', text.partition('aria-label="Portal"')[2].partition("</nav>")[0])

    assert links("viewer") == links("editor") == ["/"]
    assert links("owner") == ["/", "/people", "/tokens", "/audit"]
    assert links("operator") == ["/", "/people", "/tokens", "/operator"]
    assert PASSWORD not in browser.get("/people").text
