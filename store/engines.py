"""Opening and migrating a database of the store with the engine that holds it.

An engine is imported only where it is needed: who has files alone never loads psycopg.
"""

from __future__ import annotations

from store.database import NATURES, Database, Server, Where
from store.errors import ConfigError


async def open_writer(where: Where, nature: str, patience: float | None = None) -> Database:
    """Open for writing. `nature` is registry, log or ledger. SQLite files are made and migrated on the way.

    With `patience`, after `make_ready`: a server need not be there yet, each call connects where nothing is connected,
    and none takes longer than so many seconds.

    Raises Busy when another process writes the file, StoreUnavailable when it cannot be opened, ConfigError when it is
    newer than this program, or the server does not let us.
    """
    if isinstance(where, Server):
        from store.postgres import database as postgres

        return await postgres.open_writer(where, nature, patience)
    from store.sqlite import database as sqlite

    return await sqlite.open_writer(where, nature)


async def open_reader(
    where: Where, nature: str, partner_key: str | None = None, standby: bool = False, patience: float | None = None
) -> Database:
    """Open read-only. On a server, `partner_key` shuts out every row of other partners; `patience` as in `open_writer`.

    Of several servers it is the one that takes writes: a standby lags behind, and its locks tell nothing of who writes
    (store/postgres/settled.py). With `standby`, any will do.

    Raises StoreUnavailable when there is no such database yet, or it is not of this version yet.
    """
    if isinstance(where, Server):
        from store.postgres import database as postgres

        return await postgres.open_reader(where, nature, partner_key, standby, patience)
    from store.sqlite import database as sqlite

    return await sqlite.open_reader(where, nature)


async def make_ready(where: Where) -> None:
    """Before a collector begins: SQLite's registry and log are made or upgraded; a server's must be there, if only on a
    standby.

    Raises as `open_writer` does.
    """
    for nature in ("registry", "log"):
        opening = open_reader(where, nature, standby=True) if isinstance(where, Server) else open_writer(where, nature)
        async with await opening:
            pass


def exists(where: Where, nature: str) -> bool:
    """Whether there can be anything to read: an SQLite file is made by its first writer."""
    if isinstance(where, Server):
        return True
    from store.sqlite.database import FILES

    return (where / FILES[nature]).exists()


def called(where: Where, nature: str) -> str:
    """What a person knows a database by: the file's name, or the schema's."""
    if isinstance(where, Server):
        return nature
    from store.sqlite.database import FILES

    return FILES[nature]


async def migrate_all(where: Where, distribute: bool = False) -> dict[str, list[str]]:
    """Make or upgrade every database; the names of what was applied, by nature. Raises Busy for one that is in use.

    With `distribute`, spread a server's tables over the nodes of Citus; raises ConfigError where there is none.
    """
    if isinstance(where, Server):
        from store.postgres import migrating

        return await migrating.migrate(where, distribute)
    if distribute:
        raise ConfigError("Citus is of PostgreSQL: set FOOTFALL_DATABASE_URL")
    applied = {}
    for nature in NATURES:
        async with await open_writer(where, nature) as database:
            applied[nature] = database.migrated
    return applied


async def missing(where: Where) -> dict[str, list[str]]:
    """The names of what `migrate_all` would apply, by nature."""
    if isinstance(where, Server):
        from store.postgres import migrating

        return await migrating.missing(where)
    from store.sqlite import database as sqlite

    return {nature: await sqlite.missing(where, nature) for nature in NATURES}
