"""The money of one transaction of attribution: which install each sum counts for, and what its campaigns get of it.

Whose a sum is does not depend on what was told first, the sum, the install, or that both are the same one's: whenever
an install changes, what its person brought lately is looked at once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from attribution import models
from attribution.deciding import Standing
from attribution.decision import Decision
from attribution.evidence import Identity
from attribution.money import Money
from attribution.rules import DAY_MS
from exporter.installs import Install, Installs, as_text, marks, of_text
from store.attribution import earnings, sums
from store.attribution.earnings import Earning
from store.attribution.sums import Revenue, Sums, kept_amount
from store.database import Connection


class Earned(NamedTuple):
    """What somebody brought with an event, when, and for which partner."""

    seq: int
    identities: tuple[Identity, ...]
    partner_key: str
    at: int
    received_at: int
    money: Money


class Book:
    """What installs brought by day and currency, as it will be; the shares go to `sums`."""

    def __init__(self, connection: Connection, app_key: str, installs: Installs, total: Sums) -> None:
        self._connection = connection
        self._app_key = app_key
        self._installs = installs
        self._sums = total
        self._revenue: dict[int, dict[tuple[int, str], Revenue]] = {}
        self._changed: dict[tuple[int, int, str], Revenue] = {}
        self._orphans: list[tuple[int, Revenue]] = []  # money of what turned out to repeat another install
        self._people: dict[tuple[str, str], list[Install]] = {}

    # --- as installs are decided

    def share_anew(self, install: Install, before: Decision | None, after: Decision, standing: Standing) -> None:
        """What was earned after an install goes where its credit goes; after a reinstall, to the install before."""
        if before is None:
            return
        for row in list(self._of(install.stored.seq).values()):
            self._share(install.stored.partner_key, before, row, -1)
            if standing.first is None or not standing.repeats:
                self._share(install.stored.partner_key, after, row, 1)
            else:
                self._orphans.append((standing.first.seq, row))
                self._put(row._replace(amount=0, n=0))

    def _of(self, seq: int) -> dict[tuple[int, str], Revenue]:
        """What an install brought, as it is by now."""
        if seq not in self._revenue:
            rows = sums.revenue(self._connection, self._app_key, seq)
            self._revenue[seq] = {(row.day, row.currency): row for row in rows}
        return self._revenue[seq]

    def _put(self, row: Revenue) -> None:
        self._revenue[row.seq][row.day, row.currency] = row
        self._changed[row.seq, row.day, row.currency] = row

    def _share(self, partner_key: str, of: Decision, row: Revenue, sign: int) -> None:
        for model, shares in models.credits_of(of, row.amount).items():
            for key, amount in shares.items():
                self._sums.money[partner_key, model, row.day, key, row.currency] += sign * amount

    # --- when all of them are

    def earn(
        self,
        earned: Iterable[Earned],
        settle: int,
        known: Mapping[int, Sequence[Identity]],
        stirred: Mapping[int, int],
    ) -> None:
        """Give what came in, and what may be another's now, to the last install before it. `known` are more ids of what
        was earned, by seq; `stirred` the installs of people of whom something changed, with when the first of it was
        received."""
        self._hand_over()
        lately = self._lately(known, stirred) if earnings.are_any(self._connection, self._app_key) else {}
        rows = [_row(each, settle) for each in earned]
        after = [self._placed(_learned(row, known.get(row.seq, ()))) for row in (*rows, *lately.values())]
        kept = [row for row in after if row != lately.get(row.seq)]
        earnings.keep(self._connection, self._app_key, kept)
        hashes = [(mark, row.seq) for row in kept for mark in marks(of_text(row.identities))]
        earnings.keep_identities(self._connection, self._app_key, hashes)

    def _hand_over(self) -> None:
        """What was another's goes to whom it was."""
        orphans, self._orphans = self._orphans, []
        for seq, row in orphans:
            earnings.hand_over(self._connection, self._app_key, row.seq, seq)
            self._give(seq, row.day, row.currency, row.amount, row.n)

    def _lately(self, known: Iterable[int], stirred: Mapping[int, int]) -> dict[int, Earning]:
        """What may be another's now, by seq."""
        since: dict[bytes, int] = {}
        for seq, received_at in stirred.items():
            for mark in marks(self._installs[seq].conversion.identities):
                since[mark] = min(received_at, since.get(mark, received_at))
        found = earnings.at(self._connection, self._app_key, known)
        for mark, received_at in sorted(since.items()):
            found += earnings.of(self._connection, self._app_key, mark, received_at)
        return {row.seq: row for row in sorted(found)}

    def _placed(self, row: Earning) -> Earning:
        """With the install that it counts for, to which it is given."""
        place = row.partner_key, row.identities
        if place not in self._people:
            self._people[place] = self._installs.person(of_text(row.identities), row.partner_key)
        before = [one for one in self._people[place] if one.is_one and one.stored.converted_at <= row.earned_at]
        last = max(before, key=lambda one: (one.stored.converted_at, one.stored.message_id), default=None)
        seq = last.stored.seq if last else 0
        if seq != row.install_seq:
            self._give(row.install_seq, row.earned_at // DAY_MS, row.currency, -row.amount, -1)
            self._give(seq, row.earned_at // DAY_MS, row.currency, row.amount, 1)
        return row._replace(install_seq=seq)

    def _give(self, seq: int, day: int, currency: str, amount: int, n: int) -> None:
        """The whole of a day is shared anew, so that the shares of it are exact however it came."""
        for install in self._installs.load([seq] if seq else []):
            before = self._of(seq).get((day, currency), Revenue(seq, day, currency, 0, 0))
            after = before._replace(amount=before.amount + amount, n=before.n + n)
            of = self._installs.newest(install)
            if of is not None:
                self._share(install.stored.partner_key, of, before, -1)
                self._share(install.stored.partner_key, of, after, 1)
            self._put(after)

    def keep(self) -> None:
        sums.keep_revenue(self._connection, self._app_key, self._changed.values())


def _row(of: Earned, settle: int) -> Earning:
    amount, until = kept_amount(of.money.amount), of.received_at + settle
    return Earning(of.seq, of.partner_key, of.at, until, of.money.currency, amount, as_text(of.identities), 0)


def _learned(row: Earning, known: Sequence[Identity]) -> Earning:
    identities = of_text(row.identities)
    new = [each for each in dict.fromkeys(known) if each not in identities]
    return row._replace(identities=as_text((*identities, *new))) if new else row
