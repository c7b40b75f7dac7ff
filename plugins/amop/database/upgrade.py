"""Apply a folder of SQL files to a database by Alembic, each once and in the order of their names.

Alembic keeps the ledger, ``amop.alembic_version``: its row is the name of the last file applied. Each file is one
transaction together with that row. The files stand for Alembic's revisions, so that no Python file is needed for each:
docs/adr/0014-alembic-runs-sql-files.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import psycopg
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script.base import Script
from alembic.script.revision import RevisionMap
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from amop.database.migrations import MigrationError

SCHEMA = "amop"
VERSION_TABLE = "alembic_version"


def upgrade(connection: psycopg.Connection[Any], directory: Path) -> list[str]:
    """Apply the files that the ledger does not have, each in a transaction, and close the connection.

    Args:
        connection: outside a transaction; its rows are tuples.
        directory: the SQL files, one migration each.

    Returns:
        The names of the files applied now, in order, without ``.sql``.

    Raises:
        MigrationError: there are no files, one of them failed, or the ledger names one that is not there.
    """
    scripts = _scripts(directory)
    engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=NullPool)
    with engine.connect() as bound:
        return _upgrade(bound, scripts)


def _scripts(directory: Path) -> list[Script]:
    """Return the files of a folder as Alembic's revisions, each the successor of the one before.

    Raises:
        MigrationError: there are none.
    """
    scripts: list[Script] = []
    for path in sorted(directory.glob("*.sql")):
        module = ModuleType(path.stem)
        vars(module).update(down_revision=scripts[-1].revision if scripts else None, upgrade=_upgrade_function(path))
        scripts.append(Script(module, path.stem, str(path)))
    if not scripts:
        raise MigrationError(f"there are no migrations in {directory}")
    return scripts


def _upgrade_function(path: Path) -> Callable[[Connection], None]:
    """Return the function of a revision that executes a file."""

    def upgrade(connection: Connection) -> None:
        try:
            # Without parameters psycopg sends the text as it is, and a text may then hold several statements.
            connection.exec_driver_sql(path.read_text(encoding="utf-8"), execution_options={"no_parameters": True})
        except DBAPIError as error:
            raise MigrationError(f"migration {path.name} failed: {error.orig}") from error

    return upgrade


def _upgrade(connection: Connection, scripts: list[Script]) -> list[str]:
    """Apply the migrations that the ledger does not have, each in a transaction, and return their names.

    Raises:
        MigrationError: one failed, or the ledger has a migration that is not among the scripts.
    """
    applied: list[str] = []
    names = [script.revision for script in scripts]
    revisions = RevisionMap(lambda: scripts)

    def pending(heads: tuple[str, ...], _: MigrationContext) -> Iterator[RevisionStep]:
        (head,) = heads or (None,)
        if head is not None and head not in names:
            raise MigrationError(
                f"the database is at migration {head}, which this version of the package does not have: it was "
                "migrated by a newer version; install that version"
            )
        for script in reversed(list(revisions.iterate_revisions("heads", head or "base"))):
            yield RevisionStep(revisions, cast("Script", script), is_upgrade=True)
            applied.append(script.revision)  # resumed when the transaction of the step is committed

    options = {
        "fn": pending,
        "version_table": VERSION_TABLE,
        "version_table_schema": SCHEMA,
        "transaction_per_migration": True,
    }
    try:
        MigrationContext.configure(connection=connection, opts=options).run_migrations(connection=connection)
    except DBAPIError as error:
        raise MigrationError(f"the migration ledger {SCHEMA}.{VERSION_TABLE} failed: {error.orig}") from error
    return applied
