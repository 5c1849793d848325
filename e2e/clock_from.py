"""`footfall` with a clock that begins at a given moment: `python clock_from.py MILLISECONDS serve …`.

So that what shows the time shows the same whenever it is looked at.
"""

from __future__ import annotations

import sys
import time

from footfall import main

_real, _begin = time.time_ns, time.time_ns()


def begin_at(milliseconds: int) -> None:
    """From now on the clock goes on from then."""
    time.time_ns = lambda: milliseconds * 1_000_000 + _real() - _begin
    time.time = lambda: time.time_ns() / 1e9


if __name__ == "__main__":
    begin_at(int(sys.argv.pop(1)))
    main()
