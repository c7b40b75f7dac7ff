"""Progress steps of an optimization session, as shown in AMOP's progress bar."""

from __future__ import annotations

PROGRESS_STEPS = (0, 20, 30, 40, 50, 100)
"""Percent: session opened, sync queued, SIMs grouped, base assignment ready, solved, published."""


def steps_between(current: int, target: int) -> tuple[int, ...]:
    """Return the steps after ``current`` up to and including ``target``, in order; empty if ``target`` is not later.

    Raises:
        ValueError: ``current`` or ``target`` is not a step.
    """
    for value in (current, target):
        if value not in PROGRESS_STEPS:
            raise ValueError(f"progress is {value!r}, not one of {PROGRESS_STEPS}")
    return tuple(step for step in PROGRESS_STEPS if current < step <= target)
