"""Judge the total usage of a fleet: within a billing period by its last reading, and against earlier periods.

Within a period a total only rises, so it is compared with the last reading. That says nothing of a period that began
wrong: its total is therefore also compared with the pace of the previous period, on every night. Fleets differ: one
uploads once a month, another rests for a holiday. So a low total is a warning, and none where the fleet had used as
little as early in an earlier period. It is refused only where no way to use a fleet explains it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import groupby

from amop.device_sync.store.plausibility import FleetUsage, PlausibilityLimits, UsageLoss

FEWEST_SIMS_OF_TOTAL = 20
"""The total usage of fewer SIMs is not judged: a single download multiplies it."""

EARLY = timedelta(days=1)
"""Usage is not spread evenly over the hours of a day: extrapolation from less than this is uncertain."""

EARLY_IN_CYCLE = timedelta(days=2)
NOT_JUDGED = timedelta(hours=6)
"""A new cycle's usage may be missing for this long: the carrier has not rated it yet."""

FEWEST_UNITS = 100
"""A total of zero is plausible where fewer bytes, messages or seconds than this are expected; the spread times this
number in a new cycle: a fleet may send all messages of a month by day, or on one day."""

UNCERTAINTY = 8
"""Factors are this many times larger where the history is uncertain."""

UNEVEN = 2
"""Factors are this many times larger between billing periods: weekends and months differ."""

NEXT_TO_NOTHING = 64
"""`maximum_usage_factor` is this many times larger for a low total: with the default 4 a wrong unit (1,000 or 1,024) is
below it, and a fleet that rests and sends a hundredth of its usage is above it."""

SYNC_DRIFT = timedelta(hours=12)
"""Nightly syncs of two billing periods differ by up to this in the time since the period began."""

FEWEST_PERIODS = 2
"""Earlier billing periods that must agree before a fleet without usage is refused."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An implausible change."""

    text: str
    is_refused: bool
    """True above the limit, False above the warning only."""


@dataclass(frozen=True, slots=True)
class _Low:
    """A low total of one usage type."""

    finding: Finding
    is_without_usage: bool
    """Next to nothing, and earlier periods had used much in half the time."""


def judge_totals(
    losses: Iterable[UsageLoss],
    limits: PlausibilityLimits,
    *,
    elapsed: timedelta,
    known_elapsed: timedelta,
    is_same_period: bool,
    earlier: Iterable[FleetUsage],
    is_allowed: bool,
) -> Iterator[Finding]:
    """Judge the total usage of the fleet, of each usage type.

    Against the pace of the previous period a total is refused only where many SIMs have next to no usage (a wrong
    unit), where no type has any although the earlier periods had much in half the time, and where the first reading of
    a period jumps beyond all usage of the previous one. Every other unusual total is a warning, on each night again;
    none where it was so early in an earlier period too.

    Args:
        losses: totals before and now.
        limits: the provider's factors.
        elapsed: how much of the run's period has elapsed.
        known_elapsed: how much of its period had elapsed when the known counters were read.
        is_same_period: whether both are the same period.
        earlier: readings of earlier periods, the latest last.
        is_allowed: whether an operator has let a run of this period pass. That answers for its later nights, too: what
            is low then is a warning.
    """
    readings = list(earlier)
    lows: list[_Low] = []
    judged = 0
    for loss in losses:
        of_type = [reading for reading in readings if reading.usage_type == loss.usage_type]
        pace = _Pace.of(loss, of_type, elapsed, None if is_same_period else known_elapsed)
        judged += pace is not None and pace.is_judged_low
        if is_same_period:
            found = list(_judge_growth(loss, limits, elapsed, known_elapsed, pace))
            yield from found
            if found:
                continue
        if pace is None:
            continue
        low = pace.low(limits)
        if low is None:
            yield from pace.high(limits)
        else:
            lows.append(low)
    is_without_usage = judged > 0 and sum(low.is_without_usage for low in lows) == judged
    for low in lows:
        is_refused = low.finding.is_refused or is_without_usage
        yield Finding(low.finding.text, is_refused=is_refused and not is_allowed)


