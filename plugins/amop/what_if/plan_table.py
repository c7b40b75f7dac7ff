"""The table of rate plans of a what-if, as CSV: the columns of ``bin/amop optimize --rate-plans``, and one of its own.

Reads and writes without numpy, because the operators' page fills in the present plans.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from amop.runs.errors import PipelineError

MOST_PLANS = 200
LONGEST_TABLE = 100_000
"""Characters."""
LARGEST = Decimal(10) ** 10
"""What the optimizer can bill exactly in every billing period."""
MONEY = ("rate_charge", "base_rate", "plan_mb", "overage_rate", "data_per_overage_charge", "sms_rate")
REQUIRED = ("rate_plan_code", *MONEY, "allows_sim_pooling")
COLUMNS = (*REQUIRED, "pool", "offered_like")
FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}


class PlanTableError(PipelineError):
    """The table of rate plans is not valid; the message names line, column and value."""


@dataclass(frozen=True, slots=True)
class PlanLine:
    """A rate plan of the table."""

    rate_plan_code: str
    rate_charge: Decimal
    base_rate: Decimal
    plan_mb: Decimal
    overage_rate: Decimal
    data_per_overage_charge: Decimal
    sms_rate: Decimal
    allows_sim_pooling: bool
    pool: str | None
    offered_like: str | None = None
    """A new plan is offered to the SIMs that may have this plan; None = to every SIM that may change its plan."""


def read_plan_table(text: str) -> list[PlanLine]:
    """Return the rate plans of a table.

    Raises:
        PlanTableError: the table is not valid.
    """
    if len(text) > LONGEST_TABLE:
        raise PlanTableError(f"the table of rate plans is longer than {LONGEST_TABLE:,} characters")
    reader = csv.DictReader(io.StringIO(text.strip().lstrip("\ufeff")), restkey="more columns", restval="")
    names = [name.strip() for name in reader.fieldnames or []]
    missing = [name for name in REQUIRED if name not in names]
    unknown = [name for name in names if name not in COLUMNS]
    if missing or unknown:
        wrong = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        raise PlanTableError(f"the first line must name the columns {', '.join(COLUMNS)}: it {' and '.join(wrong)}")
    reader.fieldnames = names
    lines: list[PlanLine] = []
    for row in reader:
        line = _line(reader.line_num, {name: (value or "") for name, value in row.items()})
        if any(line.rate_plan_code == other.rate_plan_code for other in lines):
            raise PlanTableError(f"line {reader.line_num}: rate plan {line.rate_plan_code!r} is there twice")
        lines.append(line)
        if len(lines) > MOST_PLANS:
            raise PlanTableError(f"the table has more than {MOST_PLANS} rate plans")
    if not lines:
        raise PlanTableError("the table has no rate plan")
    return lines


def write_plan_table(lines: Sequence[PlanLine]) -> str:
    """Return rate plans as a table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        numbers = (_plain(getattr(line, name)) for name in MONEY)
        flag = "true" if line.allows_sim_pooling else "false"
        writer.writerow([line.rate_plan_code, *numbers, flag, line.pool or "", line.offered_like or ""])
    return text.getvalue()


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _line(number: int, row: dict[str, str]) -> PlanLine:
    cells = {name: value.strip() for name, value in row.items() if isinstance(value, str)}
    if "more columns" in row:
        raise PlanTableError(f"line {number}: it has more cells than the first line")
    code = cells["rate_plan_code"]
    if not code or len(code) > 200:
        raise PlanTableError(f"line {number}: rate_plan_code {code[:50]!r} is empty or too long")
    flag = cells["allows_sim_pooling"].casefold()
    if flag not in FLAGS:
        raise PlanTableError(f"line {number}: allows_sim_pooling {flag[:50]!r} is neither true nor false")
    return PlanLine(
        rate_plan_code=code,
        **{name: _number(number, name, cells[name]) for name in MONEY},
        allows_sim_pooling=FLAGS[flag],
        pool=cells.get("pool") or None,
        offered_like=cells.get("offered_like") or None,
    )


def _number_fault(text: str) -> str:
    try:
        if Decimal(text) >= LARGEST:
            return f"must be below {LARGEST:,f}"
    except InvalidOperation:
        pass
    return "is not a number from 0 with at most 6 decimals"


def _number(line: int, name: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
        is_valid = value.is_finite() and 0 <= value < LARGEST and value == value.quantize(Decimal("0.000001"))
    except InvalidOperation:
        is_valid = False
    if not is_valid:
        raise PlanTableError(f"line {line}: {name} {text[:50]!r} {_number_fault(text)}")
    if name in {"overage_rate", "data_per_overage_charge"} and value == 0:
        raise PlanTableError(f"line {line}: {name} must be above 0")
    return value
