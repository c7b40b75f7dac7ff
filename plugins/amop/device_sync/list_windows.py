"""Windows of modification dates in which a device list is read.

A full list asks for all SIMs, whenever they were modified. Some carriers refuse a list of more than a year, or a start
more than a year ago; others end the list one year after its start without saying so. Without knowing the carrier:

1. Ask for everything in one open window. Its start lies before the first SIM of any account: if the carrier ends the
   list one year later, the list is empty. A list with SIMs is the whole list.
2. If that list is empty or refused, read windows of the longest span, oldest first, the last one open.
3. If the carrier refuses the oldest of these windows too, it limits the age: read the most recent window. That list is
   not whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from amop.carriers.protocol import ListLimits

FIRST_SIM = datetime(2004, 1, 1, tzinfo=UTC)
"""Control Center has no SIM that was modified before."""

MARGIN = timedelta(days=1)
"""Between the carrier's clock and time zone and this one, at the end of a year."""


@dataclass(frozen=True, slots=True)
class Span:
    """A span of modification dates."""

    since: datetime
    till: datetime | None
    """None = open."""


def first_spans(since: datetime, now: datetime, limits: ListLimits) -> list[Span]:
    """Return the spans to begin with: one open span, unless a list that ends silently would look like a whole one."""
    is_recent = now - since <= limits.longest - MARGIN
    return [Span(since, None)] if is_recent or since + limits.longest < FIRST_SIM else limited_spans(since, now, limits)


def limited_spans(since: datetime, now: datetime, limits: ListLimits) -> list[Span]:
    """Return spans from a start until now that are not longer than the limit, oldest first, the last one open."""
    length = limits.longest - MARGIN
    starts = [now - length]
    while starts[-1] > since:
        starts.append(starts[-1] - length)
    starts[-1] = max(starts[-1], since)
    starts.reverse()
    return [Span(start, till) for start, till in zip(starts, [*starts[1:], None], strict=True)]


def recent_span(now: datetime, limits: ListLimits) -> Span:
    """Return the open span with the oldest start that the limit allows."""
    return Span(now - limits.longest + MARGIN, None)
