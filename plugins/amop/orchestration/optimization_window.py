"""The tasks of ``optimization_window``: who is due, and the start of their device sync."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Asset, AssetAny, get_current_context, task

from amop import ids, time_limits
from amop.config import INTEGRATIONS
from amop.orchestration.connections import warehouse_conninfo
from amop.orchestration.dag_runs import START_ONCE

log = logging.getLogger(__name__)

OPTIMIZED_INTEGRATIONS = tuple(name for name, integration in INTEGRATIONS.items() if integration.supports_optimization)


def any_optimization_result() -> AssetAny:
    """Return the condition that holds whenever an optimization of any integration has written its results."""
    return AssetAny(*(Asset(ids.optimization_results_asset(name)) for name in OPTIMIZED_INTEGRATIONS))


@task(execution_timeout=time_limits.BRIEF_TASK)
def find_open_windows() -> list[dict[str, Any]]:
    """Find the providers that are due; return one device sync to start for each integration that has some."""
    from amop.pipeline.optimization_window import find_due_providers

    context = get_current_context()
    conninfo, now = warehouse_conninfo(), datetime.now(UTC)
    starts = []
    for integration in OPTIMIZED_INTEGRATIONS:
        due = find_due_providers(conninfo, integration, now=now)
        if not due:
            continue
        names = ", ".join(
            f"{provider.service_provider_name} ({provider.service_provider_id}"
            + (", last day)" if provider.is_last_day else ")")
            for provider in due
        )
        dag_id = ids.device_sync_dag(integration)
        # The sync runs one DAG run at a time: another one would only wait behind it, and its providers would look
        # due once more at every look until then.
        if context["ti"].get_dr_count(dag_id=dag_id, states=["queued", "running"]):
            log.info("%s: due, but a run of %s is queued or running; they are looked at again later", names, dag_id)
            continue
        log.info("%s: starting %s", names, dag_id)
        starts.append(
            {
                "trigger_dag_id": dag_id,
                "trigger_run_id": ids.window_run_id(context["dag_run"].run_id),
                "conf": {
                    "service_provider_ids": [provider.service_provider_id for provider in due],
                    "optimization": "always",
                },
            }
        )
    return starts


def window_steps() -> None:
    """Wire the look: find who is due, then start one device sync for each integration."""
    TriggerDagRunOperator.partial(
        task_id="start_device_sync",
        map_index_template="{{ task.trigger_dag_id }}",
        doc_md="Start the device sync of the due providers of one integration, exactly once for each look.",
        **START_ONCE,
    ).expand_kwargs(find_open_windows())
