"""The tasks of ``maintenance``: delete expired rows and archive objects. They do not depend on each other."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, get_current_context, task

from amop import time_limits
from amop.config import RETENTION
from amop.tasks.connections import archive_folder, warehouse_conninfo, warehouse_now

STEP: dict[str, Any] = {"execution_timeout": time_limits.MAINTENANCE_TASK}


def retention_params() -> dict[str, Param]:
    """Return the params of the DAG: the retention periods of `amop.config.RETENTION`, which one run may override."""
    return {
        name: Param(
            retention.days,
            type="integer",
            minimum=retention.minimum_days,
            title=name.replace("_", " ").capitalize(),
            description=f"{retention.description} At least {retention.minimum_days}.",
        )
        for name, retention in RETENTION.items()
    }


def _days(*names: str) -> dict[str, int]:
    params = get_current_context()["params"]
    return {name: params[name] for name in names}


@task(**STEP)
def archive_leftovers() -> int:
    """Archive the carrier's responses that could not be archived when their run ended."""
    from amop.maintenance import retention

    return retention.archive_pending_responses(
        warehouse_conninfo(), archive_folder(), now=warehouse_now(), **_days("staging_days")
    )


@task(**STEP)
def remove_staging() -> int:
    """Delete the expired staging of ended sync runs."""
    from amop.maintenance import retention

    return retention.delete_expired_staging(warehouse_conninfo(), now=warehouse_now(), **_days("staging_days"))


@task(**STEP)
def remove_ledger() -> int:
    """Delete expired pages and work rows of ended sync runs and, much later, the runs."""
    from amop.maintenance import retention

    return retention.delete_expired_ledger(
        warehouse_conninfo(), now=warehouse_now(), **_days("ledger_days", "run_days")
    )


@task(**STEP)
def remove_messages() -> int:
    """Delete expired messages that AMOP accepted or refused, and expired notifications."""
    from amop.maintenance import retention

    ages = _days("sent_message_days", "dead_message_days")
    return retention.delete_expired_messages(warehouse_conninfo(), now=warehouse_now(), **ages)


@task(**STEP)
def remove_quarantine() -> int:
    """Delete expired quarantined records, resolved and unresolved."""
    from amop.maintenance import retention

    ages = _days("resolved_quarantine_days", "open_quarantine_days")
    return retention.delete_expired_quarantine(warehouse_conninfo(), now=warehouse_now(), **ages)


@task(**STEP)
def remove_optimization_devices() -> int:
    """Delete the rows per SIM of optimizations of expired billing periods."""
    from amop.maintenance import retention

    return retention.delete_expired_optimization_devices(
        warehouse_conninfo(), now=warehouse_now(), **_days("optimization_device_days")
    )


@task(**STEP)
def remove_archive() -> int:
    """Delete the expired days of the archive."""
    from amop.maintenance import retention

    return retention.delete_expired_archive(archive_folder(), now=warehouse_now(), **_days("archive_days"))


@task(**STEP)
def remove_history() -> int:
    """Delete the daily usage of expired billing periods and expired device history."""
    from amop.maintenance import retention

    return retention.delete_expired_history(warehouse_conninfo(), now=warehouse_now(), **_days("history_days"))
