"""Scenarios of the usage on files, and the figures of an expected bill, for ``amop optimize``.

A file of scenarios has a line for each SIM: ``device_id`` and one column ``usage_mb_1``, ``usage_mb_2``, ... for each
scenario. A column is one possible period of the whole fleet; all are equally likely.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from amop.optimization.csv_files import OptimizationInputs, result_figures
from amop.optimization.csv_table import Problem, Problems, Table, read_table
from amop.solver import from_micro
from amop.solver.expected import ExpectedResult
from amop.solver.model import Integers
from amop.solver.scenarios import MAX_SCENARIOS, RiskFigures, ScenarioBills, half_up

SCENARIO_COLUMN = re.compile(r"usage_mb_[0-9]+")
QUANTILES = (5, 50, 95)
"""Percentages of the scenarios whose bill is shown."""


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """The contents of a file of scenarios."""

    usage: Integers
    """Usage of each SIM in each scenario, shape (N, S), int64, 1e-6 MB, in the order of the SIMs."""
    ignored_columns: tuple[str, ...]
    """``file: column`` for every column that is ignored."""
    interval: Callable[[], Iterator[Integers]] | None = None
    """Returns sets of other scenarios that state the interval of the bill; None = those of ``usage`` do."""


def read_scenarios(path: Path, inputs: OptimizationInputs) -> ScenarioFile:
    """Return the contents of a file of scenarios.

    Raises:
        InputFileError: there are problems; the message lists the first ones and has their number.
    """
    problems = Problems()
    header = read_table(path, ["device_id"], problems)
    if header is None:
        problems.raise_if_any()
        raise AssertionError("a file without a table has a problem")
    names = [name for name in header.ignored if SCENARIO_COLUMN.fullmatch(name)]
    if not 1 <= len(names) <= MAX_SCENARIOS:
        text = f"has {len(names)} columns usage_mb_1, usage_mb_2, ...; there must be 1 to {MAX_SCENARIOS}"
        problems.add(Problem(str(path), 1, "", text))
        problems.raise_if_any()
    expected = [f"usage_mb_{number}" for number in range(1, len(names) + 1)]
    if set(names) != set(expected):
        missing = next(name for name in expected if name not in names)
        other = next(name for name in names if name not in expected)
        text = f"has column {other}, but no {missing}; the scenarios must be numbered from 1 without a gap"
        problems.add(Problem(str(path), 1, "", text))
        problems.raise_if_any()
    table = read_table(path, ["device_id", *names], problems)
    if table is None:
        raise AssertionError("the file was read before")
    row = rows_of_devices(table, inputs, problems)
    usage = np.empty((len(table), len(names)), dtype=np.int64)
    for number, name in enumerate(names):
        usage[:, number] = table.numbers(name, problems)
    problems.raise_if_any()
    return ScenarioFile(usage[row], tuple(f"{path}: {name}" for name in table.ignored))


def rows_of_devices(table: Table, inputs: OptimizationInputs, problems: Problems) -> Integers:
    """Return the row of each SIM in a table with one line for each SIM, shape (N,); report missing and other SIMs."""
    table.unique_texts("device_id", problems)
    place = table.index_of(
        "device_id", inputs.device_id.to_list(), problems, "{value} is not in the devices file", allow_empty=True
    )
    row = np.full(len(inputs.device_id), -1, dtype=np.int64)
    row[place[place >= 0]] = np.flatnonzero(place >= 0)
    missing = np.flatnonzero(row < 0)
    if len(missing):
        first = inputs.device_id[int(missing[0])]
        more = f", nor {len(missing) - 1:,} other devices" if len(missing) > 1 else ""
        problems.add(Problem(table.file, 0, "device_id", f"has no line for device {first!r}{more}"))
    return row


def interval_of(scenarios: ScenarioFile, result: ExpectedResult) -> RiskFigures:
    """Return what an assignment costs in the scenarios that state the interval of the bill."""
    if scenarios.interval is None:
        return result.risk
    model, assignment = result.bills.model, result.assignment
    return RiskFigures.merged([ScenarioBills(model, usage).risk(assignment) for usage in scenarios.interval()])


def expected_figures(result: ExpectedResult, interval: RiskFigures, seconds: float) -> dict[str, Any]:
    """Return the figures of an assignment of the least expected bill by name.

    The first ones are those of `result_figures` for this assignment at the point forecast.

    Args:
        result: of the optimizer.
        interval: what its assignment costs in the scenarios that state the interval of the bill.
        seconds: from start to the verified result.
    """
    point, claim = result.point, result.certificate
    total = result.point.model.bill(result.assignment)
    figures = result_figures(point, seconds)
    for name in ("voluntary_changes", "objective", "objective_bound"):
        figures.pop(name, None)
    figures |= {
        "total_cost": _money(total),
        "gap": (total - point.lower_bound) / total if total else 0.0,
        "savings": _money(point.current_cost - total),
        "changes": result.changes,
        "status": "optimal" if claim.lower_bound == claim.total else "within_gap",
        "scenarios": result.bills.count,
        "expected_cost": _money(result.risk.expected()),
        "expected_lower_bound": _money(result.expected_lower_bound),
        "expected_gap": result.gap,
        "expected_current_cost": _money(result.current_risk.expected()),
        "expected_savings": _money(result.current_risk.expected() - result.risk.expected()),
        "expected_cost_of_point_forecast": _money(result.point_risk.expected()),
    }
    for percent in QUANTILES:
        figures[f"cost_{percent}_percent"] = _money(interval.quantile(percent))
    figures["worst_tenth_cost"] = _money(interval.worst_tenth())
    if result.risk_proof is not None:
        proof = result.risk_proof
        figures["risk_weight"] = str(Decimal(proof.risk_weight).scaleb(-3))
        figures["risk_adjusted_cost"] = _money(half_up(proof.adjusted))
        figures["risk_adjusted_lower_bound"] = _money(half_up(proof.lower_bound))
        figures["risk_adjusted_gap"] = proof.gap
    if claim.min_saving:
        count = result.bills.count
        figures["voluntary_changes"] = claim.change_count
        figures["expected_objective"] = _money(result.risk.expected() + claim.min_saving * claim.change_count)
        figures["expected_objective_bound"] = _money(claim.objective_bound // count)
        if result.risk_proof is not None:
            proof, price = result.risk_proof, claim.min_saving * claim.change_count
            figures["risk_adjusted_objective"] = _money(half_up(proof.adjusted + price))
            figures["risk_adjusted_objective_bound"] = _money(half_up(proof.objective_bound))
    figures["pools"] = [
        {
            "pool": name,
            "overage_probability": interval.overage_probability[pool],
            "expected_overage": _money(interval.expected_overage(pool)),
        }
        for pool, name in enumerate(result.bills.model.pool_name)
    ]
    return figures


def _money(units: int) -> str:
    return str(from_micro(units))
