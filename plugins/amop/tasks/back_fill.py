"""The tasks of a back-fill run of ``device_sync_<integration>``: archived days into history, no call to a carrier."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowSkipException

from amop import ids, time_limits
from amop.config import Integration
from amop.tasks import lineage
from amop.tasks.connections import archive_folder, deliver_message, warehouse_conninfo
from amop.tasks.dag_runs import START_ONCE
from amop.tasks.provider_names import chosen_ids
from amop.tasks.results import required

log = logging.getLogger(__name__)

LENGTH_OF_A_DAY = timedelta(days=1)
"""A back-fill run replays the sync runs that started within this long from its logical date."""

REPLAYS_AT_ONCE = 4
"""Replays of one integration at once, whatever ``--max-active-runs`` says: they read in parallel, write in turn."""


def is_back_fill(context: Any) -> bool:
    """Return True for a run of ``airflow backfill create``: it is about a past day, not about now."""
    return str(context["dag_run"].run_type.value) == ids.BACK_FILL_RUN_TYPE


@task(execution_timeout=time_limits.BRIEF_TASK)
def select_back_fill(integration: str) -> list[dict[str, Any]]:
    """Return the providers whose archived responses a back-fill run replays; none in every other run."""
    from amop.runs.opening import requested_providers

    context = get_current_context()
    if not is_back_fill(context):
        return []
    chosen = chosen_ids(context["params"]["service_provider_ids"])
    providers = requested_providers(warehouse_conninfo(), integration, chosen)
    return [{"id": provider.id, "name": provider.name, "time_zone": provider.time_zone} for provider in providers]


@task(
    map_index_template="{{ task.op_kwargs['provider']['name'] }}",
    max_active_tis_per_dag=REPLAYS_AT_ONCE,
    execution_timeout=time_limits.REPLAY_TASK,
    doc_md="Replay the responses of the provider's syncs of that day into history. Skipped: the archive has none.",
)
def replay_archive(provider: dict[str, Any], integration: str, supports_optimization: bool) -> dict[str, Any] | None:
    """Replay a provider's day; return the optimization run to trigger, where `optimization` is `always`."""
    from amop.archive.replay import ReplayRequest, replay_day
    from amop.messages.outbox import daily_sync_key

    context = get_current_context()
    dag_run, params = context["dag_run"], context["params"]
    day = dag_run.logical_date
    folder = archive_folder()
    request = ReplayRequest(
        integration=integration,
        dag_id=dag_run.dag_id,
        dag_run_id=dag_run.run_id,
        service_provider_id=provider["id"],
        time_zone=provider["time_zone"],
        started_from=day,
        started_before=day + LENGTH_OF_A_DAY,
        notifies_amop=params["notify_amop_of_back_fill"],
    )
    replayed = replay_day(warehouse_conninfo(), folder, request)
    if not replayed:
        raise AirflowSkipException(
            f"{provider['name']}: {folder} has no complete sync that started from {day} on and before "
            f"{day + LENGTH_OF_A_DAY}; nothing to replay"
        )
    lineage.record_rows(
        sum(run.history_rows + run.usage_rows for run in replayed),
        {"service_provider_id": provider["id"]},
        read=sum(run.devices_seen for run in replayed),
    )
    if request.notifies_amop:
        for run in replayed:
            deliver_message(daily_sync_key(run.run_id, provider["id"]))
    if params["optimization"] != "always" or not supports_optimization:
        return None
    last = replayed[-1]
    return {
        "trigger_run_id": ids.replay_optimization_run_id(last.run_id),
        "conf": {"service_provider_id": provider["id"], "billing_period_id": last.billing_period_id},
    }


@task_group(group_id="back_fill", prefix_group_id=False, tooltip="Archived days into history; only in back-fill runs")
def back_fill(integration: Integration) -> None:
    """Wire the tasks of a back-fill run, skipped in every other run: one row at the end of the grid."""
    providers = required(select_back_fill(integration.name))
    replayed = (
        replay_archive.override(inlets=[lineage.archive(integration.name)], outlets=[lineage.merged(integration.name)])
        .partial(integration=integration.name, supports_optimization=integration.supports_optimization)
        .expand(provider=providers)
    )
    if integration.supports_optimization:
        TriggerDagRunOperator.partial(
            task_id="optimize_after_back_fill",
            trigger_dag_id=ids.carrier_optimization_dag(integration.name),
            trigger_rule="none_failed",
            map_index_template="{{ task.trigger_run_id }}",
            doc_md="Start the optimization of that day's billing period, only where `optimization` is `always`.",
            **START_ONCE,
        ).expand_kwargs(required(replayed))
