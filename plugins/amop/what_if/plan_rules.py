"""What a what-if refuses: the rules of its run, which the form checks before it starts one.

Works without numpy, because the operators' page checks the form.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from amop.what_if.plan_table import PlanLine, PlanTableError, read_plan_table

MOST_CHOSEN = 50
"""New plans that can be chosen; parameter ``ladder_size`` of the DAG has the same limit."""

MOST_LADDERS = 200
"""Choices of new plans that are all computed; of more, each step adds the plan that saves most."""

MOST_SOLVES = 2_000
"""Of a choice step by step."""


@dataclass(frozen=True, slots=True)
class OfferedPlan:
    """A rate plan that SIMs of the optimization may have or are on, with what a pool needs."""

    rate_plan_code: str
    allows_sim_pooling: bool
    pool: str | None
    overage_rate: Decimal
    data_per_overage_charge: Decimal


def check_offers(table: Sequence[PlanLine], *, known: Collection[str], offered: Collection[str]) -> None:
    """Check that new plans are offered like plans that exist.

    Args:
        table: the rate plans of the what-if.
        known: codes of all plans of the provider.
        offered: codes of the plans that the SIMs may have.

    Raises:
        PlanTableError: a new plan is offered like a plan that no SIM may have.
    """
    for line in new_lines(table, known):
        if line.offered_like is not None and line.offered_like not in offered:
            raise PlanTableError(
                f"rate plan {line.rate_plan_code!r} is offered like {line.offered_like!r}, which no SIM may have"
            )


def check_choice(new_count: int, size: int) -> None:
    """Check that this many new plans can be chosen.

    Raises:
        PlanTableError: there are fewer new plans, or too many choices.
    """
    if size > new_count:
        raise PlanTableError(f"the table has {new_count} new rate plans, fewer than {size} to choose")
    if is_chosen_step_by_step(new_count, size) and size * new_count > MOST_SOLVES:
        raise PlanTableError(f"{size} of {new_count} new rate plans are too many choices")


def is_chosen_step_by_step(new_count: int, size: int) -> bool:
    """Return whether there are too many choices to compute all of them."""
    return math.comb(new_count, size) > MOST_LADDERS


def check_pools(table: Sequence[PlanLine], *, known: Collection[str], offered: Iterable[OfferedPlan]) -> None:
    """Check that the rate plans of each pool have the same overage.

    Plans of the provider that the table does not list count too: SIMs that may not change their plan stay on them.

    Raises:
        PlanTableError: the overage rate or block of two plans of a pool differs.
    """
    listed = {line.rate_plan_code: line for line in table}
    plans: list[PlanLine | OfferedPlan] = [listed.get(plan.rate_plan_code, plan) for plan in offered]
    first: dict[str, PlanLine | OfferedPlan] = {}
    for plan in [*plans, *new_lines(table, known)]:
        if not plan.allows_sim_pooling or not plan.pool:
            continue
        other = first.setdefault(plan.pool, plan)
        if (plan.overage_rate, plan.data_per_overage_charge) != (other.overage_rate, other.data_per_overage_charge):
            raise PlanTableError(
                f"pool {plan.pool!r}: its rate plans {other.rate_plan_code!r} and {plan.rate_plan_code!r} must have "
                "the same overage_rate and data_per_overage_charge"
            )


def new_lines(table: Sequence[PlanLine], known: Collection[str]) -> list[PlanLine]:
    """Return the plans of a table that the provider does not have."""
    return [line for line in table if line.rate_plan_code not in known]


def form_faults(
    rate_plans: str, ladder_size: str, *, known: Collection[str], offered: Sequence[OfferedPlan]
) -> dict[str, str]:
    """Return why a run with this form would fail, by the field at fault; nothing for a valid form.

    Args:
        rate_plans: the table as CSV.
        ladder_size: the number of new plans to choose, as typed; empty = all at once.
        known: codes of all plans of the provider.
        offered: the plans of the optimization that the what-if is about.
    """
    faults: dict[str, str] = {}
    size = ladder_size.strip()
    if size and not (size.isascii() and size.isdigit() and 1 <= int(size) <= MOST_CHOSEN):
        faults["ladder_size"] = f"{size[:20]!r} is not a whole number from 1 to {MOST_CHOSEN}"
    try:
        table = read_plan_table(rate_plans)
        check_offers(table, known=known, offered={plan.rate_plan_code for plan in offered})
        check_pools(table, known=known, offered=offered)
    except PlanTableError as error:
        return faults | {"rate_plans": str(error)}
    if size and not faults:
        try:
            check_choice(len(new_lines(table, known)), int(size))
        except PlanTableError as error:
            faults["ladder_size"] = str(error)
    return faults
