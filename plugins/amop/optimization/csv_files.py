"""Read the optimizer's input from three CSV files, write its answer as CSV and its figures as JSON.

A value that is unknown, out of range, a duplicate or contradictory is an error that names file, line, column and value.
Unknown columns are ignored. Rate plans are sorted by code, so that the order of the rows never matters. Output files
get their names only when they are complete.
"""

from __future__ import annotations

import ast
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl

from amop.optimization.csv_table import InputFileError, Problem, Problems, Table, read_table, shown
from amop.solver import Devices, Eligibility, OptimizationResult, OptimizerInputError, RatePlans, from_micro, pools_of
from amop.solver.model import Flags, Integers

DEVICE_COLUMNS = ("device_id", "communication_plan", "usage_mb", "sms_usage", "days_active", "current_rate_plan")
PRICE_COLUMNS = ("rate_charge", "base_rate", "plan_mb", "overage_rate", "data_per_overage_charge", "sms_rate")
ABOVE_ZERO = ("overage_rate", "data_per_overage_charge")
RATE_PLAN_COLUMNS = ("rate_plan_code", *PRICE_COLUMNS, "allows_sim_pooling")
POOL_COLUMN = "pool"
ELIGIBILITY_COLUMNS = ("communication_plan", "rate_plan_code")


@dataclass(frozen=True, slots=True)
class OptimizationInputs:
    """A fleet, its rate plans and eligibility, as read from three files."""

    devices: Devices
    rate_plans: RatePlans
    eligibility: Eligibility
    device_id: pl.Series
    """As in the file, in its order."""
    device_table: Table
    rate_plan_table: Table
    ignored_columns: tuple[str, ...]
    """``file: column`` for every column that is ignored."""

    def row_of(self, device_id: str) -> int | None:
        """Return the row of a device, None if there is no device of that id."""
        return self.device_id.index_of(device_id)

    def locate(self, error: OptimizerInputError) -> InputFileError:
        """Return the optimizer's error with the file and line of the device or rate plan that it names."""
        message = str(error)
        named = re.match(r"(device|rate plan) ('.*?'|\".*?\"): ", message)
        table, row = self.device_table, None
        if named and named[1] == "device":
            row = self.row_of(ast.literal_eval(named[2]))
        elif named:
            table = self.rate_plan_table
            row = table.frame["rate_plan_code"].index_of(ast.literal_eval(named[2]))
        line = 0 if row is None else table.line(row)
        return InputFileError(f"{Problem(table.file, line, '', message)}\n1 problem; nothing was written")


def read_inputs(devices: Path, rate_plans: Path, eligibility: Path, *, period_days: int) -> OptimizationInputs:
    """Return the contents of the three files.

    Args:
        devices: path of the SIMs.
        rate_plans: path of the rate plans.
        eligibility: path of the eligible rate plans per communication plan.
        period_days: days of the billing period.

    Raises:
        InputFileError: there are problems; the message lists the first ones of all files and has their number.
    """
    problems = Problems()
    plan_table = read_table(rate_plans, RATE_PLAN_COLUMNS, problems, optional=[POOL_COLUMN])
    pair_table = read_table(eligibility, ELIGIBILITY_COLUMNS, problems)
    device_table = read_table(devices, DEVICE_COLUMNS, problems)
    if plan_table is None or pair_table is None or device_table is None:
        problems.raise_if_any()
        raise AssertionError("a file without a table has a problem")
    plans = _rate_plans(plan_table, problems)
    allowed, names = _eligibility(pair_table, plan_table, plans.code, problems)
    fleet = _devices(device_table, names, plan_table, plans.code, pair_table.file, period_days, problems)
    problems.raise_if_any()
    tables = (device_table, plan_table, pair_table)
    device_id = device_table.frame["device_id"]
    device_table.frame = device_table.frame.select()  # its text is in the arrays now
    return OptimizationInputs(
        devices=fleet,
        rate_plans=plans,
        eligibility=Eligibility.of(allowed),
        device_id=device_id,
        device_table=device_table,
        rate_plan_table=plan_table,
        ignored_columns=tuple(f"{table.file}: {name}" for table in tables for name in table.ignored),
    )


def _rate_plans(table: Table, problems: Problems) -> RatePlans:
    table.unique_texts("rate_plan_code", problems)
    table.sort("rate_plan_code")
    codes = table.frame["rate_plan_code"].to_list()
    prices = {name: table.numbers(name, problems, above_zero=name in ABOVE_ZERO) for name in PRICE_COLUMNS}
    pooled = table.flags("allows_sim_pooling", problems)
    names = table.frame[POOL_COLUMN].to_list()
    named = np.array([bool(name) for name in names], dtype=bool)
    table.report(problems, POOL_COLUMN, named & ~pooled, "{value} is a pool, but allows_sim_pooling is false")
    pool, pool_name = pools_of(codes, pooled.tolist(), names)
    _check_pools(table, pool, prices, problems)
    return RatePlans(
        code=tuple(codes),
        rate_charge=prices["rate_charge"],
        base_rate=prices["base_rate"],
        plan_micro_mb=prices["plan_mb"],
        overage_rate=prices["overage_rate"],
        block_micro_mb=prices["data_per_overage_charge"],
        sms_rate=prices["sms_rate"],
        pool=pool,
        pool_name=pool_name,
        is_retired=np.zeros(len(codes), dtype=bool),
    )


