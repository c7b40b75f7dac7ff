"""Refuse YAML that a reference file has no use for, before it is built in memory: tags, and aliases without bound."""

from __future__ import annotations

from ruamel.yaml import YAML
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent, ScalarEvent

MOST_VALUES = 1_000_000
"""Values of a file with its aliases expanded; a provider with 1,000 plans has about 12,000."""


class StructureError(ValueError):
    """The YAML has a tag or too many values.

    Args:
        message: what is wrong and what is allowed.
        line: line of the file, from 1.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def check_structure(text: str) -> None:
    """Check the tags and the size of a YAML text without building its values.

    Raises:
        StructureError: a value has a tag, an alias lies within its own value, or the aliases expand without bound.
        ruamel.yaml.error.YAMLError: the text is not YAML.
    """
    sizes: dict[str, int] = {}
    open_values: list[tuple[str | None, int]] = []
    total = 0
    for event in YAML(typ="rt", pure=True).parse(text):
        line = event.start_mark.line + 1
        if isinstance(event, ScalarEvent | CollectionStartEvent) and event.tag:
            raise StructureError(f"has the tag {str(event.tag)[:80]!r}; allowed: values without a tag", line)
        if isinstance(event, CollectionStartEvent):
            open_values.append((event.anchor, total))
        if isinstance(event, AliasEvent) and event.anchor in {anchor for anchor, _ in open_values}:
            raise StructureError(f"the alias *{event.anchor} lies within its own value; write the value out", line)
        if isinstance(event, NodeEvent):
            total += sizes.get(event.anchor, 1) if isinstance(event, AliasEvent) else 1
            if isinstance(event, ScalarEvent) and event.anchor:
                sizes[event.anchor] = 1
        if isinstance(event, CollectionEndEvent):
            anchor, before = open_values.pop()
            if anchor:
                sizes[anchor] = total - before
        if total > MOST_VALUES:
            raise StructureError(f"has more than {MOST_VALUES:,} values with its aliases; write them out", line)
