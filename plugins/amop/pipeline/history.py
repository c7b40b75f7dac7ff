"""History by day: what each SIM was, and what it used. Live syncs and replays of the archive write it the same way.

Both tables are kept so that days may arrive in any order and more than once:

* ``amop.device_usage`` keeps the counters of the end of each day; the usage of a day is what they moved since the day
  before that has any. A day that arrives late takes its share from the next one, so that the days of a cycle always add
  up to its counter.
* ``amop.device_history`` has a row from the day on which something differs. A later day that was looked at and found
  no change keeps what history said of it.

On one and the same day the later look wins, whichever is written first.
"""

from __future__ import annotations

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from amop.warehouse import sql
from amop.warehouse.connection import WarehouseConnection

OBSERVED_BY_SYNC = "history/observe_usage_of_sync"
OBSERVED_BY_ARCHIVE = "history/observe_usage_of_archive"


def usage_date_of(run: dict[str, Any]) -> date:
    """Return the local day that the usage of a run belongs to: the one on which its device list was complete."""
    moment = run["usage_as_of"].astimezone(ZoneInfo(run["time_zone"]))
    return date(moment.year, moment.month, moment.day)


def record_devices(connection: WarehouseConnection, run: dict[str, Any]) -> int:
    """Write what a run's staged SIMs were into history, where it differs; return the number of rows.

    The caller holds the provider's lock; the SIMs have their rows in ``amop.device``.
    """
    usage_date = usage_date_of(run)
    provider = {"service_provider_id": run["service_provider_id"], "usage_date": usage_date}
    following = connection.execute(
        sql.load("history/next_observed_day"), provider | {"time_zone": run["time_zone"]}
    ).fetchone() or {"usage_date": None, "as_of": None}
    return connection.execute(
        sql.load("history/record_devices"),
        provider
        | {
            "run_id": run["id"],
            "as_of": run["usage_as_of"],
            "next_date": following["usage_date"],
            "next_as_of": following["as_of"],
        },
    ).rowcount


def record_usage(connection: WarehouseConnection, run: dict[str, Any], *, observed_by: str) -> int:
    """Write what a run saw of the counters into the usage of its day, and correct the day after it.

    Args:
        connection: whose transaction; the caller holds the provider's lock.
        run: the row as `load_run` gives it.
        observed_by: `OBSERVED_BY_SYNC` after ``merge/collect_usage``, or `OBSERVED_BY_ARCHIVE`.

    Returns:
        The number of rows written for that day.
    """
    day = {"usage_date": usage_date_of(run), "billing_period_id": run["billing_period_id"], "as_of": run["usage_as_of"]}
    scope = {"run_id": run["id"], "service_provider_id": run["service_provider_id"]}
    connection.execute(sql.load(observed_by), scope | day)
    return write_observed_usage(connection, day)


def write_observed_usage(connection: WarehouseConnection, day: dict[str, Any]) -> int:
    """Write the temporary table ``observed_usage`` into the usage of a day; return the number of its rows written.

    Args:
        connection: whose transaction.
        day: ``usage_date``, ``billing_period_id`` and ``as_of``, when the counters were seen.
    """
    connection.execute(sql.load("history/place_usage"), day)
    written = connection.execute(sql.load("history/write_usage"), day).rowcount
    connection.execute(sql.load("history/correct_next_usage"), day)
    connection.execute(sql.load("history/delete_empty_usage"), day)
    return written
