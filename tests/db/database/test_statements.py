"""Every declared statement and COPY fits the migrated schema: parameters, columns and types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from amop.database.copy import COPIES
from amop.database.sql import sql_directory
from amop.database.statements import STATEMENTS
from tests.worlds.statement_check import copy_faults, import_stores, statement_faults, unbound_files


@pytest.fixture(scope="module")
def connection(shared_warehouse_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    import_stores()
    with psycopg.connect(shared_warehouse_dsn) as connection:
        yield connection


def test_every_statement_fits_the_schema(connection: psycopg.Connection[Any]) -> None:
    faults = [fault for _, each in sorted(STATEMENTS.items()) for fault in statement_faults(connection, each)]
    assert not faults, "\n".join(faults)


def test_every_copy_fits_the_schema(connection: psycopg.Connection[Any]) -> None:
    faults = [fault for _, each in sorted(COPIES.items()) for fault in copy_faults(connection, each)]
    assert not faults, "\n".join(faults)


def test_every_file_is_bound_to_a_function() -> None:
    import_stores()
    unbound = unbound_files(sql_directory(), STATEMENTS)
    assert not unbound, f"no function is bound to {', '.join(unbound)}"