def _check_pools(table: Table, pool: Integers, prices: dict[str, Integers], problems: Problems) -> None:
    """Report the plans whose overage rate or block differs from the first plan of their pool."""
    for number in range(int(pool.max(initial=-1)) + 1):
        members = np.flatnonzero(pool == number)
        for name in ABOVE_ZERO:
            values = prices[name][members]
            differs = np.zeros(len(table), dtype=bool)
            differs[members] = (values != values[0]) & (values > 0) & (values[0] > 0)
            first = f"{shown(table.frame[name][int(members[0])])} on line {table.line(int(members[0]))}"
            text = f"{{value}} differs from {first.replace('{', '{{').replace('}', '}}')} in the same pool"
            table.report(problems, name, differs, text)


def _eligibility(table: Table, plan_table: Table, codes: Sequence[str], problems: Problems) -> tuple[Flags, list[str]]:
    """Return which plans are allowed, shape (communication plans, rate plans), and the communication plans' names."""
    names = table.texts("communication_plan", problems).unique().sort().to_list()
    plan = _plan_index(table, "rate_plan_code", plan_table, codes, problems, allow_empty=False)
    communication_plan = table.index_of("communication_plan", names, problems, "{value}", allow_empty=False)
    allowed = np.zeros((len(names), len(codes)), dtype=bool)
    allowed[communication_plan[plan >= 0], plan[plan >= 0]] = True
    return allowed, names


def _devices(
    table: Table,
    communication_plans: Sequence[str],
    plan_table: Table,
    codes: Sequence[str],
    eligibility_file: str,
    period_days: int,
    problems: Problems,
) -> Devices:
    device_id = table.unique_texts("device_id", problems)
    nothing = f"{{value}} has no eligible rate plan in {_escaped(eligibility_file)}"
    communication_plan = table.index_of("communication_plan", communication_plans, problems, nothing, allow_empty=False)
    usage = table.numbers("usage_mb", problems)
    sms = table.whole_numbers("sms_usage", problems, least=0)
    days = table.whole_numbers("days_active", problems, least=1, most=period_days)
    current = _plan_index(table, "current_rate_plan", plan_table, codes, problems, allow_empty=True)
    return Devices(
        device_id=np.array(device_id.to_list() if not problems.count else [], dtype=np.str_),
        communication_plan=communication_plan,
        usage_micro_mb=usage,
        sms_usage=sms,
        days_active=days,
        is_prorated=days < period_days,
        current_rate_plan=current,
    )


def _plan_index(
    table: Table, column: str, plan_table: Table, codes: Sequence[str], problems: Problems, *, allow_empty: bool
) -> Integers:
    """Return the index of the rate plan that each row of a column names, shape (rows,), int64; -1 where it is
    unknown."""
    unknown = f"{{value}} is not in {_escaped(plan_table.file)}"
    return table.index_of(column, list(dict.fromkeys(codes)), problems, unknown, allow_empty=allow_empty)


def _escaped(text: str) -> str:
    """Return a text that `str.format` leaves as it is."""
    return text.replace("{", "{{").replace("}", "}}")


def result_figures(result: OptimizationResult, seconds: float) -> dict[str, Any]:
    """Return the figures of a result by name: money as decimal strings with 6 places, counts and shares as numbers.

    Args:
        result: of the optimizer.
        seconds: from start to the verified result.
    """
    figures: dict[str, Any] = {
        "device_count": len(result.assignment),
        "total_cost": str(from_micro(result.total_cost)),
        "lower_bound": str(from_micro(result.lower_bound)),
        "gap": result.gap,
        "current_cost": str(from_micro(result.current_cost)),
        "base_cost": str(from_micro(result.base_cost)),
        "savings": str(from_micro(result.savings)),
        "changes": result.changes,
        "seconds": round(seconds, 3),
        "status": result.status,
        "unknown_current_plans": result.unknown_plan_count,
    }
    if result.certificate.changes is not None:
        proof = result.certificate.changes
        figures["voluntary_changes"] = proof.change_count
        figures["objective"] = str(from_micro(proof.objective))
        figures["objective_bound"] = str(from_micro(proof.bound))
    return figures


def write_outputs(inputs: OptimizationInputs, assignment: Integers, out: Path, documents: Mapping[Path, str]) -> None:
    """Write the assignment in the order of the devices, and JSON documents to their paths.

    All files are complete under temporary names before one gets its own.

    Raises:
        OSError: a file cannot be written; then no file exists, or all are unchanged.
    """
    codes = pl.Series("rate_plan_code", inputs.rate_plans.code, dtype=pl.String)
    chosen = codes.gather(pl.Series(assignment, dtype=pl.Int64))
    with atomic_files([out, *documents]) as files:
        pl.DataFrame([inputs.device_id.alias("device_id"), chosen]).write_csv(files[0])
        for file, document in zip(files[1:], documents.values(), strict=True):
            file.write(f"{document}\n".encode())


@contextmanager
def atomic_files(paths: Sequence[Path]) -> Iterator[list[IO[bytes]]]:
    """Yield new files, and move them to these paths at the end; on an error remove them.

    A device or a pipe is written to as it is: a file in the place of ``/dev/null`` breaks the machine.
    """
    targets = [path.resolve() for path in paths]
    temporary = [
        target.with_name(f".{target.name[:200]}.{os.getpid()}.tmp")
        if target.is_file() or not target.exists()
        else target
        for target in targets
    ]
    files: list[IO[bytes]] = []
    try:
        for path in temporary:
            files.append(path.open("wb"))
        yield files
        for file in files:
            file.flush()
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                os.fsync(file.fileno())
            file.close()
        for path, target in zip(temporary, targets, strict=True):
            if path != target:
                path.replace(target)
    finally:
        for file, path, target in zip(files, temporary, targets, strict=False):
            file.close()
            if path != target:
                path.unlink(missing_ok=True)
