"""Read and write whole columns of the warehouse as numpy arrays: a million rows in about a second.

Reading: a SELECT of one row aggregates each column (``array_agg``, ``string_agg``). PostgreSQL does this in parallel
and sends each column as one value, while a row per SIM would cost a message and a Python object each. The binary form
of an array is that of PostgreSQL's ``array_send``: number of dimensions, flag of nulls, type, length and lower bound (4
bytes each), then for each element its length (4 bytes) and value, all big-endian.

Writing: COPY in its binary format (PostgreSQL's manual, "COPY", section "Binary Format"): a header of 19 bytes, for
each row the number of fields (2 bytes) and for each field its length (4 bytes) and value, a trailer of 2 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
from psycopg import postgres

from amop.database.connection import WarehouseConnection

Integers = npt.NDArray[np.int64]

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"
ROWS_PER_CHUNK = 65_536

ARRAY_HEADER = 20
ELEMENT = np.dtype([("bytes", ">i4"), ("value", ">i8")])


def read_columns(connection: WarehouseConnection, select: str, parameters: Mapping[str, Any]) -> list[npt.NDArray[Any]]:
    """Return the columns of a SELECT whose one row holds each of them aggregated.

    A column is ``array_agg`` of a bigint, or ``string_agg`` of a text separated by line feeds. All columns have one
    length. PostgreSQL limits a row to one gigabyte: about nine million SIMs with eight columns.

    Raises:
        ValueError: a number is null, a column is of another type, or a text holds a line feed.
    """
    with connection.cursor(binary=True) as cursor:
        answer = cursor.execute(select, parameters).pgresult
    if answer is None or answer.ntuples != 1:
        raise ValueError("the SELECT must have one row")
    columns = [_column(answer.get_value(0, number), answer.ftype(number)) for number in range(answer.nfields)]
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"columns of {[len(column) for column in columns]} rows: a text holds a line feed")
    return columns


class ColumnRow:
    """Base of a frozen dataclass whose fields are whole columns, aggregated by the SELECT; see `read_columns`."""

    IS_COLUMN_ROW: ClassVar[bool] = True


Row = TypeVar("Row")


def read_column_row(
    connection: WarehouseConnection, select: str, parameters: Mapping[str, Any], row_type: Callable[..., Row]
) -> Row:
    """Return the columns of `read_columns` as the fields of a `ColumnRow`, by position.

    Raises:
        ValueError: as `read_columns`.
    """
    return row_type(*read_columns(connection, select, parameters))


def _column(value: bytes | None, kind: int) -> npt.NDArray[Any]:
    """Return one aggregated column; null means no rows."""
    types = postgres.types
    if kind == types["text"].oid:
        return _lines(value) if value is not None else np.zeros(0, dtype=np.str_)
    if kind != types["int8"].array_oid:
        raise ValueError(f"a column is of type {kind}, neither text nor bigint[]")
    if value is None:
        return np.zeros(0, dtype=np.int64)
    if np.frombuffer(value, dtype=">i4", count=2)[1]:
        raise ValueError("a number is null")
    elements = np.frombuffer(value, dtype=ELEMENT, offset=ARRAY_HEADER)
    return elements["value"].astype(np.int64)


def _lines(text: bytes) -> npt.NDArray[np.str_]:
    """Return the lines of a text. Lines of equal length, such as ICCIDs, are split ten times as fast."""
    codes = np.frombuffer(text + b"\n", dtype=np.uint8)
    width = int((codes == ord("\n")).argmax()) + 1
    if width > 1 and text.isascii() and not len(codes) % width:
        table = codes.reshape(-1, width)
        if (table[:, -1] == ord("\n")).all() and np.count_nonzero(codes == ord("\n")) == len(table):
            return table[:, :-1].astype(np.uint32).view(f"U{width - 1}").reshape(-1)
    return np.array(text.decode().split("\n"), dtype=np.str_)


def write_numbers(connection: WarehouseConnection, statement: str, *columns: Integers) -> None:
    """Write columns of numbers of equal length by a ``COPY … FROM STDIN (FORMAT binary)`` into bigint columns."""
    names = [f"column{number}" for number in range(len(columns))]
    kind = np.dtype([("fields", ">i2"), *((name, ELEMENT) for name in names)])
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(HEADER)
        for first in range(0, len(columns[0]), ROWS_PER_CHUNK):
            chunk = slice(first, first + ROWS_PER_CHUNK)
            records = np.empty(len(columns[0][chunk]), dtype=kind)
            records["fields"] = len(columns)
            for name, column in zip(names, columns, strict=True):
                records[name]["bytes"] = 8
                records[name]["value"] = column[chunk]
            copy.write(records.tobytes())
        copy.write(TRAILER)
