"""The built files: small, the same every time, and what the manifest says they are."""

import base64
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import brotli
import pytest
from playwright.sync_api import Page
from recorder import DIST, Recorder

ROOT = Path(__file__).parent.parent
JS = ROOT / "static" / "js"

pytestmark = pytest.mark.usefixtures("snippet")


def contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in DIST.iterdir()}


def test_it_stays_within_its_budget(snippet: dict[str, Any]) -> None:
    assert snippet["bytes"]["brotli"] <= 1_800
    assert snippet["stub"]["brotli"] <= 300


def test_building_twice_gives_the_same_bytes() -> None:
    before = contents()
    subprocess.run([sys.executable, "scripts/build_snippet.py"], cwd=ROOT, check=True, capture_output=True)

    assert contents() == before


def copy_sources(to: Path) -> None:
    for name in ("pyproject.toml", "scripts", "static"):
        copy = shutil.copy2 if (ROOT / name).is_file() else shutil.copytree
        copy(ROOT / name, to / name)


def test_all_who_build_at_once_succeed(tmp_path: Path) -> None:
    copy_sources(tmp_path)
    command = [sys.executable, "scripts/build_snippet.py"]
    building = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(8)]

    assert [each.wait() for each in building] == [0] * 8
    assert {path.name: path.read_bytes() for path in (tmp_path / "static" / "js" / "dist").iterdir()} == contents()


def test_a_released_version_stays_under_its_hash(tmp_path: Path) -> None:
    copy_sources(tmp_path)
    released = tmp_path / "static" / "js" / "released"
    released.mkdir(exist_ok=True)
    (released / "0.0.1.js").write_bytes(b"old()")
    digest = hashlib.sha384(b"old()").hexdigest()[:16]
    (tmp_path / "static" / "js" / "dist" / "footfall.stale.js").touch()

    built = subprocess.run([sys.executable, "scripts/build_snippet.py"], cwd=tmp_path, check=True, capture_output=True)

    dist = tmp_path / "static" / "js" / "dist"
    assert json.loads(built.stdout)["released"][digest]["version"] == "0.0.1"
    assert gzip.decompress((dist / f"footfall.{digest}.js.gz").read_bytes()) == b"old()"
    assert {path.name for path in dist.iterdir()} - set(contents()) == {
        f"footfall.{digest}.js{suffix}" for suffix in ("", ".br", ".gz")
    }


@pytest.mark.parametrize("name", ["footfall.js", "stub.js"])
def test_every_encoding_is_the_same_script(name: str, snippet: dict[str, Any]) -> None:
    files = contents()
    sizes = snippet["bytes" if name == "footfall.js" else "stub"]

    assert gzip.decompress(files[name + ".gz"]) == brotli.decompress(files[name + ".br"]) == files[name]
    assert sizes == {"raw": len(files[name]), "gzip": len(files[name + ".gz"]), "brotli": len(files[name + ".br"])}


def test_the_manifest_names_version_and_hashes(snippet: dict[str, Any]) -> None:
    script, stub = contents()["footfall.js"], contents()["stub.js"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert snippet["version"] == version
    assert version.encode() in script
    assert snippet["hash"] == hashlib.sha384(script).hexdigest()[:16]
    assert snippet["integrity"] == "sha384-" + base64.b64encode(hashlib.sha384(script).digest()).decode()
    assert snippet["stubIntegrity"] == "sha256-" + base64.b64encode(hashlib.sha256(stub).digest()).decode()


def test_the_integrity_hash_lets_the_script_run(page: Page, recorder: Recorder, snippet: dict[str, Any]) -> None:
    src = recorder.url("/js/footfall.js", "collect.test")
    tag = f'<script async crossorigin integrity="{snippet["integrity"]}" src="{src}" data-app="x"></script>'
    page.goto(recorder.page("/pinned", tag))

    recorder.wait_for("page_view")


def test_the_scripts_contain_no_forbidden_means() -> None:
    for name in ("footfall.js", "stub.js"):
        source = (JS / name).read_text()
        for word in ("eval(", "innerHTML", "Function(", "createElement", "beforeunload", "preventDefault", "import("):
            assert word not in source, f"{name} contains {word}"


def test_the_checks_lint_the_scripts_and_check_their_types() -> None:
    checks = (ROOT / "scripts" / "check").read_text()

    assert "oxlint --deny-warnings static/js" in checks
    assert "--project static/js/tsconfig.json" in checks
