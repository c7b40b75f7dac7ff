"""Project usage from the daily history: a SIM's recent usage by weekday, continued to the end of the billing period.

A *usage day* is the time that one row of ``device_usage`` covers: from the previous sync (or the start of the cycle)
to the last sync of its local date. It may be part of a day, or several days if syncs were missed. A date without a row
means zero usage only if it has a usage day, that is if a sync read the counters.

For each weekday w the rate of a SIM is

    rate(w) = (usage on w + κ · overall rate) / (time on w + κ)          κ = `SHRINKAGE`

where a usage day counts twice if it ended within `DOUBLED_WITHIN` of ``usage_as_of`` and once if within `LOOKBACK`, and
its usage is spread evenly over its time. With few observations of a weekday its rate shrinks to the SIM's overall one.
The usage of the rest of the period is Σ rate(w) · time left on w. The sum is linear in the days' usage, so that each
usage day has one *weight* for all SIMs, and the projection is

    projected = (usage so far + Σ weight(day) · usage of the day) · 1.01

The 1 % is the safety margin of `amop.optimization.forecast`, so that the two methods differ only in the rest of the
period. A margin is needed because a block of overage costs more than unused allowance, and an optimizer fills pools
completely.

A SIM counts from the first usage day that began after its activation; weights depend on that day (`UsageHistory`). A
SIM with fewer than `FEWEST_DAYS` of them is projected by the elapsed time (`amop.optimization.forecast`).

Later syncs may still add to the row of ``usage_as_of``'s own date. The usage of the last usage day is therefore the
usage so far minus the earlier rows of the cycle, and later syncs do not change a projection. The arithmetic is exact:
weights are integers of 1e-6, and the sum is rounded once, half up to 1e-6 MB. For a comparison of both methods see
``docs/adr/0008-projection-from-daily-history.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from typing import Any, Self

from amop.optimization.forecast import MEGABYTE, ONE_MICROSECOND, SAFETY_PERCENT, usage_micro_mb
from amop.reference.time_zone import load_time_zone

LOOKBACK = timedelta(days=28)
"""Usage days that ended before this are ignored: four whole weeks have each weekday four times."""

DOUBLED_WITHIN = timedelta(days=14)
"""Usage days that ended within this count twice, so that the projection follows recent changes."""

SHRINKAGE = timedelta(days=1)
"""κ: a weekday's rate is mixed with this much time (of double weight) at the SIM's overall rate."""

FEWEST_DAYS = 3
"""A SIM with fewer usage days is projected by the elapsed time."""

WEIGHT_SCALE = 1_000_000
"""A weight of 1 is this integer."""

WEEKDAYS = 7


@dataclass(frozen=True, slots=True)
class UsageDay:
    """The time that the usage of one date and billing period covers, ``[begins_at, ends_at)``, in UTC.

    Raises:
        ValueError: a naive time, or an end that is not after the beginning.
    """

    usage_date: date
    billing_period_id: int
    begins_at: datetime
    ends_at: datetime

    def __post_init__(self) -> None:
        if self.begins_at.tzinfo is None or self.ends_at.tzinfo is None or self.begins_at >= self.ends_at:
            raise ValueError(f"a usage day from {self.begins_at} to {self.ends_at} is invalid")
        object.__setattr__(self, "begins_at", self.begins_at.astimezone(UTC))
        object.__setattr__(self, "ends_at", self.ends_at.astimezone(UTC))

    def as_json(self) -> dict[str, Any]:
        """Return the usage day as a JSON-able document."""
        return {
            "usage_date": self.usage_date.isoformat(),
            "billing_period_id": self.billing_period_id,
            "begins_at": self.begins_at.isoformat(),
            "ends_at": self.ends_at.isoformat(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Return the usage day of a document of `as_json`."""
        return cls(
            date.fromisoformat(document["usage_date"]),
            document["billing_period_id"],
            datetime.fromisoformat(document["begins_at"]),
            datetime.fromisoformat(document["ends_at"]),
        )


