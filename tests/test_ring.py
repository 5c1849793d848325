"""Several secret keys at once: which encrypts, which read, what stays constant, and how an old one can go."""

import asyncio
import base64
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import SECRET_KEY, Cast
from cryptography.fernet import Fernet
from engines import environment
from hypothesis import given
from hypothesis import strategies as st

import footfall
from store import destinations
from store.database import Database
from store.destinations import Change
from store.engines import open_writer
from store.errors import ConfigError
from store.ring import Ring, ring_of
from store.rotation import Rotated, check, rotate
from store.secrets import Vault, derived
from store.settings import load

ROOT = Path(__file__).parents[1]
NEW = "4f1c9b07e2d8463aa5f09c7b1e6d2358"
NEWER = "e7a0c3958d1b46f2904c7be3a8d5f160"
KEY = "WRITEKEYOFTHEOWNERSCHARTS0000001"
OTHER_KEY = "WRITEKEYOFTHESTRANGERSNOTES00003"


def in_registry(cast: Cast, work: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
    async def opened() -> Any:
        async with await open_writer(cast.where, "registry") as db:
            return await work(db)

    return asyncio.run(opened())


def rotated(cast: Cast, *keys: str, new_ids: bool = False) -> Rotated:
    done: Rotated = in_registry(cast, lambda db: rotate(db, Vault("\n".join(keys)), 9, new_ids))
    return done


@pytest.fixture
def stored(cast: Cast) -> Cast:
    """Two apps with a write key, one of which has been given another source since: three stored keys."""

    async def fill(db: Database) -> None:
        for app, change in [
            ("com.owner.charts", Change(segment_write_key=KEY)),
            ("com.owner.charts", Change(segment_write_key=KEY, new_source=True)),
            ("com.stranger.notes", Change(segment_write_key=OTHER_KEY)),
        ]:
            await destinations.set_destination(db, cast.vault, 7, app, change, start_seq=0)

    in_registry(cast, fill)
    return cast


def blobs(cast: Cast) -> list[bytes]:
    rows = cast.rows("select segment_write_key from destinations order by app_key, destination_id", nature="registry")
    return [row[0] for row in rows]


# --- the ring itself


@pytest.mark.parametrize(
    ("text", "ring"),
    [
        ("a", Ring(("a",), "a")),
        ("b\na", Ring(("b", "a"), "a")),
        (" c \n\n b\r\na\n", Ring(("c", "b", "a"), "a")),
        ("b\nids:a", Ring(("b",), "a")),
        ("ids: a\nc\nb", Ring(("c", "b"), "a")),
    ],
)
def test_a_ring_is_read_newest_first_and_ids_come_from_the_oldest_or_the_line_for_them(text: str, ring: Ring) -> None:
    assert ring_of(text) == ring


@pytest.mark.parametrize("text", ["", "\n", "ids:a", "b\nids:a\nids:c"])
def test_a_ring_needs_a_key_and_has_one_for_ids(text: str) -> None:
    with pytest.raises(ValueError, match="at most one more that begins with ids:"):
        ring_of(text)


@pytest.mark.parametrize("text", [f"{NEW}\n{SECRET_KEY}", f"{NEW},{SECRET_KEY}", f" {NEW} ,\r\n {SECRET_KEY}\n"])
def test_several_keys_come_in_lines_or_with_commas(text: str) -> None:
    assert load({"FOOTFALL_SECRET_KEY": text}).secret_key == f"{NEW}\n{SECRET_KEY}"


def test_several_keys_come_from_a_file_a_credential_or_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "secret-key").write_text(f"{NEW}\nids:{SECRET_KEY}\n")
    for env in (
        {"FOOTFALL_SECRET_KEY_FILE": str(tmp_path / "secret-key")},
        {"CREDENTIALS_DIRECTORY": str(tmp_path)},
        {"FOOTFALL_DATA_DIR": str(tmp_path)},
    ):
        assert load(env).secret_key == f"{NEW}\nids:{SECRET_KEY}"


@pytest.mark.parametrize("weak", ["short", "ids:short", "change-me", "ids:", "a" * 40])
def test_every_key_of_a_ring_must_be_unguessable(weak: str) -> None:
    with pytest.raises(ConfigError, match="FOOTFALL_SECRET_KEY must be at least 32 characters") as refused:
        load({"FOOTFALL_SECRET_KEY": f"{NEW},{weak}"})
    assert NEW not in str(refused.value)


@pytest.mark.parametrize("text", [f"ids:{NEW}", f"{NEW},ids:{SECRET_KEY},ids:{NEWER}"])
def test_a_ring_that_cannot_encrypt_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="must be one or more keys, newest first") as refused:
        load({"FOOTFALL_SECRET_KEY": text})
    assert NEW not in str(refused.value)


