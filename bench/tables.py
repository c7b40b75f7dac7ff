"""Markdown of the benchmarks' figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def markdown(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Return rows with the same keys as the lines of a markdown table."""
    listed = list(rows)
    names = list(listed[0])
    return [
        "| " + " | ".join(names) + " |",
        "|" + "---|" * len(names),
        *("| " + " | ".join(str(row[name]) for name in names) + " |" for row in listed),
        "",
    ]


def goal(is_met: bool) -> str:
    """Return how a goal is marked."""
    return "met" if is_met else "**MISSED**"
