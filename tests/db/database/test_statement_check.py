"""The check of the statements finds each kind of mistake, by planted ones, and says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NewType

import numpy as np
import numpy.typing as npt
import psycopg
import pytest
from psycopg.types.json import Jsonb

from amop.database import sql, statements
from amop.database.columns import ColumnRow
from amop.database.connection import WarehouseConnection
from amop.database.copy import COPIES, CopyInto
from amop.database.statements import RowCount, Statement
from tests.worlds.statement_check import copy_faults, is_readable, is_sendable, statement_faults, unbound_files

TenantId = NewType("TenantId", int)
TENANT = "SELECT id, name, time_zone FROM amop.tenant WHERE id = %(tenant_id)s"


@dataclass(frozen=True, slots=True)
class Tenant:
    id: TenantId
    name: str
    time_zone: str | None


@dataclass(frozen=True, slots=True)
class TenantWithNickname(Tenant):
    nickname: str


@dataclass(frozen=True, slots=True)
class TenantWithoutZone:
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class TenantNumbered(TenantWithoutZone):
    time_zone: int


@dataclass
class ThawedTenant:
    id: int
    name: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class TenantColumns(ColumnRow):
    ids: npt.NDArray[np.int64]
    names: npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class SwappedColumns(ColumnRow):
    names: npt.NDArray[np.str_]
    ids: npt.NDArray[np.int64]


@pytest.fixture(scope="module")
def connection(shared_warehouse_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(shared_warehouse_dsn) as connection:
        yield connection


Faults = Callable[..., str]


@pytest.fixture
def faults_of(connection: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """Return a function that binds a text to a function and returns what the check says about them."""
    monkeypatch.setenv("AMOP_SQL_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(statements, "STATEMENTS", {})
    (tmp_path / "planted").mkdir()
    sql.load.cache_clear()

    def check(text: str | None, function: Callable[..., Any], needs: Sequence[str] = ()) -> str:
        if text is not None:
            (tmp_path / "planted" / "tenant.sql").write_text(text, encoding="utf-8")
        faults = "\n".join(statement_faults(connection, Statement("planted/tenant", function, needs)))
        assert connection.info.transaction_status in {
            psycopg.pq.TransactionStatus.IDLE,
            psycopg.pq.TransactionStatus.INTRANS,
        }
        return faults

    yield check
    sql.load.cache_clear()


def tenant(connection: WarehouseConnection, *, tenant_id: TenantId) -> Tenant | None: ...
def tenants(connection: WarehouseConnection, *, tenant_id: int) -> list[Tenant]: ...
def nicknamed(connection: WarehouseConnection, *, tenant_id: int) -> TenantWithNickname: ...
def zoneless(connection: WarehouseConnection, *, tenant_id: int) -> Iterator[TenantWithoutZone]: ...
def misnamed(connection: WarehouseConnection, *, tenant: int) -> Tenant: ...
def parameterless(connection: WarehouseConnection) -> Tenant: ...
def numbered(connection: WarehouseConnection, *, tenant_id: int) -> TenantNumbered: ...
def by_text(connection: WarehouseConnection, *, tenant_id: str) -> Tenant: ...
def thawed(connection: WarehouseConnection, *, tenant_id: int) -> ThawedTenant: ...
def positional(connection: WarehouseConnection, tenant_id: int) -> Tenant: ...
def name_of(connection: WarehouseConnection, *, tenant_id: int) -> str | None: ...
def touched(connection: WarehouseConnection, *, tenant_id: int) -> RowCount: ...
def nothing(connection: WarehouseConnection) -> None: ...
def columns(connection: WarehouseConnection) -> TenantColumns: ...
def swapped(connection: WarehouseConnection) -> SwappedColumns: ...
def counted(connection: WarehouseConnection, *, table: Literal["amop.tenant", "amop.device"]) -> int: ...
def counted_beyond(connection: WarehouseConnection, *, table: Literal["amop.tenant", "amop.gone"]) -> int: ...
def counted_anywhere(connection: WarehouseConnection, *, table: str) -> int: ...


@pytest.mark.parametrize("function", [tenant, tenants, touched])
def test_a_statement_that_fits_has_no_faults(faults_of: Faults, function: Callable[..., Any]) -> None:
    assert faults_of(TENANT, function) == ""


@pytest.mark.parametrize(
    ("text", "function", "fault"),
    [
        (TENANT, nicknamed, "planted/tenant: TenantWithNickname.nickname is no column of the statement"),
        (TENANT, zoneless, "planted/tenant: column time_zone is no field of TenantWithoutZone"),
        (
            TENANT,
            misnamed,
            "planted/tenant: the file has no parameter %(tenant)s\n"
            "planted/tenant: the function has no parameter tenant_id",
        ),
        (TENANT, parameterless, "planted/tenant: the function has no parameter tenant_id"),
        (None, tenant, "planted/tenant: there is no file include/sql/planted/tenant.sql"),
    ],
    ids=["wrong column", "missing field", "wrong parameter", "missing parameter", "missing file"],
)
def test_planted_names_are_found(faults_of: Faults, text: str | None, function: Callable[..., Any], fault: str) -> None:
    assert faults_of(text, function) == fault


@pytest.mark.parametrize(
    ("text", "function", "fault"),
    [
        (TENANT, numbered, "TenantNumbered.time_zone is int, but the column is text"),
        (TENANT, by_text, "parameter tenant_id is str, but the server takes int8"),
        (TENANT, thawed, "ThawedTenant is not frozen"),
        (TENANT, positional, "parameter tenant_id must be keyword-only"),
        (TENANT, name_of, "a scalar needs one column, not 3: id, name, time_zone"),
        ("SELECT id FROM amop.tenant WHERE id = %(tenant_id)s", name_of, "column id is int8, but the function returns"),
        (f"{TENANT} AND 100 % 2 = 0", tenant, "line 1: a '%' is neither a placeholder nor '%%'"),
        (f"{TENANT} AND gone", tenant, 'column "gone" does not exist'),
        (f"{TENANT}; DELETE FROM amop.device", tenant, "cannot insert multiple commands into a prepared statement"),
        ("DELETE FROM amop.tenant WHERE id = %(tenant_id)s", tenant, "the statement returns no columns"),
        ("SELECT id, id, name, time_zone FROM amop.tenant WHERE id = %(tenant_id)s", tenant, "id is returned twice"),
        (
            "SELECT string_agg(name, E'\\n') AS names, array_agg(id) AS ids FROM amop.tenant",
            columns,
            "the fields of TenantColumns must be in the order of the columns: names, ids",
        ),
        (
            "SELECT array_agg(1) AS ids, string_agg(name, E'\\n') AS names FROM amop.tenant",
            columns,
            ", but the column is int4[]",
        ),
        (
            "SELECT count(*) FROM {table}",
            counted_beyond,
            'planted/tenant (table amop.gone): relation "amop.gone" does not exist',
        ),
        (
            "SELECT count(*) FROM {table}",
            counted_anywhere,
            "identifier {table} must be annotated with its allowed values",
        ),
    ],
)
def test_other_mistakes_are_found(faults_of: Faults, text: str, function: Callable[..., Any], fault: str) -> None:
    assert fault in faults_of(text, function)


def test_column_rows_and_identifiers_that_fit_have_no_faults(faults_of: Faults) -> None:
    assert faults_of("SELECT count(*) FROM {table}", counted) == ""
    sql.load.cache_clear()
    assert faults_of("SELECT array_agg(id) AS ids, string_agg(name, E'\\n') AS names FROM amop.tenant", columns) == ""
    sql.load.cache_clear()
    assert faults_of("SELECT string_agg(name, E'\\n') AS names, array_agg(id) AS ids FROM amop.tenant", swapped) == ""


def test_a_type_that_the_server_cannot_infer_is_that_of_the_annotation(faults_of: Faults) -> None:
    assert faults_of("SELECT id, name, time_zone FROM amop.tenant WHERE %(tenant_id)s IS NULL", tenant) == ""


def test_the_temporary_tables_of_a_statement_are_created_first(
    faults_of: Faults, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "planted" / "create.sql").write_text(
        "CREATE TEMPORARY TABLE chosen ON COMMIT DROP AS SELECT %(tenant_id)s::bigint AS id"
    )
    text = "SELECT id FROM chosen"
    assert 'relation "chosen" does not exist' in faults_of(text, counted_in_chosen)
    assert "needs planted/create, which no function is bound to" in faults_of(
        text, counted_in_chosen, ["planted/create"]
    )
    monkeypatch.setitem(statements.STATEMENTS, "planted/create", Statement("planted/create", touched))
    monkeypatch.setattr("tests.worlds.statement_check.STATEMENTS", statements.STATEMENTS)
    assert faults_of(text, counted_in_chosen, ["planted/create"]) == ""


def counted_in_chosen(connection: WarehouseConnection) -> int | None: ...


@pytest.mark.parametrize(
    ("kind", "annotation", "is_right"),
    [
        ("int8", int, True),
        ("int8", TenantId | None, True),
        ("int8", Decimal, False),
        ("numeric", int, False),
        ("numeric", Decimal, True),
        ("text", Literal["a", "b"], True),
        ("text", Literal["a", None], True),
        ("text", Literal[1], False),
        ("timestamptz", datetime, True),
        ("timestamptz", date, False),
        ("date", datetime, False),
        ("jsonb", dict[str, Any], True),
        ("jsonb", list[int], True),
        ("jsonb", Any, True),
        ("jsonb", str, False),
        ("int8", Any, False),
        ("int8[]", list[int], True),
        ("int8[]", Sequence[TenantId], True),
        ("int8[]", list[str], False),
        ("int8[]", int, False),
        ("bool", int, False),
        ("bytea", bytes, True),
        ("int8", int | str, False),
        ("int8", None, False),
    ],
)
def test_what_a_column_may_be_read_as(kind: str, annotation: object, is_right: bool) -> None:
    assert is_readable(kind, annotation) is is_right


@pytest.mark.parametrize(
    ("kind", "annotation", "is_right"),
    [
        ("jsonb", Jsonb, True),
        ("jsonb", Jsonb | None, True),
        ("jsonb", dict[str, Any], False),
        ("jsonb", Any, False),
        ("numeric", int, True),
        ("float8", Decimal, True),
        ("int8", float, False),
        ("text[]", list[str], True),
    ],
)
def test_what_a_parameter_may_be_sent_as(kind: str, annotation: object, is_right: bool) -> None:
    assert is_sendable(kind, annotation) is is_right


@pytest.mark.parametrize(
    ("table", "row_type", "faults"),
    [
        ("amop.tenant", Tenant, []),
        ("amop.gone", Tenant, ["COPY amop.gone: there is no such table"]),
        (
            "amop.tenant",
            TenantWithNickname,
            ["COPY amop.tenant of TenantWithNickname: field nickname is no column of the table"],
        ),
        (
            "amop.tenant",
            TenantNumbered,
            ["COPY amop.tenant of TenantNumbered: field time_zone is int, but the column is text"],
        ),
    ],
)
def test_a_copy_must_fit_its_table(
    connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch, table: str, row_type: type, faults: list[str]
) -> None:
    monkeypatch.setattr("amop.database.copy.COPIES", {})
    assert copy_faults(connection, CopyInto(table, row_type)) == faults
    assert table not in COPIES


def test_the_types_of_a_binary_copy_must_be_those_of_its_table(
    connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amop.database.copy.COPIES", {})
    wrong = CopyInto("amop.tenant", Tenant, types=["int4"] + ["text"] * (len(fields(Tenant)) - 1))
    assert copy_faults(connection, wrong) == ["COPY amop.tenant of Tenant: column id is sent as int4, but it is int8"]


def test_a_file_that_no_function_is_bound_to_is_found(tmp_path: Path) -> None:
    for name in ("runs/run", "runs/forgotten", "migrations/0001_baseline"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.sql").touch()
    assert unbound_files(tmp_path, ["runs/run"]) == ["runs/forgotten"]
