"""Every client reads the answers that its carrier's public documentation shows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from amop.carriers.account import CarrierAccount
from amop.carriers.registry import CLIENTS
from tests.worlds.family_parts import SHAPES, ShapeServer, call_of_shape, read_shape
from tests.worlds.open_gate import OpenGate

NOW = datetime(2023, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize("path", sorted(SHAPES.rglob("*.json")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_client_reads_the_documented_answer(path: Path) -> None:
    shape = read_shape(path)
    server = ShapeServer(shape)
    with server.running() as address:
        account = CarrierAccount(
            "c", "Example", address, "user", "key", is_loopback=True,
            client_id="app", client_secret="app secret", account_name="0000123456-00001",
        )  # fmt: skip
        with CLIENTS[path.parent.name](account, OpenGate(), may_write=True, clock=lambda: NOW) as client:
            found: Any = call_of_shape(client, shape)
    expected = dict(shape["expected"])
    assert server.sent == ([expected.pop("sent")] if "sent" in expected else [])
    assert expected == ({key: found[key] for key in expected} if found else {})
    assert shape["source"]