# --- what stays constant, and what changes hands


@given(st.text(st.characters(codec="utf-8")))
def test_ids_and_fingerprints_stay_through_every_step_of_a_rotation(account: str) -> None:
    before = Vault(SECRET_KEY)
    for step in (f"{NEW}\n{SECRET_KEY}", f"{NEW}\nids:{SECRET_KEY}", f"{NEWER}\n{NEW}\nids:{SECRET_KEY}"):
        after = Vault(step)
        assert after.user_id(account) == before.user_id(account)
        assert after.anonymous_id_for(account) == before.anonymous_id_for(account)
        assert after.fingerprint(account) == before.fingerprint(account)


def test_without_the_key_for_ids_they_change() -> None:
    assert Vault(NEW).user_id("account-17") != Vault(f"{NEW}\n{SECRET_KEY}").user_id("account-17")


def test_the_newest_key_encrypts_and_all_but_the_one_for_ids_decrypt() -> None:
    old, both = Vault(SECRET_KEY), Vault(f"{NEW}\n{SECRET_KEY}")
    assert both.decrypt(old.encrypt(KEY)) == KEY
    assert Vault(NEW).decrypt(both.encrypt(KEY)) == KEY
    assert (both.is_newest(both.encrypt(KEY)), both.is_newest(old.encrypt(KEY))) == (True, False)
    for vault, foreign in [(old, both), (Vault(f"{NEW}\nids:{SECRET_KEY}"), old)]:
        with pytest.raises(ConfigError, match="is not the one it was stored under"):
            vault.decrypt(foreign.encrypt(KEY))


def test_tokens_on_open_pages_hold_while_their_key_is_in_the_ring() -> None:
    user, app = Vault(SECRET_KEY).user_id("account-17"), "com.owner.charts"
    old, both, only_ids = Vault(SECRET_KEY), Vault(f"{NEW}\n{SECRET_KEY}"), Vault(f"{NEW}\nids:{SECRET_KEY}")
    signed_before, signed_after = old.sign_visitor("account-17", app), both.sign_visitor("account-17", app)
    assert both.visitor(signed_before, app) == both.visitor(signed_after, app) == user
    assert only_ids.visitor(signed_after, app) == user
    assert only_ids.visitor(signed_before, app) is None  # a key that has become known forges nobody
    assert old.visitor(signed_after, app) is None


# --- carrying the write keys over


def test_rotation_carries_every_stored_key_over_once(stored: Cast) -> None:
    assert rotated(stored, NEW, SECRET_KEY) == Rotated(write_keys=3, renewed=3)
    after = blobs(stored)
    assert sorted(Vault(NEW).decrypt(blob) for blob in after) == [KEY, KEY, OTHER_KEY]
    assert rotated(stored, NEW, SECRET_KEY) == Rotated(write_keys=3, renewed=0)
    assert blobs(stored) == after
    assert rotated(stored, NEW, f"ids:{SECRET_KEY}") == Rotated(write_keys=3, renewed=0)


def test_rotation_changes_nothing_else_of_a_destination(stored: Cast) -> None:
    asked = """select app_key, destination_id, region, profile, uninstalls, write_key_last4, write_key_fingerprint,
        start_seq, active, created_at, updated_at from destinations order by app_key, destination_id"""
    before = stored.rows(asked, nature="registry")
    rotated(stored, NEW, SECRET_KEY)
    assert stored.rows(asked, nature="registry") == before


def test_after_rotation_the_old_key_opens_nothing_in_the_file(stored: Cast) -> None:
    old = blobs(stored)
    rotated(stored, NEW, SECRET_KEY)
    every_byte = stored.every_byte()
    assert [blob for blob in old if blob in every_byte] == []
    fernet = Fernet(base64.urlsafe_b64encode(derived(NEW, "encryption")))
    assert [fernet.decrypt(blob).decode()[-4:] for blob in blobs(stored)].count("0003") == 1


def test_rotation_leaves_a_line_in_the_audit_without_any_secret(stored: Cast) -> None:
    rotated(stored, NEW, SECRET_KEY)
    (line,) = stored.rows(
        "select audit_id, at, actor, action, subject, detail from audit where action = 'secret.rotate'",
        nature="registry",
    )
    assert line[1:] == (9, "command line", "secret.rotate", "secret key", "3 of 3 write keys")


