"""The installs that one transaction of attribution meets: as they are stored, and as they will be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from attribution import decision
from attribution.decision import Decision
from attribution.evidence import NETWORK, Conversion, Identity
from store.attribution import following
from store.attribution.following import Stored
from store.database import Connection

MOST_INSTALLS = 50  # of one identity: what has more is shared by people who have nothing else in common
MOST_OF_ONE = 200  # of one person

_encode = msgspec.json.Encoder().encode
_identities = msgspec.json.Decoder(tuple[Identity, ...]).decode


class Install:
    """One install in a turn. `decision` is the newest, when it is known."""

    def __init__(self, stored: Stored, new: bool = False) -> None:
        self.stored = stored
        self.changed = new
        self.decision: Decision | None = None
        self.conversion = Conversion(
            stored.seq,
            stored.message_id.hex(),
            stored.converted_at,
            stored.received_at,
            stored.told_by,  # type: ignore[arg-type] # one of the two
            of_text(stored.identities),
        )

    def learn(self, known: Iterable[Identity]) -> list[Identity]:
        """Take up more ids of the same one; those that are new."""
        new = [each for each in dict.fromkeys(known) if each not in self.conversion.identities]
        if new:
            identities = (*self.conversion.identities, *new)
            self.conversion = msgspec.structs.replace(self.conversion, identities=identities)
            self.stored = self.stored._replace(identities=as_text(identities))
            self.changed = True
        return new

    @property
    def is_open(self) -> bool:
        return bool(self.stored.open)

    @property
    def is_one(self) -> bool:
        """Whether it is an install of its own, and no reinstall."""
        return self.stored.outcome in ("attributed", "organic")


class Installs:
    """Those of an app by their seqs, read when they are asked for."""

    def __init__(self, connection: Connection, app_key: str) -> None:
        self._connection = connection
        self._app_key = app_key
        self._found: dict[int, Install] = {}

    def __getitem__(self, seq: int) -> Install:
        return self._found[seq]

    def add(self, install: Install) -> None:
        self._found[install.stored.seq] = install

    def load(self, seqs: Iterable[int]) -> list[Install]:
        """Those of them that are there, by seq."""
        wanted = sorted(set(seqs))
        missing = [seq for seq in wanted if seq not in self._found]
        for stored in following.installs(self._connection, self._app_key, missing):
            self._found[stored.seq] = Install(stored)
        return [self._found[seq] for seq in wanted if seq in self._found]

    def changed(self) -> list[Stored]:
        return [each.stored for each in self._found.values() if each.changed]

    def newest(self, install: Install) -> Decision | None:
        """What was decided of it last."""
        if install.decision is None and install.stored.version:
            text = following.document(self._connection, self._app_key, install.stored.seq, install.stored.version)
            install.decision = decision.decode(text)
        return install.decision

    def person(self, identities: Iterable[Identity], partner_key: str, install: Install | None = None) -> list[Install]:
        """All installs that these ids lead to, directly or through others of them, by seq; an install of nobody who can
        be known again leads to itself."""
        asked: set[bytes] = set()
        found = {install.stored.seq: install} if install else {}
        ahead = set(marks(identities))
        while ahead and len(found) < MOST_OF_ONE:
            seqs = set()
            for mark in sorted(ahead):
                seqs |= set(following.installs_of(self._connection, self._app_key, mark, MOST_INSTALLS))
            asked |= ahead
            new = [each for each in self.load(seqs - found.keys()) if each.stored.partner_key == partner_key]
            found.update({each.stored.seq: each for each in new})
            ahead = {mark for each in new for mark in marks(each.conversion.identities)} - asked
        return [found[seq] for seq in sorted(found)]


def marks(identities: Iterable[Identity], guessed: bool = False) -> list[bytes]:
    """The hashes, of what is somebody's alone, or of address and agent, too."""
    return [bytes.fromhex(each.mark) for each in identities if guessed or each.kind != NETWORK]


def of_text(identities: str) -> tuple[Identity, ...]:
    """Identities as they are stored."""
    return _identities(identities)


def as_text(identities: Sequence[Identity]) -> str:
    return _encode(identities).decode()
