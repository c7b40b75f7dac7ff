"""SQL statements with typed parameters and typed rows.

Each file of ``include/sql`` has one function, in the ``store.py`` of its subject. The function has no body, because
its signature says everything: its keywords are the parameters of the file, and its return annotation says what becomes
of the rows::

    @statement("runs/sync_run")
    def sync_run(connection: WarehouseConnection, *, run_id: int) -> SyncRun | None:
        \"\"\"Return the run with its provider and billing period, None if there is none.\"\"\"

    run = sync_run(connection, run_id=7)

| return annotation | result |
|---|---|
| ``None`` | nothing |
| `RowCount` | the number of rows that the statement touched; not inside a pipeline, where it is not known yet |
| ``Row`` (a frozen dataclass) | the first row; `NoRowError` where there is none |
| ``Row | None`` | the first row, or None |
| ``list[Row]`` | all rows |
| ``Iterator[Row]`` | all rows, streamed by a server-side cursor inside the caller's transaction |
| a column row (`amop.database.columns.ColumnRow`) | one row of aggregated columns, as numpy arrays |
| a scalar (``int``, ``datetime``, ``int | None``, ``list[int]`` …) | the same, of the statement's only column |

A file may also name an identifier, such as ``DELETE FROM {table}``. Its parameter is annotated with the allowed values,
``table: Literal["amop.device_staging", "amop.device_sync_page"]``; every other value is refused.

``tests/db/database/test_statements.py`` prepares every statement on the migrated schema and compares its parameters,
columns and types with the function; it also fails on a file without a function.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cached_property, update_wrapper
from typing import Any, Concatenate, Generic, Literal, NewType, ParamSpec, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import RowFactory, class_row, scalar_row
from psycopg.sql import Identifier

from amop.database import sql
from amop.database.connection import WarehouseConnection

P = ParamSpec("P")
R = TypeVar("R")

RowCount = NewType("RowCount", int)
"""Number of rows that a statement inserted, updated, deleted or returned."""

STREAMED_ROWS = 2_000
"""Rows that a streamed statement holds in memory at a time."""

STATEMENTS: dict[str, Statement[..., Any]] = {}
"""Every declared statement by its name; filled as the stores are imported."""

IDENTIFIER = re.compile(r"\{(\w+)\}")

_stream_numbers = itertools.count(1)


class NoRowError(LookupError):
    """A statement that must return a value returned no row, or null; the message names it and its parameters."""


class Statement(Generic[P, R]):
    """One file of ``include/sql`` with the signature of its function. Call it like that function."""

    def __init__(
        self, name: str, function: Callable[..., R], needs: Sequence[str] = (), types_from: str | None = None
    ) -> None:
        self.name = name
        self.function = function
        self.needs = tuple(needs)
        """Names of the statements that create the temporary tables of this one."""
        self._types_from = types_from
        update_wrapper(self, function)

    def __call__(self, connection: WarehouseConnection, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the statement in the caller's transaction.

        Raises:
            NoRowError: a value is required and there is no row, or it is null.
            ValueError: an identifier is not one of the allowed values.
            RuntimeError: the number of rows is asked for inside a pipeline.
        """
        text, parameters = self.text_for(kwargs), self._bind(kwargs)
        result: Any
        if self.returns.is_columns:
            from amop.database.columns import read_column_row

            result = read_column_row(connection, text, parameters, self.returns.row_type)
        elif self.returns.is_streamed:
            result = self._stream(connection, text, parameters)
        else:
            with connection.cursor(row_factory=self._row_factory) as cursor:
                cursor.execute(text, parameters)
                if self.returns.is_nothing:
                    result = None
                elif self.returns.is_row_count:
                    result = self._row_count(cursor.rowcount)
                elif self.returns.is_list:
                    result = cursor.fetchall()
                else:
                    result = self._only(cursor.fetchone(), parameters)
        return typing.cast("R", result)

    async def run_async(self, connection: AsyncConnection[Any], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the statement on an asynchronous connection; for triggers.

        Raises:
            NoRowError: a value is required and there is no row, or it is null.
            ValueError: an identifier is not one of the allowed values.
            TypeError: the statement is a stream or a column row.
        """
        if self.returns.is_streamed or self.returns.is_columns:
            raise TypeError(f"{self.name}: streams and column rows cannot be read on an asynchronous connection")
        text, parameters = self.text_for(kwargs), self._bind(kwargs)
        result: Any
        async with connection.cursor(row_factory=self._row_factory) as cursor:
            await cursor.execute(text, parameters)
            if self.returns.is_nothing:
                result = None
            elif self.returns.is_row_count:
                result = self._row_count(cursor.rowcount)
            elif self.returns.is_list:
                result = await cursor.fetchall()
            else:
                result = self._only(await cursor.fetchone(), parameters)
        return typing.cast("R", result)

    @property
    def text(self) -> str:
        """The SQL of the file."""
        return sql.load(self.name)

    @cached_property
    def returns(self) -> Returns:
        """What becomes of the rows, read from the function's return annotation."""
        return Returns.of(self._hints["return"])

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The annotation of each keyword of the function: the values and the identifiers of the file."""
        return {name: self._hints[name] for name in self._keywords}

    @cached_property
    def identifiers(self) -> dict[str, tuple[str, ...]]:
        """The allowed values of each parameter that stands for an identifier in the file."""
        named = set(IDENTIFIER.findall(self.text))
        return {
            name: typing.get_args(annotation)
            for name, annotation in self.parameters.items()
            if name in named and typing.get_origin(annotation) is Literal
        }

    def text_for(self, parameters: Mapping[str, Any]) -> str:
        """Return the SQL of the file with its identifiers in place.

        Raises:
            ValueError: an identifier is not one of the allowed values.
        """
        text = self.text
        for name, allowed in self.identifiers.items():
            value = parameters.get(name, self._defaults.get(name))
            if value not in allowed:
                raise ValueError(f"{self.name}: {name} must be one of {', '.join(allowed)}, not {value!r}")
            text = text.replace(f"{{{name}}}", Identifier(*str(value).split(".")).as_string())
        return text

    @cached_property
    def _hints(self) -> dict[str, Any]:
        types_from = vars(importlib.import_module(self._types_from)) if self._types_from else None
        return typing.get_type_hints(self.function, localns=types_from)

    @cached_property
    def _keywords(self) -> dict[str, inspect.Parameter]:
        every = inspect.signature(self.function).parameters
        return {name: each for name, each in every.items() if each.kind is inspect.Parameter.KEYWORD_ONLY}

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        return {name: each.default for name, each in self._keywords.items() if each.default is not each.empty}

    @cached_property
    def _row_factory(self) -> RowFactory[Any]:
        row_type: Any = self.returns.row_type
        if is_dataclass(row_type):
            return class_row(typing.cast("type[Any]", row_type))
        return scalar_row

    def _bind(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the file's parameters; psycopg would send a tuple as a composite, not as an array."""
        values = {**self._defaults, **keywords}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if name not in self.identifiers
        }

    def _row_count(self, count: int) -> int:
        if count < 0:
            raise RuntimeError(f"{self.name}: the number of rows is not known inside a pipeline; declare it as None")
        return count

    def _only(self, row: Any, parameters: Mapping[str, Any]) -> Any:
        if row is None and not self.returns.is_optional:
            raise NoRowError(f"{self.name} returned no row, or null, for {dict(parameters)}")
        return row

    def _stream(self, connection: WarehouseConnection, text: str, parameters: Mapping[str, Any]) -> Iterator[Any]:
        name = f"{self.name.replace('/', '_')}_{next(_stream_numbers)}"
        with connection.cursor(name=name, row_factory=self._row_factory) as cursor:
            cursor.itersize = STREAMED_ROWS
            cursor.execute(text, parameters)
            yield from cursor


