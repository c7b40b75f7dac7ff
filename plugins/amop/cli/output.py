"""Print the results of commands: tables for a terminal, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

from amop.foreign_text import storable_error

PIPE_WIDTH = 200
"""Characters per line where the output has no width of its own: long lines instead of folded cells."""

MOST_ROWS = 100_000
"""Largest ``--limit``."""

NAMES = frozenset({"id", "run", "session", "instance", "bill_year"})
"""Columns whose whole numbers are names, as are those that end with ``_id``: they have no thousands separators."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def printable(text: object) -> str:
    """Return a text without control characters and escape sequences: they would drive the operator's terminal."""
    return storable_error(str(text))


def print_text(text: str, *, to_stderr: bool = False) -> None:
    """Print lines of text; names and errors in them may come from a carrier, a file or AMOP."""
    typer.echo(printable(text), err=to_stderr)


def print_json(document: object) -> None:
    """Print a document as JSON; moments in ISO form, other types as text."""
    typer.echo(json.dumps(document, indent=2, default=_json_value))


def print_table(title: str, columns: Iterable[str], rows: Iterable[Sequence[Any]], *, width: int | None = None) -> None:
    """Print a table on a terminal, or as wide lines into a pipe or a file.

    Args:
        title: printed above the table.
        columns: headings; underscores become spaces.
        rows: values in the order of the columns.
        width: most characters of a line, in a pipe too; None = the terminal's, `PIPE_WIDTH` in a pipe.
    """
    table = Table(title=escape(printable(title)), title_justify="left", show_edge=False)
    columns = list(columns)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        cells = (_cell(value, column) for value, column in zip(row, columns, strict=True))
        table.add_row(*(escape(printable(cell)) for cell in cells))
    console = Console()
    if width is not None or not console.is_terminal:
        console = Console(width=min(width or PIPE_WIDTH, console.width if console.is_terminal else PIPE_WIDTH))
    console.print(table)
    console.print()


def print_markdown(text: str) -> None:
    """Print a Markdown text as a person reads it: without its marks, tables with columns."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    with console.capture() as captured:
        console.print(Markdown(printable(text), hyperlinks=False))
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


def _cell(value: object, column: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    if isinstance(value, list):
        return "; ".join(map(str, value))
    is_name = column in NAMES or column.endswith("_id")
    return f"{value:,}" if isinstance(value, int) and not is_name else str(value)


def _json_value(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
