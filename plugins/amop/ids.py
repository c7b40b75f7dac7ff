"""Every DAG id, task id, pool, tag, connection and Variable name of the package, spelt once."""

from __future__ import annotations

WAREHOUSE_CONNECTION = "amop_warehouse"
AMOP_API_CONNECTION = "amop_api"
AWS_CONNECTION = "aws_default"

NOTIFICATION_QUEUE_VARIABLE = "amop_device_notification_queue"
REPORTS_BUCKET_VARIABLE = "amop_reports_bucket"
MAIL_FROM_VARIABLE = "amop_mail_from"
MAIL_TO_VARIABLE = "amop_mail_to"
ARCHIVE_PATH_VARIABLE = "amop_archive_path"

OWNER = "amop"

TAG_AMOP = "amop"
TAG_DEVICE_SYNC = "device-sync"
TAG_OPTIMIZATION = "optimization"
TAG_OUTBOX = "outbox"
TAG_MAINTENANCE = "maintenance"
TAGS = frozenset({TAG_AMOP, TAG_DEVICE_SYNC, TAG_OPTIMIZATION, TAG_OUTBOX, TAG_MAINTENANCE})

APPROVE_CHANGES_TASK = "approve_changes"
APPLY_CHANGES_TASK = "apply_changes"

APPROVE, REJECT = "Approve", "Reject"
APPROVAL_COMMENT = "comment"
"""Options and form field of the question to a person."""

AIRFLOW_URL_SETTING = "AMOP_AIRFLOW_URL"
AIRFLOW_TOKEN_SETTING = "AMOP_AIRFLOW_TOKEN"  # noqa: S105
AIRFLOW_USER_SETTING = "AMOP_AIRFLOW_USER"
AIRFLOW_PASSWORD_SETTING = "AMOP_AIRFLOW_PASSWORD"  # noqa: S105
"""Environment of ``bin/amop approvals``: where Airflow is and who asks; never options, which others can see."""

AMOP_RELAY_DAG = "amop_relay"
OPTIMIZATION_WINDOW_DAG = "optimization_window"
REALISED_SAVINGS_DAG = "realised_savings"
MAINTENANCE_DAG = "maintenance"

BACK_FILL_RUN_TYPE = "backfill"
"""What Airflow calls the runs that ``airflow backfill create`` makes."""


def device_sync_dag(integration: str) -> str:
    """Return the id of the daily DAG of an integration."""
    return f"device_sync_{integration}"


def carrier_optimization_dag(integration: str) -> str:
    """Return the id of the optimization DAG of an integration."""
    return f"carrier_optimization_{integration}"


def carrier_pool(integration: str) -> str:
    """Return the Airflow pool whose slots limit the tasks that call the carrier of an integration."""
    return f"carrier_{integration}"


def optimization_run_id(optimization_session_id: int) -> str:
    """Return the run id of the optimization of a session: deterministic, so that it is triggered once."""
    return f"session_{optimization_session_id}"


def window_run_id(look_run_id: str) -> str:
    """Return the run id of the device syncs that one run of ``optimization_window`` starts: each is started once."""
    return f"{OPTIMIZATION_WINDOW_DAG}__{look_run_id}"


def replay_optimization_run_id(sync_run_id: int) -> str:
    """Return the run id of the optimization that a back-fill run asked for, by the run that replayed the archive."""
    return f"replay_{sync_run_id}"


def devices_asset(integration: str) -> str:
    """Return the name of the asset that a device sync produces: the devices of an integration."""
    return f"amop_devices_{integration}"


def optimization_results_asset(integration: str) -> str:
    """Return the name of the asset that an optimization produces: its results and proposed plan changes."""
    return f"amop_optimization_results_{integration}"