def _judge_growth(
    loss: UsageLoss, limits: PlausibilityLimits, elapsed: timedelta, known_elapsed: timedelta, pace: _Pace | None
) -> Iterator[Finding]:
    """Judge a total against an earlier reading of the same billing period.

    It cannot fall, and rises about as fast as before. A fleet that rested may catch up with the previous period.
    """
    if loss.used_before < FEWEST_SIMS_OF_TOTAL or loss.total_before <= 0 or known_elapsed <= timedelta(0):
        return
    uncertainty = UNCERTAINTY if min(elapsed, known_elapsed) < EARLY else 1
    growth = Decimal(max(elapsed, timedelta(hours=1)) / known_elapsed)
    most = loss.total_before * max(growth, Decimal(1))
    for factor, name, is_refused in (
        (limits.maximum_usage_factor, "maximum_usage_factor", True),
        (limits.warning_usage_factor, "warning_usage_factor", False),
    ):
        # A counter that falls within a cycle is never uncertain.
        is_low = loss.total_before >= FEWEST_UNITS and loss.total < loss.total_before / factor
        if loss.total > most * factor * uncertainty or is_low:
            catches_up = not is_low and pace is not None and not pace.is_beyond(limits.maximum_usage_factor)
            yield Finding(
                f"the {loss.usage_type} usage of {loss.used_before} SIMs is {loss.total} {_unit(loss)} in total, "
                f"{'jumped' if loss.total > most else 'fallen'} from {loss.total_before} at the previous reading, "
                f"beyond service_provider.{name} {factor}{samples_text(loss.samples)}",
                is_refused=is_refused and not catches_up,
            )
            return


