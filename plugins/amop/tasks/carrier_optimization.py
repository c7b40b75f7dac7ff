"""The tasks of ``carrier_optimization_<integration>``.

XCom carries two ids, the instance's and its session's; everything else is in the warehouse.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk import TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from amop import time_limits
from amop.tasks import lineage
from amop.tasks.connections import deliver_session_messages, warehouse_conninfo, warehouse_now
from amop.tasks.dag_runs import is_trial, refuse_map_index, requested_at
from amop.tasks.failures import recorded_failure
from amop.tasks.frames import InstanceOfSession, SessionWork, session_task
from amop.tasks.optimization_report import WriteWorkbookOperator, mail_report
from amop.tasks.plan_changes import change_steps
from amop.tasks.results import required

log = logging.getLogger(__name__)

SIDE_BY_SIDE: dict[str, Any] = {"max_active_tis_per_dag": 4}
"""Optimizations that may compute at once. Runs that wait for an approval are active too, so the run limit cannot."""


@task(execution_timeout=time_limits.TASK, **SIDE_BY_SIDE)
def open_instance(integration: str) -> InstanceOfSession:
    """Open the instance of the session; a run without a session opens one (AMOP 0 and 20 %)."""
    from amop.optimization.instances import OptimizationRequest, check_request
    from amop.optimization.instances import open_instance as open_instance_of
    from amop.runs.errors import PipelineError
    from amop.runs.sessions import SessionNotFoundError

    context = get_current_context()
    refuse_map_index(context)
    params, dag_run, now = context["params"], context["dag_run"], warehouse_now()
    if params["service_provider_id"] is None:
        raise AirflowFailException(
            "service_provider_id is not set: give the id of a provider of this integration (`bin/amop status`)"
        )
    request = OptimizationRequest(
        integration=integration,
        opened_by=f"{dag_run.dag_id}/{dag_run.run_id}",
        service_provider_id=params["service_provider_id"],
        billing_period_id=params["billing_period_id"],
        optimization_session_id=params["optimization_session_id"],
        apply_changes=params["apply_changes"],
        requested_at=requested_at(dag_run, now),
        clear_number=dag_run.clear_number or 0,
    )
    try:
        check_request(warehouse_conninfo(), request)
    except (PipelineError, SessionNotFoundError) as error:  # a wrong id must not end the session that it names
        raise AirflowFailException(str(error)) from None
    if is_trial(dag_run):
        raise AirflowSkipException("The request is valid. A trial (airflow tasks test) opens no session")
    with recorded_failure(session_id=request.optimization_session_id):
        instance = open_instance_of(warehouse_conninfo(), request, now=now)
    deliver_session_messages(instance["session_id"])
    return InstanceOfSession(instance_id=instance["instance_id"], session_id=instance["session_id"])


@session_task(limit=time_limits.TASK, **SIDE_BY_SIDE)
def group_communication_plans(work: SessionWork) -> int:
    """Write the comm groups: communication plans that allow the same set of rate plans."""
    from amop.optimization import inputs

    groups = inputs.group_communication_plans(work.conninfo, work.instance_id)
    _record_rows(work, groups)
    return groups


@session_task(limit=time_limits.TASK, **SIDE_BY_SIDE)
def validate_groups(work: SessionWork) -> dict[str, int]:
    """Decide what is done with every comm group; end with errors where rate plans cannot be billed."""
    from amop.optimization import inputs

    outcomes = inputs.validate_groups(work.conninfo, work.instance_id, now=work.now)
    groups = sum(outcomes.values())
    _record_rows(work, groups, read=groups)
    return outcomes


@session_task(limit=time_limits.BULK_TASK, **SIDE_BY_SIDE)
def project_usage(work: SessionWork) -> dict[str, int]:
    """Read the eligible SIMs and project their usage to the end of the billing period (AMOP 30 %)."""
    from amop.optimization import inputs

    counts = inputs.project_usage(work.conninfo, work.instance_id)
    listed = counts["device_count"] + counts["excluded_device_count"]
    _record_rows(work, counts["device_count"], counts, read=listed)
    return counts


@session_task(limit=time_limits.BULK_TASK, **SIDE_BY_SIDE)
def assign_base(work: SessionWork) -> None:
    """Put each SIM on the plan whose included data is closest to its usage; cost that and today's plans (AMOP 40 %)."""
    from amop.optimization import solve as solution

    sims = solution.assign_base(work.conninfo, work.instance_id)
    _record_rows(work, sims, read=sims)


@session_task(limit=time_limits.BULK_TASK, **SIDE_BY_SIDE)
def solve(work: SessionWork) -> None:
    """Find the cheapest plans for the whole provider and verify the proof (AMOP 50 %)."""
    from amop.optimization import solve as solution

    sims = solution.solve(work.conninfo, work.instance_id)
    _record_rows(work, sims, read=sims)


@session_task(limit=time_limits.BULK_TASK, **SIDE_BY_SIDE)
def write_results(work: SessionWork) -> dict[str, int]:
    """Write a result row per SIM, the sums of the groups and the proposed plan changes; nothing is applied."""
    from amop.optimization import results

    counts = results.write_results(work.conninfo, work.instance_id)
    _record_rows(work, counts["device_count"], counts, read=counts["device_count"])
    return counts


@session_task(limit=time_limits.TASK, resumes=False, **SIDE_BY_SIDE, trigger_rule=TriggerRule.NONE_FAILED)
def publish_report(work: SessionWork) -> dict[str, int]:
    """End instance and session as complete (AMOP 100 %); also where no workbook is configured."""
    from amop.optimization import results

    published = results.publish_report(work.conninfo, work.instance_id, now=work.now)
    counts = {"device_count": published.device_count, "changes": published.changes}
    sims = published.device_count
    _record_rows(work, sims, {"report_uri": published.report_uri, **counts}, read=sims)
    return counts


def _record_rows(
    work: SessionWork, written: int, facts: Mapping[str, object] | None = None, *, read: int | None = None
) -> None:
    lineage.record_rows(
        written, {"instance_id": work.instance_id, "session_id": work.session_id, **(facts or {})}, read=read
    )


def optimization_steps(integration: str) -> None:
    """Wire the tasks of an optimization, one after another, and what becomes of its plan changes."""
    instance = required(open_instance(integration))
    devices, draft = [lineage.devices(integration)], [lineage.optimization_draft(integration)]
    results = [lineage.optimization_results(integration)]
    published = publish_report.override(inlets=draft, outlets=results)(instance)
    (
        group_communication_plans.override(inlets=devices, outlets=draft)(instance)
        >> validate_groups.override(inlets=draft, outlets=draft)(instance)
        >> project_usage.override(inlets=[*devices, *draft], outlets=draft)(instance)
        >> assign_base.override(inlets=draft, outlets=draft)(instance)
        >> solve.override(inlets=draft, outlets=draft)(instance)
        >> write_results.override(inlets=draft, outlets=draft)(instance)
        >> WriteWorkbookOperator(
            task_id="write_workbook",
            instance=instance,
            inlets=draft,
            execution_timeout=time_limits.BULK_TASK,
            **SIDE_BY_SIDE,
            doc_md="Write the workbook to S3, where a bucket is set; a failure is a warning on the instance.",
        )
        >> published
        >> mail_report.override(inlets=results, execution_timeout=time_limits.TASK, **SIDE_BY_SIDE)(instance)
    )
    change_steps(instance, integration, published)
