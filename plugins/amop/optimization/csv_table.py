"""CSV files as columns of text with their line numbers, and the problems in them: file, line, column, value.

A plain file (no quotes, no blank lines) is read by polars, any other one by Python's ``csv`` in strict mode, which
knows the line on which each row begins. Numbers become integers of 1e-6 without passing through binary fractions.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl

from amop.solver import OptimizerInputError, micro
from amop.solver.model import MICRO, Flags, Integers
from amop.wording import several

MAX_SHOWN = 20
"""Problems that a message lists; the others are counted."""
MAX_SHOWN_CHARACTERS = 80
"""Characters of a value that a message shows."""
MAX_TEXT_CHARACTERS = 255
"""Characters that an id or a code may have."""
CHUNK_ROWS = 100_000
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

AT_MOST_SIX_DECIMALS = r"^[0-9]{1,11}(\.[0-9]{0,6})?$"
SEVEN_DECIMALS = r"^([0-9]{1,11}\.[0-9]{7})[0-9]*$"
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
FLAGS = {"true": True, "false": False, "yes": True, "no": False, "t": True, "f": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem in a file."""

    file: str
    line: int
    """From 1, the header included; 0 for a problem of the whole file."""
    column: str
    message: str
    """The value and the problem."""

    def __str__(self) -> str:
        """Return ``file, line 3, column usage_mb: '-1' is negative``."""
        place = [
            self.file,
            *([f"line {self.line}"] if self.line else []),
            *([f"column {self.column}"] if self.column else []),
        ]
        return f"{', '.join(place)}: {self.message}"


class InputFileError(ValueError):
    """Input files cannot be used; the message lists the first problems and has their number."""


@dataclass(slots=True)
class Problems:
    """The problems in all files: the first of every check, and their number."""

    first: list[Problem] = field(default_factory=list)
    count: int = 0

    def add(self, problem: Problem) -> None:
        """Add one problem."""
        self.first.append(problem)
        self.count += 1

    def raise_if_any(self) -> None:
        """Raise the problems, if there are any.

        Raises:
            InputFileError: there is at least one problem.
        """
        if self.count:
            order = list(dict.fromkeys(problem.file for problem in self.first))
            shown = sorted(self.first, key=lambda p: (order.index(p.file), p))[:MAX_SHOWN]
            lines = [str(problem) for problem in shown]
            if self.count > len(shown):
                lines.append(f"… and {self.count - len(shown):,} more")
            raise InputFileError("\n".join([*lines, f"{several(self.count, 'problem')}; nothing was written"]))


