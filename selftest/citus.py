"""A Citus that somebody else runs, for tests: databases on all of its nodes at once.

The surprising thing: making one lets the roles log in, on every node and in every database. Citus lets nobody be a role
that may not, and tests are to run with no more rights than processes have.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from selftest.cluster import Databases
from store.database import NATURES, Server
from store.engines import migrate_all
from store.postgres import roles


class Citus(Databases):
    """Made by a superuser of all nodes; the URL is of a database on the coordinator that knows them."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        with psycopg.connect(url) as connection:
            sql = "select nodename, nodeport from pg_dist_node where noderole = 'primary' order by groupid"
            self._nodes: list[tuple[str, int]] = connection.execute(sql).fetchall()

    def database(self, name: str | None = None, template: str | None = None) -> str:
        """With its tables, distributed, and the rows of the one with the URL `template`."""
        url = self.bare(name)
        asyncio.run(migrate_all(Server(url), distribute=True))
        self.let_roles_log_in(True)
        if template is not None:
            _copy_rows(template, url)
        return url

    def let_roles_log_in(self, may: bool) -> None:
        """They are of all databases."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for role in roles.ALL:
                connection.execute(f"alter role {role} {'login' if may else 'nologin'}".encode())

    def bare(self, name: str | None = None) -> str:
        """An empty one, with the extension, that knows all nodes."""
        url = super().database(name)
        for node in self._nodes[1:]:
            Databases(self._at(node)).database(str(conninfo_to_dict(url)["dbname"]))
        for node in self._nodes:
            with psycopg.connect(self._at(node, url), autocommit=True) as connection:
                connection.execute("create extension citus")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("select citus_set_coordinator_host(%s, %s)", self._nodes[0])
            for node in self._nodes[1:]:
                connection.execute("select citus_add_node(%s, %s)", node)
            connection.execute("select citus_set_node_property(%s, %s, 'shouldhaveshards', true)", self._nodes[0])
        return url

    def each(self, url: str) -> list[str]:
        """A database's URL on every node."""
        return [self._at(node, url) for node in self._nodes]

    def drop(self, url: str) -> None:
        for node in self._nodes:
            Databases(self._at(node)).drop(url)

    def _at(self, node: tuple[str, int], url: str | None = None) -> str:
        parts = urlsplit(url or self.url)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{user}@{node[0]}:{node[1]}"))


def _copy_rows(origin: str, to: str) -> None:
    with psycopg.connect(origin) as source, psycopg.connect(to) as there:
        there.execute("set local citus.multi_shard_modify_mode to 'sequential'")
        tables = [table for (table,) in source.execute(_TABLES, (list(NATURES),))]
        there.execute(f"truncate {', '.join(tables)}".encode())
        for table in tables:
            read, write = (f"copy (select * from {table}) to stdout", f"copy {table} from stdin")  # noqa: S608 - ours
            with source.cursor().copy(read.encode()) as rows, there.cursor().copy(write.encode()) as into:
                for row in rows:
                    into.write(row)


# What refers to another table is made after it.
_TABLES = """
    select oid::regclass::text
    from pg_class
    where relnamespace = any(select oid from pg_namespace where nspname = any(%s)) and relkind in ('r', 'p')
      and not relispartition
    order by oid"""
