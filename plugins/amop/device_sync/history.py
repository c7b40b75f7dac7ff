"""Write history by day: what each SIM was and what it used. Live syncs and replays write it in the same way.

Days may arrive in any order and more than once:

* ``amop.device_usage`` stores the counters at the end of each day on which they differ from the day before. The usage
  of a day is the difference. The days of a cycle always add up to its last counter: a day that arrives late takes its
  share from the next one, a counter that was corrected downwards takes from the days before it, and a counter that
  fell to less than half has restarted, so that the days before it have no usage (``amop.usage_of_days``).
* ``amop.device_history`` has a row from the day on which something changes. A later day that was read and had no change
  keeps its previous history.

On the same day the later reading counts, whichever is written first.
"""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from amop.database.connection import WarehouseConnection
from amop.device_sync.store import merges
from amop.runs.store.sync_runs import SyncRun


def usage_date_of(run: SyncRun) -> date:
    """Return the local day that the usage of a run belongs to: the day on which its device list was completed.

    Raises:
        ValueError: the list is not complete yet.
    """
    return _usage_moment_of(run).astimezone(ZoneInfo(run.time_zone)).date()


def _usage_moment_of(run: SyncRun) -> datetime:
    if run.usage_as_of is None:
        raise ValueError(f"run {run.id} has no usage yet: its device list is not complete")
    return run.usage_as_of


def record_device_history(connection: WarehouseConnection, run: SyncRun) -> int:
    """Write a run's staged SIMs to history where they differ; return the number of rows written.

    The caller holds the provider's lock; the SIMs have their rows in ``amop.device``.
    """
    merges.observe_listed_devices(connection, run_id=run.id, service_provider_id=run.service_provider_id)
    return _write_devices_of(connection, run)


def record_changed_devices(connection: WarehouseConnection, run: SyncRun) -> int:
    """Write the SIMs that the merge of a live sync has changed to history; return the number of rows written.

    Active SIMs whose history was lost begin a new one, whether the list has them or not.

    Reads ``list_change`` of the caller's transaction, which holds the provider's lock and has merged it.
    """
    merges.observe_changed_devices(connection, run_id=run.id, service_provider_id=run.service_provider_id)
    return _write_devices_of(connection, run)


def _write_devices_of(connection: WarehouseConnection, run: SyncRun) -> int:
    usage_date = usage_date_of(run)
    next_day = merges.find_next_synced_day(
        connection, service_provider_id=run.service_provider_id, time_zone=run.time_zone, usage_date=usage_date
    )
    return merges.record_device_history(
        connection,
        usage_date=usage_date,
        as_of=_usage_moment_of(run),
        next_date=next_day.usage_date if next_day else None,
        next_as_of=next_day.as_of if next_day else None,
    )


def record_synced_usage(connection: WarehouseConnection, run: SyncRun) -> int:
    """Write the counters that a live sync has collected to the usage of its day; return the number of rows written.

    Reads ``collected_usage`` of the caller's transaction, which holds the provider's lock.
    """
    merges.observe_synced_usage(
        connection, service_provider_id=run.service_provider_id, billing_period_id=run.billing_period_id
    )
    return _write_usage_of(connection, run)


def record_archived_usage(connection: WarehouseConnection, run: SyncRun) -> int:
    """Write the counters that a replay has staged to the usage of its day; return the number of rows written.

    The caller holds the provider's lock.
    """
    merges.observe_archived_usage(
        connection,
        run_id=run.id,
        service_provider_id=run.service_provider_id,
        billing_period_id=run.billing_period_id,
        usage_date=usage_date_of(run),
        as_of=_usage_moment_of(run),
    )
    return _write_usage_of(connection, run)


def _write_usage_of(connection: WarehouseConnection, run: SyncRun) -> int:
    return write_observed_usage(
        connection,
        usage_date=usage_date_of(run),
        billing_period_id=run.billing_period_id,
        as_of=_usage_moment_of(run),
    )


def write_observed_usage(
    connection: WarehouseConnection, *, usage_date: date, billing_period_id: int, as_of: datetime
) -> int:
    """Write the temporary table ``observed_usage`` to the usage of a day, and correct the other days of the cycle.

    Args:
        connection: the caller's transaction.
        usage_date: the local day.
        billing_period_id: the period that the counters belong to.
        as_of: when the counters were read.

    Returns:
        The number of rows of that day that were written.
    """
    merges.collect_adjacent_usage(connection, usage_date=usage_date, billing_period_id=billing_period_id, as_of=as_of)
    merges.collect_daily_usage(connection, usage_date=usage_date, billing_period_id=billing_period_id, as_of=as_of)
    written = merges.write_daily_usage(connection, usage_date=usage_date, billing_period_id=billing_period_id)
    merges.correct_other_usage(connection, usage_date=usage_date, billing_period_id=billing_period_id)
    merges.delete_unneeded_usage(connection, billing_period_id=billing_period_id)
    return written
