"""Log lines that people can read: figures in words, and only a few lines however long a task works."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FIRST_MILESTONE = 20


def is_milestone(count: int) -> bool:
    """Return True for 20, 50, 100, 200, 500, 1000 and so on: the counts at which progress is logged."""
    return count >= FIRST_MILESTONE and str(count).rstrip("0") in {"1", "2", "5"}


def figures(record: DataclassInstance | Mapping[str, object]) -> str:
    """Return the figures of a record as ``sims listed 2,000, pages 40``, without those that are not known.

    Args:
        record: a dataclass or a mapping; underscores of the names become spaces.
    """
    found = asdict(record) if is_dataclass(record) else record
    return ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in found.items() if _is_known(value))


def _is_known(value: object) -> bool:
    return value is not None and value not in ([], {}, ())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if isinstance(value, Mapping):
        return f"({figures(value)})"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return f"({'; '.join(map(str, value))})"
    return str(value)