def statement(
    name: str, *, needs: Sequence[str] = (), types_from: str | None = None
) -> Callable[[Callable[Concatenate[WarehouseConnection, P], R]], Statement[P, R]]:
    """Bind a function without a body to the file ``include/sql/<name>.sql``; see the module's docstring.

    Args:
        name: folder and file without ``.sql``, such as ``runs/sync_run``.
        needs: names of the statements that create the temporary tables of this one.
        types_from: module of the types that the store imports for type checking only, because the module needs numpy;
            it is imported with the first call of the statement.

    Raises:
        ValueError: another function is bound to the same file.
    """

    def bind(function: Callable[Concatenate[WarehouseConnection, P], R]) -> Statement[P, R]:
        known = STATEMENTS.get(name)
        if known is not None and _full_name(known.function) != _full_name(function):
            raise ValueError(f"{name} is bound to {_full_name(known.function)} and to {_full_name(function)}")
        bound: Statement[P, R] = Statement(name, function, needs, types_from)
        STATEMENTS[name] = bound
        return bound

    return bind


def _full_name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


class Returns:
    """What a return annotation asks for."""

    def __init__(
        self, row_type: Any, *, is_list: bool = False, is_streamed: bool = False, is_optional: bool = False
    ) -> None:
        self.row_type = row_type
        """A dataclass, or the annotation of the only column."""
        self.is_list = is_list
        self.is_streamed = is_streamed
        self.is_optional = is_optional

    @classmethod
    def of(cls, annotation: Any) -> Returns:
        """Return the meaning of a return annotation."""
        origin = typing.get_origin(annotation)
        arguments = typing.get_args(annotation)
        if origin is list:
            return cls(arguments[0], is_list=True)
        if origin is Iterator:
            return cls(arguments[0], is_streamed=True)
        if origin in {typing.Union, types.UnionType}:
            kinds = [each for each in arguments if each is not type(None)]
            if len(kinds) < len(arguments):
                return cls(typing.Union[tuple(kinds)], is_optional=True)  # noqa: UP007 the members are computed
        return cls(annotation)

    @property
    def is_nothing(self) -> bool:
        """True where the rows are of no interest."""
        return self.row_type is type(None)

    @property
    def is_row_count(self) -> bool:
        """True where the number of rows is the result."""
        return self.row_type is RowCount

    @property
    def is_columns(self) -> bool:
        """True where one row holds whole columns."""
        return bool(getattr(self.row_type, "IS_COLUMN_ROW", False))
