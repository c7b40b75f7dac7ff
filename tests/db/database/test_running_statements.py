"""Declared statements run as their return annotation says, also streamed, pipelined and on asynchronous connections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import psycopg
import pytest

from amop.database import copy, sql, statements
from amop.database.columns import ColumnRow
from amop.database.connection import WarehouseConnection, connect
from amop.database.copy import CopyInto
from amop.database.statements import NoRowError, RowCount, Statement, statement

NUMBERS = "SELECT n AS number, 'no. ' || n AS name FROM generate_series(1, %(last)s::integer) AS n ORDER BY n"


@dataclass(frozen=True, slots=True)
class Row:
    number: int
    name: str


@dataclass(frozen=True, slots=True)
class Columns(ColumnRow):
    numbers: npt.NDArray[np.int64]
    names: npt.NDArray[np.str_]


@pytest.fixture
def connection(shared_warehouse_dsn: str) -> Iterator[WarehouseConnection]:
    with connect(shared_warehouse_dsn) as connection:
        connection.execute("CREATE TEMPORARY TABLE number (number bigint, name text)")
        yield connection
        connection.rollback()


@pytest.fixture(autouse=True)
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the test declare statements and COPYs; the real ones are out of sight."""
    monkeypatch.setenv("AMOP_SQL_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(statements, "STATEMENTS", {})
    monkeypatch.setattr(copy, "COPIES", {})
    sql.load.cache_clear()
    yield
    sql.load.cache_clear()


def declare(function: Any, text: str = NUMBERS, *, tmp_path: Path) -> Statement[..., Any]:
    (tmp_path / f"{function.__name__}.sql").write_text(text, encoding="utf-8")
    return statement(function.__name__)(function)


def first(connection: WarehouseConnection, *, last: int) -> Row: ...
def maybe(connection: WarehouseConnection, *, last: int) -> Row | None: ...
def every(connection: WarehouseConnection, *, last: int) -> list[Row]: ...
def stream(connection: WarehouseConnection, *, last: int) -> Iterator[Row]: ...
def count(connection: WarehouseConnection, *, last: int) -> RowCount: ...
def nothing(connection: WarehouseConnection, *, last: int) -> None: ...
def scalar(connection: WarehouseConnection, *, last: int) -> int: ...
def maybe_scalar(connection: WarehouseConnection, *, last: int) -> int | None: ...
def scalars(connection: WarehouseConnection, *, last: int) -> list[int]: ...
def columns(connection: WarehouseConnection, *, last: int) -> Columns: ...
def with_default(connection: WarehouseConnection, *, last: int = 2) -> list[Row]: ...
def add(connection: WarehouseConnection, *, number: int, name: str) -> None: ...
def sum_of(connection: WarehouseConnection, *, numbers: Sequence[int]) -> int: ...
def rows_of(connection: WarehouseConnection, *, table: Literal["amop.tenant", "number"]) -> int: ...


@pytest.mark.parametrize(
    ("function", "text", "result"),
    [
        (first, NUMBERS, Row(1, "no. 1")),
        (maybe, NUMBERS, Row(1, "no. 1")),
        (every, NUMBERS, [Row(1, "no. 1"), Row(2, "no. 2")]),
        (count, NUMBERS, 2),
        (nothing, NUMBERS, None),
        (scalar, "SELECT %(last)s * 10", 20),
        (maybe_scalar, "SELECT nullif(%(last)s, 2)", None),
        (scalars, "SELECT generate_series(1, %(last)s)", [1, 2]),
    ],
)
def test_the_return_annotation_says_what_becomes_of_the_rows(
    connection: WarehouseConnection, tmp_path: Path, shared_warehouse_dsn: str, function: Any, text: str, result: object
) -> None:
    declared = declare(function, text, tmp_path=tmp_path)
    assert declared(connection, last=2) == result

    async def run() -> object:
        async with await psycopg.AsyncConnection.connect(shared_warehouse_dsn) as asynchronous:
            return await declared.run_async(asynchronous, last=2)

    assert asyncio.run(run()) == result


@pytest.mark.parametrize(
    ("function", "text"),
    [(first, NUMBERS), (scalar, "SELECT 1 WHERE %(last)s = 1"), (scalar, "SELECT nullif(%(last)s, 0)")],
    ids=["row", "scalar", "null"],
)
def test_a_required_value_that_is_not_there_is_an_error(
    connection: WarehouseConnection, tmp_path: Path, function: Any, text: str
) -> None:
    with pytest.raises(NoRowError, match=rf"{function.__name__} returned no row, or null, for {{'last': 0}}"):
        declare(function, text, tmp_path=tmp_path)(connection, last=0)


def test_an_optional_row_that_is_not_there_is_none(connection: WarehouseConnection, tmp_path: Path) -> None:
    assert declare(maybe, tmp_path=tmp_path)(connection, last=0) is None
    assert declare(maybe_scalar, "SELECT 1 WHERE %(last)s = 1", tmp_path=tmp_path)(connection, last=0) is None


def test_two_streams_of_one_statement_are_read_side_by_side(
    connection: WarehouseConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "STREAMED_ROWS", 10)
    streamed = declare(stream, tmp_path=tmp_path)
    pairs = list(zip(streamed(connection, last=25), streamed(connection, last=25), strict=True))
    assert pairs == [(row, row) for row in (Row(number, f"no. {number}") for number in range(1, 26))]


def test_a_stream_that_is_not_read_to_its_end_leaves_the_transaction_usable(
    connection: WarehouseConnection, tmp_path: Path
) -> None:
    rows = declare(stream, tmp_path=tmp_path)(connection, last=25)
    assert next(rows).number == 1
    rows.close()
    assert declare(every, tmp_path=tmp_path)(connection, last=1) == [Row(1, "no. 1")]


def test_a_column_row_is_read_as_arrays(connection: WarehouseConnection, tmp_path: Path) -> None:
    text = f"SELECT array_agg(number::bigint) AS numbers, string_agg(name, E'\\n') AS names FROM ({NUMBERS}) AS row"
    found = declare(columns, text, tmp_path=tmp_path)(connection, last=3)
    assert (found.numbers.tolist(), found.names.tolist()) == ([1, 2, 3], ["no. 1", "no. 2", "no. 3"])


@pytest.mark.parametrize("function", [stream, columns])
def test_streams_and_column_rows_are_refused_on_an_asynchronous_connection(
    tmp_path: Path, shared_warehouse_dsn: str, function: Any
) -> None:
    async def run() -> None:
        async with await psycopg.AsyncConnection.connect(shared_warehouse_dsn) as asynchronous:
            await declare(function, tmp_path=tmp_path).run_async(asynchronous, last=1)

    with pytest.raises(TypeError, match=function.__name__):
        asyncio.run(run())


def test_calls_in_a_pipeline_are_sent_together(connection: WarehouseConnection, tmp_path: Path) -> None:
    added = declare(add, "INSERT INTO number VALUES (%(number)s, %(name)s)", tmp_path=tmp_path)
    with connection.pipeline():
        for number in range(100):
            added(connection, number=number, name=str(number))
    assert (
        declare(scalar, "SELECT count(*) FROM number WHERE %(last)s = 0", tmp_path=tmp_path)(connection, last=0) == 100
    )


def test_the_number_of_rows_is_refused_in_a_pipeline_where_it_is_not_known(
    connection: WarehouseConnection, tmp_path: Path
) -> None:
    with (
        pytest.raises(RuntimeError, match="count: the number of rows is not known inside a pipeline"),
        connection.pipeline(),
    ):
        declare(count, tmp_path=tmp_path)(connection, last=1)


def test_a_default_is_sent_where_the_caller_gives_no_value(connection: WarehouseConnection, tmp_path: Path) -> None:
    declared = declare(with_default, tmp_path=tmp_path)
    assert [len(declared(connection)), len(declared(connection, last=3))] == [2, 3]


@pytest.mark.parametrize("numbers", [[1, 2], (1, 2), [], ()])
def test_a_tuple_is_sent_as_an_array_like_a_list(
    connection: WarehouseConnection, tmp_path: Path, numbers: Sequence[int]
) -> None:
    text = "SELECT coalesce(sum(n), 0)::bigint FROM unnest(%(numbers)s::bigint[]) AS n"
    assert declare(sum_of, text, tmp_path=tmp_path)(connection, numbers=numbers) == sum(numbers)


def test_an_identifier_is_one_of_the_allowed_values(connection: WarehouseConnection, tmp_path: Path) -> None:
    rows = declare(rows_of, "SELECT count(*) FROM {table}", tmp_path=tmp_path)
    assert [rows(connection, table="amop.tenant"), rows(connection, table="number")] == [0, 0]
    assert rows.text_for({"table": "amop.tenant"}) == 'SELECT count(*) FROM "amop"."tenant"'
    with pytest.raises(ValueError, match=r"table must be one of amop\.tenant, number, not 'amop\.device'"):
        rows(connection, table="amop.device")


def test_a_second_function_of_the_same_file_is_refused() -> None:
    statement("runs/run")(first)
    statement("runs/run")(first)  # the module is imported anew
    with pytest.raises(ValueError, match=r"runs/run is bound to .*\.first and to .*\.maybe"):
        statement("runs/run")(maybe)


def test_rows_are_copied(connection: WarehouseConnection, tmp_path: Path) -> None:
    CopyInto("number", Row).write(connection, (Row(number, f"tab\t{number}\\N") for number in range(3)))
    found = declare(every, "SELECT number, name FROM number WHERE number < %(last)s", tmp_path=tmp_path)
    assert found(connection, last=9) == [Row(number, f"tab\t{number}\\N") for number in range(3)]


def test_rows_are_copied_in_binary_form(connection: WarehouseConnection, tmp_path: Path) -> None:
    copy = CopyInto("number", Row, types=("int8", "text"))
    copy.write(connection, (Row(number, f"tab\t{number}\\N") for number in range(3)))
    found = declare(every, "SELECT number, name FROM number WHERE number < %(last)s", tmp_path=tmp_path)
    assert found(connection, last=9) == [Row(number, f"tab\t{number}\\N") for number in range(3)]


def test_a_binary_copy_needs_a_type_for_each_column() -> None:
    with pytest.raises(ValueError, match="number is copied with 1 types for 2 columns"):
        CopyInto("number", Row, types=("int8",))


def test_a_copy_needs_two_columns_and_one_row_type_for_each_table() -> None:
    @dataclass(frozen=True)
    class Single:
        number: int

    with pytest.raises(ValueError, match="must have two fields or more"):
        CopyInto("number", Single)
    CopyInto("number", Row)
    CopyInto("number", Row)
    with pytest.raises(ValueError, match="number is copied from Row and from Columns"):
        CopyInto("number", Columns)
