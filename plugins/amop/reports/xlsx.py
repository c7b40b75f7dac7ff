"""Write workbooks (xlsx): tables of any length in constant memory, in which text stays text.

Text is never interpreted as a formula, and an ICCID is never a number. A table that is longer than a sheet continues on
another sheet. Numbers are those of Excel, doubles of 15 digits: an amount with 6 decimals is exact up to
999,999,999.999999.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, Self

import xlsxwriter

ROWS_PER_SHEET: Final = 1_048_576
"""Rows of a sheet in Excel."""

CHARACTERS_PER_CELL: Final = 32_767
"""Longest text of a cell in Excel."""

NUMBER_FORMATS = {
    "text": "@",
    "count": "#,##0",
    "money": "#,##0.00",
    "price": "#,##0.000000###",
    "megabytes": "#,##0.000",
    "share": "0.0000%",
}
"""By the kind of a column. The cell keeps all decimals, even those that the format does not show."""

STYLES: dict[str, dict[str, Any]] = {
    "plain": {"valign": "top"},
    "total": {"bold": True, "top": 1},
    "header": {"bold": True, "font_color": "white", "bg_color": "#1F3864", "text_wrap": True, "valign": "top"},
    "title": {"bold": True, "font_size": 16},
    "section": {"bold": True, "font_size": 12, "font_color": "#1F3864", "bottom": 1},
    "note": {"text_wrap": True, "valign": "top"},
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    kind: str = "text"
    """A key of `NUMBER_FORMATS`."""
    width: float = 14
    """In characters."""


class ReportWorkbook:
    """Write a workbook; the file is complete after the context manager has exited.

    Args:
        path: the file to write. Its folder also holds the temporary files, one for each sheet.
        rows_per_sheet: rows after which a table continues on another sheet.
    """

    def __init__(self, path: Path, *, rows_per_sheet: int = ROWS_PER_SHEET) -> None:
        self.rows_per_sheet = rows_per_sheet
        self.book = xlsxwriter.Workbook(
            path,
            {
                "constant_memory": True,
                "tmpdir": str(path.parent),
                "strings_to_formulas": False,
                "strings_to_numbers": False,
                "strings_to_urls": False,
            },
        )
        self._formats: dict[tuple[str, str], Any] = {}

    def __enter__(self) -> Self:
        """Return the workbook."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write the file, unless an exception was raised."""
        if kind is None:
            self.book.close()
            return
        for sheet in self.book.worksheets():  # xlsxwriter closes the temporary files only when it writes the workbook
            sheet.row_data_fh.close()

    def add_sheet(self, name: str, columns: Sequence[Column], *, frozen_rows: int = 1) -> Any:
        """Add a sheet with the widths of these columns; its first rows and first column are frozen."""
        sheet = self.book.add_worksheet(name)
        for number, column in enumerate(columns):
            sheet.set_column(number, number, column.width)
        sheet.ignore_errors({"number_stored_as_text": f"A1:XFD{ROWS_PER_SHEET}"})
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        if frozen_rows:
            sheet.freeze_panes(frozen_rows, 1)
            sheet.repeat_rows(0, frozen_rows - 1)
        return sheet

    def cell(self, sheet: Any, row: int, column: int, value: Any, kind: str = "text", style: str = "plain") -> None:
        """Write one cell by its kind; None leaves it empty."""
        if value is None:
            return
        if kind == "text":
            sheet.write_string(row, column, cell_text(str(value)), self.format(kind, style))
        else:
            sheet.write_number(row, column, value, self.format(kind, style))

    def header(self, sheet: Any, row: int, columns: Sequence[Column]) -> None:
        """Write the titles of a table."""
        for number, column in enumerate(columns):
            self.cell(sheet, row, number, column.title, style="header")

    def rows(self, sheet: Any, first_row: int, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> int:
        """Write rows from ``first_row`` on until the sheet is full; return the first free row."""
        writers = [
            (number, _write_text if column.kind == "text" else _write_number, self.format(column.kind, "plain"))
            for number, column in enumerate(columns)
        ]
        number = first_row
        for values in rows:
            for column, write, cell_format in writers:
                value = values[column]
                if value is not None:
                    write(sheet, number, column, value, cell_format)
            number += 1
            if number == self.rows_per_sheet:
                break
        return number

    def totals(self, sheet: Any, row: int, columns: Sequence[Column], first_row: int, values: Sequence[Any]) -> None:
        """Write sums below a table as formulas with their value; None leaves a column without a sum."""
        for number, (column, value) in enumerate(zip(columns, values, strict=True)):
            if isinstance(value, str):
                self.cell(sheet, row, number, value, style="total")
            elif value is not None:
                span = xlsxwriter.utility.xl_range(first_row, number, row - 1, number)
                sheet.write_formula(row, number, f"=SUM({span})", self.format(column.kind, "total"), value)

    def table(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> list[str]:
        """Write a table with frozen titles and a filter; return the names of its sheets, at least one.

        Args:
            name: name of the sheet; the next ones are ``<name> (2)`` and so on.
            columns: titles, kinds and widths.
            rows: values in the order of the columns, read once.
        """
        names: list[str] = []
        remaining = iter(rows)
        is_finished = False
        while not is_finished:
            names.append(name if not names else f"{name} ({len(names) + 1})")
            sheet = self.add_sheet(names[-1], columns)
            self.header(sheet, 0, columns)
            free = self.rows(sheet, 1, columns, remaining)
            sheet.autofilter(0, 0, max(1, free - 1), len(columns) - 1)
            following = list(islice(remaining, 1))
            is_finished = not following
            remaining = chain(following, remaining)
        return names

    def format(self, kind: str, style: str) -> Any:
        """Return the cached format of a kind of value in a style."""
        if (kind, style) not in self._formats:
            self._formats[kind, style] = self.book.add_format({"num_format": NUMBER_FORMATS[kind], **STYLES[style]})
        return self._formats[kind, style]


def cell_text(text: str) -> str:
    """Return a text as a cell can hold it.

    In constant memory xlsxwriter writes a text that looks like one of its own rich strings into the file as markup; a
    space at the end prevents that.
    """
    if len(text) > CHARACTERS_PER_CELL:
        text = text[: CHARACTERS_PER_CELL - 1] + "…"
    if text.startswith("<r>") and text.endswith("</r>"):
        text += " "
    return text


def _write_text(sheet: Any, row: int, column: int, value: Any, cell_format: Any) -> None:
    sheet.write_string(row, column, cell_text(str(value)), cell_format)


def _write_number(sheet: Any, row: int, column: int, value: Any, cell_format: Any) -> None:
    sheet.write_number(row, column, value, cell_format)
