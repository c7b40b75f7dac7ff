"""The tasks of ``maintenance``: what is old and needed by nothing goes. They do not depend on each other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param, get_current_context, task

from amop import time_limits
from amop.config import RETENTION
from amop.orchestration.connections import archive_folder, warehouse_conninfo

STEP: dict[str, Any] = {"execution_timeout": time_limits.MAINTENANCE_TASK}


def retention_params() -> dict[str, Param]:
    """Return the form of the DAG: the ages of `amop.config.RETENTION`, which a run may change for itself."""
    return {
        name: Param(
            age.days,
            type="integer",
            minimum=age.minimum_days,
            title=name.replace("_", " ").capitalize(),
            description=f"{age.what} At least {age.minimum_days}.",
        )
        for name, age in RETENTION.items()
    }


def _days(*names: str) -> dict[str, int]:
    params = get_current_context()["params"]
    return {name: params[name] for name in names}


@task(**STEP)
def archive_leftovers() -> int:
    """Bring answers of the carrier to the archive that it could not take when their run ended."""
    from amop.pipeline import retention

    return retention.archive_leftovers(
        warehouse_conninfo(), archive_folder(), now=datetime.now(UTC), **_days("staging_days")
    )


@task(**STEP)
def remove_staging() -> int:
    """Delete the staging of sync runs that ended long ago."""
    from amop.pipeline import retention

    return retention.remove_staging(warehouse_conninfo(), now=datetime.now(UTC), **_days("staging_days"))


@task(**STEP)
def remove_ledger() -> int:
    """Delete pages and work rows of sync runs that ended long ago and, much later, the runs."""
    from amop.pipeline import retention

    return retention.remove_ledger(warehouse_conninfo(), now=datetime.now(UTC), **_days("ledger_days", "run_days"))


@task(**STEP)
def remove_messages() -> int:
    """Delete messages that AMOP took, or refused for good, long ago."""
    from amop.pipeline import retention

    ages = _days("sent_message_days", "dead_message_days")
    return retention.remove_messages(warehouse_conninfo(), now=datetime.now(UTC), **ages)


@task(**STEP)
def remove_quarantine() -> int:
    """Delete quarantined records that were resolved, or that nobody resolved for long."""
    from amop.pipeline import retention

    ages = _days("resolved_quarantine_days", "open_quarantine_days")
    return retention.remove_quarantine(warehouse_conninfo(), now=datetime.now(UTC), **ages)


@task(**STEP)
def remove_optimization_devices() -> int:
    """Delete what optimizations of long closed billing periods hold of single SIMs."""
    from amop.pipeline import retention

    return retention.remove_optimization_devices(
        warehouse_conninfo(), now=datetime.now(UTC), **_days("optimization_device_days")
    )


@task(**STEP)
def remove_archive() -> int:
    """Delete the days of the archive that are too old."""
    from amop.pipeline import retention

    return retention.remove_archive(archive_folder(), now=datetime.now(UTC), **_days("archive_days"))


@task(**STEP)
def remove_history() -> int:
    """Delete daily usage of billing periods that closed long ago, and what SIMs were before."""
    from amop.pipeline import retention

    return retention.remove_history(warehouse_conninfo(), now=datetime.now(UTC), **_days("history_days"))