@dataclass(frozen=True, slots=True)
class _Pace:
    """Usage of one type since a billing period began, and what the pace of the previous period suggests."""

    loss: UsageLoss
    total: Decimal
    elapsed: timedelta
    previous: FleetUsage
    periods: list[list[FleetUsage]]
    """Readings of the earlier periods, the latest of each last."""
    spread: int
    is_first: bool
    """Whether this is the first reading of the period."""

    @classmethod
    def of(
        cls, loss: UsageLoss, earlier: list[FleetUsage], elapsed: timedelta, known_elapsed: timedelta | None
    ) -> _Pace | None:
        """Return the pace of one usage type, None where no earlier period says anything of it."""
        if known_elapsed is not None:
            previous = FleetUsage(loss.usage_type, 0, known_elapsed, loss.sims, loss.used_before, loss.total_before)
        elif earlier:
            previous = earlier[-1]
        else:
            return None
        if previous.used_count < FEWEST_SIMS_OF_TOTAL or previous.total <= 0 or previous.elapsed <= timedelta(0):
            return None
        by_period = groupby(sorted(earlier, key=_period), key=_period)
        return cls(
            loss=loss,
            total=loss.typical_total if known_elapsed is None else loss.total,
            elapsed=elapsed,
            previous=previous,
            periods=[list(readings) for _, readings in by_period],
            spread=UNCERTAINTY if previous.elapsed < EARLY or elapsed < EARLY_IN_CYCLE else UNEVEN,
            is_first=known_elapsed is not None,
        )

    @property
    def least_expected(self) -> Decimal:
        """The usage at the pace of the previous period, of fewer SIMs where fewer were read."""
        return self.previous.total * Decimal(self.elapsed / self.previous.elapsed) * min(Decimal(1), self._growth)

    @property
    def is_judged_low(self) -> bool:
        """Whether enough is to be expected."""
        return self.elapsed >= NOT_JUDGED and self.least_expected >= FEWEST_UNITS * self.spread

    def low(self, limits: PlausibilityLimits) -> _Low | None:
        """Return a total that is unusually low, None if it is not."""
        noise = limits.warning_usage_factor * self.spread
        if not self.is_judged_low or self.total * noise >= self.least_expected or self._was_as_low():
            return None
        nothing = limits.maximum_usage_factor * NEXT_TO_NOTHING
        is_next_to_nothing = self.total * nothing < self.least_expected
        return _Low(
            self._finding(
                f"less than 1/{noise.normalize():f} of",
                self.least_expected,
                is_refused=is_next_to_nothing and self.loss.used * 2 >= self._users,
            ),
            is_without_usage=is_next_to_nothing and self._had_much_in_half_the_time(nothing),
        )

    def high(self, limits: PlausibilityLimits) -> Iterator[Finding]:
        """Yield a total that is unusually high."""
        if not self.is_beyond(limits.warning_usage_factor):
            return
        is_refused = (
            self.is_first
            and self.is_beyond(limits.maximum_usage_factor)
            and self.total > self.previous.total * max(Decimal(1), self._growth)
        )
        noise = limits.warning_usage_factor * self.spread
        yield self._finding(f"more than {noise.normalize():f} times", self._most_expected, is_refused=is_refused)

    def is_beyond(self, factor: Decimal) -> bool:
        """Return whether the total is above a factor of the provider, and was not as high as early before."""
        return self.total > self._most_expected * factor * self.spread and not self._was_as_high()

    @property
    def _most_expected(self) -> Decimal:
        """The usage at the pace of the previous period, of more SIMs where more were read."""
        elapsed = max(self.elapsed, timedelta(hours=1))
        return self.previous.total * Decimal(elapsed / self.previous.elapsed) * max(Decimal(1), self._growth)

    @property
    def _growth(self) -> Decimal:
        return Decimal(self.loss.sims) / max(self.previous.sim_count, 1)

    @property
    def _users(self) -> Decimal:
        """The SIMs that are expected to have usage."""
        return self.previous.used_count * min(Decimal(1), self._growth)

    def _was_as_low(self) -> bool:
        """Return whether the fleet had used as little by the same time of an earlier period."""
        little = max(self.total * UNEVEN * UNEVEN, Decimal(FEWEST_UNITS * self.spread))
        later = (
            next((reading for reading in readings if reading.elapsed >= self.elapsed - SYNC_DRIFT), None)
            for readings in self.periods
        )
        return any(reading is not None and reading.total <= little for reading in later)

    def _was_as_high(self) -> bool:
        """Return whether the fleet had used as much by the same time of an earlier period."""
        growth = max(Decimal(1), self._growth)
        return any(
            reading.total * growth * UNEVEN * UNEVEN >= self.total
            for readings in self.periods
            for reading in readings
            if reading.elapsed <= self.elapsed + SYNC_DRIFT
        )

    def _had_much_in_half_the_time(self, factor: Decimal) -> bool:
        """Return whether all earlier periods that were read by half of this time, and enough of them, had used much.

        The first day says nothing: counters that are a day or two late are no reason to refuse a night.
        """
        much = max(self.total * factor, Decimal(FEWEST_UNITS * self.spread))
        in_half = [
            [reading for reading in readings if EARLY <= reading.elapsed <= self.elapsed / 2]
            for readings in self.periods
        ]
        known = [readings[-1].total for readings in in_half if readings]
        return len(known) >= FEWEST_PERIODS and all(total > much for total in known)

    def _finding(self, compared: str, expected: Decimal, *, is_refused: bool) -> Finding:
        days = self.elapsed / timedelta(days=1)
        return Finding(
            f"the {self.loss.usage_type} usage of {self.loss.sims} SIMs is {self.total} {_unit(self.loss)} in total "
            f"{days:.1f} days after the billing period began, {compared} the {expected:.0f} that the previous billing "
            f"period suggests{samples_text(self.loss.samples)}",
            is_refused=is_refused,
        )


def samples_text(iccids: list[str] | None) -> str:
    """Return some SIMs in brackets, an empty text without any."""
    return f" (such as {', '.join(iccids)})" if iccids else ""


def _unit(loss: UsageLoss) -> str:
    return {"DATA": "bytes", "SMS": "messages"}.get(loss.usage_type, "seconds")


def _period(reading: FleetUsage) -> int:
    return reading.billing_period_id
