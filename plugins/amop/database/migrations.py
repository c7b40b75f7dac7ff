"""Apply the migrations, ``include/sql/migrations/*.sql``, to a warehouse.

This module connects, keeps other migrations out and checks what the role may do; `amop.database.upgrade` applies the
files.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import Identifier

from amop import time_limits
from amop.database import sql
from amop.database.connection import session_settings
from amop.database.store import MigrationRights, create_schema, lock_migrations, migration_rights

log = logging.getLogger(__name__)

LOCK_KEY = 7_000_001
"""Key of the advisory lock that lets one migration run at a time in a database."""


class MigrationError(RuntimeError):
    """The database was not migrated; the message says why and what to do."""


def migrate(conninfo: str) -> list[str]:
    """Migrate a database to the newest schema; do nothing where it has it already.

    Every file is one transaction together with its ledger row. Calls at the same time are safe: the later one waits,
    then finds nothing to do. The role must own schema ``amop``, or be allowed to create it.

    Args:
        conninfo: libpq connection string or URI.

    Returns:
        The names of the migrations applied now, in order, such as ``0001_reference``.

    Raises:
        MigrationError: a grant is missing, the database was migrated by another version of the package, or a migration
            failed; those before it stay applied.
        psycopg.OperationalError: the server cannot be reached or refuses the role.
    """
    from amop.database.upgrade import upgrade  # SQLAlchemy takes longer to load than the rest of the command line

    with _locked_connection(conninfo) as connection:
        rights = migration_rights(connection)
        _require_rights(rights)
        if not rights.has_schema:
            create_schema(connection)
        connection.commit()
        applied = upgrade(connection, sql.sql_directory() / "migrations")
    log.info("Applied %d migrations: %s", len(applied), ", ".join(applied) or "nothing to do")
    return applied


@contextmanager
def _locked_connection(conninfo: str) -> Iterator[psycopg.Connection[Any]]:
    """Open a connection and keep other migrations out while it is open.

    The lock belongs to the session that migrates, so neither a killed process nor a lost connection leaves it behind.
    """
    settings = session_settings(conninfo, application_name="amop migrate", statement=time_limits.MIGRATION)
    try:
        connection = psycopg.connect(conninfo, **settings)
    except psycopg.OperationalError as error:
        if "CONNECT privilege" in str(error):
            raise MigrationError(_missing_connect(conninfo)) from error
        raise
    with connection:
        wait = f"{round(time_limits.MIGRATION.total_seconds())}s"
        connection.execute("SELECT set_config('lock_timeout', %(wait)s, false)", {"wait": wait})
        lock_migrations(connection, lock_key=LOCK_KEY)
        connection.execute("RESET lock_timeout")
        connection.commit()
        yield connection


def _require_rights(rights: MigrationRights) -> None:
    """Check that the role may migrate the database.

    Raises:
        MigrationError: it may not; the message names the missing grant and the command that gives it.
    """
    role, database = Identifier(rights.role_name).as_string(), Identifier(rights.database_name).as_string()
    if rights.is_of_version_0_1:
        raise MigrationError(
            f"schema amop of database {database} was created by version 0.1 of this package (it has a table "
            "_yoyo_migration), which cannot be migrated: use another database, or delete all data of the package "
            "with DROP SCHEMA amop CASCADE"
        )
    if not rights.has_schema and not rights.may_create_schema:
        raise MigrationError(
            f"database {database} has no schema amop, and role {role} lacks CREATE on the database to create it; as "
            f"the owner of the database run: CREATE SCHEMA amop AUTHORIZATION {role}"
        )
    if rights.has_schema and not rights.may_create_tables:
        raise MigrationError(
            f"role {role} lacks USAGE or CREATE on schema amop; as the owner of the schema run: "
            f"GRANT USAGE, CREATE ON SCHEMA amop TO {role}"
        )
    if rights.other_owner is not None:
        owner = Identifier(rights.other_owner).as_string()
        raise MigrationError(
            f"the tables of schema amop belong to role {owner}, which role {role} is no member of; migrate as {owner}, "
            f"or as a superuser run: GRANT {owner} TO {role}"
        )


def _missing_connect(conninfo: str) -> str:
    parts = conninfo_to_dict(conninfo)
    role, database = (Identifier(str(parts.get(name) or "?")).as_string() for name in ("user", "dbname"))
    return (
        f"role {role} lacks CONNECT on database {database}; as the owner of the database run: "
        f"GRANT CONNECT ON DATABASE {database} TO {role}"
    )
