"""The bill under uncertain usage: scenarios of the period's end, and what an assignment costs in each of them, exactly.

A scenario is one possible usage of the whole fleet. All scenarios are equally likely, so that they can state any
dependence between SIMs: a burst of the whole fleet is a column in which every SIM uses much. With S scenarios

    expected bill = sum of the bills of the scenarios / S

Where bad outcomes count more (`amop.solver.risk`), scenarios have integer weights instead:

    weighted bill = sum of weight x bill of the scenarios / sum of the weights

Sums over the scenarios are integers (1e-6 currency). Nothing is divided before it is shown, so that expected bills can
be compared exactly. Messages are the same in every scenario.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from amop.solver.bill import INT64_LIMIT, CostModel, check_overflow, overage_blocks
from amop.solver.model import NONE, Integers, OptimizerInputError, largest

CHUNK_ROWS = 4_096
"""SIMs computed at a time: their scenarios stay in the processor's cache."""
MAX_SCENARIOS = 250
"""Largest number of scenarios: the relaxation has a price for each pool and scenario."""

TAIL_WEIGHT = 10
"""The worst 1 / TAIL_WEIGHT of the scenarios is the tail whose mean is shown and weighed."""


@dataclass(frozen=True, slots=True)
class RiskFigures:
    """What an assignment costs in the scenarios. Money in 1e-6 currency."""

    total: int
    """Weighted sum of the bills; without weights it is the number of scenarios x the expected bill."""
    bills: tuple[int, ...]
    """Bill of each scenario, in their order."""
    overage_probability: tuple[float, ...]
    """For each pool the share of the scenarios in which it runs over its included data."""
    overage_total: tuple[int, ...]
    """For each pool the sum of its overage over the scenarios."""

    @classmethod
    def merged(cls, parts: Sequence[RiskFigures]) -> RiskFigures:
        """Return the figures of all scenarios of several sets of equally likely ones."""
        count = sum(len(part.bills) for part in parts)
        shares = zip(
            *([chance * len(part.bills) for chance in part.overage_probability] for part in parts), strict=True
        )
        return cls(
            total=sum(part.total for part in parts),
            bills=tuple(bill for part in parts for bill in part.bills),
            overage_probability=tuple(round(sum(share)) / count for share in shares),
            overage_total=tuple(sum(totals) for totals in zip(*(part.overage_total for part in parts), strict=True)),
        )

    def expected(self) -> int:
        """Return the expected bill of equally likely scenarios, rounded half up to 1e-6 currency."""
        return mean_half_up(sum(self.bills), len(self.bills))

    def expected_overage(self, pool: int) -> int:
        """Return the expected overage of a pool, rounded half up to 1e-6 currency."""
        return mean_half_up(self.overage_total[pool], len(self.bills))

    def tail_weights(self) -> Integers:
        """Return the weight of each scenario in the mean of the worst tenth, shape (S,), 0 to 10; the sum is S."""
        count = len(self.bills)
        weights = np.zeros(count, dtype=np.int64)
        worst = sorted(range(count), key=lambda scenario: (-self.bills[scenario], scenario))
        for number, scenario in enumerate(worst[: -(-count // TAIL_WEIGHT)]):
            weights[scenario] = min(TAIL_WEIGHT, count - TAIL_WEIGHT * number)
        return weights

    def worst_tenth(self) -> int:
        """Return the mean of the worst tenth of the bills, rounded half up to 1e-6 currency."""
        weighted = sum(weight * bill for weight, bill in zip(self.tail_weights().tolist(), self.bills, strict=True))
        return mean_half_up(weighted, len(self.bills))

    def quantile(self, percent: int) -> int:
        """Return the lowest bill that at least this percentage of the scenarios does not exceed."""
        return sorted(self.bills)[max(0, -(-percent * len(self.bills) // 100) - 1)]


class ScenarioBills:
    """The exact bills of a fleet in scenarios of its usage.

    Args:
        model: the fleet; its usage is replaced by the mean of the scenarios.
        usage: of each SIM in each scenario, shape (N, S), 1e-6 MB, int64.
        rows: row of ``usage`` of each SIM, shape (N,); None = its own number. It saves a copy of a large array.
        columns: column of ``usage`` of each scenario, shape (S,); None = its own number.
        weight: of each scenario, shape (S,), int64, at least 1; None = 1 each.

    Raises:
        OptimizerInputError: a scenario is negative or too large to be billed, or the SIMs are billed in parts; the
            message names the SIM.
    """

    model: CostModel
    """The cost model at the mean usage."""
    count: int
    """Number of scenarios S."""
    weight: Integers
    """Weight of each scenario, shape (S,)."""
    whole: int
    """Sum of the weights."""
    highest: Integers
    """Largest usage of each SIM over the scenarios, shape (N,), 1e-6 MB."""

    def __init__(
        self,
        model: CostModel,
        usage: Integers,
        rows: Integers | None = None,
        columns: Integers | None = None,
        weight: Integers | None = None,
    ) -> None:
        count = len(model.devices)
        if usage.ndim != 2 or len(usage) != count or not 1 <= usage.shape[1] <= MAX_SCENARIOS:
            raise OptimizerInputError(f"scenarios need a row for each device and 1 to {MAX_SCENARIOS} columns")
        if model.parts is not None:
            raise OptimizerInputError("scenarios cannot be billed where a plan change counts from its day")
        self.count = usage.shape[1]
        self.weight = np.ones(self.count, dtype=np.int64) if weight is None else weight
        if self.weight.shape != (self.count,) or self.weight.min() < 1:
            raise OptimizerInputError("every scenario needs a weight of at least 1")
        self.whole = int(self.weight.sum())
        self._usage, self._columns = usage, columns
        self._rows = np.arange(count) if rows is None else rows
        self.highest, mean = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        lowest = np.zeros(count, dtype=np.int64)
        for at, chunk in self._chunks():
            lowest[at], self.highest[at], mean[at] = chunk.min(axis=1), chunk.max(axis=1), self._means(chunk)
        self._check(model, lowest)
        self.model = copy(model)
        self.model.devices = replace(model.devices, usage_micro_mb=mean)

    def of_copy(self, model: CostModel, rows: Integers, columns: Integers) -> ScenarioBills:
        """Return the same bills for a copy of the fleet in another order of SIMs and scenarios.

        Args:
            model: the copy.
            rows: number of each SIM of the copy in this fleet, shape (N,).
            columns: number of each scenario of the copy, shape (S,).
        """
        return ScenarioBills(model, self._usage, self._rows[rows], columns, self.weight[columns])

    def weighted(self, weight: Integers) -> ScenarioBills:
        """Return the same bills with other weights of the scenarios, shape (S,), at least 1."""
        return ScenarioBills(self.model, self._usage, self._rows, self._columns, weight)

    def usage(self, at: Integers | slice) -> Integers:
        """Return the usage of some SIMs in each scenario, shape (m, S), 1e-6 MB."""
        usage = self._usage.take(self._rows[at], axis=0)
        return usage if self._columns is None else usage.take(self._columns, axis=1)

    def own_totals(self, rows: slice | Integers, plan: int, usage: Integers) -> Integers:
        """Return the weighted sum of SIMs' own costs on one plan, without the overage of a pool, shape (m,).

        Args:
            rows: the SIMs.
            plan: index of the plan.
            usage: of these SIMs in each scenario, shape (m, S).
        """
        model, plans = self.model, self.model.rate_plans
        tariff = model.tariff[rows]
        total: Integers = self.whole * model.charge[:, plan][tariff]
        if plans.sms_rate[plan]:
            total = total + self.whole * model.devices.sms_usage[rows] * plans.sms_rate[plan]
        if plans.pool[plan] == NONE:
            included = model.included[:, plan][tariff]
            over = np.flatnonzero(self.highest[rows] > included)
            blocks = overage_blocks(usage[over] - included[over][:, None], plans.block_micro_mb[plan])
            total[over] += blocks @ self.weight * plans.overage_rate[plan]
        return total

    def totals_of(self, assignment: Integers) -> Integers:
        """Return the weighted sum of each SIM's own cost in an assignment, shape (N,); 0 without a plan."""
        totals = np.zeros(len(assignment), dtype=np.int64)
        for rows, usage in self._chunks():
            plans = assignment[rows]
            for plan in np.unique(plans[plans != NONE]).tolist():
                at = np.flatnonzero(plans == plan)
                totals[rows.start + at] = self.own_totals(rows.start + at, plan, usage[at])
        return totals

    def total(self, assignment: Integers) -> int:
        """Return the weighted sum of the bills of an assignment over the scenarios, 1e-6 currency."""
        return self.risk(assignment).total

    def risk(self, assignment: Integers) -> RiskFigures:
        """Return the bills of an assignment (plan of each SIM, shape (N,), -1 = not billed) in the scenarios."""
        own, pools = self._sums(assignment)
        overage = [
            [self.model.overage_cost(pool, int(excess)) for excess in sums.tolist()] for pool, sums in enumerate(pools)
        ]
        bills = tuple(
            int(cost) + sum(of_pool[scenario] for of_pool in overage) for scenario, cost in enumerate(own.tolist())
        )
        return RiskFigures(
            total=self.weighted_sum(bills),
            bills=bills,
            overage_probability=tuple(sum(cost > 0 for cost in of_pool) / self.count for of_pool in overage),
            overage_total=tuple(sum(of_pool) for of_pool in overage),
        )

    def weighted_sum(self, bills: Sequence[int]) -> int:
        """Return the weighted sum of a bill of each scenario, 1e-6 currency."""
        return sum(weight * bill for weight, bill in zip(self.weight.tolist(), bills, strict=True))

    def pool_sums(self, assignment: Integers) -> Integers:
        """Return usage less allowance of each pool in each scenario, shape (K, S), 1e-6 MB."""
        return self._sums(assignment)[1]

    def _sums(self, assignment: Integers) -> tuple[Integers, Integers]:
        """Return the own costs by scenario, shape (S,), and the pools' usage less allowance, shape (K, S)."""
        model, plans = self.model, self.model.rate_plans
        own = np.zeros(self.count, dtype=object)
        pools = np.zeros((model.pool_count, self.count), dtype=np.int64)
        pool_of = model.pools_of(assignment)
        for rows, usage in self._chunks():
            at = np.flatnonzero(assignment[rows] != NONE)
            plan, number = assignment[rows][at], rows.start + at
            included = model.included[model.tariff[number], plan]
            fixed = model.charge[model.tariff[number], plan] + model.devices.sms_usage[number] * plans.sms_rate[plan]
            own += int(fixed.sum())
            pool = pool_of[number]
            over = np.flatnonzero((pool == NONE) & (self.highest[number] > included))
            blocks = overage_blocks(
                usage[at[over]] - included[over][:, None], plans.block_micro_mb[plan[over]][:, None]
            )
            own += (blocks * plans.overage_rate[plan[over]][:, None]).sum(axis=0).astype(object)
            for k in np.unique(pool[pool != NONE]).tolist():
                inside = np.flatnonzero(pool == k)
                pools[k] += usage[at[inside]].sum(axis=0) - int(included[inside].sum())
        return own, pools

    def _chunks(self) -> Iterator[tuple[slice, Integers]]:
        """Yield ranges of SIMs, and their usage in each scenario, shape (m, S)."""
        for first in range(0, len(self._rows), CHUNK_ROWS):
            rows = slice(first, min(first + CHUNK_ROWS, len(self._rows)))
            yield rows, self.usage(rows)

    def _means(self, usage: Integers) -> Integers:
        """Return the weighted mean of each row, rounded half up, shape (m,)."""
        quotient, rest = usage // self.whole, usage % self.whole  # so that the sum of large values cannot overflow
        half_up = (2 * (rest @ self.weight) + self.whole) // (2 * self.whole)
        return np.asarray(quotient @ self.weight + half_up)

    def _check(self, model: CostModel, lowest: Integers) -> None:
        """Check the range of the usage, and that no sum over scenarios can overflow int64.

        Raises:
            OptimizerInputError: a value is negative or too large; the message names the SIM.
        """
        devices, plans = model.devices, model.rate_plans
        if (lowest < 0).any():
            device = str(devices.device_id[int(lowest.argmin())])
            raise OptimizerInputError(f"device {device!r}: usage_mb is negative in a scenario")
        check_overflow(plans, replace(devices, usage_micro_mb=self.highest), model.terms.period_days)
        if not len(devices) or not len(plans):
            return
        by_mb = float((plans.overage_rate / plans.block_micro_mb).max())
        fixed = float((plans.rate_charge + plans.base_rate + plans.overage_rate).max())
        reach = self.highest * max(1.0, by_mb) + devices.sms_usage * float(largest(plans.sms_rate)) + fixed
        # A chunk is summed in int64, and so are a SIM's costs over the scenarios.
        if float(reach.max()) * max(CHUNK_ROWS, self.whole) >= INT64_LIMIT:
            device = str(devices.device_id[int(reach.argmax())])
            raise OptimizerInputError(f"device {device!r}: its usage is too large to be billed exactly in scenarios")


def half_up(amount: Fraction) -> int:
    """Return an amount rounded half up."""
    return mean_half_up(amount.numerator, amount.denominator)


def mean_half_up(total: int, count: int) -> int:
    """Return total / count, rounded half up."""
    return (2 * total + count) // (2 * count)
