"""Why a SIM is on its rate plan, and where another one would be better, for ``amop optimize --explain``."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from amop.cli.output import printable
from amop.optimization.break_even import UsageCost, break_even
from amop.solver.explanation import Explanation, PlanCost, decimal_text
from amop.solver.model import RatePlans, from_micro
from amop.wording import several


def print_explanation(console: Console, explanation: Explanation, rate_plans: RatePlans) -> None:
    """Print the cost of each plan of a SIM, the reasons for its plan, and where another one would be better.

    Args:
        console: where to print.
        explanation: of the SIM.
        rate_plans: the plans that it names.
    """
    title = (
        f"{explanation.device_id}: {decimal_text(explanation.usage_mb)} MB, {explanation.sms_usage:,} SMS, billed for "
        f"{several(explanation.billed_days, 'day')}"
    )
    table = Table(title=escape(printable(title)), title_justify="left", show_edge=False)
    table.add_column("rate plan", overflow="fold")
    table.add_column("pool", overflow="fold")
    names = ("own cost", "MB above allowance", "price per MB", "data", "change", "total", "difference")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("")
    for plan in explanation.plans:
        values = (
            plan.own_cost,
            plan.above_allowance_mb,
            plan.price_per_mb,
            plan.data_cost,
            plan.change_cost,
            plan.total,
            plan.difference,
        )
        marks = (
            "chosen" if plan.is_chosen else "",
            "current" if plan.is_current else "",
            "" if plan.is_eligible else "not eligible",
        )
        numbers = (decimal_text(value, places=9 if at == 2 else 6) for at, value in enumerate(values))
        table.add_row(
            escape(printable(plan.rate_plan)),
            escape(printable(plan.pool or "")),
            *numbers,
            ", ".join(filter(None, marks)),
        )
    console.print()
    console.print(table)
    for sentence in [*explanation.sentences, *better_sentences(explanation, rate_plans)]:
        console.print(escape(printable(sentence)), highlight=False)


def better_sentences(explanation: Explanation, rate_plans: RatePlans) -> list[str]:
    """Return with which usage each other plan would be better than the chosen one, at the final prices."""
    costs = {plan.rate_plan: _usage_cost(explanation, plan, rate_plans) for plan in explanation.plans}
    chosen = next((plan for plan in explanation.plans if plan.is_chosen), None)
    if chosen is None:
        return []
    sentences = []
    for plan in explanation.plans:
        if plan.is_chosen or not plan.is_eligible:
            continue
        found = break_even(costs[chosen.rate_plan], costs[plan.rate_plan], forecast=explanation.usage_mb)
        limits = [("no more", found.below), ("more", found.above)]
        parts = [f"{words} than {decimal_text(usage)} MB" for words, usage in limits if usage is not None]
        if parts:
            sentences.append(f"{plan.rate_plan} would be better if the SIM used {' or '.join(parts)}.")
    return sentences


def _usage_cost(explanation: Explanation, plan: PlanCost, rate_plans: RatePlans) -> UsageCost:
    fixed = plan.own_cost + plan.change_cost
    if plan.pool is not None:
        return UsageCost(fixed - plan.price_per_mb * plan.allowance_mb, price_per_mb=plan.price_per_mb)
    number = rate_plans.code.index(plan.rate_plan)
    block, price = (from_micro(int(of[number])) for of in (rate_plans.block_micro_mb, rate_plans.overage_rate))
    overage = UsageCost(fixed, allowance=plan.allowance_mb, block=block, block_price=price)
    return UsageCost(
        fixed - overage.blocks_at(explanation.usage_mb) * price,
        allowance=plan.allowance_mb,
        block=block,
        block_price=price,
    )
