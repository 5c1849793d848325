"""A campaign in the parameters of a page's address, its parts, and the time that it holds."""

from hypothesis import given
from hypothesis import strategies as st

from store.campaign import (
    JOURNEY_MS,
    MOST_CHARACTERS,
    MOST_PARTS,
    Last,
    campaign,
    encode_last,
    last_campaign,
    parameters,
)

QUERY = {
    "hosting": "cloud",
    "utm_source": "news",
    "utm_campaign": "spring",
    "utm_id": "7",
    "utm_term": "",
    "utm_": "x",
    "utm_name": "taken for the campaign's",
    "utm_gclid": "taken for the click's",
    "GCLID": "g1",
    "ScCid": "s1",
    "_ga": "tells of the visitor",
    "mc_eid": "tells of the visitor",
}


def test_parts_are_named_as_segment_names_them_and_click_ids_keep_their_names() -> None:
    assert campaign(QUERY) == {"source": "news", "name": "spring", "id": "7", "gclid": "g1", "sccid": "s1"}
    assert campaign({"hosting": "cloud"}) == {}


def test_what_is_too_long_or_too_much_is_left_out() -> None:
    assert campaign({"utm_source": "x" * MOST_CHARACTERS, "gclid": "g1"}) == {"gclid": "g1"}
    assert len(campaign({f"utm_{n}": "x" for n in range(100)})) == MOST_PARTS


@given(st.dictionaries(st.sampled_from(sorted(QUERY)) | st.text(max_size=20), st.text(max_size=20)))
def test_the_parameters_of_parts_name_the_same_parts(query: dict[str, str]) -> None:
    parts = campaign(query)
    assert campaign(parameters(parts)) == parts


def test_a_campaign_holds_for_thirty_days_and_for_its_partner() -> None:
    last = last_campaign(encode_last(Last(1_000, "owner", {"source": "news"})).decode())
    assert last is not None
    moments = (999, 1_000, 1_000 + JOURNEY_MS, 1_001 + JOURNEY_MS)
    assert [last.of("owner", moment) is not None for moment in moments] == [False, True, True, False]
    assert last.of("stranger", 1_000) is None
    assert last_campaign(None) is last_campaign("") is None
