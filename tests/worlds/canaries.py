"""Planted secrets and the search for them: in every encoding, in everything that a world stores."""

from __future__ import annotations

import base64
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg

CORE_LENGTH = 32
"""Canaries begin with this number of random letters and digits, which every encoding leaves unchanged."""

Finding = tuple[str, str]
"""Name of the canary, and where it was found."""


def forms(secret: str) -> list[bytes]:
    """Return the patterns to search for: the secret, its hex form, its base64 forms at any offset of a longer text."""
    core = secret[:CORE_LENGTH].encode()
    found = [core, core.hex().encode(), core.hex().upper().encode()]
    for offset in range(3):
        # The first and last characters also depend on what stands around the secret.
        encoded = base64.b64encode(b"\0" * offset + core)[4 if offset else 0 : -4]
        found += [encoded, encoded.translate(bytes.maketrans(b"+/", b"-_"))]
    return list(dict.fromkeys(found))


def echo(user: str, secret: str) -> str:
    """Return what a server may say that repeats the credentials of a request, in every form; cut ones at the end."""
    basic = base64.b64encode(f"{user}:{secret}".encode()).decode()
    bearer = base64.b64encode(f"Authorization: Bearer {secret}".encode()).decode()
    percent = quote(secret, safe="")
    said = [secret, percent, percent.lower(), secret.encode().hex(), f"Basic {basic}", basic.rstrip("="), bearer]
    return f"refused, you sent {' and '.join(said)} and Bearer {secret} and {basic[:-3]} and {secret[:-2]}"


def find(canaries: dict[str, str], blobs: Iterable[tuple[str, bytes]]) -> list[Finding]:
    """Return which canaries are in which of the named blobs, archives opened."""
    wanted = {name: forms(secret) for name, secret in canaries.items()}
    return [
        (name, where)
        for where, blob in blobs
        for part in opened(blob)
        for name, texts in wanted.items()
        if any(text in part for text in texts)
    ]


def opened(blob: bytes) -> Iterator[bytes]:
    """Yield a blob, and what is in it if it is a gzip file, a zlib stream, a zip archive or a workbook."""
    yield blob
    if blob[:2] == b"\x1f\x8b":
        yield from opened(gzip.decompress(blob))
    elif blob[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield from opened(archive.read(name))
    elif blob[:1] == b"\x78":
        try:
            yield zlib.decompress(blob)
        except zlib.error:
            return


def files(directory: Path, *, but: set[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield every file below a folder, and every name."""
    for path in directory.rglob("*"):
        if path in but or path.is_symlink() or not path.is_file():
            continue
        yield str(path), str(path).encode()
        try:
            yield str(path), path.read_bytes()
        except FileNotFoundError:  # a running server removes its own
            continue


def tables(conninfo: str) -> Iterator[tuple[str, bytes]]:
    """Yield every row of every table of a database, of PostgreSQL's own ones too, as text; bytes as they are."""
    with psycopg.connect(conninfo) as connection:
        names = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE has_table_privilege(format('%I.%I', schemaname, tablename), 'SELECT')"
        ).fetchall()
        for (name,) in names:
            with connection.cursor(binary=False) as cursor:
                cursor.execute(f"SELECT * FROM {name}")  # type: ignore[call-overload]
                for row in cursor:
                    for value in row:
                        yield name, bytes(value) if isinstance(value, bytes | memoryview) else repr(value).encode()


def command_lines() -> Iterator[tuple[str, bytes]]:
    """Yield the command line of every process of this machine."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield str(path), path.read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
