"""Copies of the three databases, taken while both processes work, and worth having only because each is opened again.

The ledger is copied first, so that no cursor in a copy points past the log beside it; and nothing is removed from the
log meanwhile, so that no cursor points at events that are gone. A copy has its final name only when it was found good.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from store import balance
from store.database import Server, Where
from store.engines import open_reader
from store.errors import Busy, ConfigError, FootfallError, StoreUnavailable
from store.log import head
from store.removal import undisturbed
from store.sqlite.database import FILES

ORDER = ("ledger", "log", "registry")
MANIFEST = "manifest.json"
SPARE_BYTES = 64 * 1024 * 1024
_FINISHED = re.compile(r"\d{8}T\d{6}\.\d{3}Z\Z")
_PART = ".part"


class BackupFailed(FootfallError):
    """No copy was made; the text says why."""


class Copy(msgspec.Struct, frozen=True):
    """One database in a backup: its size, the SHA-256 of the file, and the rows of each table."""

    file: str
    bytes: int
    sha256: str
    rows: dict[str, int]


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds. `balanced` tells whether every sum held in the copy; a copy is kept either way."""

    made_at: str
    version: str
    balanced: bool
    databases: list[Copy]


class Made(msgspec.Struct, frozen=True):
    """What `footfall backup` did."""

    path: str
    manifest: Manifest
    removed: list[str]


async def back_up(where: Where, into: Path, keep: int | None = None) -> Made:
    """Copy the databases into a new directory below `into`; with `keep`, remove all finished ones but the newest.

    Raises ConfigError for a server, which has ways of its own, StoreUnavailable when a database cannot be read,
    BackupFailed when there is no room or a copy is not good, Busy when another backup goes there.
    """
    if isinstance(where, Server):
        raise ConfigError(
            f"{where} is not copied by this command: use pg_dump, or pg_basebackup with an archive of the WAL,"
            " which loses nothing; see docs/how-to/grow.md"
        )
    data_dir = where
    _make_directory(into)
    with _alone(into):
        natures = [nature for nature in ORDER if nature != "ledger" or (data_dir / FILES["ledger"]).exists()]
        _check_room(data_dir, into, natures)
        _forget_unfinished(into)
        now = time.time()
        made_at = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f".{int(now * 1_000) % 1_000:03}Z"
        part, path = into / (made_at + _PART), into / made_at
        part.mkdir(mode=0o700)
        try:
            async with undisturbed(data_dir):
                for nature in natures:
                    await _copy(data_dir, nature, part / FILES[nature])
            manifest = await _verified(part, natures, made_at)
            _write(part / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
            _flush(part)
            part.rename(path)
            _flush(into)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        return Made(str(path), manifest, _thin_out(into, keep))


def finished(into: Path) -> list[Path]:
    """Every finished backup below a directory, the oldest first."""
    return sorted(path for path in into.iterdir() if _FINISHED.match(path.name) and (path / MANIFEST).exists())


def _make_directory(into: Path) -> None:
    try:
        into.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise BackupFailed(f"{into}: {error.strerror}") from None


@contextmanager
def _alone(into: Path) -> Iterator[None]:
    """One backup at a time below a directory: whatever is unfinished there then is of a dead one."""
    handle = os.open(into, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Busy(f"another backup goes into {into} now") from None
    finally:
        os.close(handle)


def _check_room(data_dir: Path, into: Path, natures: list[str]) -> None:
    files = [data_dir / (FILES[nature] + end) for nature in natures for end in ("", "-wal")]
    needed = sum(file.stat().st_size for file in files if file.exists()) + SPARE_BYTES
    free = shutil.disk_usage(into).free
    if free < needed:
        raise BackupFailed(f"{into} has {free // 1_000_000} MB free, and a backup needs up to {needed // 1_000_000} MB")


def _forget_unfinished(into: Path) -> None:
    for path in into.iterdir():
        if path.name.endswith(_PART) and _FINISHED.match(path.name.removesuffix(_PART)):
            shutil.rmtree(path)


async def _copy(data_dir: Path, nature: str, to: Path) -> None:
    """By `vacuum into`: one instant of the source, without what was removed and still lies in its free pages."""
    to.touch(mode=0o600)
    async with await open_reader(data_dir, nature) as db:
        await db.execute("pragma query_only = 0")  # else SQLite writes nothing at all; the connection stays read-only
        try:
            await db.all("/* backup.copy */ vacuum into ?", (str(to),))
        except StoreUnavailable as error:
            raise BackupFailed(f"{FILES[nature]} cannot be copied: {error}") from None
    _flush(to)  # SQLite leaves that to us here


async def _verified(part: Path, natures: list[str], made_at: str) -> Manifest:
    """Open the copies as a restored installation would. Raises BackupFailed when one is not whole."""
    copies = []
    for nature in natures:
        file = part / FILES[nature]
        async with await open_reader(part, nature) as db:
            said = await db.value("pragma integrity_check")
            if said != "ok":
                raise BackupFailed(f"the copy of {FILES[nature]} is not whole: {said}")
            tables = await db.all("select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'")
            rows = {name: await db.value(f'select count(*) from "{name}"') for (name,) in tables}  # noqa: S608 - ours
        digest = await asyncio.to_thread(_sha256, file)
        copies.append(Copy(FILES[nature], file.stat().st_size, digest, rows))
    await _check_cursors(part, natures)
    findings = await balance.examine(part)
    return Manifest(made_at, importlib.metadata.version("footfall"), findings.balanced, copies)


async def _check_cursors(part: Path, natures: list[str]) -> None:
    if "ledger" not in natures:
        return
    async with await open_reader(part, "log") as log_db, await open_reader(part, "ledger") as ledger_db:
        newest = max(await head(log_db), await log_db.value("select coalesce(max(seq), 0) from sqlite_sequence"))
        furthest = await ledger_db.value("select coalesce(max(seq), 0) from cursors")
        if furthest > newest:
            raise BackupFailed(f"a cursor is at {furthest}, and the log beside it ends at {newest}")


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
    _flush(path)


def _flush(path: Path) -> None:
    """To the disk: a file, or a directory's names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _thin_out(into: Path, keep: int | None) -> list[str]:
    gone = finished(into)[:-keep] if keep else []
    for path in gone:
        unfinished = path.with_name(path.name + _PART)  # a crash in the middle leaves nothing that looks whole
        path.rename(unfinished)
        shutil.rmtree(unfinished)
    return [str(path) for path in gone]
