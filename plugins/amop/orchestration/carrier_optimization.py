"""The tasks of ``carrier_optimization_<integration>``: the use cases, given to Airflow.

Tasks hand each other two ids, the instance's and its session's; everything else is in the warehouse.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

from amop import ids, time_limits
from amop.orchestration.connections import deliver_session_messages, warehouse_conninfo
from amop.orchestration.dag_runs import asked_at
from amop.orchestration.failures import recorded_failure
from amop.orchestration.optimization_report import WriteWorkbookOperator, mail_report
from amop.orchestration.plan_changes import change_steps

log = logging.getLogger(__name__)

STEP: dict[str, Any] = {
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=5),
    "max_active_tis_per_dag": 4,
}
"""Patience with passing faults of the warehouse; errors of the data fail at once, whatever retries are left.

Runs that wait for a person count as active, so that their number limits nothing; here is what may work side by side.
"""


@contextmanager
def _session_step(session_id: int) -> Iterator[str]:
    """Yield the warehouse's conninfo for one step of a session; then tell AMOP what the step wrote.

    On the step's final failure session and instance end with errors, with one ErrorMessage.
    """
    try:
        with recorded_failure(session_id=session_id):
            yield warehouse_conninfo()
    except (Exception, AirflowTaskTimeout):
        _end_instance(session_id)
        raise
    deliver_session_messages(session_id)


def _end_instance(session_id: int) -> None:
    """End the instance if its session has failed; the error that brought us here stays the one that is reported."""
    from amop.pipeline.optimization_runs import end_instance_of_failed_session

    try:
        end_instance_of_failed_session(warehouse_conninfo(), session_id, now=datetime.now(UTC))
    except Exception:
        log.exception("The end of session %s could not be written to its instance", session_id)


@task(execution_timeout=time_limits.TASK, **STEP)
def open_instance(integration: str) -> dict[str, int]:
    """Open the instance of the session; a run without a session opens one (AMOP 0 and 20 %)."""
    from amop.pipeline.errors import PipelineError
    from amop.pipeline.optimization_runs import OptimizationRequest, check_request
    from amop.pipeline.optimization_runs import open_instance as open_instance_of
    from amop.warehouse.sessions import SessionNotFoundError

    context = get_current_context()
    params, dag_run, now = context["params"], context["dag_run"], datetime.now(UTC)
    request = OptimizationRequest(
        integration=integration,
        opened_by=f"{dag_run.dag_id}/{dag_run.run_id}",
        service_provider_id=params["service_provider_id"],
        billing_period_id=params["billing_period_id"],
        optimization_session_id=params["optimization_session_id"],
        apply_changes=params["apply_changes"],
        asked_at=asked_at(dag_run, now),
    )
    try:
        check_request(warehouse_conninfo(), request)
    except (PipelineError, SessionNotFoundError) as error:  # a wrong id must not end the session that it names
        raise AirflowFailException(str(error)) from error
    with recorded_failure(session_id=request.optimization_session_id):
        instance = open_instance_of(warehouse_conninfo(), request, now=now)
    deliver_session_messages(instance["session_id"])
    return instance


@task(execution_timeout=time_limits.TASK, **STEP)
def group_communication_plans(instance: dict[str, int]) -> int:
    """Write the comm groups: communication plans that allow the same set of rate plans (AMOP 30 %)."""
    from amop.pipeline import optimization_inputs

    with _session_step(instance["session_id"]) as conninfo:
        return optimization_inputs.group_communication_plans(conninfo, instance["instance_id"])


@task(execution_timeout=time_limits.TASK, **STEP)
def validate_groups(instance: dict[str, int]) -> dict[str, int]:
    """Decide what is done with every comm group; end with errors where rate plans cannot be billed."""
    from amop.pipeline import optimization_inputs

    with _session_step(instance["session_id"]) as conninfo:
        return optimization_inputs.validate_groups(conninfo, instance["instance_id"], now=datetime.now(UTC))


@task(execution_timeout=time_limits.BULK_TASK, **STEP)
def project_usage(instance: dict[str, int]) -> dict[str, int]:
    """Read the eligible SIMs and project their usage to the end of the billing period."""
    from amop.pipeline import optimization_inputs

    with _session_step(instance["session_id"]) as conninfo:
        return optimization_inputs.project_usage(conninfo, instance["instance_id"])


@task(execution_timeout=time_limits.BULK_TASK, **STEP)
def assign_base(instance: dict[str, int]) -> None:
    """Put each SIM on the plan whose included data is closest to its usage; cost that and today's plans (AMOP 40 %)."""
    from amop.pipeline import carrier_optimization

    with _session_step(instance["session_id"]) as conninfo:
        carrier_optimization.assign_base(conninfo, instance["instance_id"])


@task(execution_timeout=time_limits.BULK_TASK, **STEP)
def solve(instance: dict[str, int]) -> None:
    """Find the cheapest plans for the whole provider and verify the proof (AMOP 50 %)."""
    from amop.pipeline import carrier_optimization

    with _session_step(instance["session_id"]) as conninfo:
        carrier_optimization.solve(conninfo, instance["instance_id"])


@task(execution_timeout=time_limits.BULK_TASK, **STEP)
def write_results(instance: dict[str, int]) -> dict[str, int]:
    """Write a result row per SIM, the sums of the groups and the proposed plan changes; nothing is applied."""
    from amop.pipeline import carrier_optimization

    with _session_step(instance["session_id"]) as conninfo:
        return carrier_optimization.write_results(conninfo, instance["instance_id"])


@task(execution_timeout=time_limits.TASK, trigger_rule=TriggerRule.NONE_FAILED, **STEP)
def publish_report(instance: dict[str, int]) -> dict[str, int]:
    """End instance and session as complete (AMOP 100 %); also where no workbook was to be written."""
    from amop.pipeline import carrier_optimization

    with _session_step(instance["session_id"]) as conninfo:
        published = carrier_optimization.publish_report(conninfo, instance["instance_id"], now=datetime.now(UTC))
    report_uri = published.pop("report_uri")
    context = get_current_context()
    for asset in context["task"].outlets:
        context["outlet_events"][asset].extra = {**instance, **published, "report_uri": report_uri}
    return published


def optimization_steps(integration: str) -> None:
    """Wire the tasks of an optimization, one after another, and what becomes of its plan changes."""
    instance: Any = open_instance(integration)
    results = Asset(ids.optimization_results_asset(integration))
    published = publish_report.override(outlets=[results])(instance)
    (
        group_communication_plans(instance)
        >> validate_groups(instance)
        >> project_usage(instance)
        >> assign_base(instance)
        >> solve(instance)
        >> write_results(instance)
        >> WriteWorkbookOperator(
            task_id="write_workbook",
            instance=instance,
            execution_timeout=time_limits.BULK_TASK,
            doc_md="Write the workbook to S3, where a bucket is set; a failure is a warning on the instance.",
            **STEP,
        )
        >> published
        >> mail_report.override(execution_timeout=time_limits.TASK, **STEP)(instance)
    )
    change_steps(instance, integration, published)
