"""Tables in an order and as CSV, figures in words, and pictures that add up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from amop.page import formatting
from amop.page.pictures import HEIGHT, OTHERS, PlanFlow, column_picture, flow_picture, line_picture
from amop.page.table import Column, Order, as_csv, csv_cell, whole_table
from amop.wording import exact_money, money

COLUMNS: tuple[Column[tuple[Any, ...]], ...] = (
    Column("name", "Name", lambda row: row[0]),
    Column("amount", "Amount", lambda row: row[1], kind="money"),
    Column("fixed", "Fixed", lambda row: row[0], is_sortable=False),
)
ROWS = [("b", Decimal(2)), ("A", None), ("c", Decimal("-1.5")), ("a", Decimal(10))]


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (Order("name"), "Aabc"),
        (Order("amount"), "cbaA"),
        (Order("amount", descending=True), "abcA"),
        (Order("fixed"), "bAca"),
        (Order("unknown"), "bAca"),
    ],
)
def test_rows_are_sorted_with_unknown_values_last(order: Order, names: str) -> None:
    table = whole_table("t", "T", COLUMNS, ROWS, order=order, empty="")
    assert "".join(row[0] for row in table.rows) == names


def test_csv_has_exact_values_and_the_currency() -> None:
    rows = [("=1+1", Decimal("1234.500000")), ('say "x", y', None)]
    table = whole_table("t", "T", COLUMNS, rows, order=Order(""), empty="", currency=lambda _row: "CAD")
    assert as_csv(table).splitlines() == [
        "name,amount,fixed,currency",
        "'=1+1,1234.500000,'=1+1,CAD",
        '"say ""x"", y",,"say ""x"", y",CAD',
    ]


@pytest.mark.parametrize("text", ["=A1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1"])
def test_no_csv_text_begins_like_a_formula(text: str) -> None:
    assert csv_cell(text) == f"'{text}"
    assert csv_cell(Decimal("-1")) == "-1"


def test_figures_in_words() -> None:
    assert money(Decimal("1234.565"), "USD") == "USD 1,234.57"
    assert money(Decimal("-0.001"), "USD") == "USD 0.00"
    assert money(None, "USD") == "–"
    assert exact_money(Decimal("1234.565001"), "CAD") == "CAD 1,234.565001"
    assert formatting.data(1023) == "1023 B"
    assert formatting.data(Decimal(3 * 1024**3)) == "3.0 GB"
    assert formatting.moment(datetime(2026, 11, 3, 10, 30, tzinfo=UTC)) == "2026-11-03 10:30 UTC"
    assert formatting.span(timedelta(hours=26)) == "1 day"
    assert formatting.span(timedelta(seconds=-5)) == "less than a minute"
    assert formatting.pool("pool Fleet") == "Fleet"
    assert formatting.pool("plan 1 GB") == "1 GB (its own)"
    assert formatting.airflow_run("a/b", "manual__x+00:00") == "dags/a%2Fb/runs/manual__x%2B00%3A00"


LETTER_HEIGHT = 12
"""Of `svg text` in the page's CSS."""


@pytest.mark.parametrize("largest", [100, 100_000])
def test_a_flow_picture_keeps_every_sim_and_its_height_and_no_two_names_overlap(largest: int) -> None:
    flows = [PlanFlow("P0", "P1", largest), *(PlanFlow(f"P{number}", f"P{number + 1}", 30) for number in range(1, 30))]
    picture = flow_picture(flows)
    assert picture is not None
    whole = sum(flow.sims for flow in flows)
    assert sum(bar.sims for bar in picture.left) == sum(bar.sims for bar in picture.right) == whole
    assert OTHERS in {bar.name for bar in picture.left}
    for side in (picture.left, picture.right):
        assert len(side) <= 11
        assert max(bar.y + bar.height for bar in side) <= HEIGHT + 0.01
        middles = [bar.y + bar.height / 2 for bar in side]
        assert min(below - above for above, below in pairwise(middles)) >= LETTER_HEIGHT
    assert flow_picture([]) is None
    assert flow_picture([PlanFlow("a", "b", 0)]) is None


def test_curves_and_columns_without_values_are_left_out() -> None:
    assert line_picture([(1, Decimal(5))], ["x"]) is None
    assert line_picture([(1, Decimal(0)), (2, Decimal(0))], ["x", "y"]) is None
    assert column_picture([0], ["x"], forecast_from=1) == []
    curve = line_picture([(1, Decimal(5)), (2, Decimal(-1))], ["x", "y"])
    assert curve is not None
    assert curve.points == "0.0,160.0 300.0,0.0 600.0,160.0"