def test_one_key_that_cannot_be_read_leaves_all_as_they_were(stored: Cast) -> None:
    foreign = Vault(NEWER).encrypt(OTHER_KEY)
    sql = "update destinations set segment_write_key = ? where app_key = 'com.stranger.notes'"
    stored.rows(sql, foreign, nature="registry")
    before = blobs(stored)
    with pytest.raises(ConfigError, match="cannot be decrypted"):
        rotated(stored, NEW, SECRET_KEY)
    assert blobs(stored) == before


def test_a_lost_key_of_a_replaced_destination_keeps_nobody_from_rotating(stored: Cast) -> None:
    sql = "update destinations set segment_write_key = ? where active = 0"
    stored.rows(sql, Vault(NEWER).encrypt(KEY), nature="registry")
    assert rotated(stored, NEW, SECRET_KEY) == Rotated(write_keys=3, renewed=2)


KILLED_AT_THE_SECOND_KEY = """
import asyncio, os, signal, sys
from store.engines import open_writer
from store.rotation import rotate
from store.secrets import Vault
from store.settings import load

class Dying(Vault):
    done = 0

    def encrypt(self, text):
        self.done += 1
        if self.done == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encrypt(text)

async def work():
    async with await open_writer(load().where, "registry") as db:
        await rotate(db, Dying(sys.stdin.read()), 9)

asyncio.run(work())
"""


def test_killed_in_the_middle_it_leaves_all_as_they_were_and_can_be_done_again(stored: Cast) -> None:
    before = blobs(stored)
    command = [sys.executable, "-c", KILLED_AT_THE_SECOND_KEY]
    env = environment(stored.data_dir, stored.where)
    ended = subprocess.run(command, input=f"{NEW}\n{SECRET_KEY}", env=env, text=True, cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert blobs(stored) == before
    assert rotated(stored, NEW, SECRET_KEY) == Rotated(write_keys=3, renewed=3)


def test_the_key_for_ids_cannot_be_lost_unnoticed(stored: Cast) -> None:
    rotated(stored, NEW, SECRET_KEY)
    with pytest.raises(ConfigError, match="add it again as a line ids:KEY"):
        rotated(stored, NEW)
    assert rotated(stored, NEW, new_ids=True) == Rotated(write_keys=3, renewed=3)
    assert rotated(stored, NEW) == Rotated(write_keys=3, renewed=0)
    (fingerprint,) = stored.rows(
        "select write_key_fingerprint from destinations where app_key = 'com.stranger.notes'", nature="registry"
    )
    assert fingerprint == (Vault(NEW).fingerprint(OTHER_KEY),)


@pytest.mark.parametrize(
    ("secret", "good"),
    [
        (SECRET_KEY, True),
        (f"{NEW}\n{SECRET_KEY}", True),
        (f"{NEW}\nids:{SECRET_KEY}", False),  # nothing was carried over yet
        (NEW, False),
        (f"{SECRET_KEY}\n{NEW}", False),  # the new one was put behind
    ],
)
def test_a_secret_key_under_which_user_ids_would_change_is_noticed(stored: Cast, secret: str, good: bool) -> None:
    async def look(db: Database) -> None:
        await check(db, Vault(secret))

    if good:
        in_registry(stored, look)
    else:
        with pytest.raises(ConfigError, match="every visitor would get a new user id"):
            in_registry(stored, look)


def test_where_nothing_is_stored_any_secret_key_will_do(cast: Cast) -> None:
    in_registry(cast, lambda db: check(db, Vault(NEW)))


def test_where_the_old_key_is_lost_one_write_key_entered_again_is_enough(stored: Cast) -> None:
    again = Change(segment_write_key=KEY)
    vault = Vault(NEW)
    in_registry(stored, lambda db: destinations.set_destination(db, vault, 8, "com.owner.charts", again, 0))
    in_registry(stored, lambda db: check(db, vault))


def test_the_command_says_how_many(stored: Cast) -> None:
    env = environment(stored.data_dir, stored.where) | {"FOOTFALL_SECRET_KEY": f"{NEW},{SECRET_KEY}"}
    done = CliRunner().invoke(footfall.main, ["secret", "rotate", "--json"], env=env)
    said = {"write_keys": 3, "renewed": 3, "second_factors": 0, "second_factors_renewed": 0}
    said |= {"webhook_secrets": 0, "webhook_secrets_renewed": 0}
    said |= {"key_pairs": 0, "key_pairs_renewed": 0}
    assert (done.exit_code, json.loads(done.stdout)) == (0, said)
    again = CliRunner().invoke(footfall.main, ["secret", "rotate"], env=env)
    assert again.stdout.split()[:4] == ["write_keys", "3", "renewed", "0"]
