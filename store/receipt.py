"""Receipts: what one run sent for one course, in a document that anybody can check against the public key.

A batch's digest is the SHA-256 of the message ids in it, as sent, a line each. The chain begins with the chain of the
course's receipt before (64 zeros for the first) and takes in each digest: SHA-256 of the two, as bytes. Whoever keeps
the receipts sees when one is missing; whoever has the ids sees that they are these. Documents are signed with Ed25519,
exactly as they stand.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from store import ids, receipts
from store.database import Database
from store.errors import ConfigError
from store.receipts import Made, Receipted

BEGINNING = "0" * 64
TOGETHER = 100  # courses whose receipts are kept in one transaction


class Part(msgspec.Struct, frozen=True):
    """One accepted batch: how many messages, and the digest of their ids."""

    events: int
    digest: str


class Document(msgspec.Struct, frozen=True, rename="camel"):
    """What is signed. `made_at` is in epoch milliseconds, `first_id` and `last_id` are message ids as sent."""

    receipt: str
    app: str
    course: str
    run: str
    made_at: int
    accepted: int
    bytes: int
    first_seq: int
    last_seq: int
    first_id: str
    last_id: str
    batches: list[Part]
    previous: str
    chain: str


class Receipt(msgspec.Struct, frozen=True):
    """A document exactly as signed, and its signature in base64."""

    document: str
    signature: str


class Signer:
    """The key that receipts are signed with, from a seed of 32 bytes."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public_key(self) -> str:
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, document: Document) -> Receipt:
        text = msgspec.json.encode(document).decode()
        return Receipt(text, base64.b64encode(self._key.sign(text.encode())).decode())


def digest(message_ids: Iterable[str]) -> str:
    """Of the ids of one batch, in order: 64 hex digits."""
    return hashlib.sha256("".join(f"{each}\n" for each in message_ids).encode()).hexdigest()


def chained(previous: str, digests: Iterable[str]) -> str:
    """The chain after these digests."""
    chain = bytes.fromhex(previous)
    for each in digests:
        chain = hashlib.sha256(chain + bytes.fromhex(each)).digest()
    return chain.hex()


def document(app_key: str, course_id: str, batches: Sequence[Receipted], previous: str, now: int) -> Document:
    """For the accepted batches of one run of one course."""
    first, last = batches[0], batches[-1]
    return Document(
        receipt=str(ids.uuid7(now)),
        app=app_key,
        course=course_id,
        run=first.run_id,
        made_at=now,
        accepted=sum(batch.events for batch in batches),
        bytes=sum(batch.bytes for batch in batches),
        first_seq=min(batch.first_seq for batch in batches),
        last_seq=max(batch.last_seq for batch in batches),
        first_id=first.first_id,
        last_id=last.last_id,
        batches=[Part(batch.events, batch.digest) for batch in batches],
        previous=previous,
        chain=chained(previous, [batch.digest for batch in batches]),
    )


async def make_receipts(db: Database, signer: Signer, now: int) -> int:
    """For every accepted batch that has none yet, also those of a run that died; how many receipts. `now` by the clock
    that all who write the ledger share, epoch milliseconds."""
    made = 0
    courses = await receipts.courses_without(db)
    for at in range(0, len(courses), TOGETHER):
        made += await receipts.add(db, courses[at : at + TOGETHER], partial(_next, signer, now))
    return made


def _next(signer: Signer, now: int, batches: Sequence[Receipted], last: str | None) -> list[Made]:
    """The receipts that follow the last one, a run each. Their ids are in the order of the chain, also within one
    millisecond and with a clock that was set back."""
    before = msgspec.json.decode(last, type=Document) if last else None
    previous, first = (before.chain, max(now, before.made_at + 1)) if before else (BEGINNING, now)
    made = []
    for at, (_, of_run) in enumerate(groupby(batches, key=lambda batch: batch.run_id), first):
        listed = list(of_run)
        told = document(listed[0].app_key, listed[0].course_id, listed, previous, at)
        signed = signer.sign(told)
        ids_of = [batch.batch_id for batch in listed]
        made.append(Made(told.receipt, told.run, at, signed.document, signed.signature, ids_of))
        previous = told.chain
    return made


def check(receipt: Receipt, public_key: str, message_ids: Sequence[str] = ()) -> Document:
    """What a receipt says, once its signature, its chain and, if given, the ids are found right. Raises ConfigError."""
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        key.verify(base64.b64decode(receipt.signature, validate=True), receipt.document.encode())
    except (InvalidSignature, ValueError):
        raise ConfigError("the signature is not by this key, or the receipt was changed") from None
    told = msgspec.json.decode(receipt.document, type=Document)
    if chained(told.previous, [part.digest for part in told.batches]) != told.chain:
        raise ConfigError("the chain does not follow from the batches")
    if message_ids:
        _compare(told, message_ids)
    return told


def _compare(told: Document, message_ids: Sequence[str]) -> None:
    at = 0
    for number, part in enumerate(told.batches, 1):
        these = message_ids[at : at + part.events]
        if len(these) < part.events or digest(these) != part.digest:
            raise ConfigError(f"batch {number} does not hold the ids {at + 1} to {at + part.events} of the list")
        at += part.events
    if at != len(message_ids):
        raise ConfigError(f"the receipt covers {at} ids, the list has {len(message_ids)}")
