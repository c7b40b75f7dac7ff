"""Explain why a SIM is on its rate plan: the cost of each eligible plan at the final prices of the pools' data.

At those prices each SIM is decided on its own: own cost + price x (usage - allowance) of its pool. Where two plans cost
the same or nearly so, the rounding of pool overage to whole blocks decides, which no price can show. All figures are
exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np

from amop.solver.bill import CostModel
from amop.solver.certificate import Certificate
from amop.solver.model import NONE, Integers, from_micro


@dataclass(frozen=True, slots=True)
class FinalPrices:
    """The dual prices that a result is proved with."""

    price: tuple[int, ...]
    """Price of each pool's data, length K, in 1 / ``scale`` currency per MB."""
    scale: int
    """A power of ten."""
    change_price: int = 0
    """Price of leaving a current plan that the SIM could keep, 1e-6 currency."""

    @classmethod
    def of(cls, certificate: Certificate) -> FinalPrices:
        """Return the prices of a certificate; those with a price per change where changes were restricted."""
        return cls.from_json(certificate.as_json())

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FinalPrices:
        """Return the prices of a stored certificate (`Certificate.as_json`)."""
        if (changes := document.get("changes")) is not None:
            return cls(tuple(changes["price"]), changes["scale"], changes["change_price"])
        return cls(tuple(document["prices"]), document["price_scale"])


@dataclass(frozen=True, slots=True)
class PlanCost:
    """The cost of one plan for a SIM at the final prices. Money in currency, data in MB, both exact."""

    rate_plan: str
    pool: str | None
    """None for a plan that is not pooled."""
    own_cost: Decimal
    """Rate, base rate, SMS and, where the plan is not pooled, its overage."""
    allowance_mb: Decimal
    above_allowance_mb: Decimal
    """Usage less allowance; negative where data remains."""
    price_per_mb: Decimal
    """Price of the pool's data; 0 where the plan is not pooled, or the pool has spare data."""
    data_cost: Decimal
    """Price x usage above the allowance; negative where data remains for other SIMs of the pool."""
    change_cost: Decimal
    """Price of leaving the current plan."""
    total: Decimal
    difference: Decimal
    """Total less the total of the chosen plan; negative where this plan is cheaper at the prices."""
    is_chosen: bool
    is_current: bool
    is_eligible: bool
    """False only for a current plan that the SIM cannot keep."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The reasons for a SIM's plan."""

    device_id: str
    usage_mb: Decimal
    sms_usage: int
    billed_days: int
    from_rate_plan: str | None
    """None where the current plan is unknown."""
    to_rate_plan: str | None
    """None if no plan is eligible."""
    sentences: tuple[str, ...]
    plans: tuple[PlanCost, ...]
    """In ascending order of cost, ties by code; a current plan that is not eligible is last."""


