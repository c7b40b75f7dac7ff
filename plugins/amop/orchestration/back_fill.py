"""The tasks of a back-fill run of ``device_sync_<integration>``: archived days into history, no call to a carrier."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from amop import ids, time_limits
from amop.config import Integration
from amop.orchestration.connections import archive_folder, deliver_message, warehouse_conninfo
from amop.orchestration.dag_runs import START_ONCE
from amop.orchestration.failures import recorded_failure

log = logging.getLogger(__name__)

LENGTH_OF_A_DAY = timedelta(days=1)
"""A back-fill run stands for the sync runs that started from its logical date until the next one's."""

REPLAYS_AT_ONCE = 4
"""Of one integration, whatever ``--max-active-runs`` says: they read side by side and write one after another."""


def is_back_fill(context: Any) -> bool:
    """Return True for a run that ``airflow backfill create`` made: it means a day in the past, not now."""
    return str(context["dag_run"].run_type.value) == ids.BACK_FILL_RUN_TYPE


@task(execution_timeout=time_limits.BRIEF_TASK)
def select_back_fill(integration: str) -> list[dict[str, Any]]:
    """In a back-fill run: the providers whose archived answers are replayed; in every other run none."""
    from amop.pipeline.sync_runs import requested_providers

    context = get_current_context()
    if not is_back_fill(context):
        return []
    with recorded_failure():
        providers = requested_providers(warehouse_conninfo(), integration, context["params"]["service_provider_ids"])
    return [{name: provider[name] for name in ("id", "name", "time_zone")} for provider in providers]


@task(
    map_index_template="{{ task.op_kwargs['provider']['name'] }}",
    max_active_tis_per_dag=REPLAYS_AT_ONCE,
    execution_timeout=time_limits.REPLAY_TASK,
    retries=3,
    retry_delay=timedelta(seconds=10),
    retry_exponential_backoff=True,
    max_retry_delay=timedelta(minutes=10),
    doc_md="Replay what the provider's syncs of that day had received into history. Skipped: the archive has nothing.",
)
def replay_archive(provider: dict[str, Any], integration: str, supports_optimization: bool) -> dict[str, Any] | None:
    """Replay a provider's day; return what starts its optimization, where `optimization` is `always`."""
    from amop.pipeline.replay import ReplayRequest, replay_day
    from amop.warehouse.outbox import daily_sync_key

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
    with recorded_failure():
        replayed = replay_day(warehouse_conninfo(), folder, request)
    if not replayed:
        raise AirflowSkipException(
            f"{provider['name']}: {folder} has no complete sync that started from {day} on and before "
            f"{day + LENGTH_OF_A_DAY}; nothing to replay"
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


def back_fill(integration: Integration) -> None:
    """The tasks of a back-fill run, skipped in every other run."""
    providers = select_back_fill(integration.name)
    replayed = replay_archive.partial(
        integration=integration.name, supports_optimization=integration.supports_optimization
    ).expand(provider=providers)
    if integration.supports_optimization:
        TriggerDagRunOperator.partial(
            task_id="optimize_after_back_fill",
            trigger_dag_id=ids.carrier_optimization_dag(integration.name),
            trigger_rule="none_failed",
            map_index_template="{{ task.trigger_run_id }}",
            doc_md="Start the optimization of that day's billing period, only where `optimization` is `always`.",
            **START_ONCE,
        ).expand_kwargs(replayed)
