"""The cells of the matrix: the tasks of a day, where each of them fails, and what an operator then presses."""

from __future__ import annotations

from enum import StrEnum

DAILY_TASKS: dict[str, str] = {
    "select_providers": "amop.runs.opening:open_runs",
    "sync.queue_sync": "amop.tasks.frames:warehouse_now",
    "sync.fetch_devices": "amop.tasks.frames:warehouse_now",
    "sync.fetch_usage": "amop.tasks.frames:warehouse_now",
    "sync.publish_notification": "",
    "sync.archive_pages": "",
    "cleanup.wait_for_staging": "",
    "cleanup.merge_devices": "amop.tasks.frames:warehouse_now",
    "cleanup.merge_usage": "amop.tasks.frames:warehouse_now",
    "cleanup.update_communication_plans": "amop.tasks.frames:warehouse_now",
    "cleanup.check_quality": "amop.tasks.frames:warehouse_now",
    "cleanup.publish_summary": "amop.tasks.frames:warehouse_now",
    "cleanup.notify_amop": "amop.tasks.frames:warehouse_now",
    "cleanup.should_optimize": "amop.tasks.frames:warehouse_now",
    "cleanup.trigger_optimization": "",
}
"""Task of ``device_sync_<integration>`` → where it fails, for `tests.worlds.fault_switch`."""

OPTIMIZATION_TASKS: dict[str, str] = {
    "open_instance": "amop.optimization.instances:open_instance",
    "group_communication_plans": "amop.tasks.frames:warehouse_now",
    "validate_groups": "amop.tasks.frames:warehouse_now",
    "project_usage": "amop.tasks.frames:warehouse_now",
    "assign_base": "amop.tasks.frames:warehouse_now",
    "solve": "amop.tasks.frames:warehouse_now",
    "write_results": "amop.tasks.frames:warehouse_now",
    "write_workbook": "",
    "publish_report": "amop.tasks.frames:warehouse_now",
    "mail_report": "",
    "plan_changes": "amop.plan_changes.decide:plan_changes",
    "approve_changes": "",
    "record_approval": "amop.plan_changes.decide:settle_approval",
    "apply_changes": "amop.plan_changes.apply:apply_changes",
    "verify_changes": "amop.plan_changes.verify:verify_changes",
}
"""Task of ``carrier_optimization_<integration>`` → where it fails."""


class Action(StrEnum):
    """What an operator presses after the cause of a failure has been removed."""

    CLEAR = "clear it"
    CLEAR_DOWNSTREAM = "clear it with downstream"
    CLEAR_FAILED = "clear failed of the run"
    CLEAR_RUN = "clear the whole run"
    MARK_SUCCESS = "mark success"
    MARK_FAILED = "mark failed"
    DELETE_RUN = "delete the run"


class Followed(StrEnum):
    """What is done because a sentence says so."""

    RESUMED = "runs resume"
    CLEARED = "cleared with downstream"
    NEW_RUN = "a new run"


OWN_WORK: dict[str, tuple[str, ...]] = {
    "sync.publish_notification": ("notification_sent_at",),
    "sync.archive_pages": ("archived_at",),
    "mail_report": ("report_mailed_at",),
    "verify_changes": ("verified_at", "verified_rate_plan", "changes_read_count"),
}
"""Task that nothing depends on → the columns that it writes: all that is missing where it was marked as success."""

NOT_BEGUN: tuple[str, ...] = ("notification_sent_at", "archived_at", "report_mailed_at")
"""What is missing where a whole DAG run was marked failed: Airflow skips the reports that had not begun by then."""
LEFT_TO_MAINTENANCE: tuple[str, ...] = ("archived_at",)
"""What the DAG ``maintenance`` does for a run that was resumed after its archive task."""
WHILE_WAITING: tuple[str, ...] = ("approval_lost_at", "applying_lost_at")
"""Say something only while plan changes wait for an approval, or approved ones to be sent."""
AFTER_APPLYING: tuple[str, ...] = ("mail_report", "verify_changes")
"""Tasks that fail beside or after the plan changes: a new optimization starts from the plans that were applied."""
OF_PRESENT_PLANS: tuple[str, ...] = ("from_rate_plan", "from_cost", "reason")
"""Columns of a SIM's result that follow from the plan that it has."""
OF_DETAILS: tuple[str, ...] = ("date_activated", "details_read_at", "imei", "imsi", "msisdn")
"""Columns that each sync fills for a few SIMs more."""
