"""Scenarios of the usage for the optimizer's test cases, and the bills of all assignments of a tiny fleet in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from amop.solver.expected import ExpectedResult, optimize_expected
from tests.worlds.optimizer_cases import Case, every_bill, plain_bill


def random_scenarios(of: Case, seed: int, count: int) -> np.ndarray:
    """Return usage in ``count`` scenarios, shape (N, count), 1e-6 MB: a factor of the fleet, of each SIM, and zeros."""
    rng = np.random.default_rng([seed, count, 3])
    shape = (len(of.devices), count)
    factor = rng.lognormal(0, 0.3, count) * rng.lognormal(0, 0.5, shape) * (rng.random(shape) < 0.9)
    return (of.devices.usage_micro_mb[:, None] * factor).astype(np.int64)


def optimize_scenarios(of: Case, usage: np.ndarray, **preferences: Any) -> ExpectedResult:
    """Return the result of the optimizer on expected bills."""
    terms = of.terms
    return optimize_expected(
        of.devices,
        of.rate_plans,
        of.eligibility,
        usage,
        period_days=terms.period_days,
        uses_proration=terms.uses_proration,
        prorate_allowance=terms.prorate_allowance,
        pool_scope=terms.pool_scope,
        **preferences,
    )


def of_scenario(of: Case, usage: np.ndarray, scenario: int) -> Case:
    """Return the case with the usage of one scenario."""
    return of.with_devices(usage_micro_mb=usage[:, scenario])


def plain_bills(of: Case, usage: np.ndarray, assignment: Any) -> list[int]:
    """Return the bill of each scenario by the formula, 1e-6 currency."""
    return [plain_bill(of_scenario(of, usage, number), assignment) for number in range(usage.shape[1])]


def plain_total(of: Case, usage: np.ndarray, assignment: Any) -> int:
    """Return the sum of the bills over the scenarios by the formula, 1e-6 currency."""
    return sum(plain_bills(of, usage, assignment))


def every_total(of: Case, usage: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of the bills over the scenarios, and the changes, of every possible assignment."""
    found = [every_bill(of_scenario(of, usage, number)) for number in range(usage.shape[1])]
    return np.sum([bill for bill, _ in found], axis=0), found[0][1]
