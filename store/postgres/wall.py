"""The wall between partners: who reads through the portal's role sees one partner's rows and no others.

The conditions look at two settings of the transaction and at nothing else: Citus asks them on other machines, where no
sub-select of theirs could be answered. So the partner's apps are read as the transaction begins, and told to it.
"""

from __future__ import annotations

from psycopg import sql

from store.errors import ConfigError
from store.postgres.connection import Connection

OF_PARTNER, OF_ALL = "of_partner", "of_all"  # the policies of every table with rows of partners
_PARTNER = "nullif(current_setting('footfall.partner', true), '')"
_APPS = "nullif(current_setting('footfall.apps', true), '')::text[]"  # an array's text, whatever is in a key


def condition(columns: set[str]) -> str | None:
    """What is true of one partner's rows of a table with these columns; None where a row is nobody's."""
    if "partner_key" in columns:
        return f"partner_key = {_PARTNER}"
    return f"app_key = any({_APPS})" if "app_key" in columns else None


def stand_for(connection: Connection, partner_key: str) -> None:
    """From now on to its end, let this transaction see what belongs to a partner.

    As texts, because Citus passes on to its nodes what is set by `set local`, and not what a function sets. Raises
    ConfigError when our user could look over the wall.
    """
    if not connection.execute(_STANDS).fetchone()[0]:
        raise ConfigError(
            f"the user {connection.raw.info.user} would see more than one partner's rows: it has to be in no role but"
            " footfall_portal, or that role may log in; see docs/how-to/grow.md"
        )
    _set(connection, "partner", partner_key)
    row = connection.execute(_APPS_OF, (partner_key,)).fetchone()
    _set(connection, "apps", row[0])


def _set(connection: Connection, name: str, value: str) -> None:
    connection.raw.execute(sql.SQL("set local footfall.{} = {}").format(sql.Identifier(name), sql.Literal(value)))


_APPS_OF = """/* wall.apps_of */
    select coalesce(array_agg(app_key order by app_key), '{}')::text
    from registry.apps
    where partner_key = ?"""

# Whatever may be read has its policies, they hold for whoever we are now, and none lets us see all rows.
_STANDS = f"""/* wall.stands */
    select not exists (
      select
      from pg_class
      where relnamespace in ('registry'::regnamespace, 'log'::regnamespace, 'ledger'::regnamespace)
        and relkind in ('r', 'p', 'v', 'm') and relname <> 'schema_migrations'
        and has_any_column_privilege(pg_class.oid, 'select')
        and (
          not row_security_active(pg_class.oid)
          or exists (
            select
            from pg_policy, unnest(polroles) as of_role
            where polrelid = pg_class.oid and polname <> '{OF_PARTNER}'
              and case of_role when 0 then true else pg_has_role(of_role, 'usage') end
          )
        )
    )"""
