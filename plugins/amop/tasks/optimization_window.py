"""The tasks of ``optimization_window``: find the providers that are due and start their device sync."""

from __future__ import annotations

import logging
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Asset, AssetAny, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from amop import ids, time_limits
from amop.config import INTEGRATIONS
from amop.tasks.connections import warehouse_conninfo, warehouse_now
from amop.tasks.dag_runs import START_ONCE
from amop.tasks.results import required
from amop.wording import several

log = logging.getLogger(__name__)

ERRORS_KEY = "errors"
"""XCom key of the providers that could not be checked."""

MOST_REPORTED_ERRORS = 20
"""Errors that are handed on through XCom; the log has all."""

OPTIMIZED_INTEGRATIONS = tuple(name for name, integration in INTEGRATIONS.items() if integration.supports_optimization)


def any_optimization_result() -> AssetAny:
    """Return the asset condition of any integration's optimization results."""
    return AssetAny(*(Asset(ids.optimization_results_asset(name)) for name in OPTIMIZED_INTEGRATIONS))


@task(execution_timeout=time_limits.BRIEF_TASK)
def find_open_windows() -> list[dict[str, Any]]:
    """Find the providers that are due; return one device sync to start for each integration that has some.

    A provider that cannot be checked stops no other: `report_failed_checks` fails for it.
    """
    from amop.runs.open_windows import find_due_providers

    context = get_current_context()
    conninfo, now = warehouse_conninfo(), warehouse_now()
    starts, errors = [], []
    for integration in OPTIMIZED_INTEGRATIONS:
        check = find_due_providers(conninfo, integration, now=now)
        due = check.due
        errors += check.errors
        if not due:
            continue
        names = ", ".join(
            f"{provider.service_provider_name} ({provider.service_provider_id}"
            + (", last day)" if provider.is_last_day else ")")
            for provider in due
        )
        dag_id = ids.device_sync_dag(integration)
        # The sync runs one DAG run at a time: another would only queue behind it, and its providers would be due
        # again at every check until then.
        if context["ti"].get_dr_count(dag_id=dag_id, states=["queued", "running"]):
            log.info("%s: due, but a run of %s is queued or running; they are checked again later", names, dag_id)
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
    context["ti"].xcom_push(ERRORS_KEY, errors[:MOST_REPORTED_ERRORS])
    return starts


@task(execution_timeout=time_limits.BRIEF_TASK)
def report_failed_checks() -> None:
    """Fail for the providers that could not be checked; the syncs of the others are started beside it.

    Raises:
        AirflowFailException: there are such providers; the text names them and the causes.
    """
    errors = get_current_context()["ti"].xcom_pull(task_ids=find_open_windows.function.__name__, key=ERRORS_KEY)
    if errors:
        raise AirflowFailException(
            f"{several(len(errors), 'provider')} could not be checked, so no sync of theirs is started: "
            f"{'; '.join(errors)}"
        )


def window_steps() -> None:
    """Wire the check: find the providers that are due, start one device sync for each integration, report failures."""
    found = find_open_windows()
    TriggerDagRunOperator.partial(
        task_id="start_device_sync",
        map_index_template="{{ task.trigger_dag_id }}",
        doc_md="Start the device sync of the due providers of one integration, exactly once for each check.",
        **START_ONCE,
    ).expand_kwargs(required(found))
    found >> report_failed_checks()
