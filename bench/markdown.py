"""Write tables in markdown, and replace one section of a markdown file."""

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


def with_section(text: str, title: str, lines: Iterable[str]) -> str:
    """Return a document in which the section of this title has these lines; a new section is added at the end."""
    heading, found = f"## {title}", False
    kept: list[str] = []
    is_replaced = False
    for line in text.splitlines():
        if line.startswith("## "):
            is_replaced = line == heading
            if is_replaced:
                found = True
                kept += [heading, "", *lines, ""]
        if not is_replaced:
            kept.append(line)
    if not found:
        kept += ["", heading, "", *lines]
    return "\n".join(kept).rstrip() + "\n"


def goal(is_met: bool) -> str:
    """Return how a goal is marked."""
    return "met" if is_met else "**MISSED**"
