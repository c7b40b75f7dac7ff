"""All DAG ids, task ids, pools, tags, connections and Variable names of the package, each defined once."""

from __future__ import annotations

WAREHOUSE_CONNECTION = "amop_warehouse"
PAGE_CONNECTION = "amop_page"
"""Optional connection of the operators' page to the warehouse, as a role that may only read."""
AMOP_API_CONNECTION = "amop_api"
AWS_CONNECTION = "aws_default"

NOTIFICATION_QUEUE_VARIABLE = "amop_device_notification_queue"
REPORTS_BUCKET_VARIABLE = "amop_reports_bucket"
MAIL_FROM_VARIABLE = "amop_mail_from"
MAIL_TO_VARIABLE = "amop_mail_to"
ARCHIVE_PATH_VARIABLE = "amop_archive_path"
NOTIFIER_VARIABLE = "amop_notifier"
"""Optional JSON with ``notifier``, the path of an Airflow notifier's class, and ``arguments``; unset = mail by SES."""
NOTIFICATIONS_OFF_VARIABLE = "amop_notifications_off"
"""Optional names of `amop.notifications.rules.KINDS` that are not sent."""
SYNC_DUE_HOUR_VARIABLE = "amop_sync_due_hour_local"
"""Optional hour of each provider's local day at which its daily sync must be complete."""

LARGEST_ID = 2**53 - 1
"""Largest id that is accepted: a number that JSON carries exactly, far below the limit of bigint."""

OWNER = "amop"

STARTER_ROLE = "amop_starter"
"""Role of Airflow's FAB auth manager that may only start syncs and optimizations and read how they stand; the user of
AMOP 2.0 in ``docker-compose.yaml`` has the same name."""

TAG_AMOP = "amop"
TAG_DEVICE_SYNC = "device-sync"
TAG_OPTIMIZATION = "optimization"
TAG_OUTBOX = "outbox"
TAG_MAINTENANCE = "maintenance"
TAGS = frozenset({TAG_AMOP, TAG_DEVICE_SYNC, TAG_OPTIMIZATION, TAG_OUTBOX, TAG_MAINTENANCE})

FETCH_USAGE_TASK = "sync.fetch_usage"
WAIT_FOR_STAGING_TASK = "cleanup.wait_for_staging"

APPROVE_CHANGES_TASK = "approve_changes"
APPLY_CHANGES_TASK = "apply_changes"

APPROVE, REJECT = "Approve", "Reject"
APPROVAL_COMMENT = "comment"
"""Options and form field of an approval request."""

AIRFLOW_URL_SETTING = "AMOP_AIRFLOW_URL"
AIRFLOW_TOKEN_SETTING = "AMOP_AIRFLOW_TOKEN"  # noqa: S105
AIRFLOW_USER_SETTING = "AMOP_AIRFLOW_USER"
AIRFLOW_PASSWORD_SETTING = "AMOP_AIRFLOW_PASSWORD"  # noqa: S105
"""Environment variables of ``bin/amop approvals``: address and credentials; options would be visible to others."""

DEVICE_NOTIFICATION_DAG = "device_notification"
"""DAG that queue messages start; also ``dag_id`` of the runs that the existing system opens for its staging."""
NOTIFICATIONS_ASSET = "amop_device_notifications"
NOTIFICATION_WATCHER = "amop_device_notification_queue"
"""Asset of the messages on the device notification queue, and its watcher."""
ANY_DEVICES_ALIAS = "amop_devices"
"""Alias under which ``device_notification`` updates the asset of the devices of any integration."""
ANY_MERGED_ALIAS = "amop_merged"
"""Alias under which ``device_notification`` updates the asset of what was merged of any integration."""

AMOP_RELAY_DAG = "amop_relay"
OPTIMIZATION_WINDOW_DAG = "optimization_window"
REALISED_SAVINGS_DAG = "realised_savings"
FINDINGS_DAG = "findings"
MAINTENANCE_DAG = "maintenance"

BACK_FILL_RUN_TYPE = "backfill"
"""Airflow's type of the runs that ``airflow backfill create`` creates."""


def device_sync_dag(integration: str) -> str:
    """Return the id of the daily DAG of an integration."""
    return f"device_sync_{integration}"


def carrier_optimization_dag(integration: str) -> str:
    """Return the id of the optimization DAG of an integration."""
    return f"carrier_optimization_{integration}"


def what_if_dag(integration: str) -> str:
    """Return the id of the what-if DAG of an integration."""
    return f"what_if_{integration}"


def carrier_pool(integration: str) -> str:
    """Return the Airflow pool whose slots limit the tasks that call the carrier of an integration."""
    return f"carrier_{integration}"


def optimization_run_id(optimization_session_id: int) -> str:
    """Return the run id of the optimization of a session; deterministic, so that it is triggered once."""
    return f"session_{optimization_session_id}"


def window_run_id(window_dag_run_id: str) -> str:
    """Return the run id of the device syncs that a run of ``optimization_window`` starts; each is started once."""
    return f"{OPTIMIZATION_WINDOW_DAG}__{window_dag_run_id}"


def replay_optimization_run_id(sync_run_id: int) -> str:
    """Return the run id of the optimization that a back-fill requested, by the run that replayed the archive."""
    return f"replay_{sync_run_id}"


def providers_variable(integration: str) -> str:
    """Return the Variable in which the package keeps the names of an integration's providers for its forms."""
    return f"amop_providers_{integration}"


def devices_asset(integration: str) -> str:
    """Return the name of the asset that a device sync produces: the devices of an integration."""
    return f"amop_devices_{integration}"


def optimization_results_asset(integration: str) -> str:
    """Return the name of the asset that an optimization produces: its results and proposed plan changes."""
    return f"amop_optimization_results_{integration}"


def carrier_list_asset(integration: str) -> str:
    """Return the name of the asset that a device sync reads: the SIMs and their usage at the carrier."""
    return f"amop_carrier_list_{integration}"


def staging_asset(integration: str) -> str:
    """Return the name of the asset between the two halves of a device sync: its staging tables."""
    return f"amop_staging_{integration}"


def archive_asset(integration: str) -> str:
    """Return the name of the asset of the carrier's responses as they are archived."""
    return f"amop_archive_{integration}"


def merged_asset(integration: str) -> str:
    """Return the name of the asset that the merge of a run writes, before the run is complete."""
    return f"amop_merged_{integration}"


def optimization_draft_asset(integration: str) -> str:
    """Return the name of the asset that an optimization writes before it is complete: inputs, solution, results."""
    return f"amop_optimization_draft_{integration}"


def carrier_plans_asset(integration: str) -> str:
    """Return the name of the asset that applied plan changes produce: the rate plans of the SIMs at the carrier."""
    return f"amop_carrier_plans_{integration}"
