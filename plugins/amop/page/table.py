"""Tables of the page: columns, rows in an order, and the same rows as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar

Row = TypeVar("Row")

Kind = Literal["text", "id", "count", "money", "data", "megabytes", "share", "moment", "day", "state"]
"""How a value is shown; all but text, moment, day and state are numbers."""

NUMBERS = frozenset({"id", "count", "money", "data", "megabytes", "share"})

ROWS_OF_A_PAGE = 50
LARGEST_EXPORT = 100_000
"""Rows of a CSV file at most."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet evaluates a cell that begins with one of these."""


LONGEST_NUMBER = 11
"""A spreadsheet shows a number with more digits as a power of ten, and keeps only 15 of them."""


@dataclass(frozen=True, slots=True)
class Action:
    """A button of a row."""

    address: str
    """Address that the button posts to, relative to the page."""
    text: str
    label: str
    """What it does to which row, for a screen reader."""


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """A column of a table."""

    name: str
    """Name in the address and in the CSV file."""
    title: str
    value: Callable[[Row], Any]
    kind: Kind = "text"
    link: Callable[[Row], str | None] | None = None
    """Address that the value links to, relative to the page."""
    note: Callable[[Row], str | None] | None = None
    """A longer text, shown when the pointer is over the value."""
    action: Callable[[Row], Action | None] | None = None
    """A button instead of the value; it answers with the whole table. Such a column is in no CSV file."""
    unknown: str = ""
    """What stands for a value that is not known, in the CSV file too; empty = a dash, and nothing in the file."""
    is_sortable: bool = True
    is_shown: bool = True
    """False for a column of the CSV file only."""

    @property
    def is_number(self) -> bool:
        """True for a value that is aligned to the right."""
        return self.kind in NUMBERS


@dataclass(frozen=True, slots=True)
class Order:
    """The column by which a table is sorted."""

    sort: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Table(Generic[Row]):
    """A table, or one page of a long one.

    Args:
        name: identifies the table within the page, and names its CSV file.
        title: heading; also read out by a screen reader.
        columns: the columns in order.
        rows: the rows in order.
        order: the order that they are in.
        empty: sentence that is shown where there is no row.
        matches: number of rows of all pages; the number of rows if there is one page.
        page: number of this page, from 1.
        currency: currency of the amounts of a row.
        said: what a button of the table has done.
        page_parameter: name of the page's number in the address.
    """

    name: str
    title: str
    columns: Sequence[Column[Row]]
    rows: Sequence[Row]
    order: Order
    empty: str
    matches: int
    page: int = 1
    currency: Callable[[Row], str] = lambda _row: ""
    said: str = ""
    page_parameter: str = "page"

    def at_page(self, number: int) -> Table[Row]:
        """Return one page of a table that has all of its rows, the nearest where there is no such page."""
        if len(self.rows) <= ROWS_OF_A_PAGE:
            return self
        number = min(max(number, 1), self.pages)
        shown = self.rows[(number - 1) * ROWS_OF_A_PAGE : number * ROWS_OF_A_PAGE]
        return replace(self, rows=shown, page=number, page_parameter=f"page_{self.name}")

    @property
    def pages(self) -> int:
        """Number of pages."""
        return max(1, -(-self.matches // ROWS_OF_A_PAGE))


def whole_table(
    name: str,
    title: str,
    columns: Sequence[Column[Row]],
    rows: Iterable[Row],
    *,
    order: Order,
    empty: str,
    currency: Callable[[Row], str] = lambda _row: "",
) -> Table[Row]:
    """Return a table of all rows, sorted here; an unknown column of the order keeps the rows in their order."""
    found = sort_rows(columns, list(rows), order)
    return Table(name, title, columns, found, order, empty, len(found), currency=currency)


def sort_rows(columns: Sequence[Column[Row]], rows: list[Row], order: Order) -> list[Row]:
    """Return the rows in an order; values that are not known come last, whatever the direction."""
    column = next((each for each in columns if each.name == order.sort and each.is_sortable), None)
    if column is None:
        return rows
    known = [row for row in rows if column.value(row) is not None]
    unknown = [row for row in rows if column.value(row) is None]
    known.sort(key=lambda row: _sort_key(column.value(row)), reverse=order.descending)
    return known + unknown


def _sort_key(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def as_csv(table: Table[Row]) -> str:
    """Return the rows as CSV: exact values, moments in ISO 8601, and no text that a spreadsheet would evaluate."""
    text = io.StringIO()
    writer = csv.writer(text)
    has_money = any(column.kind == "money" for column in table.columns)
    columns = [column for column in table.columns if column.action is None]
    writer.writerow([*(column.name for column in columns), *(["currency"] if has_money else [])])
    for row in table.rows:
        cells = [csv_cell(column.value(row)) or column.unknown for column in columns]
        writer.writerow([*cells, *([csv_cell(table.currency(row))] if has_money else [])])
    return text.getvalue()


def csv_cell(value: Any) -> str:
    """Return a value as the text of a CSV cell; a text that begins like a formula is preceded by an apostrophe.

    Digits of an identifier that a spreadsheet would round or show as a power of ten, as those of an ICCID, end with a
    tab, which makes them text there. The rule is that of ``amop.spreadsheet_text``.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | Decimal):
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    text = str(value)
    if text.isascii() and text.isdigit():
        return f"{text}\t" if len(text) > LONGEST_NUMBER or text.startswith("0") else text
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