class Table:
    """The rows of a CSV file as columns of text, each row with its line.

    Args:
        file: path, for messages.
        frame: the columns, all of type String.
        lines: line of each row; None where row i is on line i + 2.
        ignored: names of the columns that are not in the frame.
    """

    ignored: tuple[str, ...]
    """Names of the columns that are not used."""

    def __init__(self, file: str, frame: pl.DataFrame, lines: Sequence[int] | None, ignored: Sequence[str]) -> None:
        self.file, self.frame, self._lines = file, frame, lines
        self.ignored = tuple(ignored)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.frame)

    def line(self, row: int) -> int:
        """Return the line of the file on which a row begins."""
        return int(self._lines[row]) if self._lines is not None else row + 2

    def sort(self, column: str) -> None:
        """Sort the rows by a column; each keeps its line."""
        order = self.frame[column].arg_sort().to_list()
        self._lines = [self.line(row) for row in order]
        self.frame = self.frame[order]

    def report(self, problems: Problems, column: str, wrong: Flags, message: str) -> None:
        """Add a problem for every wrong value of a column; ``{value}`` in the message stands for the value."""
        rows = np.flatnonzero(wrong)
        for row in rows[:MAX_SHOWN]:
            text = message.format(value=shown(self.frame[column][int(row)]))
            problems.first.append(Problem(self.file, self.line(int(row)), column, text))
        problems.count += len(rows)

    def texts(self, column: str, problems: Problems) -> pl.Series:
        """Return a column of ids or codes, and report those that are empty or too long."""
        texts = self.frame[column]
        self.report(problems, column, (texts == "").to_numpy(), "{value} is empty")
        too_long = (texts.str.len_chars() > MAX_TEXT_CHARACTERS).to_numpy()
        self.report(problems, column, too_long, f"{{value}} is longer than {MAX_TEXT_CHARACTERS} characters")
        return texts

    def unique_texts(self, column: str, problems: Problems) -> pl.Series:
        """Return a column of ids or codes, and report those that are empty, too long or duplicates."""
        texts = self.texts(column, problems)
        if texts.n_unique() < len(texts):
            again = (texts.is_duplicated() & ~texts.is_first_distinct() & (texts != "")).to_numpy()
            rows = np.flatnonzero(again)
            for row in rows[:MAX_SHOWN].tolist():
                before = self.line(int(texts.index_of(texts[row]) or 0))
                message = f"{shown(texts[row])} is a duplicate of line {before}"
                problems.first.append(Problem(self.file, self.line(row), column, message))
            problems.count += len(rows)
        return texts

    def index_of(
        self, column: str, names: Sequence[str], problems: Problems, message: str, *, allow_empty: bool
    ) -> Integers:
        """Return the index of each value among the names, shape (rows,), int64; -1 for an empty or unknown value.

        Args:
            column: name of the column.
            names: the known values.
            problems: gets a problem for every unknown value.
            message: of those problems; ``{value}`` stands for the value.
            allow_empty: do not report empty values.
        """
        texts = self.frame[column]
        index = texts.cast(pl.Enum(list(names)), strict=False).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
        wrong = index < 0
        if allow_empty:
            wrong = wrong & (texts != "").to_numpy()
        self.report(problems, column, wrong, message)
        return index

    def numbers(self, column: str, problems: Problems, *, above_zero: bool = False) -> Integers:
        """Return a column of decimals in 1e-6 units, rounded half up, shape (rows,), int64; reports wrong values."""
        units, wrong = self._units(column, problems)
        if above_zero:
            self.report(problems, column, (units <= 0) & ~wrong, "{value} is not above 0")
        else:
            self.report(problems, column, (units < 0) & ~wrong, "{value} is negative")
        return units

    def whole_numbers(self, column: str, problems: Problems, *, least: int, most: int | None = None) -> Integers:
        """Return a column of whole numbers, shape (rows,), int64; reports those that are not within the limits."""
        units, wrong = self._units(column, problems)
        fraction = (units % MICRO != 0) & ~wrong
        self.report(problems, column, fraction, "{value} is not a whole number")
        number = units // MICRO
        outside = (number < least) if most is None else (number < least) | (number > most)
        allowed = "is negative" if least == 0 and most is None else f"is not within {least} and {most}"
        self.report(problems, column, outside & ~wrong & ~fraction, "{value} " + allowed)
        return np.where(wrong | outside, least, number)

    def flags(self, column: str, problems: Problems) -> Flags:
        """Return a column of true and false, shape (rows,), bool; reports values that are neither."""
        texts = self.frame[column].str.strip_chars().str.to_lowercase().to_list()
        found = [FLAGS.get(text) for text in texts]
        wrong = np.array([flag is None for flag in found], dtype=bool)
        self.report(problems, column, wrong, "{value} is not true or false")
        return np.array([flag is not False for flag in found], dtype=bool)

    def _units(self, column: str, problems: Problems) -> tuple[Integers, Flags]:
        texts = self.frame[column]
        units, found = _plain_decimals(texts)
        wrong = np.zeros(len(texts), dtype=bool)
        for row in np.flatnonzero(~found).tolist():
            try:
                units[row] = _other_number(texts[row])
            except OptimizerInputError as error:
                wrong[row] = True
                if int(wrong.sum()) <= MAX_SHOWN:
                    problems.first.append(Problem(self.file, self.line(row), column, str(error)))
        problems.count += int(wrong.sum())
        return units, wrong


def shown(value: str) -> str:
    """Return a value as a message shows it: quoted, and cut if it is long."""
    return repr(value if len(value) <= MAX_SHOWN_CHARACTERS else f"{value[:MAX_SHOWN_CHARACTERS]}…")


def read_table(path: Path, columns: Sequence[str], problems: Problems, *, optional: Sequence[str] = ()) -> Table | None:
    """Return the named columns of a CSV file; None, with the problem reported, if it has no such table.

    The file is UTF-8 with or without byte order mark, with commas, and lines that end with LF, CRLF or CR. Columns may
    be in any order; other columns are ignored. A missing optional column is read as empty.
    """
    file = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        problems.add(Problem(file, 0, "", f"cannot be read: {error.strerror}"))
        return None
    data = data.removeprefix(BYTE_ORDER_MARK)
    try:
        return _parse(file, data, columns, optional)
    except _ShapeError as error:
        problems.add(Problem(file, error.line, error.column, error.message))
        return None


class _ShapeError(Exception):
    """The file is not a table with the required columns."""

    def __init__(self, line: int, column: str, message: str) -> None:
        self.line, self.column, self.message = line, column, message


