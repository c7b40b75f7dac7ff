"""Time the choice of rate plans to ask the carrier for: 50 ladders over one fleet, each with bill and bound.

python -m bench.ladders 100000
"""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Annotated

import numpy as np
import typer

from amop.optimization.arrays import InstanceInputs
from amop.solver import Terms, from_micro
from amop.what_if.plan_table import PlanLine
from amop.what_if.scenario import Ladder, Scenario
from bench import optimizer
from bench.instances import make_instance

LADDERS = 50
LONGEST = 30
"""Seconds that they may take over 100,000 SIMs."""


def ladders(count: int) -> tuple[float, list[Ladder]]:
    """Return the seconds of 50 ladders of one new plan beside ten present ones, and the ladders."""
    instance = make_instance("default", count, seed=optimizer.SEEDS[0])
    plans, none = instance.rate_plans, np.zeros(0, dtype=np.int64)
    inputs = InstanceInputs(instance.devices, plans, instance.eligibility, none, none, none, None, none, none)
    present = [_line(instance.rate_plans.code[number], inputs, number) for number in range(len(plans))]
    new = [
        PlanLine(
            f"New {number}", Decimal(1 + number) / 4, Decimal(0), Decimal(5 * (1 + number)), Decimal("0.5"), Decimal(1),
            Decimal(0), False, None,
        )
        for number in range(LADDERS)
    ]  # fmt: skip
    scenario = Scenario.of(inputs, Terms(30, True), [*present, *new], frozenset(plans.code))
    begun = time.perf_counter()
    found = scenario.ladders(1)
    return time.perf_counter() - begun, found


def _line(code: str, inputs: InstanceInputs, number: int) -> PlanLine:
    plans = inputs.rate_plans
    pool = plans.pool_name[plans.pool[number]] if plans.pool[number] >= 0 else None
    return PlanLine(
        code,
        from_micro(int(plans.rate_charge[number])),
        from_micro(int(plans.base_rate[number])),
        from_micro(int(plans.plan_micro_mb[number])),
        from_micro(int(plans.overage_rate[number])),
        from_micro(int(plans.block_micro_mb[number])),
        from_micro(int(plans.sms_rate[number])),
        pool is not None,
        pool.removeprefix("pool ") if pool is not None and pool.startswith("pool ") else None,
    )


def main(count: Annotated[int, typer.Argument(help="Number of SIMs.")] = 100_000) -> None:
    """Print the seconds, and the widest gap between bill and bound."""
    seconds, found = ladders(count)
    gap = max((ladder.cost - ladder.bound) / ladder.cost for ladder in found)
    print(f"{len(found)} ladders x {count:,} SIMs: {seconds:.1f} s, widest gap {gap:.1e}")


if __name__ == "__main__":
    typer.run(main)
