"""Every plan that a SIM may have with its cost, and why it is on this one, from a stored optimization.

Overage of pooled plans is the pool's, so that a pooled plan has no cost of its own. The proof of an optimization has a
price for each pool's data; at these prices each SIM is decided on its own. `amop.solver.explanation` does the same for
a whole fleet in memory; this module needs one SIM's rows and no numpy, because it runs in Airflow's API server. A test
compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any

from amop.optimization.assignment_reasons import ASSIGNMENT_REASONS
from amop.optimization.break_even import BreakEven, UsageCost, break_even
from amop.page import formatting
from amop.page.store.sims import PlanTerms, SimResult
from amop.wording import CENT, money

MICRO = Decimal("0.000001")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class PlanOption:
    """A plan with its cost for a SIM at the prices of the proof; money in currency, exact."""

    rate_plan: str
    pool: str | None
    """None for a plan that is not pooled."""
    own_cost: Decimal
    """Rate, base rate, messages and, where the plan is not pooled, its overage."""
    allowance_mb: Decimal
    data_cost: Decimal
    """Price of the pool's data x usage above the allowance; negative where data remains for other SIMs of the pool."""
    change_cost: Decimal
    """Price of leaving the present plan, where the number of changes is limited."""
    usage_cost: UsageCost
    """The total by the SIM's usage."""
    is_present: bool
    is_chosen: bool
    is_eligible: bool
    """False for a present plan that the SIM cannot keep."""
    expected: Decimal | None = None
    """Mean of the total over the likely usages; None without them."""
    better: BreakEven | None = None
    """Where it would be better than the chosen plan; None for the chosen one, and for one that is not allowed."""

    @property
    def total(self) -> Decimal:
        """Cost at the prices of the proof."""
        return self.own_cost + self.data_cost + self.change_cost


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of an optimization's proof."""

    per_mb: Mapping[int, Decimal]
    """Price of a MB by the number of the pool."""
    per_change: Decimal


def plan_options(result: SimResult, plans: Sequence[PlanTerms]) -> list[PlanOption]:
    """Return the plans that a SIM may have and its present one, the cheapest first.

    Args:
        result: inputs and result of the SIM.
        plans: the plans of its comm group, and its present plan.
    """
    certificate = result.certificate or {}
    terms = certificate.get("terms") or {}
    prices = read_prices(certificate)
    numbers = pool_numbers(certificate, result.group_number)
    allowed = set(result.rate_plan_ids)
    is_kept = result.kept_reason is not None
    can_stay = result.current_rate_plan_id in allowed
    options = []
    for plan in plans:
        is_present = plan.id == result.current_rate_plan_id
        is_eligible = is_present if is_kept else _is_eligible(plan, result)
        if not (is_eligible or is_present):
            continue
        pool = pool_name(plan)
        price = prices.per_mb.get(numbers[pool], ZERO) if pool in numbers else ZERO
        allowance = _allowance(plan, result, terms)
        change_cost = prices.per_change if can_stay and not is_present else ZERO
        usage_cost = _usage_cost(plan, _charges(plan, result, terms) + change_cost, allowance, price)
        options.append(
            PlanOption(
                rate_plan=plan.rate_plan_code,
                pool=pool,
                own_cost=usage_cost.at(result.projected_usage_mb) - change_cost
                if pool is None
                else _charges(plan, result, terms),
                allowance_mb=allowance,
                data_cost=price * (result.projected_usage_mb - allowance) if price else ZERO,
                change_cost=change_cost,
                usage_cost=usage_cost,
                expected=_expected(usage_cost, result.likely_usage_mb),
                is_present=is_present,
                is_chosen=plan.rate_plan_code == result.to_rate_plan,
                is_eligible=is_eligible,
            )
        )
    options.sort(key=lambda option: (not option.is_eligible, option.total, option.rate_plan))
    chosen = next((option for option in options if option.is_chosen), None)
    if chosen is None:
        return options
    return [
        option
        if option.is_chosen or not option.is_eligible
        else replace(
            option,
            better=break_even(
                chosen.usage_cost, option.usage_cost, forecast=result.projected_usage_mb, used=result.usage_mb
            ),
        )
        for option in options
    ]


def pool_numbers(certificate: Mapping[str, Any], group_number: int) -> dict[str | None, int]:
    """Return the position of each pool of a comm group in the certificate's lists, by the pool's name.

    Where pools are confined to comm groups, the lists name the pools of one group after those of another.
    """
    names = list(dict.fromkeys(certificate.get("pools", ())))
    is_confined = (certificate.get("terms") or {}).get("pool_scope") == "comm_group"
    first = group_number * len(names) if is_confined else 0
    return {name: first + number for number, name in enumerate(names)}


