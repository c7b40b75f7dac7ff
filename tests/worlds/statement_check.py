"""Compare declared statements and COPYs with what the server says about them, without running any.

A statement is prepared on a migrated database: the server then describes its parameters and columns with their types.
"""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import pkgutil
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NewType
from uuid import UUID

import psycopg
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.types.json import Json, Jsonb

import amop
from amop.database.copy import CopyInto
from amop.database.statements import IDENTIFIER, STATEMENTS, Statement

PLACEHOLDER = re.compile(r"%(?:\((\w+)\)s|(%)|)")

TYPES: dict[str, tuple[object, ...]] = {
    "int2": (int,),
    "int4": (int,),
    "int8": (int,),
    "oid": (int,),
    "numeric": (Decimal,),
    "float4": (float,),
    "float8": (float,),
    "text": (str,),
    "varchar": (str,),
    "bpchar": (str,),
    "name": (str,),
    "bool": (bool,),
    "timestamptz": (datetime,),
    "timestamp": (datetime,),
    "date": (date,),
    "time": (time,),
    "interval": (timedelta,),
    "uuid": (UUID,),
    "bytea": (bytes,),
    "void": (type(None),),
}
"""PostgreSQL's types and what psycopg makes of their values."""

ALSO_SENT: dict[str, tuple[object, ...]] = {"numeric": (int,), "float4": (int, Decimal), "float8": (int, Decimal)}
"""Types that a parameter may have besides those of `TYPES`."""

JSON = {"json", "jsonb"}
UNDECIDED = {"42P18", "42725", "42883"}
"""The server cannot infer a type: indeterminate_datatype, ambiguous_function, undefined_function (of unknown)."""

OIDS = {
    int: "int4",
    Decimal: "numeric",
    float: "float8",
    bool: "bool",
    datetime: "timestamptz",
    date: "date",
    timedelta: "interval",
    UUID: "uuid",
    bytes: "bytea",
    Jsonb: "jsonb",
    Json: "json",
}
"""The type that psycopg sends a value as; text is sent without one."""


def import_stores() -> None:
    """Import every ``amop.*.store``, which fills `STATEMENTS` and `COPIES`."""
    for package in pkgutil.iter_modules(amop.__path__, "amop."):
        if package.ispkg and importlib.util.find_spec(f"{package.name}.store"):
            importlib.import_module(f"{package.name}.store")


def unbound_files(directory: Path, names: Iterable[str]) -> list[str]:
    """Return the statements of a folder of SQL files that no function is bound to; migrations are not statements."""
    files = {path.relative_to(directory).with_suffix("").as_posix() for path in directory.rglob("*.sql")}
    return sorted(name for name in files - set(names) if not name.startswith("migrations/"))


@dataclass(frozen=True)
class Description:
    """What the server says about a prepared statement: parameters and columns, in order, with their types."""

    parameters: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]


class StatementError(Exception):
    """A statement cannot be prepared."""


def statement_faults(connection: psycopg.Connection[Any], statement: Statement[..., Any]) -> list[str]:
    """Return what is wrong with a statement, each as one sentence that begins with its name; changes nothing."""
    try:
        text = statement.text
    except FileNotFoundError:
        return [f"{statement.name}: there is no file include/sql/{statement.name}.sql"]
    faults = _signature_faults(statement, text)
    if faults:
        return [f"{statement.name}: {fault}" for fault in faults]
    for chosen in _identifier_values(statement):
        numbered, names = number_placeholders(statement.text_for(chosen))
        label = "".join(f" ({name} {value})" for name, value in chosen.items())
        try:
            described = _described_faults(connection, statement, numbered, names)
        except StatementError as error:
            described = [str(error)]
        faults += [f"{statement.name}{label}: {fault}" for fault in described]
    return faults


def copy_faults(connection: psycopg.Connection[Any], copy: CopyInto[Any]) -> list[str]:
    """Return what is wrong with a COPY, each as one sentence that begins with its table; changes nothing."""
    with connection.transaction(force_rollback=True):
        try:
            _create_needs(connection, copy.needs)
            table = connection.execute("SELECT to_regclass(%s)::oid AS id", [copy.table]).fetchone()
            rows = connection.execute(
                "SELECT attname, typname FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid"
                " WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped",
                [table and table[0]],
            ).fetchall()
        except StatementError as error:
            return [f"COPY {copy.table}: {error}"]
    if not table or table[0] is None:
        return [f"COPY {copy.table}: there is no such table"]
    columns = {name: f"{kind[1:]}[]" if kind.startswith("_") else kind for name, kind in rows}
    hints = typing.get_type_hints(copy.row_type)
    faults = [f"field {name} is no column of the table" for name in copy.columns if name not in columns]
    faults += [
        f"field {name} is {_name(hints[name])}, but the column is {columns[name]}"
        for name in copy.columns
        if name in columns and not is_sendable(columns[name], hints[name])
    ]
    faults += [
        f"column {name} is sent as {kind}, but it is {columns[name]}"
        for name, kind in zip(copy.columns, copy.types or (), strict=False)
        if name in columns and columns[name] != kind
    ]
    return [f"COPY {copy.table} of {copy.row_type.__name__}: {fault}" for fault in faults]


