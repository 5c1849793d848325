"""The list of measurements: `python -m bench [NAME…] [--json]`, or all of them.

Rates are taken in pairs with their peer, one after the other in the same run, and the median of the pairs' ratios is
what counts: on a shared machine a single figure says little.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from bench import attribution, broken, export, ingest, portal, postgres, rollups, segment, snippet
from bench.figure import Figure

MEASUREMENTS: dict[str, Callable[[Path], Iterator[Figure]]] = {
    "snippet": snippet.sizes,
    "ingest-single": ingest.single,
    "ingest-batch": ingest.batch,
    "ingest-latency": ingest.latency,
    "ingest-full": ingest.full,
    "ingest-rollups": rollups.ingest,
    "ingest-segment-single": segment.single,
    "ingest-segment-batch": segment.batch,
    "rollups-rebuild": rollups.rebuild,
    "disk": ingest.disk,
    "export": export.rate,
    "export-memory": export.memory,
    "export-broken": broken.broken,
    "export-idle": broken.idle,
    "attribution": attribution.attribution,
    "portal": portal.pages,
    "pg-ingest-single": postgres.single,
    "pg-ingest-batch": postgres.batch,
    "pg-ingest-full": postgres.full,
    "pg-export": postgres.rate,
    "pg-export-memory": postgres.memory,
    "pg-many": postgres.many,
    "pg-idle": postgres.idle,
    "pg-portal": portal.pages_on_a_server,
}


def main(arguments: list[str]) -> int:
    names = [name for name in arguments if name != "--json"] or list(MEASUREMENTS)
    unknown = set(names) - set(MEASUREMENTS)
    if unknown:
        print(f"no measurement {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}", file=sys.stderr)
        return 2
    figures = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="footfall-bench-") as scratch:
            for figure in MEASUREMENTS[name](Path(scratch)):
                figures.append(figure)
                if "--json" not in arguments:
                    print(figure.line(), flush=True)
    if "--json" in arguments:
        told = [msgspec.structs.asdict(f) | {"ratio": f.ratio, "reached": f.reached} for f in figures]
        print(msgspec.json.encode(told).decode())
    return 0 if all(figure.reached for figure in figures) else 1


raise SystemExit(main(sys.argv[1:]))