def read_prices(certificate: Mapping[str, Any]) -> Prices:
    """Return the prices of a stored certificate; those with a price per change where changes were restricted."""
    changes = certificate.get("changes")
    if changes is not None:
        values, scale, per_change = changes["price"], changes["scale"], Decimal(changes["change_price"]) * MICRO
    else:
        values, scale, per_change = certificate.get("prices", ()), certificate.get("price_scale", 1), ZERO
    return Prices({number: Decimal(value) / Decimal(scale) for number, value in enumerate(values)}, per_change)


def pool_name(plan: PlanTerms) -> str | None:
    """Return the name of a plan's pool as the certificate has it, None for a plan that is not pooled."""
    if not plan.allows_sim_pooling:
        return None
    return f"pool {plan.pool}" if plan.pool else f"plan {plan.rate_plan_code}"


def reason_sentences(result: SimResult, options: Sequence[PlanOption], currency: str) -> list[str]:
    """Return why the SIM is on its plan, in sentences."""
    if result.to_rate_plan is None:
        return ["This SIM was not billed in the optimization, because its present rate plan has no known price."]
    chosen = next((option for option in options if option.is_chosen), None)
    reason = result.reason or ASSIGNMENT_REASONS["kept_cheapest"]
    sentences = [f"The optimization chose {result.to_rate_plan} ({reason})."]
    others = [option for option in options if option.is_eligible and not option.is_chosen]
    if chosen is None:
        return sentences
    if not others:
        return [*sentences, "Its communication plan allows no other rate plan."]
    best = others[0]
    difference = best.total - chosen.total
    if difference > 0:
        amount = money(difference, currency) if difference >= CENT else "less than a cent"
        sentences.append(f"The next best plan, {best.rate_plan}, would cost {amount} more.")
    elif difference == 0:
        sentences.append(f"{best.rate_plan} would cost the same; the present plan or the pool's whole blocks decide.")
    else:
        sentences.append(
            f"On its own, {best.rate_plan} would cost {money(-difference, currency)} less; "
            f"{chosen.rate_plan} is cheaper for the fleet, because overage is billed in whole blocks or changes are "
            "limited."
        )
    if chosen.pool:
        sentences.append(_pool_sentence(chosen, currency))
    return sentences


def _pool_sentence(chosen: PlanOption, currency: str) -> str:
    pool, worth = formatting.pool(chosen.pool), money(abs(chosen.data_cost), currency)
    if chosen.data_cost < 0:
        return f"The data that it leaves in its pool ({pool}) is worth {worth} to the other SIMs of the pool."
    if chosen.data_cost > 0:
        return f"The data that it takes from its pool ({pool}) is worth {worth}."
    return f"Its pool ({pool}) has data to spare, so that more usage of this SIM costs nothing."


def _is_eligible(plan: PlanTerms, result: SimResult) -> bool:
    if plan.id not in result.rate_plan_ids or (plan.is_retired and plan.rate_plan_code != result.to_rate_plan):
        return False
    return result.sms_is_read or plan.sms_rate == 0


def _allowance(plan: PlanTerms, result: SimResult, terms: Mapping[str, Any]) -> Decimal:
    if result.is_prorated and terms.get("prorate_allowance") and terms.get("period_days"):
        share = plan.plan_mb * result.days_activated / Decimal(terms["period_days"])
        return share.quantize(MICRO, rounding=ROUND_DOWN)
    return plan.plan_mb


def _usage_cost(plan: PlanTerms, fixed: Decimal, allowance: Decimal, price: Decimal) -> UsageCost:
    if plan.allows_sim_pooling:
        return UsageCost(fixed - price * allowance, price_per_mb=price)
    block = max(ZERO, plan.data_per_overage_charge)
    return UsageCost(fixed, allowance=allowance, block=block, block_price=plan.overage_rate)


def _expected(cost: UsageCost, usages: Sequence[Decimal] | None) -> Decimal | None:
    return sum((cost.at(usage) for usage in usages), ZERO) / len(usages) if usages else None


def _charges(plan: PlanTerms, result: SimResult, terms: Mapping[str, Any]) -> Decimal:
    charge = plan.rate_charge
    if result.is_prorated and terms.get("period_days"):
        share = charge * result.days_activated / Decimal(terms["period_days"])
        charge = share.quantize(MICRO, rounding=ROUND_HALF_UP)
    return charge + plan.base_rate + result.sms_usage * plan.sms_rate
