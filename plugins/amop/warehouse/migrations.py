"""Migrations of the warehouse: the files of ``include/sql/migrations``, run by yoyo on psycopg 3."""

from __future__ import annotations

import glob
import logging
from datetime import timedelta
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import Migration, MigrationList, default_migration_table, read_migrations

from amop import time_limits
from amop.warehouse import sql
from amop.warehouse.connection import session_settings

log = logging.getLogger(__name__)

SCHEMA = "amop"
"""Schema of the package; yoyo's own tables (``_yoyo_migration`` and so on) live in it too."""

LOCK_KEY = 7_000_001
"""Key of the advisory lock that lets one migration run at a time in a database."""


class MigrationError(RuntimeError):
    """A migration failed and was rolled back; the message names its file."""


class _WarehouseBackend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo has no types
    """yoyo's psycopg 3 backend, with a migration and its ledger row in one transaction.

    yoyo itself runs the statements on a second connection and writes the ledger row afterwards: a crash in
    between would leave a migration that is applied but not known to be.
    """

    def apply_one(self, migration: Migration, force: bool = False, mark: bool = True) -> None:
        """Apply a migration and note it in the ledger: both or neither.

        Raises:
            MigrationError: a statement failed; nothing of this migration is left.
        """
        try:
            with self.transaction():
                migration.process_steps(self, "apply", force=force)
                self.log_migration(migration, "apply")
                if mark:
                    self.mark_one(migration, log=False)
        except psycopg.Error as error:
            raise MigrationError(f"migration {migration.id}.sql failed: {error}") from error


def migrate(conninfo: str) -> list[str]:
    """Bring a database to the newest schema; one that is there already is left alone.

    Every file is one transaction together with its ledger row. Two calls at once are safe: the second waits,
    then finds nothing to do. The role needs no superuser: owner of the database is enough.

    Args:
        conninfo: libpq connection string or URI.

    Returns:
        The names of the migrations applied now, in order, such as ``0001.reference``.

    Raises:
        MigrationError: a migration failed; the ones before it stay applied.
        psycopg.OperationalError: the server cannot be reached or refuses the role.
    """
    # A lock of the session, not yoyo's lock row: a killed process cannot leave it behind.
    with psycopg.connect(conninfo, autocommit=True, **_settings(conninfo, lock=time_limits.MIGRATION)) as holder:
        holder.execute(sql.load("reference/lock_migrations"), {"lock_key": LOCK_KEY})
        holder.execute(sql.load("migrations/0000.schema"))
        with _WarehouseBackend(_database_uri(conninfo), default_migration_table) as backend:
            backend.create_lock_table()
            backend.break_lock()  # safe: we hold the advisory lock, so nobody else migrates
            pending = backend.to_apply(_migrations())
            for migration in pending:
                backend.apply_one(migration)
            names = [migration.id for migration in pending]
    log.info("Applied %d migrations: %s", len(names), ", ".join(names) or "nothing to do")
    return names


def _migrations() -> MigrationList:
    directory = sql.sql_directory() / "migrations"
    migrations = read_migrations(glob.escape(str(directory)))
    if not migrations:
        raise MigrationError(f"there are no migrations in {directory}")
    return migrations


def _database_uri(conninfo: str) -> DatabaseURI:
    """Return yoyo's form of a libpq connection string; built from parts, so no character needs quoting."""
    parts: dict[str, Any] = dict(conninfo_to_dict(conninfo))
    user, password = parts.pop("user", None), parts.pop("password", None)
    host, port, database = parts.pop("host", None), parts.pop("port", None), parts.pop("dbname", None)
    extra = {**parts, **_settings(conninfo), "schema": SCHEMA}
    return DatabaseURI("postgresql+psycopg", user, password, host, port, database, extra)


def _settings(conninfo: str, *, lock: timedelta = time_limits.LOCK) -> dict[str, Any]:
    """Return the session's limits; only who waits for another migration waits for a lock for longer."""
    return session_settings(conninfo, application_name="amop migrate", statement=time_limits.MIGRATION, lock=lock)
