"""The processes beside the demo's collector, as whoever watches them sees their ends."""

from __future__ import annotations

import pytest
from conftest import Cast

from collector.demo.children import Children

pytestmark = pytest.mark.only("sqlite", "processes, which know no store")


def test_an_end_that_was_waited_for_before_it_was_seen_is_no_failure(cast: Cast) -> None:
    with Children(cast.settings()) as children:
        child = children.start("fake Segment", "fake-segment", "--port", "0")
    children._see_its_end(child.pid)
    assert child.returncode is not None