@dataclass(frozen=True, slots=True)
class UsageHistory:
    """The usage days of a provider up to ``usage_as_of``, oldest first, and their weights."""

    billing_period_id: int
    """The projected period."""
    days: tuple[UsageDay, ...]
    weights: tuple[tuple[int, ...], ...]
    """Row f: the weight of every day for a SIM whose first day is number f, in units of 1 / `WEIGHT_SCALE`."""
    counts: tuple[int, ...]
    """Number f: number of days that count for a SIM whose first day is number f; one element more than days."""

    def first_day_of(self, date_activated: datetime | None) -> int:
        """Return the number of the first day that began after an activation; 0 if the activation is unknown."""
        if date_activated is None:
            return 0
        return sum(day.begins_at < date_activated for day in self.days)

    def project(self, usage: int, *, first_day: int, bytes_by_day: Mapping[tuple[date, int], int]) -> int:
        """Return the projected usage of a SIM at the end of the period, from its rows of ``device_usage``.

        Args:
            usage: usage of the cycle so far, 1e-6 MB.
            first_day: as `first_day_of` gives it; it must have `FEWEST_DAYS` that count.
            bytes_by_day: data usage by date and billing period, missing ones are 0.

        Returns:
            1e-6 MB, rounded half up, never less than ``usage``.
        """
        earlier = [
            (number, bytes_by_day.get((day.usage_date, day.billing_period_id), 0))
            for number, day in enumerate(self.days[:-1])
        ]
        weights = self.weights[first_day]
        weighted = sum(weights[number] * used for number, used in earlier)
        in_cycle = sum(
            used for number, used in earlier if self.days[number].billing_period_id == self.billing_period_id
        )
        last = max(0, usage - usage_micro_mb(in_cycle))
        unit = MEGABYTE * WEIGHT_SCALE
        numerator = (usage * unit + weighted * WEIGHT_SCALE + last * weights[-1] * MEGABYTE) * SAFETY_PERCENT
        denominator = unit * 100
        return (2 * numerator + denominator) // (2 * denominator)


def usage_history(
    days: Sequence[UsageDay], *, billing_period_id: int, usage_as_of: datetime, cycle_end: datetime, time_zone: str
) -> UsageHistory | None:
    """Return the history that projects a period, None if there are too few usage days.

    Args:
        days: the usage days up to ``usage_as_of``, oldest first, those of the period's cycle without a gap.
        billing_period_id: the projected period.
        usage_as_of: time when the usage was read, which is the end of the last usage day.
        cycle_end: first instant after the cycle.
        time_zone: IANA name of the provider's time zone, which defines the weekdays.

    Raises:
        ValueError: a naive time or an unknown time zone.
    """
    if usage_as_of.tzinfo is None or cycle_end.tzinfo is None:
        raise ValueError("usage_as_of and cycle_end need a time zone")
    # Times of one zone are subtracted by their wall clocks, which ignores a change of daylight saving time.
    usage_as_of, cycle_end = usage_as_of.astimezone(UTC), cycle_end.astimezone(UTC)
    if not days or usage_as_of >= cycle_end:
        return None
    if days[-1].ends_at != usage_as_of or days[-1].billing_period_id != billing_period_id:
        return None
    multiples = [_multiple(usage_as_of - day.ends_at) for day in days]
    counts = tuple(sum(multiple > 0 for multiple in multiples[first:]) for first in range(len(days) + 1))
    if counts[0] < FEWEST_DAYS:
        return None
    by_weekday = [_time_by_weekday(day.begins_at, day.ends_at, time_zone) for day in days]
    left = _time_by_weekday(usage_as_of, cycle_end, time_zone)
    weights = tuple(_weights(multiples, by_weekday, left, first) for first in range(len(days)))
    return UsageHistory(billing_period_id, tuple(days), weights, counts)


def _multiple(age: timedelta) -> int:
    """Return how many times a usage day of this age counts."""
    return 2 if age < DOUBLED_WITHIN else 1 if age < LOOKBACK else 0


def _weights(multiples: list[int], by_weekday: list[list[int]], left: list[int], first: int) -> tuple[int, ...]:
    """Return the weight of every day for a SIM whose first day is number ``first``: see the module's formula."""
    counted = [multiple if number >= first else 0 for number, multiple in enumerate(multiples)]
    shrinkage = 2 * (SHRINKAGE // ONE_MICROSECOND)
    on_weekday = [sum(m * times[w] for m, times in zip(counted, by_weekday, strict=True)) for w in range(WEEKDAYS)]
    overall = sum(on_weekday)
    if not overall:
        return (0,) * len(multiples)
    share = [Fraction(left[w], on_weekday[w] + shrinkage) for w in range(WEEKDAYS)]
    at_overall_rate = sum(share, Fraction(0)) * shrinkage / overall
    weights = []
    for multiple, times in zip(counted, by_weekday, strict=True):
        own = sum((share[w] * times[w] for w in range(WEEKDAYS)), Fraction(0)) / sum(times)
        exact = multiple * (own + at_overall_rate) * WEIGHT_SCALE
        weights.append((2 * exact.numerator + exact.denominator) // (2 * exact.denominator))
    return tuple(weights)


def _time_by_weekday(begins_at: datetime, ends_at: datetime, time_zone: str) -> list[int]:
    """Return the microseconds of an interval (UTC) that fall on each local weekday, Monday first."""
    zone = load_time_zone(time_zone)
    spent = [0] * WEEKDAYS
    moment = begins_at
    while moment < ends_at:
        today = moment.astimezone(zone).date()
        midnight = datetime.combine(today + timedelta(days=1), time(), tzinfo=zone).astimezone(UTC)
        until = min(midnight, ends_at)
        spent[today.weekday()] += (until - moment) // ONE_MICROSECOND
        moment = until
    return spent
