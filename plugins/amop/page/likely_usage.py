"""How uncertain a SIM's usage is, and what would have to be true for another plan to be better: words and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from amop.page import formatting
from amop.page.pictures import LINE_WIDTH, Bar
from amop.page.plan_options import PlanOption
from amop.page.store.sims import SimResult
from amop.wording import CENT, money

BAND_HEIGHT = 40
BANDS = ((0, -1, 0.2, "90 %"), (2, -3, 0.0, "50 %"))
"""First and last of the ten usages, share of the height that is free above and below, and probability of a band."""
MARK_WIDTH = 2


@dataclass(frozen=True, slots=True)
class UsagePicture:
    """Likely usages from the left to the right: bands of probability, and marks."""

    width: int
    height: int
    bands: list[Bar]
    marks: list[Bar]


def usage_sentences(result: SimResult, options: Sequence[PlanOption], currency: str) -> list[str]:
    """Return how uncertain the usage is, and where other plans would be better, in sentences."""
    sentences = []
    likely, stake = result.likely_usage_mb, result.value_at_stake
    if likely and stake is not None:
        half = len(likely) // 2
        median = (likely[half - 1] + likely[half]) / 2
        low, middle, high = (formatting.megabytes(usage) for usage in (likely[0], median, likely[-1]))
        sentences.append(
            f"With a probability of 90 % it uses {low} to {high} in this billing period; the median is {middle}."
        )
        if stake >= CENT:
            amount = money(stake, currency)
            sentences.append(f"Knowing its usage now would save {amount} on the mean.")
        else:
            sentences.append("Its plan hardly depends on how much it uses.")
        if result.certainty is not None and result.to_rate_plan is not None:
            chance = formatting.share(result.certainty, decimals=0)
            sentences.append(f"{result.to_rate_plan} is its cheapest plan with a probability of {chance}.")
    if result.waits_reason is not None:
        sentences.append(f"The change to {result.to_rate_plan} {result.waits_reason}.")
    known = [(option.rate_plan, option.better) for option in options if option.better is not None]
    above = [(better.above, plan) for plan, better in known if better.above is not None]
    below = [(better.below, plan) for plan, better in known if better.below is not None]
    forecast = formatting.megabytes(result.projected_usage_mb)
    if above:
        usage, plan = min(above)
        sentences.append(
            f"{plan} would be better if it used more than {formatting.megabytes(usage)} in this period; {forecast} is "
            "forecast."
        )
    if below:
        usage, plan = max(below)
        sentences.append(f"{plan} would be better if it used no more than {formatting.megabytes(usage)}.")
    return sentences


def better_words(option: PlanOption) -> str | None:
    """Return with which usage a plan would be better than the chosen one, None for the chosen plan."""
    if option.better is None:
        return None
    if option.better.is_better_now:
        return "at the forecast, but not for the fleet"
    parts = []
    if option.better.below is not None:
        parts.append(f"up to {formatting.megabytes(option.better.below)}")
    if option.better.above is not None:
        parts.append(f"above {formatting.megabytes(option.better.above)}")
    return " or ".join(parts) or "never"


def usage_picture(result: SimResult, options: Sequence[PlanOption]) -> UsagePicture | None:
    """Return the likely usages with the limits beyond which other plans would be better; None without likely usages."""
    likely = result.likely_usage_mb
    if not likely or likely[-1] <= 0:
        return None
    limits = []
    for option in options:
        if option.better is not None:
            limits += [(one, option.rate_plan) for one in (option.better.below, option.better.above) if one is not None]
    # A limit far beyond all likely usages would make the bands too narrow to be seen.
    shown = [(usage, plan) for usage, plan in limits if usage <= 2 * likely[-1]]
    furthest = max([likely[-1], result.projected_usage_mb, *(usage for usage, _ in shown)]) * Decimal("1.05")

    def x_of(usage: Decimal) -> float:
        return float(min(usage, furthest) / furthest) * LINE_WIDTH

    bands = []
    for first, last, free, chance in BANDS:
        begin, end = x_of(likely[first]), x_of(likely[last])
        words = f"{chance}: {formatting.megabytes(likely[first])} to {formatting.megabytes(likely[last])}"
        bands.append(
            Bar(begin, BAND_HEIGHT * free, max(end - begin, 1.0), BAND_HEIGHT * (1 - 2 * free), words, 0, free > 0)
        )
    words = f"forecast: {formatting.megabytes(result.projected_usage_mb)}"
    marks = [Bar(x_of(result.projected_usage_mb), 0, MARK_WIDTH, BAND_HEIGHT, words, 0)]
    marks += [
        Bar(x_of(usage), 0, MARK_WIDTH, BAND_HEIGHT, f"{plan}: better beyond {formatting.megabytes(usage)}", 0, True)
        for usage, plan in shown
    ]
    return UsagePicture(LINE_WIDTH, BAND_HEIGHT, bands, marks)
