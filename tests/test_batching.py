"""Which events go into one request, and what is recorded when the cursor passes them."""

import json
from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from shipping_cast import a_destination, an_app, an_event

from exporter.batching import cut, passage
from store.errors import Refused
from store.event import Details
from store.parked import Parked
from store.tallies import Fate
from wire.mapping import Mapped, Mapper

HOUR = 492_012  # since 1970, of the cast's noon
KEY = "WRITEKEYOFTHEOWNERSCHARTS0000001"


def message(seq: int, size: int = 700) -> Mapped:
    return Mapped(an_event(seq=seq), str(seq), b"x" * size)


def suppressed(seq: int, reason: str = "consent") -> Mapped:
    return Mapped(an_event(seq=seq), suppressed=reason)


def parked(seq: int) -> Mapped:
    return Mapped(an_event(seq=seq), str(seq), parked=Refused("too_large", "40000 bytes"))


def seqs(piece: Sequence[Mapped]) -> list[int]:
    return [item.event.seq for item in piece]


def test_a_short_run_is_one_request() -> None:
    assert seqs(cut([message(1), message(2), message(3)])) == [1, 2, 3]


def test_a_request_has_at_most_500_messages() -> None:
    assert seqs(cut([message(seq, 100) for seq in range(1, 700)])) == list(range(1, 501))


def test_a_request_has_at_most_450000_bytes() -> None:
    run = [message(seq, 32_768) for seq in range(1, 30)]
    assert seqs(cut(run)) == list(range(1, 14))  # 13 x 32,769 + 200 = 426,197


def test_the_commas_between_messages_count_too() -> None:
    run = [message(seq, 899) for seq in range(1, 501)]  # 500 x 899 + 200 = 449,700, and 500 commas are too many
    assert len(cut(run)) == 499


def test_what_is_not_sent_rides_along_before_between_and_after() -> None:
    run = [suppressed(1), message(2), parked(3), message(4), suppressed(5), suppressed(6), message(7), suppressed(8)]
    assert seqs(cut(run, most=2)) == [1, 2, 3, 4, 5, 6]
    assert seqs(cut(run, most=1)) == [1, 2, 3]
    assert seqs(cut(run[5:], most=1)) == [6, 7, 8]


def test_a_run_of_which_nothing_is_sent_is_passed_whole() -> None:
    assert seqs(cut([suppressed(seq) for seq in range(1, 600)], most=1)) == list(range(1, 600))


kinds = st.one_of(
    st.integers(200, 32_768).map(lambda size: ("message", size)),
    st.just(("message", 32_768)),
    st.sampled_from([("suppressed", 0), ("parked", 0)]),
)


@given(st.lists(kinds, min_size=1, max_size=60).flatmap(lambda run: st.tuples(st.just(run), st.integers(1, 40))))
def test_cutting_again_and_again_takes_every_event_once_and_never_too_much(
    drawn: tuple[list[tuple[str, int]], int],
) -> None:
    kinds, most = drawn
    makers = {"suppressed": suppressed, "parked": parked}
    left = [message(seq, size) if kind == "message" else makers[kind](seq) for seq, (kind, size) in enumerate(kinds, 1)]
    taken: list[int] = []
    while left:
        piece = cut(left, most)
        sizes = [len(item.wire) for item in piece if item.wire]
        assert len(sizes) <= most
        assert sum(size + 1 for size in sizes) + 200 <= 450_000
        assert len(piece) > 0
        is_last = len(piece) == len(left)
        if not is_last:
            assert left[len(piece)].wire, "what is not sent rides along with what was"
        taken += seqs(piece)
        left = left[len(piece) :]
    assert taken == list(range(1, len(kinds) + 1))


titles = st.text(st.characters(exclude_categories=["Cs"]), max_size=2_000)


@settings(max_examples=30, deadline=None)
@given(st.lists(titles, min_size=1, max_size=30), st.integers(1, 40))
def test_the_bytes_on_the_wire_are_never_more_than_were_counted(texts: list[str], times: int) -> None:
    """450,000 is far below the 500 KB that Segment takes; the sizes that are summed up must be those of the body."""
    events = [
        an_event(seq=seq, details=Details(url="https://market.example/", title=text))
        for seq, text in enumerate(texts * times, 1)
    ]
    run = list(map(Mapper(an_app(), a_destination(), "MPAC").map, events))
    piece = cut(run)
    envelope = json.dumps({"batch": [], "sentAt": "2026-02-16T13:00:00.000+00:00", "writeKey": KEY})
    body = b",".join(item.wire for item in piece)
    assert len(envelope) + len(body) <= 450_000


# --- what is recorded


def test_a_passage_counts_every_event_once_by_its_fate() -> None:
    piece = [message(1), suppressed(2), suppressed(3, "gpc"), parked(4), message(5), suppressed(6)]
    passed = passage(piece)
    assert passed.seq == 6
    assert passed.fates == Counter(
        {
            Fate(HOUR, "accepted"): 2,
            Fate(HOUR, "suppressed", "consent"): 2,
            Fate(HOUR, "suppressed", "gpc"): 1,
            Fate(HOUR, "parked", "too_large"): 1,
        }
    )
    assert passed.parked == [Parked(4, "4", "too_large", "40000 bytes", HOUR)]


def test_a_refused_message_is_parked_and_nothing_of_its_piece_is_accepted() -> None:
    passed = passage(
        [suppressed(1), parked(2), message(3), suppressed(4)], Parked(3, "3", "refused_400", "Bad Request", HOUR)
    )
    assert passed.fates == Counter(
        {
            Fate(HOUR, "suppressed", "consent"): 2,
            Fate(HOUR, "parked", "too_large"): 1,
            Fate(HOUR, "parked", "refused_400"): 1,
        }
    )
    assert [(item.seq, item.reason) for item in passed.parked] == [(3, "refused_400"), (2, "too_large")]


def test_fates_are_counted_in_the_hour_in_which_the_event_was_received() -> None:
    received = 3_600_000 * HOUR
    early = Mapped(an_event(seq=1, received_at=received - 1), "1", b"{}")
    late = Mapped(an_event(seq=2, received_at=received), "2", b"{}")
    assert passage([early, late]).fates == Counter({Fate(HOUR - 1, "accepted"): 1, Fate(HOUR, "accepted"): 1})


@given(st.lists(st.sampled_from(["message", "suppressed", "parked"]), min_size=1, max_size=40))
def test_a_passage_speaks_of_as_many_events_as_it_passes(kinds: list[str]) -> None:
    makers = {"message": message, "suppressed": suppressed, "parked": parked}
    passed = passage([makers[kind](seq) for seq, kind in enumerate(kinds, 1)])
    assert passed.fates.total() == len(kinds)
    assert len(passed.parked) == kinds.count("parked")
