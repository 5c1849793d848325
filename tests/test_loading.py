"""What a program loads before it works: a start is waited for, and a restart by everybody who sends."""

import subprocess
import sys

SELDOM = {"requests", "segment.analytics", "zxcvbn", "psycopg", "authlib", "selftest", "exporter.run"}


def test_a_collector_loads_nothing_that_it_seldom_needs() -> None:
    program = "import sys, collector.server; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "collector.portal.pages" in loaded
    assert SELDOM.isdisjoint(loaded)
