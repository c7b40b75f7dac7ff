"""Columns of a million rows: read as arrays in one answer, written by binary COPY."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from amop.database.columns import read_columns, write_numbers
from amop.database.connection import transaction

TWO_COLUMNS = (
    "SELECT array_agg(number), string_agg(name, E'\\n')"
    " FROM unnest(%(numbers)s::bigint[], %(names)s::text[]) AS pair (number, name)"
)


def read(conninfo: str, numbers: list[Any], names: list[str]) -> tuple[list[int], list[str]]:
    with transaction(conninfo, application_name="test") as connection:
        found = read_columns(connection, TWO_COLUMNS, {"numbers": numbers, "names": names})
    return found[0].tolist(), found[1].tolist()


@pytest.mark.parametrize(
    "names",
    [
        ["8901170000000000001", "8901170000000000002"],
        ["1", "89011700000000000012"],
        ["é-2", "ü-3"],
        ["", ""],
        ["", "12"],
        ["12", ""],
    ],
)
def test_numbers_and_texts_come_back_as_they_are(warehouse_dsn: str, names: list[str]) -> None:
    assert read(warehouse_dsn, [2**63 - 1, -(2**63)], names) == ([2**63 - 1, -(2**63)], names)


def test_no_rows_are_empty_columns(warehouse_dsn: str) -> None:
    assert read(warehouse_dsn, [], []) == ([], [])


@pytest.mark.parametrize("names", [["12\n4", "678"], ["1\n3\n5", "789"], ["1\n3", "567", "901"]])
def test_a_text_with_a_line_feed_is_an_error_and_never_another_sim(warehouse_dsn: str, names: list[str]) -> None:
    with pytest.raises(ValueError, match="a text holds a line feed"):
        read(warehouse_dsn, list(range(len(names))), names)


def test_a_null_is_an_error(warehouse_dsn: str) -> None:
    with pytest.raises(ValueError, match="a number is null"):
        read(warehouse_dsn, [1, None], ["a", "b"])


def test_another_type_is_an_error(warehouse_dsn: str) -> None:
    with (
        transaction(warehouse_dsn, application_name="test") as connection,
        pytest.raises(ValueError, match="neither text nor bigint"),
    ):
        read_columns(connection, "SELECT array_agg(1::integer)", {})


def test_columns_of_numbers_are_written_in_chunks_and_read_back(warehouse_dsn: str) -> None:
    numbers = np.arange(150_000, dtype=np.int64) * 7 - 5
    with transaction(warehouse_dsn, application_name="test") as connection:
        connection.execute("CREATE TEMPORARY TABLE pair (one bigint, two bigint)")
        write_numbers(connection, "COPY pair (one, two) FROM STDIN (FORMAT binary)", numbers, numbers[::-1])
        found = connection.execute(
            "SELECT count(*) AS rows, sum(one) AS one, sum(two) AS two, sum(one * two) AS products FROM pair"
        ).fetchone()
    total, products = int(numbers.sum()), int((numbers * numbers[::-1]).sum())
    assert found == {"rows": 150_000, "one": total, "two": total, "products": products}
