"""Project usage to the end of the billing period by the elapsed time, in exact integers.

``projected = usage × period / elapsed × 1.01``, rounded half up to 1e-6 MB. The warehouse applies the same factor to
all SIMs in SQL (``optimization/add_devices``). `project_usage` is the reference implementation; the tests compare both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from amop.families import BINARY_MEGABYTE

MEGABYTE = BINARY_MEGABYTE
"""Bytes in a megabyte of the families that are optimized (`amop.config.Integration`)."""

UNPROJECTED_STATUSES = frozenset({"DEACTIVATED", "RETIRED"})
"""Statuses of SIMs without further usage in this period."""

SAFETY_PERCENT = 101
"""The projection adds 1 % as a safety margin."""

LARGEST_USAGE_MB = 10**9
"""Largest possible data usage of a billing period (3 gigabits a second); a counter above it is broken."""

LARGEST_SMS_USAGE = 10**8
"""Largest possible number of messages of a billing period (37 a second); a counter above it is broken."""

ONE_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ProjectionFactor:
    """The factor of a projection, as a fraction of two integers; 1/1 leaves usage unchanged."""

    numerator: int
    denominator: int


UNCHANGED = ProjectionFactor(1, 1)


def usage_micro_mb(usage_bytes: int) -> int:
    """Return bytes in 1e-6 MB, rounded half up; a megabyte is 1,048,576 bytes.

    Raises:
        ValueError: negative usage.
    """
    if usage_bytes < 0:
        raise ValueError(f"usage {usage_bytes} bytes is negative")
    return _half_up(usage_bytes * 1_000_000, MEGABYTE)


def projection_factor(usage_as_of: datetime, *, cycle_start: datetime, cycle_end: datetime) -> ProjectionFactor:
    """Return the factor for usage read at a moment of the cycle.

    Usage stays unchanged if the period is over, has not begun, or begins at this moment (the elapsed time would be 0).

    Raises:
        ValueError: a naive time, or a cycle that does not end after its start.
    """
    if any(moment.tzinfo is None for moment in (usage_as_of, cycle_start, cycle_end)):
        raise ValueError("usage_as_of, cycle_start and cycle_end need a time zone")
    if cycle_end <= cycle_start:
        raise ValueError(f"cycle_end {cycle_end} is not after cycle_start {cycle_start}")
    if not cycle_start < usage_as_of < cycle_end:
        return UNCHANGED
    period = (cycle_end - cycle_start) // ONE_MICROSECOND
    elapsed = (usage_as_of - cycle_start) // ONE_MICROSECOND
    return ProjectionFactor(period * SAFETY_PERCENT, elapsed * 100)


def is_projected(
    status: str | None, last_usage_date: datetime | None, *, cycle_start: datetime, cycle_end: datetime
) -> bool:
    """Return False for a SIM whose usage is final: deactivated, retired, or last used outside the cycle."""
    if status in UNPROJECTED_STATUSES:
        return False
    return last_usage_date is None or cycle_start <= last_usage_date < cycle_end


def project_usage(
    usage: int,
    *,
    status: str | None,
    last_usage_date: datetime | None,
    usage_as_of: datetime,
    cycle_start: datetime,
    cycle_end: datetime,
) -> int:
    """Return the projected usage of a SIM at the end of the cycle.

    Args:
        usage: usage of the cycle so far, 1e-6 MB.
        status: the carrier's status of the SIM.
        last_usage_date: time of the SIM's last usage; None does not prevent the projection.
        usage_as_of: when the usage was read.
        cycle_start: first instant of the cycle.
        cycle_end: first instant after the cycle.

    Returns:
        1e-6 MB, rounded half up.

    Raises:
        ValueError: a naive time, or a cycle that does not end after its start.
    """
    factor = projection_factor(usage_as_of, cycle_start=cycle_start, cycle_end=cycle_end)
    if not is_projected(status, last_usage_date, cycle_start=cycle_start, cycle_end=cycle_end):
        return usage
    return _half_up(usage * factor.numerator, factor.denominator)


def _half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