def explain(model: CostModel, assignment: Integers, prices: FinalPrices, row: int) -> Explanation:
    """Return the reasons for a SIM's plan.

    Args:
        model: the fleet as it was billed.
        assignment: the plan of each SIM in the result, shape (N,), -1 without an eligible one.
        prices: the prices that the result is proved with.
        row: the SIM.
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
        sentences=tuple(_sentences(plans, _forced_move_reason(model, row))),
        plans=plans,
    )


def _plans(model: CostModel, prices: FinalPrices, row: int, chosen: int) -> tuple[PlanCost, ...]:
    current = int(model.devices.current_rate_plan[row])
    eligible = [int(plan) for plan in np.flatnonzero(model.eligible[model.group[row]])]
    can_keep_plan = current in eligible
    totals = {plan: _total(model, prices, row, plan, is_change=can_keep_plan and plan != current) for plan in eligible}
    of_chosen = totals.get(chosen)
    shown = [*sorted(eligible, key=lambda plan: (totals[plan], model.rate_plans.code[plan]))]
    if current != NONE and not can_keep_plan:
        shown.append(current)
        totals[current] = _total(model, prices, row, current, is_change=False)
    return tuple(
        _plan_cost(
            model,
            prices,
            row,
            plan,
            total=totals[plan],
            difference=totals[plan] - (of_chosen or 0),
            is_change=can_keep_plan and plan != current,
            is_chosen=plan == chosen,
            is_eligible=plan in eligible,
        )
        for plan in shown
    )


def _cost_terms(model: CostModel, prices: FinalPrices, row: int, plan: int) -> tuple[int, int, int, int]:
    """Return own cost (1e-6 currency), allowance and usage above it (1e-6 MB), and the scaled price of the data."""
    own = int(model.own_cost(plan, np.array([row]))[0])
    allowance = int(model.included[model.tariff[row], plan])
    pool = int(model.pool[model.group[row], plan])
    price = prices.price[pool] if pool != NONE else 0
    return own, allowance, int(model.devices.usage_micro_mb[row]) - allowance, price


def _total(model: CostModel, prices: FinalPrices, row: int, plan: int, *, is_change: bool) -> int:
    own, _, above, price = _cost_terms(model, prices, row, plan)
    return (own + (prices.change_price if is_change else 0)) * prices.scale + price * above


def _plan_cost(
    model: CostModel,
    prices: FinalPrices,
    row: int,
    plan: int,
    *,
    total: int,
    difference: int,
    is_change: bool,
    is_chosen: bool,
    is_eligible: bool,
) -> PlanCost:
    own, allowance, above, price = _cost_terms(model, prices, row, plan)
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
    """Return a number of 10^-places units as an exact decimal of any length."""
    return Decimal((int(units < 0), tuple(int(digit) for digit in str(abs(units))), -places))


def _forced_move_reason(model: CostModel, row: int) -> str | None:
    current = int(model.devices.current_rate_plan[row])
    if current == NONE or model.eligible[model.group[row], current]:
        return None
    return "is retired" if model.rate_plans.is_retired[current] else "is not allowed by its communication plan"


def _sentences(plans: Sequence[PlanCost], must_move: str | None) -> list[str]:
    chosen = next((plan for plan in plans if plan.is_chosen), None)
    current = next((plan for plan in plans if plan.is_current), None)
    if chosen is None:
        return ["No rate plan is eligible: the SIM keeps its plan and is excluded from the bill and the bound."]
    others = [plan for plan in plans if plan.is_eligible and not plan.is_chosen]
    return [
        _decision_sentence(chosen, current, must_move),
        _margin_sentence(chosen, others),
        *([_pool_sentence(chosen)] if chosen.pool else []),
    ]


def _decision_sentence(chosen: PlanCost, current: PlanCost | None, must_move: str | None) -> str:
    if current is None:
        return f"Its current plan is unknown; it is assigned {chosen.rate_plan}."
    if must_move:
        return f"It must move: {current.rate_plan} {must_move}; it is assigned {chosen.rate_plan}."
    if current.is_chosen:
        return f"It stays on {chosen.rate_plan}."
    move = f"It moves from {current.rate_plan} to {chosen.rate_plan}"
    if current.difference <= 0:
        return f"{move}."
    sentence = f"{move}, which costs {decimal_text(current.difference + chosen.change_cost)} less"
    return (
        f"{sentence} (the price per change is {decimal_text(chosen.change_cost)})."
        if chosen.change_cost
        else f"{sentence}."
    )


def _margin_sentence(chosen: PlanCost, others: Sequence[PlanCost]) -> str:
    if not others:
        return "No other plan is eligible."
    best = others[0]
    if best.difference < 0:
        return (
            f"At the final prices {best.rate_plan} would cost {decimal_text(-best.difference)} less. "
            f"{chosen.rate_plan} is cheaper for the fleet as a whole, because overage is billed in whole blocks or "
            "changes are limited."
        )
    equal = [plan.rate_plan for plan in others if plan.difference == 0]
    if equal:
        return (
            f"At the final prices {chosen.rate_plan} costs the same as {', '.join(equal)}: the rounding of pool "
            "overage to whole blocks decides, or else the current plan."
        )
    cheaper = min(others, key=lambda plan: plan.difference - plan.change_cost)
    saving = chosen.change_cost - cheaper.difference + cheaper.change_cost
    if saving > 0 and cheaper.change_cost > chosen.change_cost:
        return (
            f"{cheaper.rate_plan} would save {decimal_text(saving)}, less than the price per change of "
            f"{decimal_text(cheaper.change_cost)}."
        )
    more = decimal_text(best.difference)
    return f"No plan is cheaper at the final prices; the next cheapest, {best.rate_plan}, costs {more} more."


def _pool_sentence(chosen: PlanCost) -> str:
    above = chosen.above_allowance_mb
    if not chosen.price_per_mb:
        return f"The price of data in {chosen.pool} is 0: the pool has enough for all of its SIMs."
    price = f"The price of data in {chosen.pool} is {decimal_text(chosen.price_per_mb, places=9)} per MB"
    if above < 0:
        return (
            f"{price}: the SIM leaves {decimal_text(-above)} MB to other SIMs, worth {decimal_text(-chosen.data_cost)}."
        )
    if above > 0:
        return (
            f"{price}: the SIM uses {decimal_text(above)} MB above its allowance, at {decimal_text(chosen.data_cost)}."
        )
    return f"{price}: the SIM uses exactly its allowance."


def decimal_text(value: Decimal, places: int = 6) -> str:
    """Return a decimal rounded half up to some places, without trailing zeros after the second place."""
    rounded = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    if value and not rounded:
        return f"less than {Decimal(1).scaleb(-places):f}"
    whole, _, fraction = f"{rounded:f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
