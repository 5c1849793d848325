"""The built wheel by itself: what a stranger installs brings its pages, its static files and its migrations."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from processes import COMMAND, SECRET_KEY, Process, free_port

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel's content and nothing else of ours."""
    home = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(home / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (home / "dist").glob("footfall-*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(home / "site")
    return home


def test_a_demo_runs_from_the_wheel_alone(installed: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("FOOTFALL_")}
    env |= {"PYTHONPATH": str(installed / "site"), "FOOTFALL_SECRET_KEY": SECRET_KEY}
    where = subprocess.run(
        [sys.executable, "-c", "import collector.app, exporter.run, footfall, store.log; print(footfall.__file__)"],
        cwd=installed,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.strip() == str(installed / "site" / "footfall.py")
    port = free_port(and_next=1)
    command = [*COMMAND, "demo", "--port", str(port), "--data", str(installed / "data")]
    with Process(command, env, port, installed / "demo.log", "/readyz") as demo:
        page = demo.get("/demo/apps/1218401/board-charts?hosting=cloud&tab=overview")
        assert page.status_code == 200
        assert 'data-app="com.fernhollow.board-charts"' in page.text
        assert demo.get("/js/footfall.js").headers["content-type"] == "text/javascript; charset=utf-8"
        assert demo.get("/static/css/demo.css").status_code == 200
        assert demo.get("/openapi.json").json()["openapi"] == "3.1.0"
        assert demo.stop() == 0


def test_the_self_test_holds_from_the_wheel_alone(installed: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("FOOTFALL_")}
    command = [*COMMAND, "selftest", "delivery", "--kills", "2"]
    env["PYTHONPATH"] = str(installed / "site")
    done = subprocess.run(command, cwd=installed, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "None was lost" in done.stdout


def test_the_wheel_brings_no_tests_and_no_second_copy_of_the_pages(installed: Path) -> None:
    names = {path.name for path in (installed / "site").iterdir()}
    assert {name for name in names if not name.endswith(".dist-info")} == {
        "attribution",
        "collector",
        "commands",
        "exporter",
        "footfall.py",
        "journal",
        "selftest",
        "store",
        "wire",
    }