def number_placeholders(text: str) -> tuple[str, list[str]]:
    """Return the text with ``$1``, ``$2`` … for ``%(name)s``, and the names in that order.

    Raises:
        StatementError: a ``%`` is neither a placeholder nor ``%%``.
    """
    names: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        name, percent = found.groups()
        if percent:
            return "%"
        if not name:
            line = text.count("\n", 0, found.start()) + 1
            raise StatementError(f"line {line}: a '%' is neither a placeholder nor '%%'")
        return f"${names.setdefault(name, len(names) + 1)}"

    return PLACEHOLDER.sub(number, text), list(names)


def is_readable(kind: str, annotation: object) -> bool:
    """Return True when the values of a column of this type are what the annotation says."""
    return _fits(kind, annotation, is_parameter=False)


def is_sendable(kind: str, annotation: object) -> bool:
    """Return True when a value as annotated can be sent as this type, nothing lost."""
    return _fits(kind, annotation, is_parameter=True)


def _signature_faults(statement: Statement[..., Any], text: str) -> list[str]:
    """Compare names only: the placeholders of the file and the keywords of the function."""
    try:
        _, placeholders = number_placeholders(text)
    except StatementError as error:
        return [str(error)]
    every = list(inspect.signature(statement.function).parameters.values())
    faults = [f"parameter {each.name} must be keyword-only" for each in every[1:] if each.kind is not each.KEYWORD_ONLY]
    keywords = set(statement.parameters)
    for name in sorted(set(IDENTIFIER.findall(text)) & keywords - set(statement.identifiers)):
        faults.append(f"identifier {{{name}}} must be annotated with its allowed values, Literal[…]")
    values = keywords - set(statement.identifiers)
    faults += [f"the file has no parameter %({name})s" for name in sorted(values - set(placeholders))]
    faults += [f"the function has no parameter {name}" for name in sorted(set(placeholders) - values)]
    row_type = statement.returns.row_type
    if is_dataclass(row_type) and not row_type.__dataclass_params__.frozen:  # type: ignore[union-attr]
        faults.append(f"{_name(row_type)} is not frozen")
    return faults


def _identifier_values(statement: Statement[..., Any]) -> Iterable[dict[str, str]]:
    names = list(statement.identifiers)
    for values in itertools.product(*statement.identifiers.values()):
        yield dict(zip(names, values, strict=True))


def _described_faults(
    connection: psycopg.Connection[Any], statement: Statement[..., Any], text: str, names: Sequence[str]
) -> list[str]:
    annotations = [statement.parameters[name] for name in names]
    with connection.transaction(force_rollback=True):
        _create_needs(connection, statement.needs)
        described = _describe(connection, text, annotations)
    faults = [
        f"parameter {name} is {_name(annotation)}, but the server takes {kind}; change it, or cast it in the file"
        for name, annotation, kind in zip(names, annotations, described.parameters, strict=True)
        if not is_sendable(kind, annotation)
    ]
    return faults + _column_faults(statement, described.columns)


def _create_needs(connection: psycopg.Connection[Any], needs: Sequence[str]) -> None:
    """Create the temporary tables of a statement, with null for every parameter: they are then empty.

    Raises:
        StatementError: there is no such statement, or it failed.
    """
    for name in needs:
        needed = STATEMENTS.get(name)
        if needed is None:
            raise StatementError(f"needs {name}, which no function is bound to")
        _create_needs(connection, needed.needs)
        try:
            connection.execute(needed.text.encode(), dict.fromkeys(needed.parameters))
        except psycopg.Error as error:
            raise StatementError(f"needs {name}, which failed: {error}") from error


def _describe(connection: psycopg.Connection[Any], text: str, annotations: Sequence[object]) -> Description:
    """Prepare a statement and return its description.

    The server infers the types of the parameters. Where it cannot, they are those that psycopg sends.

    Raises:
        StatementError: the server refuses the statement; the message is the server's.
    """
    sent = [_sent_oid(annotation) for annotation in annotations]
    for oids in ([0] * len(annotations), sent):
        with connection.transaction(force_rollback=True):
            prepared = connection.pgconn.prepare(b"checked", text.encode(), oids)
            if prepared.status == ExecStatus.COMMAND_OK:
                described = connection.pgconn.describe_prepared(b"checked")
                connection.pgconn.exec_(b"DEALLOCATE checked")
                kinds = [described.param_type(number) for number in range(described.nparams)]
                columns = [described.ftype(number) for number in range(described.nfields)]
                names = _type_names(connection, {*kinds, *columns})
                return Description(
                    tuple(names[kind] for kind in kinds),
                    tuple(
                        ((described.fname(number) or b"").decode(), names[kind]) for number, kind in enumerate(columns)
                    ),
                )
            state = (prepared.error_field(DiagnosticField.SQLSTATE) or b"").decode()
            message = prepared.get_error_message()
        if state not in UNDECIDED or oids == sent:
            break
    raise StatementError(" ".join(message.split()))


