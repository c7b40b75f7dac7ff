"""COPY of typed rows into a table, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Generic, TypeVar

from psycopg import sql

from amop.database.connection import WarehouseConnection

Row = TypeVar("Row")

COPIES: dict[str, CopyInto[Any]] = {}
"""Every declared COPY by its table; filled as the stores are imported."""


class CopyInto(Generic[Row]):
    """COPY into one table; the fields of the row's dataclass or named tuple (two or more) are the columns.

    Declared in a subject's ``store.py``; ``tests/db/database/test_statements.py`` compares fields and columns.

    Args:
        table: name of the table, such as ``amop.device_staging``; without a schema it is a temporary table.
        row_type: dataclass of the rows, or named tuple: three times as fast to make where there are many.
        needs: names of the statements that create the temporary table.
        types: PostgreSQL's names of the columns' types, such as ``int8``; the rows are then sent in binary form, which
            is twice as fast. None = as text, whatever the types are.

    Raises:
        ValueError: the row has a single field or another number of fields than types, or another COPY into the
            table has been declared.
    """

    def __init__(
        self, table: str, row_type: type[Row], *, needs: Sequence[str] = (), types: Sequence[str] | None = None
    ) -> None:
        self.table = table
        self.row_type = row_type
        self.needs = tuple(needs)
        self.types = None if types is None else tuple(types)
        is_tuple = issubclass(row_type, tuple)
        self.columns = row_type._fields if is_tuple else tuple(each.name for each in fields(row_type))  # type: ignore[attr-defined, arg-type]
        if len(self.columns) < 2:
            raise ValueError(f"{row_type.__qualname__} must have two fields or more to be copied into {table}")
        if self.types is not None and len(self.types) != len(self.columns):
            raise ValueError(f"{table} is copied with {len(self.types)} types for {len(self.columns)} columns")
        known = COPIES.get(table)
        if known is not None and known.row_type.__qualname__ != row_type.__qualname__:
            raise ValueError(f"{table} is copied from {known.row_type.__qualname__} and from {row_type.__qualname__}")
        self._values: Callable[[Any], tuple[Any, ...]] = tuple if is_tuple else attrgetter(*self.columns)
        COPIES[table] = self

    def write(self, connection: WarehouseConnection, rows: Iterable[Row]) -> None:
        """Stream the rows into the table."""
        statement = sql.SQL("COPY {} ({}) FROM STDIN{}").format(
            sql.Identifier(*self.table.split(".")),
            sql.SQL(", ").join(map(sql.Identifier, self.columns)),
            sql.SQL("" if self.types is None else " (FORMAT binary)"),
        )
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            if self.types is not None:
                copy.set_types(self.types)
            write_row = copy.write_row
            for values in map(self._values, rows):
                write_row(values)
