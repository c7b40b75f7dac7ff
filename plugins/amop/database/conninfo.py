"""Convert an Airflow connection, as URI or JSON, to a libpq connection string without importing Airflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo

DEFAULT_PORT = 5432
EXTRA_KEY = "__extra__"
"""Airflow's URI form keeps an extra that is not flat under this key."""


class ConnectionFormError(ValueError):
    """A connection is malformed. The message never repeats its text, which holds a password."""


def conninfo_from_airflow_connection(value: str) -> str:
    """Return the libpq connection string of an Airflow connection, as ``AIRFLOW_CONN_…`` holds it.

    Args:
        value: ``postgresql://login:password@host:port/schema?sslmode=require`` (or ``postgres://``), with
            special characters percent-encoded, or Airflow's JSON form with conn_type, host, login, password,
            schema, port and extra.

    Raises:
        ConnectionFormError: the value has neither form, or another connection type.
    """
    value = value.strip()
    fields = _fields_of_json(value) if value.startswith("{") else _fields_of_uri(value)
    return conninfo_from_fields(**fields)


def conninfo_from_fields(
    *,
    host: str | None,
    port: int | str | None,
    login: str | None,
    password: str | None,
    schema: str | None,
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Return the libpq connection string of the fields of an Airflow connection.

    Only libpq's options are taken from the extra (``sslmode``, ``connect_timeout`` and so on). Others belong to
    Airflow's provider, such as ``cursor`` or ``aws_conn_id``.

    Raises:
        ConnectionFormError: a field is invalid; the message names the field, not its value.
    """
    options: dict[str, Any] = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in (extra or {}).items()
        if name in _libpq_options() and isinstance(value, str | int)
    }
    try:
        number = int(port) if port not in (None, "") else DEFAULT_PORT
    except ValueError:
        raise ConnectionFormError("the port of the connection is not a number") from None
    named = {"host": host, "dbname": schema, "user": login, "password": password}
    texts = {name: value for name, value in named.items() if value}
    for name, text in texts.items():
        if "\x00" in text:
            raise ConnectionFormError(f"the {name} of the connection contains a NUL character")
    return make_conninfo(**{**options, **texts, "port": number})


def _fields_of_uri(value: str) -> dict[str, Any]:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ConnectionFormError(
            "the connection is not a URI: its host, port or brackets are malformed (special characters of a "
            "password must be percent-encoded)"
        ) from None
    _require_postgres(parts.scheme)
    extra: Any = dict(parse_qsl(parts.query, keep_blank_values=True))
    if EXTRA_KEY in extra:
        extra = _json_object(extra[EXTRA_KEY], f"{EXTRA_KEY} of the connection's URI")
    if parts.fragment:
        raise ConnectionFormError("the connection's URI has a '#': special characters must be percent-encoded")
    return {
        "host": _host(parts),
        "port": port,
        "login": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "schema": unquote(parts.path.removeprefix("/")) or None,
        "extra": extra,
    }


def _host(parts: SplitResult) -> str | None:
    """Return the host as written; ``SplitResult.hostname`` would change a socket folder to lower case."""
    if parts.hostname is None:
        return None
    written = parts.netloc.rpartition("@")[2]
    if written.startswith("["):
        return written[1 : written.index("]")]
    return unquote(written.partition(":")[0]) or None


def _fields_of_json(value: str) -> dict[str, Any]:
    fields = _json_object(value, "connection")
    _require_postgres(str(fields.get("conn_type", "")))
    extra = fields.get("extra") or {}
    if isinstance(extra, str):
        extra = _json_object(extra, "extra of the connection")
    if not isinstance(extra, dict):
        raise ConnectionFormError("the extra of the connection is not a JSON object")
    return {
        "port": fields.get("port"),
        "extra": extra,
        **{name: _text(fields, name) for name in ("host", "login", "password", "schema")},
    }


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise ConnectionFormError(f"the {name} of the connection is not text")
    return value


def _json_object(text: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ConnectionFormError(f"the {what} is not a JSON object")
    return value


def _require_postgres(connection_type: str) -> None:
    if connection_type.partition("+")[0].lower() not in {"postgres", "postgresql"}:
        raise ConnectionFormError(
            "the connection is not of type postgres; "
            "allowed: postgresql://login:password@host:port/database or "
            'Airflow\'s JSON form {"conn_type": "postgres", …}'
        )


@cache
def _libpq_options() -> frozenset[str]:
    """Return the names of libpq's options, without those that are fields of a connection."""
    names = {option.keyword.decode() for option in Conninfo.get_defaults()}
    return frozenset(names - {"host", "port", "dbname", "user", "password"})