def _type_names(connection: psycopg.Connection[Any], oids: set[int]) -> dict[int, str]:
    rows = connection.execute("SELECT oid, typname FROM pg_type WHERE oid = ANY(%s)", [list(oids)]).fetchall()
    return {oid: f"{name[1:]}[]" if name.startswith("_") else name for oid, name in rows}


def _column_faults(statement: Statement[..., Any], columns: Sequence[tuple[str, str]]) -> list[str]:
    returns = statement.returns
    if returns.is_nothing or returns.is_row_count:
        return []
    names = [name for name, _ in columns]
    if not columns:
        return ["the statement returns no columns"]
    faults = [f"column {name} is returned twice" for name in sorted({name for name in names if names.count(name) > 1})]
    if not is_dataclass(returns.row_type):
        if len(columns) != 1:
            return [f"a scalar needs one column, not {len(columns)}: {', '.join(names)}"]
        ((name, kind),) = columns
        if not is_readable(kind, returns.row_type):
            faults.append(f"column {name} is {kind}, but the function returns {_name(returns.row_type)}")
        return faults
    hints = typing.get_type_hints(returns.row_type)
    wanted = [each.name for each in fields(returns.row_type)]
    row = _name(returns.row_type)
    faults += [f"{row}.{name} is no column of the statement" for name in wanted if name not in names]
    faults += [f"column {name} is no field of {row}" for name in names if name not in wanted]
    if returns.is_columns and not faults and names != wanted:
        faults.append(f"the fields of {row} must be in the order of the columns: {', '.join(names)}")
    is_fitting = _is_array_of if returns.is_columns else is_readable
    faults += [
        f"{row}.{name} is {_name(hints[name])}, but the column is {kind}"
        for name, kind in columns
        if name in hints and not is_fitting(kind, hints[name])
    ]
    return faults


def _is_array_of(kind: str, annotation: Any) -> bool:
    """Return True when a column row's field is the array that `read_columns` makes of this type."""
    elements = {"int8[]": "numpy.int64", "text": "numpy.str_"}
    return kind in elements and elements[kind] in str(annotation).replace("np.", "numpy.")


def _fits(kind: str, annotation: object, *, is_parameter: bool) -> bool:
    if annotation is Any or annotation is object:
        return kind in JSON and not is_parameter
    members = _members(annotation)
    if kind == "void":
        return members == set()
    return bool(members) and all(_member_fits(kind, each, is_parameter=is_parameter) for each in members)


def _member_fits(kind: str, member: Any, *, is_parameter: bool) -> bool:
    if member is Any:
        return kind in JSON and not is_parameter
    origin = typing.get_origin(member)
    if kind.endswith("[]"):
        if origin not in {list, Sequence}:
            return False
        return _fits(kind[:-2], typing.get_args(member)[0], is_parameter=is_parameter)
    if kind in JSON:
        if is_parameter:
            return member in {Json, Jsonb}
        return (origin or member) in {dict, list, Mapping, Sequence} or typing.is_typeddict(origin or member)
    accepted = TYPES.get(kind, ()) + (ALSO_SENT.get(kind, ()) if is_parameter else ())
    return member in accepted


def _members(annotation: Any) -> set[Any]:
    """Return the types that an annotation stands for, without None: of its union, new type or literals."""
    if isinstance(annotation, NewType):
        return _members(annotation.__supertype__)
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return {type(value) for value in typing.get_args(annotation)} - {type(None)}
    if origin in {typing.Union, types.UnionType}:
        return set().union(*(_members(each) for each in typing.get_args(annotation)))
    if origin is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    return {annotation} - {type(None)}


def _sent_oid(annotation: object) -> int:
    """Return the type that psycopg sends a value as, 0 where it leaves the choice to the server."""
    members = _members(annotation)
    if len(members) != 1:
        return 0
    (member,) = members
    if typing.get_origin(member) in {list, Sequence}:
        elements = _members(typing.get_args(member)[0])
        kind = OIDS.get(next(iter(elements))) if len(elements) == 1 else None
        return psycopg.postgres.types[kind].array_oid if kind else 0
    kind = OIDS.get(member)
    return psycopg.postgres.types[kind].oid if kind else 0


def _name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
