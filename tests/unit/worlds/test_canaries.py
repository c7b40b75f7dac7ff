"""The search for planted secrets finds them: a search that cannot find anything would prove nothing."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zipfile
import zlib
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.worlds.canaries import files, find, tables

SECRET = "Ab3dEf6hIj9lMn0pQr3tUv6xYz9-_12Z/+%&@:'"
OTHER = SECRET[31::-1] + SECRET[32:]


def _zip(text: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", text)
    return target.getvalue()


@pytest.mark.parametrize(
    "leak",
    [
        SECRET.encode(),
        quote(SECRET, safe="").encode(),
        quote_plus(SECRET).encode(),
        escape(SECRET).encode(),
        json.dumps({"a": SECRET}).encode(),
        repr(SECRET).encode(),
        SECRET.encode().hex().encode(),
        *(base64.b64encode(f"{user}:{SECRET}".encode()) for user in ("", "a", "ab", "abc", "api_jasper")),
        base64.urlsafe_b64encode(f"x{SECRET}".encode()),
        f"postgresql://amop:{quote(SECRET, safe='')}@h/d".encode(),
        gzip.compress(SECRET.encode(), mtime=0),
        zlib.compress(SECRET.encode()),
        _zip(SECRET.encode()),
        gzip.compress(_zip(base64.b64encode(SECRET.encode())), mtime=0),
    ],
    ids=lambda _: "form",  # the bytes of a zip hold the time
)
def test_a_leak_is_found_in_whatever_form(leak: bytes) -> None:
    blob = leak if leak[:2] in {b"\x1f\x8b", b"PK"} or leak[:1] == b"\x78" else b"before " + leak + b" after"
    assert find({"key": SECRET, "other": OTHER}, [("log", blob)])[0] == ("key", "log")
    assert {name for name, _ in find({"key": SECRET, "other": OTHER}, [("log", blob)])} == {"key"}


def test_files_and_tables_are_searched(tmp_path: Path, empty_database_dsn: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "log").write_text(f"x {SECRET}")
    (tmp_path / "settings").write_text(SECRET)
    found = find({"key": SECRET}, files(tmp_path, but={tmp_path / "settings"}))
    assert found == [("key", str(tmp_path / "folder" / "log"))]
    with psycopg.connect(empty_database_dsn) as connection:
        connection.execute("CREATE TABLE t (a jsonb, b bytea, c text[])")
        stored: list[tuple[dict[str, Any], bytes, list[str]]] = [
            ({"x": [SECRET]}, b"", []),
            ({}, zlib.compress(SECRET.encode()), []),
            ({}, b"", ["a", SECRET]),
        ]
        for document, blob, texts in stored:
            connection.execute("INSERT INTO t VALUES (%s, %s, %s)", [Jsonb(document), blob, texts])
    assert find({"key": SECRET, "other": OTHER}, tables(empty_database_dsn)) == [("key", "public.t")] * 3