def _parse(file: str, data: bytes, columns: Sequence[str], optional: Sequence[str]) -> Table:
    at = data.find(b"\0")
    if at >= 0:
        raise _ShapeError(data.count(b"\n", 0, at) + 1, "", "'\\x00' is not text (expected: CSV in UTF-8)")
    header = _header(data)
    names = [*columns, *optional]
    for number, name in enumerate(header):
        if name in header[:number]:
            raise _ShapeError(1, name, f"the column {name!r} occurs twice")
    missing = [name for name in columns if name not in header]
    if missing:
        raise _ShapeError(1, missing[0], f"missing column {', '.join(missing)}; found {shown(','.join(header))}")
    frame, lines = _plain_rows(data, header) if _is_plain(data) else (None, None)
    if frame is None:
        frame, lines = _quoted_rows(data, header)
    frame = frame.select(pl.col(name) if name in header else pl.lit("", dtype=pl.String).alias(name) for name in names)
    return Table(file, frame, lines, [name for name in header if name not in names])


def _is_plain(data: bytes) -> bool:
    return not (
        b'"' in data
        or b"\n\n" in data
        or b"\n\r" in data
        or data.startswith((b"\n", b"\r"))
        or data.count(b"\r") != data.count(b"\r\n")
    )


def _header(data: bytes) -> list[str]:
    for row, _ in _rows(data):
        return row
    raise _ShapeError(0, "", "is empty: the first line must name the columns")


def _plain_rows(data: bytes, header: Sequence[str]) -> tuple[pl.DataFrame | None, None]:
    """Return the rows as polars reads them, None if the file is not as plain as it seemed."""
    count = data.count(b"\n") - (1 if data.endswith(b"\n") else 0)
    if data.count(b",") != (count + 1) * (len(header) - 1):
        return None, None
    schema = {f"column {number}": pl.String for number in range(len(header))}
    if not count:
        return pl.DataFrame(schema=dict.fromkeys(header, pl.String)), None
    try:
        frame = pl.read_csv(
            data, has_header=False, skip_lines=1, schema=schema, quote_char=None, empty_string_is_null=False
        )
    except pl.exceptions.PolarsError:
        return None, None
    return (frame.rename(dict(zip(schema, header, strict=True))), None) if len(frame) == count else (None, None)


def _quoted_rows(data: bytes, header: Sequence[str]) -> tuple[pl.DataFrame, Sequence[int]]:
    """Return the rows as Python's ``csv`` reads them, and the line of each."""
    schema = dict.fromkeys(header, pl.String)
    rows, frames = islice(_rows(data), 1, None), [pl.DataFrame(schema=schema)]
    lines: list[int] = []
    while chunk := list(islice(rows, CHUNK_ROWS)):
        for row, line in chunk:
            if len(row) != len(header):
                text = shown(",".join(row))
                raise _ShapeError(line, "", f"{text} has {len(row)} values, but there are {len(header)} columns")
        lines.extend(line for _, line in chunk)
        frames.append(pl.DataFrame([row for row, _ in chunk], schema=schema, orient="row"))
    return pl.concat(frames), lines


def _rows(data: bytes) -> Iterable[tuple[list[str], int]]:
    """Yield every row that is not blank, with the line on which it begins."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline=""), strict=True)
    line = 1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _ShapeError(line, "", f"is not CSV: {error}") from None
        except UnicodeDecodeError:
            raise _not_utf8(data) from None
        if row:
            yield row, line
        line = reader.line_num + 1


def _not_utf8(data: bytes) -> _ShapeError:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _ShapeError(line, "", f"byte {data[error.start : error.start + 1]!r} is not UTF-8")
    raise AssertionError("the bytes are UTF-8")


def _plain_decimals(texts: pl.Series) -> tuple[Integers, Flags]:
    """Return the plain decimals in 1e-6 units, and which values are such, both of shape (rows,); the others are 0.

    With up to six decimals the cast to polars' Decimal is exact. It rounds half to even, so longer numbers are cut to
    seven decimals, the last of which decides what is rounded up.
    """
    plain = texts.str.contains(AT_MOST_SIX_DECIMALS)
    if plain.all():
        units = texts.cast(pl.Decimal(18, 6)).to_physical().cast(pl.Int64).to_numpy()
        return units.copy(), np.ones(len(texts), dtype=bool)
    short = texts.set(~plain, None).cast(pl.Decimal(18, 6)).to_physical().cast(pl.Int64)
    longer = texts.str.extract(SEVEN_DECIMALS).cast(pl.Decimal(18, 7)).to_physical().cast(pl.Int64)
    both = pl.select(pl.coalesce(short, (longer + 5) // 10)).to_series()
    return both.fill_null(0).to_numpy().copy(), both.is_not_null().to_numpy()


def _other_number(text: str) -> int:
    """Return a number that is not a plain decimal, such as ``1.5e3``, in 1e-6 units.

    Raises:
        OptimizerInputError: it is not a finite number, or is too large; the message begins with the value.
    """
    stripped = text.strip()
    if not NUMBER.fullmatch(stripped):
        raise OptimizerInputError(f"{shown(text)} is not a number")
    try:
        return micro(stripped)
    except OptimizerInputError:
        raise OptimizerInputError(f"{shown(text)} is too large") from None
