"""Receipts: that they say what was accepted, hang together, and that whatever is changed in one shows."""

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from engines import Stores
from shipping_cast import NOON, OWNER, SECRET_KEY, Installation

import footfall
from store import receipts
from store.engines import open_writer
from store.errors import ConfigError
from store.receipt import BEGINNING, Document, Receipt, Signer, _next, chained, check, make_receipts
from store.receipts import Made, Receipted
from store.secrets import Vault
from wire.verdict import Reply

SIGNER = Signer(Vault(SECRET_KEY).receipt_seed)


@pytest.fixture
def installation(stores: Stores, tmp_path: Path) -> Installation:
    return Installation(stores, tmp_path)


def kept(installation: Installation) -> list[Receipt]:
    rows = installation.ledger("select document, signature from receipts order by receipt_id")
    return [Receipt(document, signature) for document, signature in rows]


def read(receipt: Receipt) -> Document:
    return check(receipt, SIGNER.public_key)


def test_a_receipt_covers_what_one_run_sent_for_one_course(installation: Installation) -> None:
    ids = installation.sent_ids(installation.views(620))
    report = installation.export()
    (receipt,) = kept(installation)
    told = check(receipt, SIGNER.public_key, ids)
    assert (told.app, told.run, told.accepted, told.previous) == (OWNER, report.run, 620, BEGINNING)
    assert [part.events for part in told.batches] == [500, 120]
    assert (told.first_id, told.last_id, told.first_seq, told.last_seq) == (ids[0], ids[-1], 1, 620)
    assert told.bytes == installation.ledger("select sum(bytes) from batches")[0][0]


def test_receipts_of_a_course_are_chained(installation: Installation) -> None:
    for _ in range(3):
        installation.views(2)
        installation.export()
    installation.export()
    first, second, third = map(read, kept(installation))
    assert (first.previous, second.previous, third.previous) == (BEGINNING, first.chain, second.chain)
    assert third.chain == chained(BEGINNING, [part.digest for each in (first, second, third) for part in each.batches])


def test_what_was_not_accepted_is_in_no_receipt(installation: Installation) -> None:
    installation.views(2)
    installation.fault(status=403)
    installation.export()
    assert kept(installation) == []


def test_the_receipts_of_a_run_that_died_are_made_by_the_next_one(installation: Installation) -> None:
    installation.views(2)
    installation.export()
    installation.ledger("delete from receipts")
    installation.ledger("update batches set receipt_id = ''")
    installation.export()
    assert [read(receipt).accepted for receipt in kept(installation)] == [2]


def test_receipts_that_are_made_at_once_are_in_the_order_of_their_chain(installation: Installation) -> None:
    for _ in range(6):
        installation.views(1)
        installation.export()
    installation.ledger("delete from receipts")
    installation.ledger("update batches set receipt_id = ''")
    installation.export()
    chain = BEGINNING
    for receipt in map(read, kept(installation)):
        assert receipt.previous == chain
        chain = receipt.chain


def test_a_released_event_is_in_the_receipt_of_the_run_that_sent_it(installation: Installation) -> None:
    installation.views(1)
    installation.export(send=installation.replies(Reply(400, "no")))
    (seq,) = installation.ledger("select seq from parked")[0]
    installation.ledger("update parked set released = 1")
    installation.export()
    (told,) = map(read, kept(installation))
    assert (told.accepted, told.first_seq, told.last_seq) == (1, seq, seq)


@pytest.mark.parametrize("field", [name for name in Document.__struct_fields__ if name != "batches"])
def test_whatever_is_changed_in_a_receipt_shows(installation: Installation, field: str) -> None:
    installation.views(1)
    installation.export()
    (receipt,) = kept(installation)
    document = json.loads(receipt.document)
    name = next(each for each in document if each.lower() == field.replace("_", ""))
    document[name] = 7 if isinstance(document[name], int) else "0" * 64
    with pytest.raises(ConfigError, match="was changed"):
        check(Receipt(json.dumps(document), receipt.signature), SIGNER.public_key)


def test_another_key_an_empty_signature_and_a_broken_chain_are_refused(installation: Installation) -> None:
    installation.views(1)
    installation.export()
    (receipt,) = kept(installation)
    for signature, key in ((receipt.signature, Signer(b"x" * 32).public_key), ("", SIGNER.public_key), ("!", "!")):
        with pytest.raises(ConfigError, match="not by this key"):
            check(Receipt(receipt.document, signature), key)
    unchained = SIGNER.sign(msgspec.structs.replace(read(receipt), chain=BEGINNING))
    with pytest.raises(ConfigError, match="chain"):
        check(unchained, SIGNER.public_key)


def test_a_list_of_ids_that_lacks_one_has_one_more_or_another_is_not_the_receipts(installation: Installation) -> None:
    ids = installation.sent_ids(installation.views(3))
    installation.export()
    (receipt,) = kept(installation)
    for wrong in (ids[:2], [*ids, ids[0]], [*ids[:2], "another"], ids[::-1]):
        with pytest.raises(ConfigError, match="ids"):
            check(receipt, SIGNER.public_key, wrong)


def run(installation: Installation, *words: str, given: str = "") -> Result:
    env = installation.environment
    return CliRunner().invoke(footfall.main, ["receipt", *words], input=given, env=env)


def test_a_partner_checks_a_receipt_by_command(installation: Installation, tmp_path: Path) -> None:
    ids = installation.sent_ids(installation.views(3))
    installation.export()
    asyncio.set_event_loop(None)
    (listed,) = json.loads(run(installation, "list", "--json").stdout)
    assert run(installation, "list", "--app", "com.stranger.notes").stdout == ""
    shown = run(installation, "show", listed["receipt"]).stdout
    key = run(installation, "key").stdout.strip()
    arrived = tmp_path / "ids.txt"
    arrived.write_text("\n".join(ids))
    right: Any = run(installation, "check", "-", "--key", key, "--ids", str(arrived), given=shown)
    assert (right.exit_code, right.stdout[:6]) == (0, "right:")
    assert run(installation, "check", "-", "--key", "", given=shown).exit_code == 78
    assert run(installation, "check", "-", "--key", key, given="{}").exit_code == 78
    assert run(installation, "show", "nothing").exit_code == 78


@pytest.mark.only("postgresql", "a file has one writer")
def test_two_runs_that_make_the_same_receipts_at_once_make_them_once(installation: Installation) -> None:
    """The second begins while the first is in the middle, and waits for it."""
    installation.views(2)
    installation.export()
    installation.ledger("delete from receipts")
    installation.ledger("update batches set receipt_id = ''")
    ended = threading.Event()

    def second() -> None:
        asyncio.run(make())
        ended.set()

    async def make() -> None:
        async with await open_writer(installation.where, "ledger") as db:
            await make_receipts(db, SIGNER, NOON)

    def middle(batches: Sequence[Receipted], last: str | None) -> list[Made]:
        other.start()
        while not (ended.is_set() or waits(installation)):
            ended.wait(0.01)
        return _next(SIGNER, NOON, batches, last)

    async def first() -> None:
        async with await open_writer(installation.where, "ledger") as db:
            await receipts.add(db, await receipts.courses_without(db), middle)

    other = threading.Thread(target=second)
    asyncio.run(first())
    other.join()
    assert [read(receipt).accepted for receipt in kept(installation)] == [2]


def waits(installation: Installation) -> bool:
    """Whether somebody waits for a row that somebody else has changed."""
    sql = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    return bool(installation.ledger(sql))
