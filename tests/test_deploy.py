"""What is shipped for running on a real machine: units, users, directories, the container, and the settings' example.

The surprising thing: units are read by systemd's own tools, which need no running systemd. The program's path is
exchanged for the one that is installed here, because those tools look whether it is there.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import click
import pytest
import yaml

from footfall import main
from store.settings import load

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
ALERT = "footfall-alert@.service"
PROGRAM = "/opt/footfall/.venv/bin/footfall"
KEY = "b1d8a2c47f603e95d2b8e6a1c3f5079d"

HARDENING = """
    UMask=0077 ProtectSystem=strict ProtectHome=yes PrivateTmp=yes PrivateDevices=yes PrivateMounts=yes PrivateUsers=yes
    ProtectKernelTunables=yes ProtectKernelModules=yes ProtectKernelLogs=yes ProtectControlGroups=yes ProtectClock=yes
    ProtectHostname=yes ProtectProc=invisible ProcSubset=pid NoNewPrivileges=yes RestrictNamespaces=yes
    RestrictRealtime=yes RestrictSUIDSGID=yes LockPersonality=yes MemoryDenyWriteExecute=yes
    SystemCallArchitectures=native SystemCallFilter=@system-service CapabilityBoundingSet= DevicePolicy=closed
    RemoveIPC=yes LimitCORE=0 User=footfall
