"""Scenarios of the usage from a file of its daily history, for ``amop optimize --history``.

The file has a line for each SIM and date with usage: ``device_id``, ``date`` (2026-11-29), ``usage_mb``. A date without
a line is a day without usage. The last date of the file is the last day that was read; what is left of the period after
it is simulated (`amop.optimization.usage_scenarios`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from amop.optimization.csv_files import OptimizationInputs
from amop.optimization.csv_table import InputFileError, Problem, Problems, Table, read_table
from amop.optimization.scenario_files import ScenarioFile
from amop.optimization.usage_rates import LOOKBACK_DAYS, DailyUsage, Remaining
from amop.optimization.usage_scenarios import interval_scenarios, simulate_usage
from amop.solver.canonical import canonical_order
from amop.solver.model import Integers

COLUMNS = ("device_id", "date", "usage_mb")
EPOCH = date(1970, 1, 1)
MAX_PERIOD_USAGE = 2**50
"""Largest usage of a SIM on one day, 1e-6 MB (about 1 billion MB): sums of all days stay within 64 bits."""


def scenarios_of_history(
    path: Path, inputs: OptimizationInputs, *, period_start: date, period_days: int
) -> ScenarioFile:
    """Return scenarios of each SIM's usage of a billing period.

    A SIM whose active days are fewer than those of the period was activated within it. Its days before the activation
    are not part of its history.

    Args:
        path: file of the history.
        inputs: the fleet.
        period_start: first day of the period.
        period_days: days of the period.

    Raises:
        InputFileError: there are problems; the message lists the first ones and has their number.
    """
    problems = Problems()
    table = read_table(path, COLUMNS, problems)
    if table is None:
        problems.raise_if_any()
        raise AssertionError("a file without a table has a problem")
    row = table.index_of(
        "device_id", inputs.device_id.to_list(), problems, "{value} is not in the devices file", allow_empty=False
    )
    day, megabytes = _dates(table, problems), table.numbers("usage_mb", problems)
    table.report(problems, "usage_mb", megabytes > MAX_PERIOD_USAGE, "{value} is too large for one day")
    problems.raise_if_any()
    _check_duplicates(table, row, day, problems)
    start = (period_start - EPOCH).days
    if not len(day) or not start <= int(day.max()) + 1 <= start + period_days:
        ends = str(EPOCH + timedelta(days=int(day.max()))) if len(day) else "no date"
        text = f"ends with {ends}, but the period begins on {period_start} and has {period_days} days"
        problems.add(Problem(table.file, 0, "date", text))
    problems.raise_if_any()
    last = int(day.max())
    first = min(start, last + 1 - int(LOOKBACK_DAYS))
    usage = np.zeros((len(inputs.devices), last + 1 - first), dtype=np.int64)
    kept = np.flatnonzero(day >= first)
    usage[row[kept], day[kept] - first] = megabytes[kept]
    ignored = tuple(f"{path}: {name}" for name in table.ignored)
    return _simulate(usage, inputs, ignored, first=first, start=start, period_days=period_days)


def _simulate(
    usage: Integers,
    inputs: OptimizationInputs,
    ignored: tuple[str, ...],
    *,
    first: int,
    start: int,
    period_days: int,
) -> ScenarioFile:
    """Return the scenarios of daily usage, shape (N, days), from a day to the last one that was read.

    Args:
        usage: 1e-6 MB.
        inputs: the fleet.
        ignored: the ignored columns.
        first: number of the first day.
        start: number of the first day of the period.
        period_days: days of the period.
    """
    end, count = first + usage.shape[1], min(usage.shape[1], int(LOOKBACK_DAYS))
    devices = inputs.devices
    activated = np.where(devices.is_prorated, start + period_days - devices.days_active, 0)
    history = DailyUsage(
        usage=usage[:, usage.shape[1] - count :],
        length=np.ones(count),
        weekday=_weekdays(end - count, end),
        first_day=np.clip(activated - (end - count), 0, count),
    )
    left = _weekdays(end, start + period_days)
    used = usage[:, start - first :].sum(axis=1)
    # In the order of the ids' hashes the scenarios do not depend on the order of the lines, and the fleet is shuffled.
    order = canonical_order(devices.device_id)
    history = replace(history, usage=history.usage[order], first_day=history.first_day[order])
    remaining = Remaining(np.ones(len(left)), left)

    def of_devices(found: Integers) -> Integers:
        scenarios = np.empty_like(found)
        scenarios[order] = found
        return scenarios

    def interval() -> Iterator[Integers]:
        return map(of_devices, interval_scenarios(history, used[order], remaining))

    return ScenarioFile(of_devices(simulate_usage(history, used[order], remaining)), ignored, interval)


def _weekdays(first: int, end: int) -> Integers:
    """Return the weekdays of days since 1970, a Thursday; Monday = 0."""
    return (np.arange(first, end, dtype=np.int64) + 3) % 7


def _dates(table: Table, problems: Problems) -> Integers:
    """Return the dates as days since 1970, shape (rows,); report values that are no date."""
    dates = table.frame["date"].str.strip_chars().str.to_date("%Y-%m-%d", strict=False)
    table.report(problems, "date", dates.is_null().to_numpy(), "{value} is not a date such as 2026-11-29")
    return dates.to_physical().fill_null(0).cast(int).to_numpy().astype(np.int64)


def _check_duplicates(table: Table, row: Integers, day: Integers, problems: Problems) -> None:
    """Report the lines whose device and date occurred before."""
    key = row * (int(day.max(initial=0)) + 1) + day
    order = np.argsort(key, kind="stable")
    again = np.zeros(len(key), dtype=np.bool_)
    again[order[1:]] = key[order][1:] == key[order][:-1]
    table.report(problems, "date", again, "{value} has another line for this device")


def parse_date(option: str, text: str) -> date:
    """Return the date of an option.

    Raises:
        InputFileError: it is no date.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputFileError(f"{option}: {text!r} is not a date such as 2026-11-29") from None
