"""A pooler before PostgreSQL that ignores a session's options, as PgBouncer does with ``ignore_startup_parameters``."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from psycopg.conninfo import conninfo_to_dict, make_conninfo

ENCRYPTION_REQUESTS = {80877103, 80877104}
"""Codes of SSLRequest and GSSENCRequest, in place of a protocol version."""


def _receive(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise ConnectionError("closed")
        data += piece
    return data


def _startup_without_options(client: socket.socket) -> bytes:
    """Return the client's startup message without its ``options``."""
    while True:
        (length,) = struct.unpack("!i", _receive(client, 4))
        body = _receive(client, length - 4)
        (code,) = struct.unpack("!i", body[:4])
        if code not in ENCRYPTION_REQUESTS:
            break
        client.sendall(b"N")
    texts = body[4:].rstrip(b"\0").split(b"\0")
    kept = [pair for pair in zip(texts[::2], texts[1::2], strict=True) if pair[0] != b"options"]
    body = body[:4] + b"".join(name + b"\0" + value + b"\0" for name, value in kept) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _serve(client: socket.socket, server: tuple[str, int]) -> None:
    with client, suppress(OSError), socket.create_connection(server) as upstream:
        upstream.sendall(_startup_without_options(client))
        back = threading.Thread(target=_pump, args=(upstream, client), daemon=True)
        back.start()
        _pump(client, upstream)
        back.join()


@contextmanager
def pooler_that_ignores_options(conninfo: str) -> Iterator[str]:
    """Run the pooler; yield the connection string through it."""
    parts = conninfo_to_dict(conninfo)
    server = str(parts["host"]), int(parts["port"] or 5432)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=_serve, args=(client, server), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield make_conninfo(conninfo, port=listener.getsockname()[1])
    finally:
        listener.close()
