"""A response body is stored as it was received, unless a value of it had to be replaced."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from amop.carriers.http_response import read_json_body
from amop.carriers.page import CarrierPage, ReceivedDocument
from amop.device_sync import staging
from amop.foreign_text import SecretScrubber

RECEIVED = datetime(2026, 11, 20, 5, tzinfo=UTC)
BODY = '{"devices": [{"iccid":"8901", "usage": 1.50, "name": "Zürich \\u00e9", "big": 12345678901234567890}] }'.encode()


class Body:
    """A streamed response that has arrived."""

    def __init__(self, body: bytes, *, ok: bool = True) -> None:
        self.raw, self.ok, self._body = self, ok, body

    def read1(self, size: int, *, decode_content: bool) -> bytes:
        body, self._body = self._body[:size], self._body[size:]
        return body


def parsed(body: bytes) -> Any:
    return read_json_body(Body(body), deadline=1.0, monotonic=lambda: 0.0)  # type: ignore[arg-type]


def stored(document: Any, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Return the stored form of a page with this document."""
    found: list[bytes] = []
    monkeypatch.setattr(
        "amop.device_sync.store.reads.insert_carrier_page",
        lambda connection, *, document, **values: found.append(document),
    )
    staging.store_answer(None, 1, CarrierPage("device_list", RECEIVED, document))  # type: ignore[arg-type]
    return gzip.decompress(found[0])


def test_an_object_is_stored_with_the_bytes_it_came_with(monkeypatch: pytest.MonkeyPatch) -> None:
    document = parsed(BODY)
    assert document == json.loads(BODY)
    assert isinstance(document, ReceivedDocument)
    assert stored(document, monkeypatch) == BODY


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b'{"a": NaN}', {"a": "NaN"}),
        (b'{"a": -Infinity}', {"a": "-Infinity"}),
        (b'{"a": 1e400}', {"a": "1e400"}),
        (b'{"a": ' + b"9" * 5000 + b"}", {"a": "9" * 5000}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        ('{"a": 1}'.encode("utf-16"), {"a": 1}),
    ],
    ids=["NaN", "infinity", "beyond a double", "5,000 digits", "byte order mark", "UTF-16"],
)
def test_an_object_whose_bytes_say_something_else_is_written_anew(
    body: bytes, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = parsed(body)
    assert (found, type(found)) == (document, dict)
    assert json.loads(stored(found, monkeypatch)) == document


def test_an_object_without_its_secrets_is_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SecretScrubber("a-key-of-no-value").scrub_document(parsed(b'{"echo": "a-key-of-no-value"}'))
    assert stored(found, monkeypatch) == b'{"echo":"***"}'


@pytest.mark.parametrize("body", [b"[1]", b'"text"', b"null"])
def test_what_is_no_object_is_itself(body: bytes) -> None:
    assert parsed(body) == json.loads(body)
