"""The tasks that follow a completed optimization: decide on its plan changes, ask a person, apply, verify."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException, AirflowTaskTimeout

from amop import ids, time_limits
from amop.carriers.errors import CarrierUnavailableError
from amop.orchestration.approval import ANSWER_FORM, PlanChangeApproval, calls_per_second
from amop.orchestration.connections import carrier_client, warehouse_conninfo
from amop.orchestration.failures import is_last_try, recorded_failure
from amop.orchestration.staging_sensor import DAG_TEST_USER

if TYPE_CHECKING:
    from amop.carriers.protocol import CarrierClient

log = logging.getLogger(__name__)

CHANGE_STEP: dict[str, Any] = {
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=5),
}


@task.branch(execution_timeout=time_limits.TASK, **CHANGE_STEP)
def plan_changes(instance: dict[str, int]) -> str | None:
    """Decide what becomes of the proposed changes: a person is asked, they are applied, or nothing is sent."""
    from amop.domain.plan_changes import ChangesStatus
    from amop.pipeline import plan_changes as use_case

    dag_run = get_current_context()["dag_run"]
    with recorded_failure():
        status = use_case.plan_changes(
            warehouse_conninfo(),
            instance["instance_id"],
            call_rate=calls_per_second,
            planned_by=f"{dag_run.dag_id}/{dag_run.run_id}",
            can_wait=dag_run.triggering_user_name != DAG_TEST_USER,
            now=datetime.now(UTC),
        )
    if status == ChangesStatus.WAITING:
        return ids.APPROVE_CHANGES_TASK
    is_to_apply = status in {ChangesStatus.APPROVED, ChangesStatus.STOPPED, ChangesStatus.APPLIED}
    return ids.APPLY_CHANGES_TASK if is_to_apply else None


@task.short_circuit(execution_timeout=time_limits.TASK, **CHANGE_STEP)
def record_approval(instance: dict[str, int], answer: dict[str, Any]) -> bool:
    """Write the answer to every change, with who and when; go on only if it still is approved."""
    from amop.domain.plan_changes import ChangesStatus
    from amop.pipeline.plan_changes import Answer, settle_approval

    with recorded_failure():
        status = settle_approval(
            warehouse_conninfo(),
            instance["instance_id"],
            Answer(**answer),
            call_rate=calls_per_second,
            now=datetime.now(UTC),
        )
    return status in {ChangesStatus.APPROVED, ChangesStatus.STOPPED, ChangesStatus.APPLIED}


@task(
    task_id=ids.APPLY_CHANGES_TASK,
    execution_timeout=time_limits.CHANGES_TASK,
    trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
    **CHANGE_STEP,
)
def apply_changes_task(instance: dict[str, int]) -> dict[str, int]:
    """Change the rate plan of each SIM at the carrier, if it still is on the plan it was; goes on where it stopped."""
    from amop.pipeline.apply_changes import apply_changes

    instance_id = instance["instance_id"]
    with _noted_stop(instance_id), recorded_failure(), _client(instance_id) as client_and_pace:
        client, pace = client_and_pace
        return apply_changes(warehouse_conninfo(), instance_id, client, calls_per_second=pace)


@task(execution_timeout=time_limits.BULK_TASK, **CHANGE_STEP)
def verify_changes(instance: dict[str, int]) -> dict[str, int]:
    """Read a sample of the applied changes back from the carrier and record every difference."""
    from amop.pipeline.apply_changes import verify_changes as verify

    with recorded_failure(), _client(instance["instance_id"]) as (client, _pace):
        return verify(warehouse_conninfo(), instance["instance_id"], client)


@contextmanager
def _client(instance_id: int) -> Iterator[tuple[CarrierClient, float]]:
    """Yield a client of the instance's provider, which may write only where the provider's settings say so.

    Raises:
        AirflowRescheduleException: the carrier is away; the task gives its slot back until it may be called again, as
            long as the billing period lasts (there is no go before that).
    """
    from amop.pipeline.plan_changes import load_facts

    facts = load_facts(warehouse_conninfo(), instance_id)
    connection_id, name = facts["connection_id"], facts["service_provider_name"]
    pace = calls_per_second(connection_id, name)
    with carrier_client(connection_id, name, may_write=facts["write_is_enabled"]) as client:
        try:
            yield client, pace
        except CarrierUnavailableError as error:
            if error.retry_at is None or error.retry_at >= facts["cycle_end"]:
                raise
            log.warning("%s. The task goes on at %s", error, error.retry_at)
            raise AirflowRescheduleException(error.retry_at) from error


@contextmanager
def _noted_stop(instance_id: int) -> Iterator[None]:
    """On the final failure of applying, note at the instance why it stopped; the changes not sent stay approved."""
    from amop.pipeline.apply_changes import stop_changes

    try:
        yield
    except AirflowRescheduleException:
        raise
    except (Exception, AirflowTaskTimeout) as error:
        if isinstance(error, AirflowFailException) or is_last_try():
            try:
                stop_changes(warehouse_conninfo(), instance_id, str(error), now=datetime.now(UTC))
            except Exception:  # the error that stopped it must reach the log whatever happens here
                log.exception("The stop could not be written to instance %s", instance_id)
        raise


def change_steps(instance: Any, integration: str, published: Any) -> None:
    """Wire what follows ``publish_report``: decision → (question → answer) → apply → verify."""
    pool = ids.carrier_pool(integration)
    # Whenever the changes may be settled, `optimization_window` looks whether the next session is due.
    settled = [Asset(ids.optimization_results_asset(integration))]
    planned = plan_changes.override(outlets=settled)(instance)
    question = PlanChangeApproval(
        task_id=ids.APPROVE_CHANGES_TASK,
        instance=instance,
        params=ANSWER_FORM,
        execution_timeout=time_limits.TASK,
        doc_md=(
            "Ask a person, where the changes exceed the provider's limits, by Airflow's human-in-the-loop operator. No "
            "worker is held; the question is taken back when a newer optimization has ended or the time is over."
        ),
        **CHANGE_STEP,
    )
    answered = record_approval.override(outlets=settled)(instance, question.output)
    applied = apply_changes_task.override(pool=pool, outlets=settled)(instance)
    published >> planned >> question >> answered >> applied
    planned >> applied >> verify_changes.override(pool=pool)(instance)
