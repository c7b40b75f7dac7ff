"""The tasks that follow a completed optimization: decide on its plan changes, request approval, apply, verify."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowTaskTimeout

from amop import ids, time_limits
from amop.carriers.errors import CarrierUnavailableError
from amop.database.clock import warehouse_clock
from amop.tasks import lineage
from amop.tasks.approval import ANSWER_FORM, PlanChangeApproval, calls_per_second
from amop.tasks.connections import carrier_client, warehouse_conninfo, warehouse_now
from amop.tasks.failures import is_final
from amop.tasks.frames import InstanceOfSession
from amop.tasks.results import required
from amop.tasks.staging_sensor import DAG_TEST_USER

if TYPE_CHECKING:
    from amop.carriers.protocol import CarrierClient

log = logging.getLogger(__name__)


@task.branch(execution_timeout=time_limits.TASK)
def plan_changes(instance: InstanceOfSession) -> str | None:
    """Decide on the proposed changes: request approval, apply them, or send nothing."""
    from amop.plan_changes import decide as use_case
    from amop.plan_changes.rules import ChangesStatus

    dag_run = get_current_context()["dag_run"]
    status = use_case.plan_changes(
        warehouse_conninfo(),
        instance["instance_id"],
        call_rate=calls_per_second,
        planned_by=f"{dag_run.dag_id}/{dag_run.run_id}",
        can_wait=dag_run.triggering_user_name != DAG_TEST_USER,
        now=warehouse_now(),
    )
    _record_changes(instance)
    if status == ChangesStatus.WAITING:
        return ids.APPROVE_CHANGES_TASK
    is_to_apply = status in {ChangesStatus.APPROVED, ChangesStatus.STOPPED, ChangesStatus.APPLIED}
    return ids.APPLY_CHANGES_TASK if is_to_apply else None


@task.short_circuit(execution_timeout=time_limits.TASK)
def record_approval(instance: InstanceOfSession, answer: dict[str, Any]) -> bool:
    """Record the answer on every change, with person and time; continue only if the changes are still approved."""
    from amop.plan_changes.decide import Answer, settle_approval
    from amop.plan_changes.rules import ChangesStatus

    status = settle_approval(
        warehouse_conninfo(),
        instance["instance_id"],
        Answer(**answer),
        call_rate=calls_per_second,
        now=warehouse_now(),
    )
    _record_changes(instance)
    return status in {ChangesStatus.APPROVED, ChangesStatus.STOPPED, ChangesStatus.APPLIED}


@task(
    task_id=ids.APPLY_CHANGES_TASK,
    execution_timeout=time_limits.CHANGES_TASK,
    trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
)
def apply_changes_task(instance: InstanceOfSession) -> dict[str, int]:
    """Change the rate plan of each SIM that is still on its old plan at the carrier; resumes where it stopped."""
    from amop.plan_changes.apply import apply_changes

    instance_id = instance["instance_id"]
    with _recorded_stop(instance_id), _client(instance_id) as client_and_pace:
        client, pace = client_and_pace
        conninfo = warehouse_conninfo()
        clock = warehouse_clock(conninfo)
        counts = apply_changes(conninfo, instance_id, client, calls_per_second=pace, clock=clock)
    lineage.record_rows(counts.get("applied", 0), {**instance, **counts}, read=sum(counts.values()))
    return counts


@task(execution_timeout=time_limits.BULK_TASK)
def verify_changes(instance: InstanceOfSession) -> dict[str, int]:
    """Read a sample of the applied changes back from the carrier and record every difference."""
    from amop.plan_changes.verify import verify_changes as verify

    with _client(instance["instance_id"]) as (client, _pace):
        conninfo = warehouse_conninfo()
        counts = verify(conninfo, instance["instance_id"], client, clock=warehouse_clock(conninfo))
    lineage.record_read(counts["verified"])
    return counts


def _record_changes(instance: InstanceOfSession) -> None:
    """Let the events of a task that decides on the changes of an instance carry their number."""
    from amop.plan_changes.decide import load_changes

    changes = load_changes(warehouse_conninfo(), instance["instance_id"])
    count = changes.change_count + changes.waiting_count
    lineage.record_rows(count, {**instance, "waiting": changes.waiting_count}, read=count)


@contextmanager
def _client(instance_id: int) -> Iterator[tuple[CarrierClient, float]]:
    """Yield a client of the instance's provider, which may write only where its settings say so, and the measured pace.

    Raises:
        AirflowRescheduleException: the carrier is away; the task gives its slot back until it may be called again, at
            the latest until the billing period ends.
    """
    from amop.plan_changes.decide import load_changes
    from amop.plan_changes.pace import read_measured_rate

    changes = load_changes(warehouse_conninfo(), instance_id)
    account = changes.connection_id, changes.service_provider_name, changes.integration
    pace = read_measured_rate(
        warehouse_conninfo(), changes.service_provider_id, calls_per_second(*account), now=warehouse_now()
    )
    with carrier_client(*account, may_write=changes.write_is_enabled) as client:
        try:
            yield client, pace
        except CarrierUnavailableError as error:
            if error.retry_at is None or error.retry_at >= changes.cycle_end:
                raise
            log.warning("%s. The task resumes at %s", error, error.retry_at)
            raise AirflowRescheduleException(error.retry_at) from None


@contextmanager
def _recorded_stop(instance_id: int) -> Iterator[None]:
    """On the final failure of applying, record the reason on the instance; unsent changes stay approved."""
    from amop.plan_changes.apply import stop_changes

    try:
        yield
    except AirflowRescheduleException:
        raise
    except (Exception, AirflowTaskTimeout) as error:
        if is_final(error):
            try:
                stop_changes(warehouse_conninfo(), instance_id, str(error))
            except Exception:  # the original error must reach the log whatever happens here
                log.exception("The reason could not be recorded on instance %s", instance_id)
        raise


def change_steps(instance: Any, integration: str, published: Any) -> None:
    """Wire the steps after ``publish_report``: decision → (approval → answer) → apply → verify."""
    pool = ids.carrier_pool(integration)
    # Each of these may settle the changes; `optimization_window` then checks whether the next session is due.
    settled = [lineage.optimization_results(integration)]
    planned = plan_changes.override(inlets=settled, outlets=settled)(instance)
    question = PlanChangeApproval(
        task_id=ids.APPROVE_CHANGES_TASK,
        instance=instance,
        params=ANSWER_FORM,
        inlets=settled,
        execution_timeout=time_limits.TASK,
        doc_md=(
            "Request approval where the changes exceed the provider's limits, by Airflow's human-in-the-loop operator. "
            "No worker is held; the request is withdrawn when a newer optimization has ended or the time is over."
        ),
    )
    answered = record_approval.override(inlets=settled, outlets=settled)(instance, required(question.output))
    plans = lineage.carrier_plans(integration)
    applied = apply_changes_task.override(pool=pool, inlets=settled, outlets=[*settled, plans])(instance)
    published >> planned >> question >> answered >> applied
    planned >> applied >> verify_changes.override(pool=pool, inlets=[plans, *settled])(instance)
