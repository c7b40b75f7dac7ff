"""Figures as the page shows them: counts, data, shares, moments and ages; `amop.wording` has amounts of money."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from urllib.parse import quote

from amop.wording import NOTHING, hundredths, several

BYTES_PER_UNIT = 1024
UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def count(number: int | Decimal | None) -> str:
    """Return a number with thousands separators."""
    return NOTHING if number is None else f"{number:,}"


def share(part: Decimal | float | None, *, decimals: int = 1) -> str:
    """Return a share as a percentage."""
    return NOTHING if part is None else f"{part:.{decimals}%}"


def data(amount: int | Decimal | None) -> str:
    """Return a number of bytes in the largest unit that is not larger; one MB is 1,048,576 bytes."""
    if amount is None:
        return NOTHING
    value, unit = Decimal(amount), 0
    while abs(value) >= BYTES_PER_UNIT and unit < len(UNITS) - 1:
        value, unit = value / BYTES_PER_UNIT, unit + 1
    return f"{value:.{1 if unit else 0}f} {UNITS[unit]}"


def megabytes(amount: Decimal | None) -> str:
    """Return megabytes with 2 decimals."""
    return NOTHING if amount is None else f"{hundredths(amount):,f} MB"


def moment(when: datetime | None) -> str:
    """Return a moment in UTC, to the minute."""
    return NOTHING if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def day(when: date | None) -> str:
    """Return a day."""
    return NOTHING if when is None else f"{when:%Y-%m-%d}"


def span(length: timedelta) -> str:
    """Return a length of time in its largest whole unit."""
    length = max(length, timedelta(0))
    for unit, name in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if length >= unit:
            return several(length // unit, name)
    return "less than a minute"


def words(code: str | None) -> str:
    """Return a code of the warehouse, such as ``nothing_to_change``, as words."""
    return NOTHING if code is None else code.replace("_", " ")


def airflow_run(dag_id: str, run_id: str) -> str:
    """Return the address of a DAG run in Airflow, relative to Airflow's root."""
    return f"dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def pool(name: str | None) -> str | None:
    """Return the name of a pool as people know it, from the solver's name ``pool <name>`` or ``plan <code>``."""
    if name is None:
        return None
    kind, _, rest = name.partition(" ")
    return {"pool": rest, "plan": f"{rest} (its own)"}.get(kind, name)