""".split()

each_service = pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)


def run(*command: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **more)


def lines(unit: Path) -> list[str]:
    return [line for line in unit.read_text().splitlines() if line and not line.startswith("#")]


def parses(arguments: list[str]) -> bool:
    """Whether the program would take this command line."""
    command = main.commands[arguments[0]]
    command.parse_args(click.Context(command), arguments[1:])
    return True


# --- units


def test_systemd_finds_no_fault_in_any_unit(tmp_path: Path) -> None:
    copies = [tmp_path / unit.name for unit in UNITS]
    for unit, copy in zip(UNITS, copies, strict=True):
        copy.write_text(unit.read_text().replace(PROGRAM, str(Path(sys.executable).parent / "footfall")))
    done = run("systemd-analyze", "verify", "--man=no", *copies)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@each_service
def test_a_service_is_exposed_to_little(service: Path) -> None:
    done = run("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", service)
    assert done.returncode == 0, done.stdout + done.stderr


@each_service
def test_a_service_has_the_full_hardening_set(service: Path) -> None:
    assert [wanted for wanted in HARDENING if wanted not in lines(service)] == []


@each_service
def test_a_service_runs_what_there_is(service: Path) -> None:
    for line in lines(service):
        if line.startswith(f"ExecStart={PROGRAM} "):
            assert parses(shlex.split(line)[1:])


@pytest.mark.parametrize("service", [s for s in SERVICES if s.name != ALERT], ids=lambda path: path.name)
def test_a_service_has_its_secret_as_a_credential_and_its_failures_told(service: Path) -> None:
    assert "LoadCredential=secret-key:/etc/footfall/secret-key" in lines(service)
    assert "EnvironmentFile=-/etc/footfall/footfall.env" in lines(service)
    assert "StateDirectory=footfall" in lines(service)
    assert "OnFailure=footfall-alert@%n.service" in lines(service)


def test_the_secret_is_read_from_the_credential_that_the_units_name(tmp_path: Path) -> None:
    (tmp_path / "secret-key").write_text(f"{KEY}\n")
    assert load({"CREDENTIALS_DIRECTORY": str(tmp_path)}).secret_key == KEY


@pytest.mark.parametrize("timer", [u for u in UNITS if u.suffix == ".timer"], ids=lambda path: path.name)
def test_a_timer_has_its_service_and_runs_off_the_full_hour(timer: Path) -> None:
    assert timer.with_suffix(".service").exists()
    (when,) = (line.partition("=")[2] for line in lines(timer) if line.startswith("OnCalendar="))
    done = run("systemd-analyze", "calendar", "--iterations=1", when)
    assert done.returncode == 0, done.stderr
    assert re.search(r"Normalized form: .*:(?!00)\d\d(/\d+)?:00$", done.stdout, re.MULTILINE)
    assert {"Persistent=yes", "AccuracySec=1s", "FixedRandomDelay=yes"} <= set(lines(timer))


def test_an_operators_command_runs_as_the_units_do(tmp_path: Path) -> None:
    (tmp_path / "systemd-run").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "systemd-run").chmod(0o755)
    done = run(DEPLOY / "footfall", "app", "list", "two words", env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    said = done.stdout.splitlines()
    assert said[said.index(PROGRAM) :] == [PROGRAM, "app", "list", "two words"]
    unit = [line.replace("%S", "/var/lib") for line in lines(DEPLOY / "systemd" / "footfall-backup.service")]
    properties = [text.removeprefix("--property=") for text in said if text.startswith("--property=")]
    assert {"User=footfall", "LoadCredential=secret-key:/etc/footfall/secret-key"} <= set(properties)
    assert [wanted for wanted in properties if wanted not in unit] == []


# --- user and directories


@pytest.mark.skipif(os.geteuid() != 0, reason="directories are given to another user")
def test_user_and_directories_are_made_with_tight_modes(tmp_path: Path) -> None:
    for directory in ("etc/footfall", "var"):
        (tmp_path / directory).mkdir(parents=True)
    for name in ("secret-key", "footfall.env"):
        (tmp_path / "etc/footfall" / name).touch(0o666)
    done = run("systemd-sysusers", f"--root={tmp_path}", DEPLOY / "sysusers.d" / "footfall.conf")
    assert done.returncode == 0, done.stderr
    (user,) = [line for line in (tmp_path / "etc/passwd").read_text().splitlines() if line.startswith("footfall:")]
    _, _, number, _, _, home, shell = user.split(":")
    assert (home, shell) == ("/var/lib/footfall", "/usr/sbin/nologin")
    done = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", DEPLOY / "tmpfiles.d" / "footfall.conf")
    assert done.returncode == 0, done.stderr
    there = {
        name: (stat.S_IMODE((tmp_path / name).stat().st_mode), (tmp_path / name).stat().st_uid)
        for name in ("etc/footfall/secret-key", "etc/footfall", "var/lib/footfall", "var/backups/footfall")
    }
    assert there == {
        "etc/footfall/secret-key": (0o600, 0),
        "etc/footfall": (0o755, 0),
        "var/lib/footfall": (0o700, int(number)),
        "var/backups/footfall": (0o700, int(number)),
    }


# --- settings, container, compose


def test_the_example_of_settings_holds_good_settings_only() -> None:
    found = re.findall(r"^(#?)(FOOTFALL_\w+)=(.*)$", (DEPLOY / "footfall.env").read_text(), re.MULTILINE)
    settings = {name: value for _, name, value in found}
    assert len(settings) == len(found) >= 8
    assert load(settings | {"FOOTFALL_SECRET_KEY": KEY}).consent == "required"
    assert "FOOTFALL_SECRET_KEY" not in settings


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", "", (DEPLOY / "Containerfile").read_text())
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in text.splitlines() if line[:1].isalpha()]


def test_the_wheel_can_be_built_from_what_the_container_copies(tmp_path: Path) -> None:
    copied = [shlex.split(rest) for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    for *sources, target in copied:
        for source in sources:
            destination = tmp_path / target
            if source.endswith("/"):
                shutil.copytree(ROOT / source, destination, ignore=shutil.ignore_patterns("__pycache__", "dist"))
            else:
                destination.mkdir(exist_ok=True)
                shutil.copy(ROOT / source, destination)
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "made", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "made").glob("*.whl")
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    for wanted in ("footfall.py", "collector/templates/demo/index.html", "store/migrations/log/0001_log.sql"):
        assert wanted in names
    assert any(name.startswith("collector/static/js/dist/") for name in names)


def test_the_container_runs_the_collector_as_nobody_special() -> None:
    said = dict(instructions())  # the last of each
    assert said["USER"] == "10001:10001"
    assert json.loads(said["ENTRYPOINT"]) == [PROGRAM]
    assert parses(json.loads(said["CMD"]))
    check = json.loads(said["HEALTHCHECK"].partition(" CMD ")[2])
    compile(check[-1], "health", "exec")
    assert "/readyz" in check[-1]


def test_compose_names_what_there_is() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert set(compose["services"]) == {"collector", "exporter"}
    for service in compose["services"].values():
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()
        assert (DEPLOY / service["env_file"]).exists()
        assert parses(service["command"])
        assert set(service["secrets"]) <= set(compose["secrets"])
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(compose["volumes"])
        assert service["read_only"] is True
        (secret,) = service["secrets"]
        assert service["environment"]["FOOTFALL_SECRET_KEY_FILE"] == f"/run/secrets/{secret}"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
