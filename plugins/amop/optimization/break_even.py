"""The usage at which another rate plan would be better for a SIM than the chosen one.

The cost of a plan at the prices of an optimization's proof is a function of the SIM's usage: a straight line for a
pooled plan, steps of one overage block for an unpooled one. From the forecast usage the search follows both functions
upwards and downwards to the nearest usage at which the other plan costs less. It needs no numpy, because the
operators' page uses it in Airflow's API server.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

ZERO = Decimal(0)
MICRO = Decimal("0.000001")
MAX_STEPS = 400
"""Blocks that are followed one by one; beyond them the usage is doubled or halved, because blocks are small."""
LARGEST_MB = Decimal(10**9)


@dataclass(frozen=True, slots=True)
class UsageCost:
    """The cost of a plan by the SIM's usage; money in currency, data in MB."""

    fixed: Decimal
    """Cost without any usage: charges, messages, price of a change; less the worth of a pooled plan's allowance."""
    price_per_mb: Decimal = ZERO
    """Price of the pool's data; 0 for an unpooled plan."""
    allowance: Decimal = ZERO
    """Included data of an unpooled plan."""
    block: Decimal = ZERO
    """Size of an overage block of an unpooled plan; 0 for a pooled one."""
    block_price: Decimal = ZERO

    def at(self, usage: Decimal) -> Decimal:
        """Return the cost at a usage."""
        return self.fixed + self.price_per_mb * usage + self.blocks_at(usage) * self.block_price

    def blocks_at(self, usage: Decimal) -> Decimal:
        """Return the number of the block that a usage lies in; 0 within the allowance, and for a pooled plan."""
        above = usage - self.allowance
        if not self.block or above <= 0:
            return ZERO
        return (above / self.block).to_integral_value(ROUND_CEILING)

    def end_of(self, number: Decimal) -> Decimal | None:
        """Return the largest usage in a block, None for a pooled plan."""
        return self.allowance + number * self.block if self.block else None


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Where another plan is better than the chosen one, in MB of the billing period."""

    above: Decimal | None
    """It is better with more usage than this; None if it never is."""
    below: Decimal | None
    """It is better with less usage than this, or this usage; None if it never is, or that much was used already."""
    is_better_now: bool = False
    """It costs less at the forecast usage already: whole blocks of a pool, or limited changes, decided."""


def break_even(chosen: UsageCost, other: UsageCost, *, forecast: Decimal, used: Decimal = ZERO) -> BreakEven:
    """Return where another plan costs less than the chosen one.

    Args:
        chosen: cost of the chosen plan.
        other: cost of the other plan.
        forecast: usage at the period's end, MB.
        used: usage so far, MB, at most the forecast.
    """
    if other.at(forecast) < chosen.at(forecast):
        return BreakEven(None, None, is_better_now=True)
    return BreakEven(_above(chosen, other, forecast), _below(chosen, other, forecast, used))


def _above(chosen: UsageCost, other: UsageCost, start: Decimal) -> Decimal | None:
    usage = start
    for _ in range(MAX_STEPS):
        ends = [plan.end_of(plan.blocks_at(usage)) for plan in (chosen, other)]
        end = min((one for one in ends if one is not None), default=None)
        if end is None:
            break  # two straight lines
        if other.at(end) < chosen.at(end):
            return _between(chosen, other, usage, end)
        usage = end + MICRO
        if other.at(usage) < chosen.at(usage):
            return end
    while usage < LARGEST_MB:
        before, usage = usage, max(2 * usage, Decimal(1))
        if other.at(usage) < chosen.at(usage):
            return _between(chosen, other, before, usage)
    return None


def _below(chosen: UsageCost, other: UsageCost, start: Decimal, used: Decimal) -> Decimal | None:
    usage = start
    for _ in range(MAX_STEPS):
        if usage <= used:
            return None
        numbers = [(plan, plan.blocks_at(usage)) for plan in (chosen, other)]
        ends = [plan.end_of(number - 1) for plan, number in numbers if number > 0]
        begin = max([used, *(one for one in ends if one is not None)])
        after = min(begin + MICRO, usage)
        if other.at(after) < chosen.at(after):
            return _between(chosen, other, usage, after)
        if other.at(begin) < chosen.at(begin):
            return begin
        usage = begin
    return _between(chosen, other, usage, used) if other.at(used) < chosen.at(used) else None


def _between(chosen: UsageCost, other: UsageCost, costly: Decimal, cheap: Decimal) -> Decimal:
    """Return a usage at which the other plan becomes cheaper, from one where it is not and one where it is."""
    while abs(cheap - costly) > MICRO:
        middle = ((costly + cheap) / 2).quantize(MICRO, rounding=ROUND_FLOOR)
        if other.at(middle) < chosen.at(middle):
            cheap = middle
        else:
            costly = middle
    return costly if cheap > costly else cheap
