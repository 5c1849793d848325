"""Checks what is installed: versions below which a known fault lies, licences, and packages that must not be there.

The floors hold even where no service of known vulnerabilities can be reached; where one can, it is asked as well.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import Distribution, distributions

from packaging.version import Version

FLOORS = {
    "brotli": "1.2.0",  # CVE-2025-6176
    "starlette": "1.5.1",  # CVE-2025-62727, -48710, -48818, -54282, -54283 and unlimited ranges
    "h11": "0.16.0",  # CVE-2025-43859
    "idna": "3.7",  # CVE-2024-3651
    "uvicorn": "0.54",
    "jinja2": "3.1.6",
    "cryptography": "44.0.1",
    "requests": "2.32.4",
    "urllib3": "2.5.0",
}
FORBIDDEN = {"python-multipart": "forms are read by the few lines that need them; its parser has a history of faults"}
PERMISSIVE = (
    "MIT",
    "BSD",
    "APACHE",
    "ISC",
    "PSF",
    "PYTHON SOFTWARE",
    "MPL",
    "MOZILLA",
    "UNLICENSE",
    "ZLIB",
    "0BSD",
    "CC0",
)
# Used as it comes and imported, never copied or changed: what its licence asks for, this project does not do.
LIBRARIES = {"psycopg": "LGPL-3.0-only", "psycopg-binary": "LGPL-3.0-only"}


def licence(found: Distribution) -> str:
    """What a package says of its licence, wherever it says it."""
    told = found.metadata.json
    classifiers = [text.rpartition("::")[2] for text in told.get("classifier", []) if text.startswith("License")]
    return " ".join([str(told.get("license_expression", "")), *classifiers, str(told.get("license", ""))[:100]]).strip()


def faults() -> list[str]:
    told = []
    for found in distributions():
        name = found.metadata["Name"].lower().replace("_", "-")
        if name in FORBIDDEN:
            told.append(f"{name} is installed: {FORBIDDEN[name]}")
        if name in FLOORS and Version(found.version) < Version(FLOORS[name]):
            told.append(f"{name} {found.version} has a known fault: {FLOORS[name]} or later")
        if name in ("footfall", "pip", "setuptools") or licence(found) == LIBRARIES.get(name):
            continue
        if not any(word in licence(found).upper() for word in PERMISSIVE):
            told.append(f"{name}: licence {licence(found) or 'not stated'!r} is not known to be permissive")
    return told


def main() -> int:
    told = faults()
    audit = subprocess.run(
        [sys.executable, "-m", "pip_audit", "--skip-editable", "--progress-spinner", "off"],
        capture_output=True,
        text=True,
    )
    if audit.returncode != 0:
        told.append(f"known vulnerabilities:\n{audit.stdout}{audit.stderr}")
    elif "could not be audited" in audit.stdout + audit.stderr:
        sys.stderr.write("  (no vulnerability service can be reached from here: only the floors were checked)\n")
    for line in told:
        sys.stderr.write(line + "\n")
    return 1 if told else 0


if __name__ == "__main__":
    raise SystemExit(main())
