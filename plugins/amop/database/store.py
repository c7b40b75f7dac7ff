"""Statements of the migrations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from amop.database.connection import WarehouseConnection
from amop.database.statements import statement


@dataclass(frozen=True, slots=True)
class MigrationRights:
    """What a role may do to migrate a database."""

    role_name: str
    database_name: str
    may_create_schema: bool
    has_schema: bool
    may_create_tables: bool
    """In schema amop; False also where it does not exist."""
    other_owner: str | None
    """A role that owns tables of the schema and that this role is no member of."""
    is_of_version_0_1: bool
    """True where the tables were created by the migrations of version 0.1."""


@statement("database/migration_rights")
def migration_rights(connection: WarehouseConnection) -> MigrationRights:
    """Return what the connection's role may do."""


@statement("database/create_schema")
def create_schema(connection: WarehouseConnection) -> None:
    """Create schema amop."""


@statement("database/lock_migrations")
def lock_migrations(connection: WarehouseConnection, *, lock_key: int) -> None:
    """Wait until no other migration runs in the database, and keep others out while the connection is open."""


@statement("database/present_time")
def present_time(connection: WarehouseConnection) -> datetime:
    """Return the present time of the database's clock."""
