"""What the doctor asks of SQLite's files."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from store import log
from store.database import Database
from store.doctor.checks import DAY_MS, Check, Volume, modes
from store.engines import open_reader
from store.errors import StoreUnavailable
from store.sqlite.database import FILES, WAL

WAL_LIMIT = 256 * 1024 * 1024


async def ground(data_dir: Path) -> tuple[str, list[Check]]:
    """SQLite's version; whether the files are there, whole and nobody else's.

    Raises StoreUnavailable when the registry or the log is not there.
    """
    version = sqlite3.sqlite_version
    sound = [await _soundness(data_dir, nature) for nature in FILES]
    told = Check("ok", "settings", f"settings: readable, data in {data_dir}, SQLite {version}")
    return version, [told, *modes(data_dir), *sound]


async def _soundness(data_dir: Path, nature: str) -> Check:
    """Whether a database is whole, of this version, and its WAL no longer than it should be."""
    file = FILES[nature]
    if nature == "ledger" and not (data_dir / file).exists():
        return Check("ok", "databases", f"{file}: not begun, because no exporter has run")
    said = await _quick_check(data_dir, nature)
    if said != "ok":
        return Check("FAIL", "databases", f"{file}: {said}")
    wal = data_dir / f"{file}-wal"
    length = wal.stat().st_size if nature in WAL and wal.exists() else 0
    size = (data_dir / file).stat().st_size
    text = f"{file}: whole, of this version, {size // 1_000} kB"
    if length > WAL_LIMIT:
        return Check(
            "warn", "databases", f"{text}, and {length // 1_000_000} MB in its WAL: something reads for too long"
        )
    return Check("ok", "databases", text)


async def _quick_check(data_dir: Path, nature: str) -> str:
    """What SQLite says, or why it cannot be asked. Raises StoreUnavailable when there is no such file."""
    try:
        async with await open_reader(data_dir, nature) as db:
            said: str = await db.value("pragma quick_check(1)")
            return said
    except (StoreUnavailable, sqlite3.Error) as error:
        if not (data_dir / FILES[nature]).exists():
            raise
        return str(error).removeprefix(f"{data_dir / FILES[nature]} ")


async def volume(data_dir: Path, db: Database, now: int) -> Volume:
    """What comes in, and the room on the file system."""
    first = await db.value("/* doctor.first */ select min(seq) from events")
    head = await log.head(db)
    kept = head - first + 1 if first else 0
    size = (data_dir / FILES["log"]).stat().st_size
    recent = head - await log.seq_before(db, now - DAY_MS)
    return Volume(recent if kept else 0, size // kept if kept else 0, shutil.disk_usage(data_dir).free)
