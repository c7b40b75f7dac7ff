"""One sentence about all providers, the same on the page Today and in ``bin/amop status``."""

from __future__ import annotations

from collections.abc import Sequence

from amop.page import formatting
from amop.page.needs import LESSER, Need, ProviderToday
from amop.wording import several

LESSER_WORDS = {
    Need.POOL: ("has a pool heading over its allowance", "have pools heading over their allowance"),
    Need.QUARANTINE: ("has quarantined records", "have quarantined records"),
    Need.WARNING: ("has warnings of its last sync", "have warnings of their last sync"),
}
"""How needs that can wait are counted: of one provider, and of several."""

if set(LESSER_WORDS) != LESSER:
    raise RuntimeError("each need that can wait needs its words")

MOST_NAMES = 3
"""Further providers that the sentence names."""


def headline(rows: Sequence[ProviderToday]) -> str:
    """Return one sentence about all providers; only those that need nothing are counted as fine."""
    if not rows:
        return "No provider is active yet."
    if len(rows) == 1:
        return _about_one(rows[0])
    fine = sum(row.need is Need.FINE for row in rows)
    if fine == len(rows):
        return f"All {fine:,} providers are fine."
    counts = [f"{fine:,} of {len(rows):,} providers {'is' if fine == 1 else 'are'} fine", *_other_counts(rows)]
    sentences = [f"{'; '.join(counts)}."]
    urgent = sorted((row for row in rows if row.needs_attention), key=lambda row: row.need)
    if urgent:
        sentences.append(f"{urgent[0].stored.name}: {urgent[0].reason}. Next: {urgent[0].action}.")
    if len(urgent) > 1:
        more = several(len(urgent) - 1, "more needs attention", "more need attention")
        sentences.append(f"{more}{_named(urgent[1:])}.")
    return " ".join(sentences)


def _about_one(row: ProviderToday) -> str:
    """Return the sentence where there is one provider."""
    if row.need is Need.FINE:
        return f"{row.stored.name} is fine."
    following = "" if row.needs_nothing else f" Next: {row.action}."
    return f"{row.stored.name}: {row.reason}.{following}"


def _other_counts(rows: Sequence[ProviderToday]) -> list[str]:
    """Return the counts of the providers that are neither fine nor need attention now."""
    counts = []
    for need, (one, many) in LESSER_WORDS.items():
        if found := sum(row.need is need for row in rows):
            counts.append(several(found, one, many))
    starting = [row.stored.name for row in rows if row.need is Need.STARTING]
    external = [row.stored.name for row in rows if row.need is Need.EXTERNAL]
    if starting:
        one, many = f"the first sync of {starting[0]} is running", f"{len(starting):,} others run their first sync"
        counts.append(one if len(starting) == 1 else many)
    if external:
        whose = external[0] if len(external) == 1 else f"{len(external):,} others"
        counts.append(f"the existing system reads the SIMs of {whose}")
    return counts


def _named(rows: Sequence[ProviderToday]) -> str:
    """Return the names of further providers, those of failing carriers with since when; the rest is in the table."""
    if len(rows) > MOST_NAMES:
        rows = [row for row in rows if row.need is Need.CARRIER][:MOST_NAMES]
    names = [
        f"{row.stored.name} (no usable answer of its carrier since {formatting.moment(row.stored.failing_since)})"
        if row.need is Need.CARRIER
        else row.stored.name
        for row in rows
    ]
    return f": {', '.join(names)}" if names else ""
