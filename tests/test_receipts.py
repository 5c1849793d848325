"""Receipts: that they say what was accepted, hang together, and that whatever is changed in one shows."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from shipping_cast import OWNER, SECRET_KEY, Installation

import footfall
from exporter.receipt import BEGINNING, Document, Receipt, Signer, chained, check, make_receipts
from exporter.verdict import Reply
from store import ledger
from store.database import Database, Server, migrate_all, open_writer
from store.errors import ConfigError
from store.ledger import Answer, Batch, Fate, Passage
from store.secrets import Vault

SIGNER = Signer(Vault(SECRET_KEY).receipt_seed)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


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


def test_exporters_that_end_at_once_make_one_receipt_of_a_batch(postgres_url: str) -> None:
    where = Server(postgres_url)

    async def receipts() -> list[tuple[str, str, str]]:
        await migrate_all(where)
        async with await open_writer(where, "ledger") as one, await open_writer(where, "ledger") as other:
            await ledger.begin(one, [(OWNER, "main", 0)])
            for number in (1, 2):
                await _accepted(one, f"run {number}", number)
            await asyncio.gather(*(make_receipts(db, SIGNER, 1_000) for db in (one, other)))
            await _accepted(one, "run 3", 3)
            await make_receipts(one, SIGNER, 900)  # by a clock that is behind
            return await ledger.receipts(other)

    made = [msgspec.json.decode(document, type=Document) for _, document, _ in asyncio.run(receipts())]
    assert [(told.run, told.accepted) for told in made] == [("run 1", 5), ("run 2", 5), ("run 3", 5)]
    assert [told.previous for told in made] == [BEGINNING, made[0].chain, made[1].chain]


async def _accepted(db: Database, run: str, seq: int) -> None:
    """A batch of five events that a run sent."""
    held = await ledger.lease(db, OWNER, "main", run, 0, 60_000)
    assert held is not None
    await ledger.open_batch(db, OWNER, "main", Batch(f"batch {seq}", run, 1, seq, seq, 5, 100), 0)
    answer = Answer("accepted", 200, digest="0" * 64)
    passage = Passage(seq, Counter({Fate(0, "accepted"): 5}))
    await ledger.close_batch(db, held, run, f"batch {seq}", answer, 0, passage)
    await ledger.release(db, run)


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
    env = {"FOOTFALL_DATA_DIR": str(installation.data_dir), "FOOTFALL_SECRET_KEY": SECRET_KEY}
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
