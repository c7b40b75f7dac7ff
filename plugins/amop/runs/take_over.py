"""Rules about a run that holds its provider although its process is gone: whether to take it over, and its work."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from amop import ids, time_limits
from amop.runs.store.sync_runs import HoldingRun

IsActive = Callable[[str, str], bool]
"""DAG id and DAG run id → True while the DAG run is queued or running in Airflow."""

LATE_HEARTBEATS = 3
"""A process that has missed this many heartbeats does not work any more, unless it is only disconnected."""

TRIAL_RUN_PREFIX = "__airflow_temporary_run_"
"""Prefix of the run ids of ``airflow tasks test``. No other task follows such a task, so the next run takes over."""


def reason_to_take_over(
    holder: HoldingRun, *, is_read: Callable[[], bool], is_active: IsActive, now: datetime
) -> str | None:
    """Return why another run may take over from the holder of a provider; None if it may not.

    Args:
        holder: the running run.
        is_read: True while a process holds the lock of the run's carrier reads.
        is_active: asked about the holder's DAG run. That of ``airflow dags test`` does not count: a kill leaves it
            running in Airflow for ever, and no scheduler resumes it.
        now: the moment, aware.
    """
    if holder.dag_run_id.startswith(TRIAL_RUN_PREFIX):
        return "is a trial of one task"
    since = f"has sent no heartbeat since {holder.alive_at:%Y-%m-%d %H:%M:%S %Z}"
    if now - holder.alive_at > time_limits.STALE_AFTER:
        return since
    if holder.dag_id == ids.DEVICE_NOTIFICATION_DAG:
        return None  # the existing system stages it, without heartbeats
    if now - holder.alive_at <= LATE_HEARTBEATS * time_limits.HEARTBEAT or is_read():
        return None
    if holder.is_one_process:
        return f"{since}, and its only process is gone"
    if not is_active(holder.dag_id, holder.dag_run_id):
        return f"{since}, and its DAG run is not active"
    return None


def may_adopt(
    holder: HoldingRun,
    *,
    billing_period_id: int,
    full_sync: bool,
    modified_since: datetime | None,
    now: datetime,
) -> bool:
    """Return True if a new run may continue the work of a holder whose process is gone, instead of its own scan.

    Its list must be recent, of the same billing period, and hold what the new run was asked for.
    """
    return (
        not holder.dag_run_id.startswith(TRIAL_RUN_PREFIX)
        and holder.dag_id != ids.DEVICE_NOTIFICATION_DAG
        and now - holder.alive_at <= time_limits.STALE_AFTER
        and holder.billing_period_id == billing_period_id
        and (holder.is_full or not full_sync)
        and modified_since in {None, holder.modified_since}
    )
