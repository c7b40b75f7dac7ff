"""Why a SIM is on its rate plan: what each plan that it may have costs at the final prices of the pools' data.

At those prices a SIM's choice is its own affair: own cost + price x (usage - allowance) of its pool. Where two plans
are equal, or nearly so, the whole blocks in which pools' overage is billed decide, which no price can show. Everything
is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np

from amop.optimization.bill import CostModel
from amop.optimization.certificate import Certificate
from amop.optimization.model import NONE, Integers, from_micro


@dataclass(frozen=True, slots=True)
class FinalPrices:
    """The prices at which a search ended."""

    price: tuple[int, ...]
    """Of the data of each pool, in 1 / ``scale`` currency a MB."""
    scale: int
    """A power of ten."""
    change_price: int = 0
    """1e-6 currency for each SIM that leaves a present plan which it could keep."""

    @classmethod
    def of(cls, certificate: Certificate) -> FinalPrices:
        """Return the prices of a proof; those with a price of a change where few changes were asked for."""
        return cls.from_json(certificate.as_json())

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FinalPrices:
        """Return the prices of a stored proof (`Certificate.as_json`)."""
        if (changes := document.get("changes")) is not None:
            return cls(tuple(changes["price"]), changes["scale"], changes["change_price"])
        return cls(tuple(document["prices"]), document["price_scale"])


@dataclass(frozen=True, slots=True)
class PlanCost:
    """What one plan costs a SIM at the final prices. Money in currency, data in MB, both exact."""

    rate_plan: str
    pool: str | None
    """None for a plan that is not pooled."""
    own_cost: Decimal
    """Rate, base rate, SMS and, where the plan is not pooled, its overage."""
    allowance_mb: Decimal
    above_allowance_mb: Decimal
    """Usage less allowance; negative where data is left over."""
    price_per_mb: Decimal
    """Of the pool's data; 0 where the plan is not pooled, or the pool has data to spare."""
    data_cost: Decimal
    """Price x usage above the allowance; negative where data is left for others of the pool."""
    change_cost: Decimal
    """Price of leaving the present plan."""
    total: Decimal
    difference: Decimal
    """To the total of the chosen plan; negative where this plan is cheaper at the prices."""
    is_chosen: bool
    is_current: bool
    is_eligible: bool
    """False only for a present plan that the SIM may not keep."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a SIM is on its plan."""

    device_id: str
    usage_mb: Decimal
    sms_usage: int
    billed_days: int
    from_rate_plan: str | None
    """None where the present plan is unknown."""
    to_rate_plan: str | None
    """None without an eligible plan."""
    sentences: tuple[str, ...]
    plans: tuple[PlanCost, ...]
    """The cheapest first; ties by code; a present plan that is not eligible is last."""


def explain(model: CostModel, assignment: Integers, prices: FinalPrices, row: int) -> Explanation:
    """Return why the SIM of a row is on its plan.

    Args:
        model: the fleet as it was billed.
        assignment: the result, index of the plan of each SIM, -1 without an eligible one.
        prices: at which it was found.
        row: of the SIM.
    """
    devices, codes = model.devices, model.rate_plans.code
    chosen, current = int(assignment[row]), int(devices.current_rate_plan[row])
    plans = _plans(model, prices, row, chosen)
    return Explanation(
        device_id=str(devices.device_id[row]),
        usage_mb=from_micro(int(devices.usage_micro_mb[row])),
        sms_usage=int(devices.sms_usage[row]),
        billed_days=int(model.billed_days[row]),
        from_rate_plan=codes[current] if current != NONE else None,
        to_rate_plan=codes[chosen] if chosen != NONE else None,
        sentences=tuple(_sentences(plans, _why_it_must_move(model, row))),
        plans=plans,
    )


def _plans(model: CostModel, prices: FinalPrices, row: int, chosen: int) -> tuple[PlanCost, ...]:
    current = int(model.devices.current_rate_plan[row])
    may = [int(plan) for plan in np.flatnonzero(model.eligible[model.group[row]])]
    may_stay = current in may
    totals = {plan: _total(model, prices, row, plan, is_change=may_stay and plan != current) for plan in may}
    of_chosen = totals.get(chosen)
    shown = [*sorted(may, key=lambda plan: (totals[plan], model.rate_plans.code[plan]))]
    if current != NONE and not may_stay:
        shown.append(current)
        totals[current] = _total(model, prices, row, current, is_change=False)
    return tuple(
        _plan_cost(
            model, prices, row, plan, total=totals[plan], difference=totals[plan] - (of_chosen or 0),
            is_change=may_stay and plan != current, is_chosen=plan == chosen, is_eligible=plan in may,
        )
        for plan in shown
    )  # fmt: skip


def _parts(model: CostModel, prices: FinalPrices, row: int, plan: int) -> tuple[int, int, int, int]:
    """Return own cost (1e-6 currency), allowance, usage above it (1e-6 MB), and the price of the data."""
    own = int(model.own_cost(plan, np.array([row]))[0])
    allowance = int(model.included[model.billed_days[row], plan])
    pool = int(model.pool[model.group[row], plan])
    price = prices.price[pool] if pool != NONE else 0
    return own, allowance, int(model.devices.usage_micro_mb[row]) - allowance, price


def _total(model: CostModel, prices: FinalPrices, row: int, plan: int, *, is_change: bool) -> int:
    own, _, above, price = _parts(model, prices, row, plan)
    return (own + (prices.change_price if is_change else 0)) * prices.scale + price * above


def _plan_cost(
    model: CostModel, prices: FinalPrices, row: int, plan: int, *, total: int, difference: int, is_change: bool,
    is_chosen: bool, is_eligible: bool,
) -> PlanCost:  # fmt: skip
    own, allowance, above, price = _parts(model, prices, row, plan)
    pool = int(model.pool[model.group[row], plan])
    digits = len(str(prices.scale)) - 1
    return PlanCost(
        rate_plan=model.rate_plans.code[plan],
        pool=model.pool_name[pool] if pool != NONE else None,
        own_cost=from_micro(own),
        allowance_mb=from_micro(allowance),
        above_allowance_mb=from_micro(above),
        price_per_mb=_decimal(price, digits),
        data_cost=_decimal(price * above, digits + 6),
        change_cost=from_micro(prices.change_price if is_change else 0),
        total=_decimal(total, digits + 6),
        difference=_decimal(difference, digits + 6),
        is_chosen=is_chosen,
        is_current=plan == int(model.devices.current_rate_plan[row]),
        is_eligible=is_eligible,
    )


def _decimal(units: int, places: int) -> Decimal:
    """Return units of 10^-places, exactly, however many digits there are."""
    return Decimal((int(units < 0), tuple(int(digit) for digit in str(abs(units))), -places))


def _why_it_must_move(model: CostModel, row: int) -> str | None:
    current = int(model.devices.current_rate_plan[row])
    if current == NONE or model.eligible[model.group[row], current]:
        return None
    return "is retired" if model.rate_plans.is_retired[current] else "is not allowed by its communication plan"


def _sentences(plans: Sequence[PlanCost], must_move: str | None) -> list[str]:
    chosen = next((plan for plan in plans if plan.is_chosen), None)
    current = next((plan for plan in plans if plan.is_current), None)
    if chosen is None:
        return ["No rate plan is eligible: it is left as it is, outside of the bill and the bound."]
    others = [plan for plan in plans if plan.is_eligible and not plan.is_chosen]
    return [
        _what_happens(chosen, current, must_move),
        _how_clear(chosen, others),
        *([_what_the_pool_does(chosen)] if chosen.pool else []),
    ]


def _what_happens(chosen: PlanCost, current: PlanCost | None, must_move: str | None) -> str:
    if current is None:
        return f"Its present plan is unknown; it gets {chosen.rate_plan}."
    if must_move:
        return f"It must move: {current.rate_plan} {must_move}; it gets {chosen.rate_plan}."
    if current.is_chosen:
        return f"It stays on {chosen.rate_plan}."
    move = f"It moves from {current.rate_plan} to {chosen.rate_plan}"
    if current.difference <= 0:
        return f"{move}."
    saved = f"{move}, which costs {money(current.difference + chosen.change_cost)} less"
    return f"{saved} (a change counts as {money(chosen.change_cost)})." if chosen.change_cost else f"{saved}."


def _how_clear(chosen: PlanCost, others: Sequence[PlanCost]) -> str:
    if not others:
        return "No other plan is eligible."
    best = others[0]
    if best.difference < 0:
        return (
            f"At the final prices {best.rate_plan} would cost {money(-best.difference)} less: the whole blocks in "
            "which overage is billed, and a limit of changes, decide otherwise for the fleet as a whole."
        )
    equal = [plan.rate_plan for plan in others if plan.difference == 0]
    if equal:
        return (
            f"At the final prices it is indifferent between {chosen.rate_plan} and {', '.join(equal)}: rounding pools "
            "to whole blocks decides, and else the present plan."
        )
    cheaper = min(others, key=lambda plan: plan.difference - plan.change_cost)
    saving = chosen.change_cost - cheaper.difference + cheaper.change_cost
    if saving > 0 and cheaper.change_cost > chosen.change_cost:
        return (
            f"{cheaper.rate_plan} would save {money(saving)}, less than the {money(cheaper.change_cost)} that a change "
            "counts as."
        )
    return f"No plan is cheaper at the final prices; the next, {best.rate_plan}, costs {money(best.difference)} more."


def _what_the_pool_does(chosen: PlanCost) -> str:
    above = chosen.above_allowance_mb
    if not chosen.price_per_mb:
        return f"Data of {chosen.pool} costs nothing more: there is enough for all of its SIMs."
    worth = f"Data of {chosen.pool} is worth {money(chosen.price_per_mb, places=9)} a MB"
    if above < 0:
        return f"{worth}: the {money(-above)} MB that it does not use help others, worth {money(-chosen.data_cost)}."
    if above > 0:
        return f"{worth}: it takes {money(above)} MB more than it brings, worth {money(chosen.data_cost)}."
    return f"{worth}: it uses exactly what it brings."


def money(value: Decimal, places: int = 6) -> str:
    """Return a decimal for a reader: rounded half up to so many places, without zeros at its end beyond two places."""
    rounded = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    if value and not rounded:
        return f"less than {Decimal(1).scaleb(-places):f}"
    whole, _, fraction = f"{rounded:f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
